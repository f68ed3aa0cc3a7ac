"""The rules of a run with a splittable group, each by a literal history of inputs."""

import signal

import pytest
from groups import make_group, make_outcome, make_phase, make_splittable
from histories import Run

from harness.model import GroupResult, Phase, Quarantine, Status
from harness.scheduling.messages import AttemptEnded, Begin, RetryDue, ServiceDown, SignalCame, StartupFailed, TimeUp
from harness.scheduling.parts import split

FAILED, PASSED, NO_TESTS, INTERRUPTED = Status.FAILED, Status.PASSED, Status.NO_TESTS, Status.INTERRUPTED


def begun(*phases: Phase, **options: object) -> Run:
    run = Run(*split(phases), **options)
    run.give(Begin())
    return run


def ends(file: str, status: Status = PASSED, attempt: int = 1, reason: str = "", **more: object) -> AttemptEnded:
    """The end of an attempt of a file of `s`."""
    return AttemptEnded(make_outcome("s", status, attempt, reason, part=file, **more))


def other_ends(group: str, status: Status = PASSED) -> AttemptEnded:
    return AttemptEnded(make_outcome(group, status))


def test_slots_take_the_files_as_they_come_free_and_the_group_ends_once() -> None:
    run = Run(*split([make_phase("p", make_splittable("s", "a", "b", "c"), make_group("t", after=("s",)))]))
    assert run.give(Begin()) == ["phase p", "start s/a#1 on 0", "start s/b#1 on 1"]
    assert run.give(ends("b")) == ["start s/c#1 on 1"]
    assert run.give(ends("a")) == []
    assert run.give(ends("c")) == ["s passed", "start t#1 on 0"]
    assert run.give(other_ends("t")) == ["t passed", "end of p", "stop"]
    assert run.dispatcher.exit_code == 0
    assert list(run.dispatcher.results) == ["s", "t"]


def test_one_at_a_time_the_files_keep_the_order_of_the_plan() -> None:
    group = make_splittable("s", "b", "a", "c")
    for run in (
        begun(make_phase("p", group, "t"), jobs=1, estimates={"s/a": 9.0}),
        begun(make_phase("p", group, "t", sequential=True), jobs=4, estimates={"s/a": 9.0}),
    ):
        assert run.give(ends("b")) == ["start s/a#1 on 0"]
        assert run.give(ends("a")) == ["start s/c#1 on 0"]
        assert run.give(ends("c")) == ["s passed", "start t#1 on 0"]


def test_the_longest_file_goes_first() -> None:
    run = Run(*split([make_phase("p", make_splittable("s", "a", "b", "c"))]), estimates={"s/c": 9.0, "s/b": 5.0})
    assert run.give(Begin()) == ["phase p", "start s/c#1 on 0", "start s/b#1 on 1"]


def test_dependants_are_skipped_when_the_first_file_has_failed_and_the_other_files_go_on() -> None:
    chain = [
        make_group("t", after=("s",)),
        make_splittable("u", "x", "y", after=("t",)),
        make_group("v", any_of=("s",)),
    ]
    run = begun(make_phase("p", make_splittable("s", "a", "b", "c"), *chain))
    assert run.give(ends("a", FAILED, reason="1 of 2 tests failed: x")) == [
        "t skipped: depends on s, which failed",
        "u skipped: depends on t, which was skipped",
        "start s/c#1 on 0",
    ]
    assert run.give(ends("b")) == []
    assert run.give(ends("c")) == ["s failed: a: 1 of 2 tests failed: x", "start v#1 on 0"]
    assert run.give(other_ends("v")) == ["v passed", "end of p", "stop"]
    assert run.dispatcher.exit_code == 1


def test_a_failed_file_alone_is_tried_again_on_its_slot() -> None:
    run = begun(make_phase("p", make_splittable("s", "a", "b", retries=1), make_group("t", after=("s",))))
    assert run.give(ends("b", FAILED, reason="broke")) == ["retry s/b#2", "wake s/b#2"]
    assert run.give(ends("a")) == []
    assert run.give(RetryDue("s/b#2")) == ["start s/b#2 on 1"]
    why = "b: passed on attempt 2; attempt 1: broke"
    assert run.give(ends("b", attempt=2)) == [f"s flaky: {why}", "start t#1 on 0"]
    result = run.dispatcher.results["s"]
    assert (result.attempts, result.duration) == (2, 3.0)


def test_a_file_that_failed_for_good_outweighs_one_that_was_flaky() -> None:
    run = begun(make_phase("p", make_splittable("s", "a", "b", retries=1, retry_delay=0.0)))
    run.give(ends("a", FAILED))
    run.give(ends("a", attempt=2))
    run.give(ends("b", FAILED))
    assert run.give(ends("b", FAILED, attempt=2, reason="broke"))[0] == "s failed: b: broke"


