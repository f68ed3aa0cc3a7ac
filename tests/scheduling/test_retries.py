"""Retries, quarantine and cached groups, each rule by a literal history of inputs."""

import signal
from collections.abc import Callable

import pytest
from groups import make_group, make_outcome
from histories import Run
from hypothesis import given
from hypothesis import strategies as st

from harness.events import RetryScheduled
from harness.model import Group, Outcome, Phase, Quarantine, Status
from harness.scheduling.backoff import LONGEST_DELAY, retry_delay
from harness.scheduling.messages import AttemptEnded, Begin, Emit, RetryDue, ServiceDown, SignalCame, Wake
from harness.scheduling.verdict import Running, final_result

Make = Callable[..., Group]
MakePhase = Callable[..., Phase]
MakeOutcome = Callable[..., Outcome]
Ends = Callable[..., AttemptEnded]


def test_a_retry_keeps_its_slot_and_a_late_pass_is_flaky(phase: MakePhase, group: Make, ends: Ends) -> None:
    run = Run(phase("p", "x", group("a", retries=2), "y"))
    assert run.give(Begin()) == ["phase p", "start x#1 on 0", "start a#1 on 1"]
    assert run.give(ends("a", Status.FAILED)) == ["retry a#2", "wake a#2"]
    assert run.give(RetryDue("a#2")) == ["start a#2 on 1"]
    assert run.give(ends("a", Status.TIMED_OUT, attempt=2, reason="no end after 5m")) == ["retry a#3", "wake a#3"]
    assert run.give(RetryDue("a#3")) == ["start a#3 on 1"]
    assert run.give(ends("a", attempt=3)) == [
        "a flaky: passed on attempt 3; attempt 2: no end after 5m",
        "start y#1 on 1",
    ]
    assert run.dispatcher.results["a"].attempts == 3
    assert run.dispatcher.results["a"].duration == 3.0


def test_what_rests_keeps_what_it_holds(phase: MakePhase, group: Make, ends: Ends) -> None:
    run = Run(
        phase("p", group("a", retries=1, parallel_group=("db",)), group("b", parallel_group=("db",)), "c"), jobs=3
    )
    assert run.give(Begin()) == ["phase p", "start a#1 on 0", "start c#1 on 1"]
    assert run.give(ends("a", Status.FAILED)) == ["retry a#2", "wake a#2"]
    run.give(RetryDue("a#2"))
    assert run.give(ends("a", attempt=2))[1:] == ["start b#1 on 0"]


def test_without_a_delay_a_retry_starts_at_once(phase: MakePhase, group: Make, ends: Ends) -> None:
    run = Run(phase("p", group("a", retries=1, retry_delay=0.0)))
    run.give(Begin())
    assert run.give(ends("a", Status.FAILED)) == ["retry a#2", "start a#2 on 0"]


def test_retries_end(phase: MakePhase, group: Make, ends: Ends) -> None:
    run = Run(phase("p", group("a", retries=1, retry_delay=0.0)))
    run.give(Begin())
    run.give(ends("a", Status.FAILED))
    assert run.give(ends("a", Status.FAILED, attempt=2)) == ["a failed", "end of p", "stop"]
    assert run.dispatcher.results["a"].attempts == 2


@pytest.mark.parametrize("status", [Status.ERROR, Status.NO_TESTS])
def test_what_a_retry_cannot_mend_is_not_retried(phase: MakePhase, group: Make, ends: Ends, status: Status) -> None:
    run = Run(phase("p", group("a", retries=1)))
    run.give(Begin())
    assert run.give(ends("a", status))[-1] == "stop"


def test_a_duplicate_outcome_changes_nothing(phase: MakePhase, group: Make, ends: Ends) -> None:
    run = Run(phase("p", group("a", retries=1, retry_delay=0.0), "b"))
    run.give(Begin())
    run.give(ends("a", Status.FAILED))
    assert run.give(ends("a", Status.FAILED)) == []
    run.give(ends("a", attempt=2))
    assert run.give(ends("a", Status.FAILED, attempt=2)) == []
    assert run.statuses() == {"a": "flaky"}


