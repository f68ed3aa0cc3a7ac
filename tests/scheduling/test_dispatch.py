"""The rules of a run, each by a literal history of inputs."""

import signal
from collections.abc import Callable
from itertools import product

import pytest
from histories import Run

from harness.model import Group, Outcome, Phase, Status
from harness.scheduling.messages import (
    AttemptEnded,
    Begin,
    JournalLost,
    ServiceDown,
    SignalCame,
    StartupFailed,
    TimeUp,
)

Make = Callable[..., Group]
MakePhase = Callable[..., Phase]
MakeOutcome = Callable[..., Outcome]


Ends = Callable[..., AttemptEnded]


def test_a_run_that_passes(phase: MakePhase, ends: Ends) -> None:
    run = Run(phase("core", "a"), phase("rest", "b", "c"))
    assert run.give(Begin()) == ["phase core", "start a#1 on 0"]
    assert run.give(ends("a")) == ["a passed", "end of core", "phase rest", "start b#1 on 0", "start c#1 on 1"]
    assert run.give(ends("c")) == ["c passed"]
    assert run.give(ends("b")) == ["b passed", "end of rest", "stop"]
    assert run.dispatcher.exit_code == 0


def test_a_failure_skips_what_depends_on_it_and_nothing_else(phase: MakePhase, group: Make, ends: Ends) -> None:
    run = Run(phase("p", "a", group("b", after=("a",)), group("c", after=("b",)), group("d", any_of=("a",))))
    run.give(Begin())
    assert run.give(ends("a", Status.FAILED, reason="exit code 1")) == [
        "a failed: exit code 1",
        "b skipped: depends on a, which failed",
        "c skipped: depends on b, which was skipped",
        "start d#1 on 0",
    ]
    assert run.give(ends("d"))[-1] == "stop"
    assert run.dispatcher.exit_code == 1


def test_a_failure_in_a_sequential_phase_ends_the_run(phase: MakePhase, group: Make, ends: Ends) -> None:
    core = phase("core", "a", group("b", after=("a",)), sequential=True)
    run = Run(core, phase("rest", "c"), phase("stress", "d"), off={"stress": "phase stress is off"})
    run.give(Begin())
    why = "skipped: a failed in the sequential phase core"
    assert run.give(ends("a", Status.FAILED)) == [
        "a failed",
        "b skipped: depends on a, which failed",
        f"c {why}",
        "d skipped: phase stress is off",
        "end of core",
        "stop",
    ]
    assert run.dispatcher.exit_code == 1


def test_a_failure_in_another_phase_does_not(phase: MakePhase, ends: Ends) -> None:
    run = Run(phase("one", "a"), phase("two", "b"))
    run.give(Begin())
    assert run.give(ends("a", Status.FAILED))[-2:] == ["phase two", "start b#1 on 0"]


def test_a_phase_that_is_off_is_skipped_with_its_reason(phase: MakePhase, group: Make, ends: Ends) -> None:
    stress = phase("stress", "b")
    run = Run(phase("one", "a"), stress, phase("two", group("c", after=("b",))), off={"stress": "RUN_STRESS_TESTS"})
    run.give(Begin())
    assert run.give(ends("a")) == [
        "a passed",
        "end of one",
        "b skipped: RUN_STRESS_TESTS",
        "c skipped: depends on b, which was skipped",
        "stop",
    ]
    assert run.dispatcher.exit_code == 0


def test_nothing_but_phases_that_are_off_is_nothing_to_run(phase: MakePhase) -> None:
    run = Run(phase("one", "a"), phase("two", "b"), off={"one": "off", "two": "off"})
    assert run.give(Begin()) == ["a skipped: off", "b skipped: off", "stop"]
    assert run.dispatcher.exit_code == 4