def test_a_flaky_file_fails_a_run_for_which_flaky_fails() -> None:
    run = begun(make_phase("p", make_splittable("s", "a", "b", retries=1, retry_delay=0.0)), flaky_fails=True)
    run.give(ends("a", FAILED))
    run.give(ends("a", attempt=2))
    run.give(ends("b"))
    assert run.statuses() == {"s": "flaky"}
    assert run.dispatcher.exit_code == 1


def test_retries_alone_wait_for_the_other_files_too() -> None:
    run = begun(make_phase("p", make_splittable("s", "a", "b", "c", retries=1, retry_delay=0.0, retry_alone=True)))
    assert run.give(ends("a", FAILED)) == ["retry s/a#2 alone", "start s/c#1 on 0"]
    assert run.give(ends("b")) == []
    assert run.give(ends("c")) == ["start s/a#2 on 0"]


def test_a_duplicate_of_one_file_is_not_the_end_of_another() -> None:
    run = begun(make_phase("p", make_splittable("s", "a", "b")))
    assert run.give(ends("a")) == []
    assert run.give(ends("a")) == []
    assert run.give(ends("b"))[0] == "s passed"


# --- fail-fast and other ends


def test_fail_fast_stops_at_the_first_file_that_failed() -> None:
    run = begun(make_phase("p", make_splittable("s", "a", "b", "c"), "t"), max_failures=1)
    assert run.give(ends("a", FAILED, reason="broke")) == ["cancel s/b#1", "t not_run: stopped after s failed"]
    why = "a: broke; 2 of 3 files did not run to the end"
    assert run.give(ends("b", INTERRUPTED)) == [f"s failed: {why}", "end of p", "stop"]
    assert run.dispatcher.exit_code == 1


def test_max_failures_counts_the_group_once() -> None:
    run = begun(make_phase("p", make_splittable("s", "a", "b"), "t", "u"), max_failures=2)
    run.give(ends("a", FAILED))
    assert run.give(ends("b", FAILED)) == ["s failed", "start u#1 on 1"]
    assert run.give(other_ends("t", FAILED))[:2] == ["t failed", "cancel u#1"]


def test_a_failure_in_a_sequential_phase_ends_the_run_without_the_other_files() -> None:
    run = begun(make_phase("p", make_splittable("s", "a", "b"), "t", sequential=True))
    assert run.give(ends("a", FAILED, reason="broke")) == [
        "s failed: a: broke; 1 of 2 files did not run to the end",
        "t skipped: s failed in the sequential phase p",
        "end of p",
        "stop",
    ]


def test_a_signal_in_the_midst() -> None:
    run = begun(make_phase("p", make_splittable("s", "a", "b", "c", "d"), make_group("t", after=("s",))))
    run.give(ends("a"))
    assert run.give(SignalCame(signal.SIGINT)) == [
        "SIGINT",
        "cancel s/b#1",
        "cancel s/c#1",
        "t not_run: stopped by SIGINT",
    ]
    assert run.give(SignalCame(signal.SIGINT)) == ["SIGINT", "kill s/b#1", "kill s/c#1"]
    assert run.give(ends("c", INTERRUPTED)) == []
    assert run.give(ends("b", INTERRUPTED)) == ["s interrupted: stopped by SIGINT", "end of p", "stop"]
    assert run.dispatcher.exit_code == 130


def test_a_group_that_was_under_way_was_interrupted_though_all_that_ran_of_it_passed() -> None:
    run = begun(make_phase("p", make_splittable("s", "a", "b"), "t"), jobs=1)
    run.give(ends("a"))
    run.give(SignalCame(signal.SIGTERM))
    assert run.give(ends("b"))[0] == "s passed", "what ended before our signal reached it keeps its own ending"
    run = begun(make_phase("p", make_splittable("s", "a", "b", "c")), jobs=1)
    run.give(ends("a"))
    run.give(SignalCame(signal.SIGTERM))
    assert run.give(ends("b"))[0] == "s interrupted: stopped by SIGTERM"


def test_a_group_of_which_nothing_had_started_did_not_run() -> None:
    run = begun(make_phase("p", "t", make_splittable("s", "a", "b")), jobs=1)
    assert run.give(SignalCame(signal.SIGINT))[1:] == ["cancel t#1", "s not_run: stopped by SIGINT"]


def test_a_signal_while_a_file_rests() -> None:
    run = begun(make_phase("p", make_splittable("s", "a", "b", retries=1)))
    run.give(ends("a", FAILED, reason="broke"))
    run.give(ends("b"))
    assert run.give(SignalCame(signal.SIGINT)) == ["SIGINT", "s failed: a: broke", "end of p", "stop"]