def test_a_late_or_foreign_wake_up_changes_nothing(phase: MakePhase, group: Make, ends: Ends) -> None:
    run = Run(phase("p", group("a", retries=2), "b"))
    run.give(Begin())
    assert run.give(RetryDue("a#1")) == []
    run.give(ends("a", Status.FAILED))
    assert run.give(RetryDue("a#3")) == []
    assert run.give(RetryDue("a#2")) == ["start a#2 on 0"]
    assert run.give(RetryDue("a#2")) == []


def test_an_interrupted_group_is_not_retried(phase: MakePhase, group: Make, ends: Ends) -> None:
    run = Run(phase("p", group("a", retries=3)))
    run.give(Begin())
    run.give(SignalCame(signal.SIGINT))
    assert run.give(ends("a", Status.FAILED))[-1] == "stop"


@pytest.mark.parametrize("alone", [False, True])
def test_a_run_that_stops_does_not_wait_for_retries(phase: MakePhase, group: Make, ends: Ends, alone: bool) -> None:
    run = Run(phase("p", group("a", retries=3, retry_alone=alone), "b"))
    run.give(Begin())
    run.give(ends("a", Status.FAILED))
    assert run.give(SignalCame(signal.SIGINT)) == ["SIGINT", "a failed", "cancel b#1"]
    assert run.give(SignalCame(signal.SIGINT)) == ["SIGINT", "kill b#1"]
    assert run.give(RetryDue("a#2")) == []
    assert run.give(ends("b", Status.INTERRUPTED))[-1] == "stop"


def test_a_service_that_dies_ends_what_rests(phase: MakePhase, group: Make, ends: Ends) -> None:
    run = Run(phase("p", group("a", retries=1, services=("db",)), "b"))
    run.give(Begin())
    run.give(ends("a", Status.FAILED))
    assert run.give(ServiceDown("db", "died")) == ["a error: service db died"]


def test_the_end_of_one_that_rests_may_end_another(phase: MakePhase, group: Make, ends: Ends) -> None:
    """A service dies while two of its groups rest, and the first failure stops the run."""
    shaky = [group(name, retries=1, services=("db",)) for name in ("a", "b")]
    run = Run(phase("p", *shaky), max_failures=1)
    run.give(Begin())
    run.give(ends("a", Status.FAILED))
    run.give(ends("b", Status.FAILED))
    assert run.give(ServiceDown("db", "died"))[-1] == "stop"
    assert run.statuses() == {"a": "error", "b": "error"}


def test_what_is_off_stays_skipped_when_the_run_is_stopped(phase: MakePhase) -> None:
    run = Run(phase("p", "a", "b"), phase("stress", "c"), jobs=1, off={"stress": "phase stress is off"})
    run.give(Begin())
    assert run.give(SignalCame(signal.SIGINT))[-2:] == [
        "b not_run: stopped by SIGINT",
        "c skipped: phase stress is off",
    ]


def test_a_long_chain_is_skipped_whole(phase: MakePhase, group: Make, ends: Ends) -> None:
    chain = [group(f"g{n}", after=(f"g{n - 1}",) if n else ()) for n in range(3000)]
    run = Run(phase("p", *chain))
    run.give(Begin())
    assert len(run.give(ends("g0", Status.FAILED))) == 3000 + 2
    assert run.dispatcher.results["g2999"].reason == "depends on g2998, which was skipped"


# --- retry_alone


def test_a_retry_alone_lets_others_go_first(phase: MakePhase, group: Make, ends: Ends) -> None:
    a = group("a", retries=1, retry_alone=True, retry_delay=0.0, parallel_group=("db",))
    run = Run(phase("p", a, "b", group("c", parallel_group=("db",)), group("d", any_of=("a",))))
    assert run.give(Begin()) == ["phase p", "start a#1 on 0", "start b#1 on 1"]
    assert run.give(ends("a", Status.FAILED)) == ["retry a#2 alone", "start c#1 on 0"]
    assert run.give(ends("b")) == ["b passed"]
    assert run.give(ends("c")) == ["c passed", "start a#2 on 0"]
    assert run.give(ends("a", attempt=2))[1:] == ["start d#1 on 0"]


def test_nothing_starts_beside_a_retry_alone(phase: MakePhase, group: Make, ends: Ends) -> None:
    def shaky(name: str) -> Group:
        return group(name, retries=2, retry_alone=True, retry_delay=0.0)

    run = Run(phase("p", shaky("a"), shaky("b")))
    run.give(Begin())
    assert run.give(ends("a", Status.FAILED)) == ["retry a#2 alone"]
    assert run.give(ends("b", Status.FAILED)) == ["retry b#2 alone", "start a#2 on 0"]
    assert run.give(ends("a", Status.FAILED, attempt=2)) == ["retry a#3 alone", "start b#2 on 1"]
    assert run.give(ends("b", attempt=2))[1:] == ["start a#3 on 0"]
    assert run.give(ends("a", attempt=3))[-1] == "stop"