def test_fail_fast_stops_what_runs_and_starts_nothing(phase: MakePhase, ends: Ends) -> None:
    run = Run(phase("p", "a", "b", "c"), phase("q", "d"), max_failures=1)
    run.give(Begin())
    why = "stopped after a failed"
    assert run.give(ends("a", Status.FAILED)) == ["a failed", "cancel b#1", f"c not_run: {why}", f"d not_run: {why}"]
    assert run.give(ends("b", Status.INTERRUPTED)) == [f"b interrupted: {why}", "end of p", "stop"]
    assert run.dispatcher.exit_code == 1
    assert run.dispatcher.stopped_by == "fail-fast"


def test_max_failures_counts(phase: MakePhase, ends: Ends) -> None:
    run = Run(phase("p", "a", "b", "c", "d"), jobs=1, max_failures=2)
    run.give(Begin())
    assert run.give(ends("a", Status.FAILED)) == ["a failed", "start b#1 on 0"]
    assert run.give(ends("b", Status.NO_TESTS))[0:2] == ["b no_tests", "c not_run: stopped after b had no tests"]


def test_what_passed_before_the_cancel_reached_it_has_passed(phase: MakePhase, ends: Ends) -> None:
    run = Run(phase("p", "a", "b"), max_failures=1)
    run.give(Begin())
    run.give(ends("a", Status.FAILED))
    assert run.give(ends("b"))[0] == "b passed"


def test_the_global_timeout(phase: MakePhase, ends: Ends) -> None:
    run = Run(phase("p", "a", "b"), jobs=1)
    run.give(Begin())
    assert run.give(TimeUp("out of time")) == ["cancel a#1", "b not_run: out of time"]
    assert run.give(ends("a", Status.INTERRUPTED)) == ["a timed_out: out of time", "end of p", "stop"]
    assert run.dispatcher.exit_code == 1


def test_a_service_that_dies_makes_errors_of_its_victims_only(phase: MakePhase, group: Make, ends: Ends) -> None:
    uses = {"services": ("db",)}
    run = Run(phase("p", group("a", **uses), "b", group("c", **uses), "d"))
    run.give(Begin())
    assert run.give(ServiceDown("db", "ended with exit code 1")) == [
        "cancel a#1",
        "c error: service db ended with exit code 1",
    ]
    assert run.give(ends("a", Status.FAILED, reason="exit code 1")) == [
        "a error: service db ended with exit code 1",
        "start d#1 on 0",
    ]
    run.give(ends("b"))
    run.give(ends("d"))
    assert run.dispatcher.exit_code == 3


def test_services_that_do_not_start(phase: MakePhase) -> None:
    run = Run(phase("p", "a", "b"))
    assert run.give(StartupFailed("db is not ready")) == [
        "a error: db is not ready",
        "b error: db is not ready",
        "stop",
    ]
    assert run.dispatcher.exit_code == 3


def test_a_full_disk_stops_the_run(phase: MakePhase, ends: Ends) -> None:
    run = Run(phase("p", "a", "b"), jobs=1)
    run.give(Begin())
    assert run.give(JournalLost("disk full")) == ["cancel a#1", "b not_run: disk full"]
    run.give(ends("a", Status.INTERRUPTED))
    assert run.dispatcher.exit_code == 3


def test_failed_tests_outrank_broken_infrastructure(phase: MakePhase, ends: Ends) -> None:
    run = Run(phase("p", "a", "b"))
    run.give(Begin())
    run.give(ends("a", Status.ERROR))
    run.give(ends("b", Status.FAILED))
    assert run.dispatcher.exit_code == 1