def test_the_global_timeout() -> None:
    run = begun(make_phase("p", make_splittable("s", "a", "b")))
    assert run.give(TimeUp("out of time")) == ["cancel s/a#1", "cancel s/b#1"]
    run.give(ends("a", INTERRUPTED))
    assert run.give(ends("b", INTERRUPTED))[0] == "s timed_out: out of time"


def test_a_service_that_dies_makes_an_error_of_the_group_once() -> None:
    run = begun(make_phase("p", make_splittable("s", "a", "b", "c", services=("db",))), jobs=1)
    run.give(ends("a"))
    assert run.give(ServiceDown("db", "died")) == ["cancel s/b#1"]
    assert run.give(ends("b", FAILED))[0] == "s error: b: service db died; c: service db died"
    assert run.dispatcher.exit_code == 3


def test_services_that_do_not_start() -> None:
    run = Run(*split([make_phase("p", make_splittable("s", "a", "b"), "t")]))
    assert run.give(StartupFailed("db is not ready")) == [
        "s error: db is not ready",
        "t error: db is not ready",
        "stop",
    ]


def test_a_phase_that_is_off() -> None:
    stress = make_phase("q", make_splittable("s", "a", "b"))
    run = begun(make_phase("p", "t"), stress, off={"q": "q is off"})
    assert run.give(other_ends("t")) == ["t passed", "end of p", "s skipped: q is off", "stop"]
    assert run.dispatcher.exit_code == 0


def test_a_cached_group_is_not_split() -> None:
    phases = split([make_phase("p", make_splittable("s", "a", "b"), "t")], whole={"s"})
    run = Run(*phases, cached={"s": "20260101_000000"})
    assert run.give(Begin())[1:] == [
        "s cached: nothing has changed since it passed in run 20260101_000000",
        "start t#1 on 0",
    ]


# --- files without tests


def test_a_file_without_tests_beside_others_is_no_failure() -> None:
    for first, last in ((ends("a", NO_TESTS), ends("b")), (ends("b"), ends("a", NO_TESTS))):
        run = begun(make_phase("p", make_splittable("s", "a", "b"), make_group("t", after=("s",))), max_failures=1)
        assert run.give(first) == []
        assert run.give(last) == ["s passed", "start t#1 on 0"]
        assert run.give(other_ends("t"))[-1] == "stop"
        assert run.dispatcher.exit_code == 0


def test_a_group_without_any_tests_has_none_and_holds_back_what_depends_on_it() -> None:
    run = begun(make_phase("p", make_splittable("s", "a", "b"), make_group("t", after=("s",))))
    assert run.give(ends("a", NO_TESTS, reason="no tests ran")) == []
    assert run.give(ends("b", NO_TESTS, reason="no tests ran")) == [
        "s no_tests: no tests ran",
        "t skipped: depends on s, which had no tests",
        "end of p",
        "stop",
    ]
    assert run.dispatcher.exit_code == 4


def test_files_of_which_the_options_left_nothing() -> None:
    run = begun(make_phase("p", make_splittable("s", "a", "b"), make_group("t", after=("s",))))
    run.give(ends("a", Status.SKIPPED, reason="no tests ran"))
    assert run.give(ends("b")) == ["s passed", "start t#1 on 0"]
    run = begun(make_phase("p", make_splittable("s", "a", "b"), make_group("t", after=("s",))))
    run.give(ends("a", Status.SKIPPED, reason="no tests ran"))
    assert run.give(ends("b", Status.SKIPPED, reason="no tests ran")) == ["s skipped: no tests ran", "start t#1 on 0"]


# --- quarantine

QUARANTINED = Quarantine(group="s", reason="known", expires="2026-12-31")
ONE_TEST = Quarantine(test="a.py::test_x", reason="known", expires="2026-12-31")


def test_a_group_in_quarantine_stops_nothing() -> None:
    group = make_splittable("s", "a", "b")
    run = begun(make_phase("p", group, make_group("t", after=("s",))), max_failures=1, quarantine=[QUARANTINED])
    assert run.give(ends("a", FAILED)) == []
    assert run.give(ends("b", FAILED)) == ["s failed", "start t#1 on 0"]
    run.give(other_ends("t"))
    assert run.dispatcher.exit_code == 0
    assert run.dispatcher.results["s"].quarantined == "known (until 2026-12-31)"


@pytest.mark.parametrize(("other", "counts"), [(PASSED, False), (FAILED, True), (Status.ERROR, True)])
def test_a_test_in_quarantine_excuses_its_own_file_alone(other: Status, counts: bool) -> None:
    run = begun(make_phase("p", make_splittable("s", "a", "b")), quarantine=[ONE_TEST])
    run.give(ends("a", FAILED, failed_tests=("a.py::test_x",), reason="x"))
    run.give(ends("b", other, reason="y"))
    result = run.dispatcher.results["s"]
    assert result.counts_as_failure == counts
    assert result.reason == ("b: y" if counts else "a: x")
    assert result.status == (other if counts else FAILED)
    assert run.dispatcher.exit_code == {PASSED: 0, FAILED: 1, Status.ERROR: 3}[other]