def test_a_retry_alone_waits_for_its_delay_too(phase: MakePhase, group: Make, ends: Ends) -> None:
    run = Run(phase("p", group("a", retries=1, retry_alone=True)))
    run.give(Begin())
    assert run.give(ends("a", Status.FAILED)) == ["retry a#2 alone", "wake a#2"]
    assert run.give(RetryDue("a#2")) == ["start a#2 on 0"]


def test_in_a_sequential_phase_nothing_overtakes_a_retry(phase: MakePhase, group: Make, ends: Ends) -> None:
    shaky = group("a", retries=1, retry_alone=True, retry_delay=0.0)
    run = Run(phase("core", shaky, "b", sequential=True))
    run.give(Begin())
    assert run.give(ends("a", Status.FAILED)) == ["retry a#2", "start a#2 on 0"]
    assert run.give(ends("a", attempt=2))[1:] == ["start b#1 on 0"]


# --- the delay


def test_delays_double_with_jitter_up_to_a_limit(group: Make) -> None:
    a = group("a", retry_delay=2.0)
    delays = [retry_delay(a, attempt, seed=7) for attempt in range(1, 1100)]
    for attempt, delay in enumerate(delays, 1):
        whole = min(2.0 * 2.0 ** min(attempt - 1, 64), LONGEST_DELAY)
        assert whole / 2 <= delay <= whole
    assert delays == [retry_delay(a, attempt, seed=7) for attempt in range(1, 1100)]
    assert retry_delay(a, 1, seed=8) != delays[0] != retry_delay(group("b", retry_delay=2.0), 1, seed=7)


def test_the_wake_up_is_asked_for_after_the_delay_that_is_announced(phase: MakePhase, group: Make, ends: Ends) -> None:
    run = Run(phase("p", group("a", retries=1, retry_delay=4.0)), seed=3)
    run.give(Begin())
    announced, wake = run.dispatcher.handle(ends("a", Status.FAILED))
    assert isinstance(announced, Emit)
    assert isinstance(announced.event, RetryScheduled)
    assert isinstance(wake, Wake)
    assert wake.after == announced.event.delay
    assert 2.0 <= wake.after <= 4.0


# --- what flaky means


@pytest.mark.parametrize(("fails", "code"), [(False, 0), (True, 1)])
def test_the_plan_says_what_flaky_means(phase: MakePhase, group: Make, ends: Ends, fails: bool, code: int) -> None:
    run = Run(phase("p", group("a", retries=1, retry_delay=0.0)), flaky_fails=fails, max_failures=1)
    run.give(Begin())
    run.give(ends("a", Status.FAILED))
    run.give(ends("a", attempt=2))
    assert (run.statuses(), run.dispatcher.exit_code, run.dispatcher.stopped_by) == ({"a": "flaky"}, code, "")


@pytest.mark.parametrize(("failed", "code"), [(("t.py::a",), 0), (("t.py::b",), 1)])
def test_what_is_flaky_in_quarantine_does_not_count(
    phase: MakePhase, group: Make, ends: Ends, failed: tuple[str, ...], code: int
) -> None:
    quarantine = [Quarantine(reason="it", expires="2026-12-31", test="t.py::a")]
    run = Run(phase("p", group("g", retries=1, retry_delay=0.0)), flaky_fails=True, quarantine=quarantine)
    run.give(Begin())
    run.give(ends("g", Status.FAILED, failed_tests=failed))
    run.give(ends("g", attempt=2))
    assert (run.statuses(), run.dispatcher.exit_code) == ({"g": "flaky"}, code)


# --- quarantine


def quarantined(**of: str) -> dict[str, object]:
    return {"quarantine": [Quarantine(reason="HTTP 500", expires="2026-12-31", **of)]}


