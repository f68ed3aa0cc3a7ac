"""The order in which groups start, by small literal plans."""

from collections.abc import Callable, Mapping, Sequence
from random import Random

import pytest
from groups import make_group, make_phase
from hypothesis import given
from hypothesis import strategies as st

from harness.model import Group, LockMode, Phase
from harness.scheduling.order import in_dependency_order
from harness.scheduling.schedule import OVERTAKEN_AT_MOST, Schedule

Make = Callable[..., Group]
MakePhase = Callable[..., Phase]


def opened(
    *phases: Phase,
    jobs: int = 2,
    resources: Mapping[str, int] | None = None,
    estimates: Mapping[str, float] | None = None,
) -> Schedule:
    schedule = Schedule(phases, jobs=jobs, resources=resources or {}, estimates=estimates)
    schedule.open(phases[0], 0.0)
    return schedule


def started(schedule: Schedule) -> list[str]:
    return [placement.group.name for placement in schedule.start(0.0)]


def ended(schedule: Schedule, *names: str) -> list[str]:
    for name in names:
        schedule.end(name, 0.0, succeeded=True)
    return started(schedule)


def test_no_more_groups_start_than_there_are_jobs(phase: MakePhase) -> None:
    schedule = opened(phase("p", "a", "b", "c"), jobs=2)
    assert started(schedule) == ["a", "b"]
    assert started(schedule) == []
    assert ended(schedule, "b") == ["c"]


def test_the_longest_chain_starts_first(phase: MakePhase, group: Make) -> None:
    groups = ("short", "long", "head", group("tail", after=("head",)))
    estimates = {"short": 1.0, "long": 5.0, "head": 2.0, "tail": 4.0}
    schedule = opened(phase("p", *groups), jobs=2, estimates=estimates)
    assert started(schedule) == ["head", "long"]  # 2 + 4 is longer than 5
    assert ended(schedule, "head") == ["tail"]
    assert ended(schedule, "long") == ["short"]


def test_one_at_a_time_they_run_in_the_order_of_the_plan(phase: MakePhase, group: Make) -> None:
    schedule = opened(phase("p", "a", "b", group("c", after=("b",))), jobs=1, estimates={"a": 1.0, "b": 5.0, "c": 9.0})
    assert [*started(schedule), *ended(schedule, "a"), *ended(schedule, "b")] == ["a", "b", "c"]


def test_ties_keep_the_order_of_the_plan(phase: MakePhase) -> None:
    assert started(opened(phase("p", "c", "a", "b"), jobs=3)) == ["c", "a", "b"]


def test_a_sequential_phase_runs_one_at_a_time_in_plan_order(phase: MakePhase) -> None:
    schedule = opened(phase("p", "a", "b", sequential=True), jobs=4, estimates={"a": 1, "b": 9})
    assert started(schedule) == ["a"]
    assert ended(schedule, "a") == ["b"]


def test_a_parallel_group_is_never_two_at_once(phase: MakePhase, group: Make) -> None:
    ledger = {"parallel_group": ("ledger",)}
    schedule = opened(phase("p", group("a", **ledger), group("b", **ledger), "c"), jobs=3)
    assert started(schedule) == ["a", "c"]
    assert ended(schedule, "c") == []
    assert ended(schedule, "a") == ["b"]


def test_sharers_of_a_lock_run_together_and_an_exclusive_holder_alone(phase: MakePhase, group: Make) -> None:
    shared, exclusive = {"needs": {"x": LockMode.SHARED}}, {"needs": {"x": LockMode.EXCLUSIVE}}
    schedule = opened(phase("p", group("a", **shared), group("b", **shared), group("c", **exclusive)), jobs=3)
    assert started(schedule) == ["a", "b"]
    assert ended(schedule, "a") == []
    assert ended(schedule, "b") == ["c"]


def test_a_counted_resource_is_never_exceeded_and_smaller_requests_pass(phase: MakePhase, group: Make) -> None:
    wants = [group(name, needs={"api": amount}) for name, amount in (("a", 3), ("b", 3), ("c", 2))]
    schedule = opened(phase("p", *wants), jobs=3, resources={"api": 5})
    assert started(schedule) == ["a", "c"]
    assert ended(schedule, "c") == []
    assert ended(schedule, "a") == ["b"]


@pytest.mark.parametrize("width", [{"slots": 2}, {"workers": 2}])
def test_a_wide_group_takes_that_many_slots(phase: MakePhase, group: Make, width: dict[str, int]) -> None:
    schedule = opened(phase("p", group("wide", **width), "a", "b"), jobs=3)
    assert started(schedule) == ["wide", "a"]
    assert ended(schedule, "a") == ["b"]


