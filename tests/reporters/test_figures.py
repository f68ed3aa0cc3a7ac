"""The figures below the table, and the verdict."""

from typing import Any

import pytest

from harness.model import Dependency, Group, LockMode, Phase
from harness.reporters import Detail
from harness.reporters.console import Console


def figures_of(history: Any) -> dict[str, str]:
    """The figures that the console showed, by label."""
    lines = [line for line in history.said.rpartition("Summary\n")[2].splitlines() if line.startswith("  ")]
    return {line[2:17].strip(): line[19:] for line in lines}


def play(history: Any, *phases: Phase, took: dict[str, float], until: float = 20.0, **started: object) -> None:
    """A run of groups that passed, each after so many seconds."""
    history.play_to(Console, detail=Detail.COMPACT)
    history.start(*phases, **started)
    history.phase(phases[0].name, 0.0)
    for group, seconds in took.items():
        history.ends(group, seconds, "passed", seconds)
    history.finish(until)


def group(name: str, **more: Any) -> Group:
    return Group(name=name, phase="p", command="true", **more)


@pytest.mark.parametrize(
    ("predicted", "shown"),
    [(19.6, "19.6 s, off by +2 %"), (25.0, "25.0 s, off by -20 %"), (20.01, "20.0 s, off by +0 %")],
)
def test_the_prediction_is_held_against_what_it_took(
    history: Any, make_phase: Any, predicted: float, shown: str
) -> None:
    play(history, make_phase("p", "a"), took={"a": 19.0}, predicted=predicted)
    assert figures_of(history)["predicted"] == shown


def test_without_a_prediction_there_is_no_such_figure(history: Any, make_phase: Any) -> None:
    play(history, make_phase("p", "a"), took={"a": 19.0})
    assert "predicted" not in figures_of(history)


def test_a_run_that_was_stopped_is_held_against_nothing(history: Any, make_phase: Any) -> None:
    history.play_to(Console)
    history.start(make_phase("p", "a", "b"), predicted=19.0)
    history.ends("a", 19.0, "passed", 19.0, waited={"slots": 5.0})
    history.ends("b", 19.0, "not_run", attempts=0)
    history.finish(20.0, 130, "SIGINT")
    assert not {"predicted", "lower bound", "bound by", "waited"} & figures_of(history).keys()


@pytest.mark.parametrize(
    ("groups", "took", "shown"),
    [
        ([group("a"), group("b")], {"a": 9.0, "b": 2.0}, "p: the longest group, a (9.0 s)"),
        (
            [group("a"), group("b", depends_on=(Dependency(group="a"),))],
            {"a": 9.0, "b": 2.0},
            "p: chain a → b (11.0 s)",
        ),
        ([group(name) for name in "abcde"], dict.fromkeys("abcde", 4.0), "p: the work over 4 jobs (5.0 s)"),
        (
            [group(name, needs={"settings": LockMode.EXCLUSIVE}) for name in "ab"],
            {"a": 9.0, "b": 2.0},
            "p: lock settings (11.0 s)",
        ),
        (
            [group(name, parallel_group=("ledger",)) for name in "ab"],
            {"a": 9.0, "b": 2.0},
            "p: parallel group ledger (11.0 s)",
        ),
        ([group(name, needs={"api": 4}) for name in "ab"], {"a": 9.0, "b": 2.0}, "p: resource api (11.0 s)"),
    ],
)
def test_what_bound_the_run(history: Any, groups: list[Group], took: dict[str, float], shown: str) -> None:
    play(history, Phase(name="p", groups=tuple(groups)), took=took, resources={"api": 4})
    assert figures_of(history)["bound by"] == shown


def test_the_run_is_bound_by_its_longest_phase(history: Any, make_phase: Any) -> None:
    phases = make_phase("core", "a", "b", sequential=True), make_phase("parallel", "c")
    play(history, *phases, took={"a": 3.0, "b": 4.0, "c": 6.0})
    assert figures_of(history)["bound by"] == "core: runs one at a time (7.0 s)"


def test_the_run_can_be_bound_by_the_start_of_its_services(history: Any, make_phase: Any) -> None:
    history.play_to(Console)
    history.start(make_phase("p", "a"))
    history.service("db", 6.0, 5432, took=6.0)
    history.phase("p", 6.5)
    history.ends("a", 8.5, "passed", 2.0)
    history.finish(9.0)
    assert figures_of(history)["bound by"] == "the services' start (6.5 s)"