@pytest.mark.parametrize("status", [Status.FAILED, Status.TIMED_OUT, Status.KILLED])
def test_a_failure_in_quarantine_stops_nothing(phase: MakePhase, group: Make, ends: Ends, status: Status) -> None:
    core = phase("core", "a", group("b", after=("a",)), sequential=True)
    run = Run(core, phase("rest", group("c", after=("a",))), max_failures=1, **quarantined(group="a"))
    run.give(Begin())
    assert run.give(ends("a", status)) == [f"a {status}", "start b#1 on 0"]
    assert run.give(ends("b"))[-1] == "start c#1 on 0"
    assert run.give(ends("c"))[-1] == "stop"
    assert run.dispatcher.exit_code == 0
    assert run.dispatcher.results["a"].quarantined == "HTTP 500 (until 2026-12-31)"


@pytest.mark.parametrize("status", [Status.ERROR, Status.NO_TESTS])
def test_quarantine_does_not_excuse_what_is_not_the_tests_fault(phase: MakePhase, ends: Ends, status: Status) -> None:
    run = Run(phase("p", "a"), **quarantined(group="a"))
    run.give(Begin())
    run.give(ends("a", status))
    assert run.dispatcher.exit_code > 0


@pytest.mark.parametrize(
    ("failed", "code"), [(("t.py::a",), 0), (("t.py::a", "t.py::b"), 1), ((), 1), (("t.py::a", "t.py::a"), 0)]
)
def test_a_test_in_quarantine_excuses_only_itself(
    phase: MakePhase, ends: Ends, failed: tuple[str, ...], code: int
) -> None:
    run = Run(phase("p", "g"), **quarantined(test="t.py::a"))
    run.give(Begin())
    run.give(ends("g", Status.FAILED, failed_tests=failed))
    assert run.dispatcher.exit_code == code


def test_a_pass_in_quarantine_is_a_pass(phase: MakePhase, ends: Ends) -> None:
    run = Run(phase("p", "a"), **quarantined(group="a"))
    run.give(Begin())
    run.give(ends("a"))
    assert run.dispatcher.results["a"].quarantined == ""


# --- cached


@pytest.mark.parametrize(("may_be_empty", "code"), [(False, 4), (True, 0)])
def test_a_shard_may_have_nothing_to_run(phase: MakePhase, may_be_empty: bool, code: int) -> None:
    run = Run(phase("stress", "a"), off={"stress": "it is off"}, may_be_empty=may_be_empty)
    assert run.give(Begin())[-1] == "stop"
    assert run.dispatcher.exit_code == code


def test_a_cached_group_takes_no_slot_and_lets_others_start(phase: MakePhase, group: Make, ends: Ends) -> None:
    run = Run(
        phase("core", "a", sequential=True),
        phase("p", "b", group("c", after=("b",)), "d"),
        jobs=1,
        cached={"a": "20260101_000000", "b": "20260101_000000"},
    )
    why = "nothing has changed since it passed in run 20260101_000000"
    assert run.give(Begin()) == [
        "phase core",
        f"a cached: {why}",
        "end of core",
        "phase p",
        f"b cached: {why}",
        "start c#1 on 0",
    ]
    assert run.give(ends("c")) == ["c passed", "start d#1 on 0"]
    assert run.give(ends("d"))[-1] == "stop"
    assert run.dispatcher.exit_code == 0
    assert run.dispatcher.results["a"].cached_from == "20260101_000000"


def test_a_run_may_be_cached_whole(phase: MakePhase) -> None:
    run = Run(phase("p", "a", "b"), phase("q", "c"), cached=dict.fromkeys("abc", "20260101_000000"))
    assert run.give(Begin())[-1] == "stop"
    assert (run.statuses(), run.dispatcher.exit_code) == (dict.fromkeys("abc", "cached"), 0)


def test_what_depends_on_a_failure_is_not_cached(phase: MakePhase, group: Make, ends: Ends) -> None:
    run = Run(phase("p", "a", group("b", after=("a",))), cached={"b": "20260101_000000"})
    run.give(Begin())
    run.give(ends("a", Status.FAILED))
    assert run.statuses() == {"a": "failed", "b": "skipped"}


# --- waits


