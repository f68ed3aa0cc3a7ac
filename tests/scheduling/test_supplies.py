"""What isolated environments use up: groups wait for it, or are refused where there is never enough."""

from collections.abc import Callable

from groups import make_group, make_outcome, make_phase
from histories import Run
from hypothesis import given
from hypothesis import strategies as st

from harness.model import Status
from harness.scheduling.messages import AttemptEnded, Begin, Start, Supply

Ends = Callable[..., AttemptEnded]


def redis(free: int, total: int | None = None) -> Begin:
    return Begin({"redis": Supply(free, free if total is None else total, "16 databases, some in use")})


def test_groups_wait_for_one_another_when_there_is_not_enough_for_all(ends: Ends) -> None:
    groups = [make_group(name, holds={"redis": 1}) for name in "abc"]
    run = Run(make_phase("p", *groups, "d"), jobs=8)
    assert run.give(redis(2)) == ["phase p", "start a#1 on 0", "start b#1 on 1", "start d#1 on 2"]
    assert run.give(ends("d")) == ["d passed"]
    assert run.give(ends("b")) == ["b passed", "start c#1 on 1"]


def test_a_group_that_needs_more_than_there_ever_is_is_refused_with_the_numbers(ends: Ends) -> None:
    groups = [
        make_group("big", holds={"redis": 3}),
        make_group("after", after=("big",)),
        make_group("small", holds={"redis": 2}),
    ]
    run = Run(make_phase("p", *groups), jobs=8)
    assert run.give(redis(2)) == [
        "phase p",
        "big error: needs 3 of [isolation.redis], and there are 2: 16 databases, some in use",
        "after skipped: depends on big, which could not run",
        "start small#1 on 0",
    ]
    run.give(ends("small"))
    assert run.dispatcher.exit_code == 3


def test_in_a_sequential_phase_a_refusal_ends_the_run_as_any_failure_does() -> None:
    core = make_phase("core", make_group("a", holds={"redis": 1}), sequential=True)
    run = Run(core, make_phase("rest", "b"))
    assert run.give(redis(0)) == [
        "phase core",
        "a error: needs 1 of [isolation.redis], and there are 0: 16 databases, some in use",
        "b skipped: a could not run in the sequential phase core",
        "end of core",
        "stop",
    ]


def test_for_what_other_runs_hold_now_one_group_may_wait_in_its_turn(ends: Ends) -> None:
    run = Run(make_phase("p", make_group("a", holds={"redis": 2}), make_group("b", holds={"redis": 1})), jobs=8)
    assert run.give(redis(0, total=15)) == ["phase p", "start a#1 on 0"]
    assert run.give(ends("a")) == ["a passed", "start b#1 on 0"]


def test_a_group_that_needs_more_than_is_free_starts_when_nobody_else_holds_any(ends: Ends) -> None:
    groups = [make_group("a", holds={"redis": 1}), make_group("wide", holds={"redis": 9})]
    run = Run(make_phase("p", *groups), jobs=8, estimates={"a": 9.0})
    assert run.give(redis(2, total=15)) == ["phase p", "start a#1 on 0"]
    assert run.give(ends("a")) == ["a passed", "start wide#1 on 0"]


def test_what_does_not_run_makes_no_room() -> None:
    groups = [make_group(f"g{n}", holds={"redis": 1}) for n in range(4)]
    off = make_phase("off", make_group("wide", holds={"redis": 9}))
    run = Run(make_phase("p", *groups), off, jobs=8, off={"off": "it is off"})
    assert run.give(redis(2, total=15)) == ["phase p", "start g0#1 on 0", "start g1#1 on 1"]


def test_entries_on_one_server_share_what_it_has(ends: Ends) -> None:
    groups = [make_group(name, holds={"queue": 1, "cache": 1}) for name in "ab"]
    run = Run(make_phase("p", *groups, make_group("c", holds={"queue": 1})), jobs=8)
    both = Supply(3, 3, "16 databases, some in use", "redis 127.0.0.1:6379")
    assert run.give(Begin({"queue": both, "cache": both})) == ["phase p", "start a#1 on 0", "start c#1 on 1"]
    assert run.give(ends("a")) == ["a passed", "start b#1 on 0"]


def test_what_several_entries_need_of_one_server_is_refused_by_its_sum() -> None:
    run = Run(make_phase("p", make_group("a", holds={"queue": 2, "cache": 2})), jobs=8)
    both = Supply(3, 3, "16 databases, some in use", "redis 127.0.0.1:6379")
    assert run.give(Begin({"queue": both, "cache": both}))[1] == (
        "a error: needs 4 of [isolation.queue], [isolation.cache], and there are 3: 16 databases, some in use"
    )


def test_what_is_cached_needs_no_environment() -> None:
    run = Run(make_phase("p", make_group("a", holds={"redis": 3})), cached={"a": "20260101_000000"})
    assert run.give(redis(0))[1].startswith("a cached")


def test_there_is_enough_of_what_nobody_bounds() -> None:
    run = Run(make_phase("p", *(make_group(name, holds={"tmp": 50}) for name in "abcd")), jobs=4)
    assert len(run.give(Begin())) == 5


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=30),
    st.integers(0, 8),
    st.integers(1, 9),
    st.randoms(use_true_random=False),
)
def test_never_more_than_there_is(needs: list[int], there_are: int, jobs: int, draw: object) -> None:
    groups = {f"g{n}": make_group(f"g{n}", holds={"redis": need} if need else {}) for n, need in enumerate(needs)}
    run = Run(make_phase("p", *groups.values()), jobs=jobs)
    running: list[str] = []
    actions = run.dispatcher.handle(redis(there_are))
    while True:
        running += [action.group.name for action in actions if isinstance(action, Start)]
        assert sum(groups[name].holds.get("redis", 0) for name in running) <= there_are
        if not running:
            break
        ended = running.pop(draw.randrange(len(running)))  # type: ignore[attr-defined]
        actions = run.dispatcher.handle(AttemptEnded(make_outcome(ended)))
    results = run.dispatcher.results
    assert len(results) == len(groups)
    refused = {name for name, group in groups.items() if group.holds.get("redis", 0) > there_are}
    assert {name for name, result in results.items() if result.status is Status.ERROR} == refused