def test_one_at_a_time_nothing_else_could_have_bound_it(history: Any, make_phase: Any) -> None:
    play(history, make_phase("p", "a"), took={"a": 19.0}, parallel=False)
    assert not {"lower bound", "bound by", "waited"} & figures_of(history).keys()


def test_what_groups_waited_for_all_together_the_longest_first(history: Any, make_phase: Any) -> None:
    waits: dict[str, dict[str, float]] = {
        "a": {"dependency": 1.2, "slots": 2.3, "count:stripe": 0.06},
        "b": {"slots": 10.0, "lock:settings\x1b[2J": 4.0},
        "c": {"slots": 60.0, "sequential": 60.0},
    }
    history.play_to(Console)
    history.start(make_phase("p", "a", "b"), make_phase("one by one", "c", sequential=True))
    for name, waited in waits.items():
        history.ends(name, 5.0, "passed", 1.0, waited=waited)
    history.finish(20.0)
    assert figures_of(history)["waited"] == "slots 12.3 s, lock settings\\x1b[2J 4.0 s, dependencies 1.2 s"


def test_only_the_longest_waits_are_listed(history: Any, make_phase: Any) -> None:
    waited = {"slots": 1.0, "count:a": 2.0, "parallel_group:b": 3.0, "lock:c": 4.0, "lock:d": 5.0, "dependency": 6.0}
    history.play_to(Console)
    history.start(make_phase("p", "a"))
    history.ends("a", 5.0, "passed", 1.0, waited=waited)
    history.finish(20.0)
    shown = "dependencies 6.0 s, lock d 5.0 s, lock c 4.0 s, parallel group b 3.0 s and 2 more"
    assert figures_of(history)["waited"] == shown


def test_cpu_time_and_the_group_that_held_most_memory(history: Any, make_phase: Any) -> None:
    history.play_to(Console)
    history.start(make_phase("p", "a", "b"))
    history.ends("a", 10.0, "passed", 10.0, cpu_seconds=30.0, peak_memory=300_000_000)
    history.ends("b", 10.0, "failed", 10.0, cpu_seconds=2.0, peak_memory=1_250_000_000)
    history.finish(20.0, 130, "SIGINT")
    figures = figures_of(history)
    assert figures["cpu time"] == "32.0 s, 1.6 cores busy"
    assert figures["peak memory"] == "1.2 GB (b)"


@pytest.mark.parametrize(
    ("endings", "exit_code", "shown"),
    [
        (["passed", "passed"], 0, "✓ 2 groups passed"),
        (["passed", "flaky"], 0, "✓ 2 groups passed, 1 of them only when tried again"),
        (["passed", "cached", "cached"], 0, "✓ 1 group passed, 2 cached"),
        (["cached", "cached"], 0, "✓ 2 groups cached, none had to run"),
        (["cached", "excused"], 0, "✓ 0 groups passed, 1 cached, 1 failed in quarantine"),
        (["passed", "flaky", "cached", "excused"], 0,
         "✓ 2 groups passed, 1 of them only when tried again, 1 cached, 1 failed in quarantine"),
        (["passed", "excused"], 0, "✓ 1 group passed, 1 failed in quarantine"),
        (["excused"], 0, "✓ 0 groups passed, 1 failed in quarantine"),
        (["failed", "passed", "excused"], 1, "✗ 1 of 3 groups failed, 1 failed in quarantine (exit code 1)"),
        (["failed", "flaky"], 1, "✗ 1 of 2 groups failed (exit code 1)"),
        (["passed", "flaky"], 1, '✗ 1 group was flaky, and [run] flaky = "fail" (exit code 1)'),
        (["flaky", "flaky"], 1, '✗ 2 groups were flaky, and [run] flaky = "fail" (exit code 1)'),
        (["passed", "flaky"], 3, "✗ the run failed (exit code 3)"),
    ],
)  # fmt: skip
def test_the_verdict(history: Any, make_phase: Any, endings: list[str], exit_code: int, shown: str) -> None:
    history.play_to(Console)
    history.start(make_phase("p", *(f"g{number}" for number in range(len(endings)))))
    for number, ending in enumerate(endings):
        attempts = {"cached": 0, "flaky": 2}.get(ending, 1)
        status, excuse = ("failed", "known") if ending == "excused" else (ending, "")
        history.ends(f"g{number}", 1.0, status, 1.0, attempts=attempts, quarantined=excuse)
    history.finish(2.0, exit_code)
    assert history.said.splitlines()[-1] == shown