def test_how_long_a_group_waited_and_for_what(phase: MakePhase, group: Make, ends: Ends) -> None:
    groups = [
        group("a", parallel_group=("db",)),
        group("b", parallel_group=("db",)),
        "c",
        group("d", after=("a",)),
    ]
    run = Run(phase("p", *groups), estimates={"a": 9.0, "b": 5.0, "c": 4.0, "d": 3.0})
    for at, arrival in (
        (10.0, Begin()),  # a and c start, b waits for the lock
        (13.0, ends("c")),
        (14.0, ends("a")),  # b and d start
        (15.0, ends("b")),
        (16.0, ends("d")),
    ):
        run.dispatcher.handle(arrival, at)
    waited = {name: result.waited for name, result in run.dispatcher.results.items()}
    assert waited == {"a": {}, "b": {"parallel_group:db": 4.0}, "c": {}, "d": {"dependency": 4.0}}


def test_what_waits_for_a_retry_alone_waits_for_slots(phase: MakePhase, group: Make, ends: Ends) -> None:
    """While the retry runs, the death of a service sets `late` free."""
    shaky = group("shaky", retries=1, retry_alone=True, retry_delay=0.0)
    gone = group("gone", services=("db",), after=("shaky",))
    run = Run(phase("p", shaky, gone, group("late", any_of=("gone",))), jobs=3)
    for at, arrival in (
        (0.0, Begin()),
        (1.0, ends("shaky", Status.FAILED)),
        (3.0, ServiceDown("db", "died")),
        (7.0, ends("shaky", attempt=2)),
        (8.0, ends("late")),
    ):
        run.dispatcher.handle(arrival, at)
    assert run.dispatcher.results["late"].waited == {"dependency": 3.0, "slots": 4.0}


def test_a_group_waits_for_one_thing_at_a_time(phase: MakePhase, group: Make, ends: Ends) -> None:
    groups = [group("a", parallel_group=("db",)), group("b", parallel_group=("db",)), "c", "long"]
    run = Run(phase("p", *groups), estimates={"a": 9.0, "b": 1.0, "c": 5.0, "long": 20.0})
    for at, arrival in ((0.0, Begin()), (2.0, ends("a")), (5.0, ends("c")), (6.0, ends("b")), (7.0, ends("long"))):
        run.dispatcher.handle(arrival, at)
    waited = {name: result.waited for name, result in run.dispatcher.results.items()}
    assert waited == {"a": {}, "b": {"parallel_group:db": 2.0, "slots": 3.0}, "c": {"slots": 2.0}, "long": {}}


# --- whatever the figures


@given(st.floats(0.0, 3600.0), st.integers(1, 2000), st.integers(0, 2**31))
def test_a_delay_is_half_certain_and_half_random(first: float, attempt: int, seed: int) -> None:
    group = make_group("a", retry_delay=first)
    delay = retry_delay(group, attempt, seed)
    whole = min(first * 2.0 ** min(attempt - 1, 64), LONGEST_DELAY)
    assert whole / 2 <= delay <= whole
    assert retry_delay(group, attempt, seed) == delay


TESTS = ["t.py::a", "t.py::b", "t.py::c"]


@given(
    st.sampled_from([status for status in Status if status not in (Status.FLAKY, Status.CACHED)]),
    st.lists(st.sampled_from(TESTS), unique=True),
    st.lists(st.sampled_from([*TESTS, "the group", "another group"]), unique=True),
)
def test_only_a_failure_that_is_listed_is_excused(status: Status, failed: list[str], listed: list[str]) -> None:
    entries = [
        Quarantine(reason="it", expires="2026-12-31", **{"group" if "group" in name else "test": name})
        for name in listed
    ]
    running = Running(
        make_group("the group"), 1, 0, {}, [make_outcome("the group", status, failed_tests=tuple(failed))]
    )
    result = final_result(running, entries)
    its_own_fault = status in (Status.FAILED, Status.TIMED_OUT, Status.KILLED)
    excused = "the group" in listed or (bool(failed) and set(failed) <= set(listed))
    assert bool(result.quarantined) == (its_own_fault and excused)
    assert result.counts_as_failure == (status.is_failure and not result.quarantined)


def test_what_any_attempt_touched_is_told_of_the_group(phase: MakePhase, group: Make) -> None:
    run = Run(phase("p", group("a", retries=1, retry_delay=0.0)))
    run.give(Begin())
    run.give(AttemptEnded(make_outcome("a", Status.FAILED, contaminates=("key x", "key y"))))
    run.give(AttemptEnded(make_outcome("a", Status.PASSED, 2, contaminates=("key y", "key z"))))
    assert run.dispatcher.results["a"].contaminates == ("key x", "key y", "key z")