def test_a_group_wider_than_the_jobs_runs_alone(phase: MakePhase, group: Make) -> None:
    schedule = opened(phase("p", group("wide", slots=9), "a"), jobs=2)
    assert started(schedule) == ["wide"]
    assert ended(schedule, "wide") == ["a"]


def test_slots_are_unique_among_running_groups_and_the_lowest_free(phase: MakePhase, group: Make) -> None:
    schedule = opened(phase("p", "a", group("wide", slots=2), "b", "c"), jobs=4)
    assert [(p.group.name, p.slot) for p in schedule.start(0.0)] == [("wide", 0), ("a", 2), ("b", 3)]
    schedule.end("a", 0.0, succeeded=True)
    assert [(p.group.name, p.slot) for p in schedule.start(0.0)] == [("c", 2)]


def test_a_failure_dooms_those_that_need_success_and_frees_those_that_need_order(phase: MakePhase, group: Make) -> None:
    schedule = opened(phase("p", "a", group("b", after=("a",)), group("c", any_of=("a",))), jobs=2)
    assert started(schedule) == ["a"]
    assert [doomed.name for doomed in schedule.end("a", 0.0, succeeded=False)] == ["b"]
    schedule.end("b", 0.0, succeeded=False)
    assert started(schedule) == ["c"]


def test_a_later_phase_waits_until_it_is_opened(phase: MakePhase, group: Make) -> None:
    first, second = phase("one", "a"), phase("two", group("b", after=("a",)), "c")
    schedule = opened(first, second, jobs=3)
    assert started(schedule) == ["a"]
    assert ended(schedule, "a") == []
    schedule.open(second, 0.0)
    assert started(schedule) == ["b", "c"]


def test_a_group_that_ended_without_starting_never_starts(phase: MakePhase) -> None:
    schedule = opened(phase("p", "a", "b", "c"), jobs=1)
    assert started(schedule) == ["a"]
    schedule.end("b", 0.0, succeeded=False)
    assert ended(schedule, "a") == ["c"]


def test_dependency_order_leaves_cycles_out(group: Make) -> None:
    groups: Sequence[Group] = [group("c", after=("b",)), group("b"), group("x", after=("y",)), group("y", after=("x",))]
    assert [group.name for group in in_dependency_order(groups)] == ["b", "c"]


def test_a_wide_group_is_overtaken_only_so_often(phase: MakePhase, group: Make) -> None:
    narrow = [f"n{number}" for number in range(9)]
    estimates = {"first": 99.0, "wide": 5.0} | dict.fromkeys(narrow, 1.0)
    schedule = opened(phase("p", "first", group("wide", slots=2), *narrow), jobs=2, estimates=estimates)
    assert started(schedule) == ["first", "n0"]
    for number in range(3):
        assert ended(schedule, f"n{number}") == [f"n{number + 1}"]
    assert ended(schedule, "n3") == []  # one slot is free, and kept
    assert ended(schedule, "first") == ["wide"]
    assert ended(schedule, "wide") == ["n4", "n5"]


def test_what_is_kept_does_not_keep_others_waiting_who_need_nothing_of_it(phase: MakePhase, group: Make) -> None:
    sharers = [group(f"s{number}", needs={"db": LockMode.SHARED}) for number in range(9)]
    lone = group("lone", needs={"db": LockMode.EXCLUSIVE})
    estimates = {"lone": 9.0, "s0": 10.0} | {f"s{number}": 2.0 for number in range(1, 9)} | {"free": 1.0}
    schedule = opened(phase("p", lone, *sharers, "free"), jobs=2, estimates=estimates)
    assert started(schedule) == ["s0", "s1"]
    for number in range(1, 4):
        assert ended(schedule, f"s{number}") == [f"s{number + 1}"]
    assert ended(schedule, "s4") == ["free"]  # the lock is kept for the lone one, the slot is not
    assert ended(schedule, "s0") == ["lone"]


def test_what_was_kept_is_given_on_when_its_group_will_never_start(phase: MakePhase, group: Make) -> None:
    narrow = [f"n{number}" for number in range(9)]
    estimates = {"first": 99.0, "wide": 5.0} | dict.fromkeys(narrow, 1.0)
    schedule = opened(phase("p", "first", group("wide", slots=2), *narrow), jobs=2, estimates=estimates)
    started(schedule)
    for number in range(4):
        ended(schedule, f"n{number}")
    schedule.end("wide", 0.0, succeeded=False)
    assert started(schedule) == ["n4"]