def test_no_tests_anywhere_is_nothing_to_run_and_somewhere_a_failure(phase: MakePhase, ends: Ends) -> None:
    run = Run(phase("p", "a", "b"))
    run.give(Begin())
    run.give(ends("a", Status.NO_TESTS))
    run.give(ends("b"))
    assert run.dispatcher.exit_code == 1
    alone = Run(phase("p", "a"))
    alone.give(Begin())
    alone.give(ends("a", Status.NO_TESTS))
    assert alone.dispatcher.exit_code == 4


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize("first", SIGNALS)
def test_a_signal_cancels_what_runs(phase: MakePhase, ends: Ends, first: signal.Signals) -> None:
    run = Run(phase("p", "a", "b", "c"))
    run.give(Begin())
    why = f"stopped by {first.name}"
    assert run.give(SignalCame(first)) == [first.name, "cancel a#1", "cancel b#1", f"c not_run: {why}"]
    assert run.give(ends("a", Status.INTERRUPTED)) == [f"a interrupted: {why}"]
    assert run.give(ends("b", Status.FAILED)) == ["b failed", "end of p", "stop"]
    assert run.dispatcher.exit_code == 128 + first


@pytest.mark.parametrize(("first", "second"), list(product(SIGNALS, SIGNALS)))
def test_a_second_signal_kills_and_the_first_names_the_end(
    phase: MakePhase, ends: Ends, first: signal.Signals, second: signal.Signals
) -> None:
    run = Run(phase("p", "a"))
    run.give(Begin())
    run.give(SignalCame(first))
    assert run.give(SignalCame(second)) == [second.name, "kill a#1"]
    assert run.give(SignalCame(second)) == [second.name, "kill a#1"]
    assert run.give(ends("a", Status.INTERRUPTED))[-1] == "stop"
    assert run.give(SignalCame(first)) == [first.name]  # during the clean-up: noted, and it goes on
    assert run.dispatcher.exit_code == 128 + first


def test_a_signal_before_the_services_are_up(phase: MakePhase) -> None:
    run = Run(phase("p", "a"))
    assert run.give(SignalCame(signal.SIGINT)) == ["SIGINT", "a not_run: stopped by SIGINT", "stop"]
    assert run.give(StartupFailed("stopped while starting")) == []
    assert run.give(Begin()) == []
    assert run.dispatcher.exit_code == 130


def test_a_signal_after_fail_fast_still_names_the_end(phase: MakePhase, ends: Ends) -> None:
    run = Run(phase("p", "a", "b"), max_failures=1)
    run.give(Begin())
    run.give(ends("a", Status.FAILED))
    assert run.give(SignalCame(signal.SIGTERM)) == ["SIGTERM", "cancel b#1"]
    run.give(ends("b", Status.INTERRUPTED))
    assert run.dispatcher.exit_code == 143


def test_what_stopped_the_run_first_is_what_is_told(phase: MakePhase, group: Make, ends: Ends) -> None:
    run = Run(phase("p", group("a", services=("db",)), "b"), max_failures=1)
    run.give(Begin())
    run.give(ServiceDown("db", "died"))
    run.give(SignalCame(signal.SIGINT))
    assert run.give(ends("b", Status.FAILED)) == ["b failed"]
    assert run.give(ends("a", Status.INTERRUPTED))[0] == "a error: service db died"
    assert run.dispatcher.stopped_by == "SIGINT"


def test_the_time_of_a_run_that_stops_already_changes_nothing(phase: MakePhase, ends: Ends) -> None:
    run = Run(phase("p", "a", "b"), jobs=1)
    run.give(Begin())
    run.give(JournalLost("disk full"))
    assert run.give(TimeUp("out of time")) == []
    run.give(ends("a", Status.INTERRUPTED))
    assert (run.dispatcher.stopped_by, run.dispatcher.exit_code) == ("journal", 3)


def test_a_lost_attempt_is_not_tried_again_and_counts_as_infrastructure(
    phase: MakePhase, group: Make, ends: Ends
) -> None:
    """Nobody knows whether it still runs somewhere."""
    run = Run(phase("p", group("a", retries=3), group("b", after=("a",))))
    run.give(Begin())
    assert run.give(ends("a", Status.LOST)) == [
        "a lost",
        "b skipped: depends on a, which was lost",
        "end of p",
        "stop",
    ]
    assert run.dispatcher.exit_code == 3
    assert run.give(ends("a")) == []