def test_a_flaky_file_that_fails_the_run_is_told_of_beside_one_in_quarantine() -> None:
    group = make_splittable("s", "a", "b", "c", retries=1, retry_delay=0.0)
    run = begun(make_phase("p", group), quarantine=[ONE_TEST], flaky_fails=True)
    for attempt in (1, 2):
        run.give(ends("a", FAILED, attempt=attempt, failed_tests=("a.py::test_x",), reason="x"))
    run.give(ends("b", FAILED, reason="y"))
    run.give(ends("b", attempt=2))
    run.give(ends("c"))
    result = run.dispatcher.results["s"]
    assert (result.status, result.quarantined) == (FAILED, "known (until 2026-12-31)")
    assert result.reason == "a: x; b: passed on attempt 2; attempt 1: y"
    assert run.dispatcher.exit_code == 1


# --- what is told of the whole


def test_the_figures_of_the_parts_are_put_together() -> None:
    run = Run(*split([make_phase("p", make_splittable("s", "a", "b", "c"))]))
    run.dispatcher.handle(Begin(), 1.0)
    run.dispatcher.handle(ends("b", cpu_seconds=2.0, peak_memory=30, exit_code=0, leaked=True), 5.0)
    run.dispatcher.handle(ends("a", FAILED, cpu_seconds=1.0, peak_memory=50, exit_code=1, contaminates=("x",)), 6.0)
    run.dispatcher.handle(ends("c", cpu_seconds=0.5, peak_memory=40, exit_code=0, contaminates=("x", "y")), 7.0)
    assert run.dispatcher.results["s"] == GroupResult(
        group="s",
        status=FAILED,
        attempts=1,
        started_at=0.0,
        duration=3.0,
        exit_code=1,
        cpu_seconds=3.5,
        peak_memory=50,
        leaked=True,
        contaminates=("x", "y"),
        waited={},
    )


def test_a_group_has_waited_until_its_first_file_started() -> None:
    phases = [make_phase("p", "t", "u", make_splittable("s", "a", "b"))]
    run = Run(*split(phases))
    run.dispatcher.handle(Begin(), 0.0)
    run.dispatcher.handle(other_ends("t"), 4.0)
    outcome = make_outcome("s", part="a")
    run.dispatcher.handle(other_ends("u"), 9.0)
    run.dispatcher.handle(AttemptEnded(outcome), 10.0)
    run.dispatcher.handle(ends("b"), 10.0)
    assert run.dispatcher.results["s"].waited == {"slots": 4.0}


STATUSES = [
    ((PASSED, PASSED), PASSED),
    ((FAILED, Status.TIMED_OUT), Status.TIMED_OUT),
    ((FAILED, Status.KILLED), Status.KILLED),
    ((Status.TIMED_OUT, Status.KILLED), Status.KILLED),
    ((FAILED, Status.ERROR), FAILED),
    ((PASSED, Status.ERROR), Status.ERROR),
    ((NO_TESTS, FAILED), FAILED),
    ((NO_TESTS, Status.ERROR), Status.ERROR),
    ((NO_TESTS, Status.SKIPPED), NO_TESTS),
]


@pytest.mark.parametrize(("parts", "whole"), STATUSES)
def test_the_group_is_as_bad_as_its_worst_file(parts: tuple[Status, Status], whole: Status) -> None:
    for one, other in (parts, parts[::-1]):
        run = begun(make_phase("p", make_splittable("s", "a", "b")))
        run.give(ends("a", one))
        run.give(ends("b", other))
        assert run.dispatcher.results["s"].status is whole


def test_a_reason_names_files_whose_failures_no_list_of_tests_tells_of_first() -> None:
    run = begun(make_phase("p", make_splittable("s", "a", "b", "c", "d")), jobs=4)
    for file in "abc":
        run.give(ends(file, FAILED, reason="1 of 1 test failed: x", exit_code=1))
    run.give(ends("d", FAILED, reason="exit code 4", exit_code=4))
    assert run.dispatcher.results["s"].reason == (
        "d: exit code 4; a: 1 of 1 test failed: x; b: 1 of 1 test failed: x; and 1 more"
    )


def test_a_reason_names_the_worst_files_and_no_more_than_three() -> None:
    files = [f"{number}.py" for number in range(5)]
    run = begun(make_phase("p", make_splittable("s", *files)), jobs=5)
    run.give(ends("0.py"))
    for file in files[1:-1]:
        run.give(ends(file, FAILED, reason="broke"))
    run.give(ends("4.py", Status.TIMED_OUT, reason="no end"))
    assert run.dispatcher.results["s"].reason == "4.py: no end; 1.py: broke; 2.py: broke; and 1 more"