def test_a_random_order_is_that_of_its_seed(phase: MakePhase) -> None:
    def order(seed: int) -> list[str]:
        schedule = Schedule([phase("p", *"abcdefgh")], jobs=8, resources={}, shuffle=seed)
        schedule.open(phase("p", *"abcdefgh"), 0.0)
        return started(schedule)

    assert order(1) == order(1) != order(2)
    assert sorted(order(1)) == list("abcdefgh")


def test_patience_begins_anew_for_each_group(phase: MakePhase, group: Make) -> None:
    narrow = [f"n{number}" for number in range(15)]
    wide = [group("wide", slots=3), group("wider", slots=3)]
    estimates = {"first": 999.0, "second": 600.0, "wide": 5.0, "wider": 4.0} | dict.fromkeys(narrow, 1.0)
    groups = ("first", *wide, group("second", after=("wide",)), *narrow)
    schedule = opened(phase("p", *groups), jobs=3, estimates=estimates)
    assert started(schedule) == ["first", "n0", "n1"]
    for number in range(4):
        assert ended(schedule, f"n{number}") == [f"n{number + 2}"]
    assert ended(schedule, "n4", "n5") == []
    assert ended(schedule, "first") == ["wide"]
    assert ended(schedule, "wide") == ["second", "n6", "n7"]
    for number in range(6, 10):
        assert ended(schedule, f"n{number}") == [f"n{number + 2}"]
    assert ended(schedule, "n10", "n11") == []


@given(st.integers(2, 5), st.lists(st.floats(0.1, 9.0), min_size=30, max_size=40), st.randoms(use_true_random=False))
def test_no_wide_group_is_starved(jobs: int, seconds: list[float], draw: Random) -> None:
    """Whatever ends when, and however long the narrow ones are."""
    narrow = {f"n{number}": each for number, each in enumerate(seconds)}
    wide = make_group("wide", slots=jobs, after=("n0",))
    groups = make_phase("p", *narrow, wide)
    schedule = opened(groups, jobs=jobs, estimates=narrow | {"wide": 0.1})
    running = set(started(schedule))
    ready, overtaken = False, 0
    while "wide" not in running:
        ends = draw.choice(sorted(running))
        running.remove(ends)
        ready = ready or ends == "n0"
        begun = ended(schedule, ends)
        running |= set(begun)
        overtaken += ready and "wide" not in begun and len(begun)
        assert running, "something must go on"
    assert overtaken <= OVERTAKEN_AT_MOST * jobs
    assert running == {"wide"}


def test_a_lane_whose_candidates_all_died_takes_new_ones(phase: MakePhase, group: Make) -> None:
    """b waits for the lock and ends without a start; d wants the same lock later, when it is free."""
    groups = [group(name, parallel_group=("x",)) for name in ("a", "b")]
    schedule = opened(phase("p", *groups, "c", group("d", parallel_group=("x",), after=("c",))))
    assert started(schedule) == ["a", "c"]
    schedule.end("b", 0.0, succeeded=False)
    assert ended(schedule, "a") == []
    assert ended(schedule, "c") == ["d"]


def test_what_needs_two_things_is_kept_both(phase: MakePhase, group: Make) -> None:
    """Each of them comes back at another time, and is not given away meanwhile."""
    ones = [group(f"a{n}", parallel_group=("a",)) for n in range(20)]
    others = [group(f"b{n}", parallel_group=("b",)) for n in range(20)]
    both = group("both", parallel_group=("a", "b"), after=("gate",))
    schedule = opened(phase("p", *ones, *others, both, "gate"), jobs=3, estimates={"both": 99.0, "gate": 99.0})
    running = started(schedule)
    assert {name[0] for name in running} == {"a", "b", "g"}
    ended(schedule, "gate")
    running.remove("gate")
    overtaken = 0
    while "both" not in running:
        begun = ended(schedule, running.pop(0))  # those of a and of b end in turn
        running += begun
        overtaken += len(begun)
    assert overtaken <= OVERTAKEN_AT_MOST * 3 + 1


def test_ageing_goes_on_with_the_next_when_the_first_that_waits_dies(phase: MakePhase, group: Make) -> None:
    narrow = [f"n{number}" for number in range(15)]
    wide = [group("wide", slots=2), group("wider", slots=2)]
    estimates = {"first": 999.0, "wide": 5.0, "wider": 4.0} | dict.fromkeys(narrow, 1.0)
    schedule = opened(phase("p", "first", *wide, *narrow), jobs=2, estimates=estimates)
    assert started(schedule) == ["first", "n0"]
    schedule.end("wide", 0.0, succeeded=False)
    number = 0
    while begun := ended(schedule, f"n{number}"):
        assert begun == [f"n{number + 1}"]
        number += 1
    assert number <= OVERTAKEN_AT_MOST * 2
    assert ended(schedule, "first") == ["wider"]
