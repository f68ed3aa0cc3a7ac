"""`status`: whole outputs compared, at a fixed time."""

import os
import subprocess
import sys
from collections.abc import Callable

import psutil
import pytest

from harness.cli.runs import Watched, is_alive
from harness.cli.status import overview, status
from harness.errors import InfrastructureError, UsageError
from harness.events import (
    AttemptFinished,
    AttemptStarted,
    GroupFinished,
    RetryScheduled,
    RunFinished,
    ServiceFailed,
    TestStarted,
)
from harness.model import Group, GroupResult, Outcome, Status
from harness.reporters.text import unpainted

from .conftest import FakeRun

NOBODY = 2**22 + 1  # no process has such a number


def populated(run: FakeRun) -> FakeRun:
    run.start("core", "search", "financial", "ratings")
    run.add(1.0, AttemptStarted(group="core", attempt=1, slot=0, log="x"))
    outcome = Outcome(group="core", attempt=1, status=Status.FAILED, started_at=0.0, duration=2.5)
    run.add(3.5, AttemptFinished(outcome=outcome))
    result = GroupResult(group="core", status=Status.FAILED, reason="2 of 9 tests failed", duration=2.5, attempts=1)
    run.add(3.5, GroupFinished(result=result))
    run.add(4.0, AttemptStarted(group="search", attempt=1, slot=1, log="y"))
    run.add(4.5, TestStarted(group="search", attempt=1, test="test_search.py::test_a"))
    return run.add(5.0, GroupFinished(result=GroupResult(group="ratings", status=Status.SKIPPED, reason="no core")))


def shown(run: FakeRun, after: float) -> list[str]:
    return [unpainted(line) for line in overview(Watched(run.files), run.started_at + after)]


def test_between_two_attempts(fake_run: Callable[..., FakeRun]) -> None:
    run = fake_run("20250101_120000")
    run.start("search")
    run.add(1.0, AttemptStarted(group="search", attempt=1, slot=0, log="x"))
    outcome = Outcome(
        group="search", attempt=1, status=Status.FAILED, started_at=0.0, duration=2.5, reason="exit code 1"
    )
    run.add(3.5, AttemptFinished(outcome=outcome))
    run.add(3.5, RetryScheduled(group="search", attempt=2, delay=60.0, alone=False))
    assert "  search   ↻ waiting             attempt 1: exit code 1; tries again" in shown(run, 10.0)


def test_a_group_whose_files_run_one_by_one(fake_run: Callable[..., FakeRun]) -> None:
    run = fake_run("20250101_120000")
    run.start(Group(name="search", phase="all", tests=("a.py", "b.py", "c.py"), splittable=True))
    for slot, file in enumerate(("b.py", "a.py")):
        run.add(1.0 + slot, AttemptStarted(group="search", part=file, attempt=1, slot=slot, log="x"))
        run.add(2.5, TestStarted(group="search", part=file, attempt=1, test=f"{file}::test_x"))
    row = "  search   ▸ running  9.0 s      a.py::test_x, b.py::test_x, 0 of 3 files have run"
    assert row in shown(run, 10.0)
    for file, ended in (("a.py", Status.PASSED), ("b.py", Status.NO_TESTS)):
        outcome = Outcome(group="search", part=file, attempt=1, status=ended, started_at=0.0, duration=2.5, reason="x")
        run.add(5.0, AttemptFinished(outcome=outcome))
    assert "  search   ↻ waiting             2 of 3 files have run" in shown(run, 10.0)
    run.add(12.0, AttemptStarted(group="search", part="c.py", attempt=1, slot=0, log="x"))
    assert "  search   ▸ running  14.0 s     2 of 3 files have run" in shown(run, 15.0)


def test_running(fake_run: Callable[..., FakeRun]) -> None:
    run = populated(fake_run("20250101_120000"))
    assert shown(run, 65.0) == [
        f"run 20250101_120000: running for 1 min 05 s (process {os.getpid()})",
        "  local, 4 groups at a time, 2 of 4 groups ended (1 failed, 1 skipped)",
        "",
        "  group      status     elapsed     note",
        "  core       ✗ failed   2.5 s       2 of 9 tests failed",
        "  search     ▸ running  1 min 01 s  test_search.py::test_a",
        "  financial  · waiting",
        "  ratings    – skipped              no core",
        "",
        "  log logs/parallel_run_20250101_120000.log",
    ]


@pytest.mark.parametrize("moment", [1e12, 1e18, 1e308, -1e308])
def test_ended_at_a_moment_that_no_calendar_has(fake_run: Callable[..., FakeRun], moment: float) -> None:
    run = fake_run("20250101_120000", started_at=moment).start("core")
    run.add(9.0, RunFinished(exit_code=0, duration=9.0))
    assert shown(run, 1000.0)[0] == "run 20250101_120000: passed at no time that there is after 9.0 s"


def test_died(fake_run: Callable[..., FakeRun]) -> None:
    run = populated(fake_run("20250101_120000", pid=NOBODY))
    lines = shown(run, 1000.0)
    assert lines[0] == f"run 20250101_120000: died after 5.0 s: its process {NOBODY} is gone"
    assert lines[5] == "  search     ✗ lost"


def test_ended(fake_run: Callable[..., FakeRun]) -> None:
    run = fake_run("20250101_120000", started_at=0.0).start("core")
    run.add(9.0, RunFinished(exit_code=130, duration=9.0, stopped_by="SIGINT"))
    first = shown(run, 1000.0)[0]
    assert first.startswith("run 20250101_120000: ended with exit code 130 at ")
    assert first.endswith(" after 9.0 s, stopped by SIGINT")


def test_passed(fake_run: Callable[..., FakeRun]) -> None:
    run = fake_run("20250101_120000").start("core").add(9.0, RunFinished(exit_code=0, duration=9.0))
    assert shown(run, 10.0)[0].startswith("run 20250101_120000: passed at ")


def test_not_begun(fake_run: Callable[..., FakeRun]) -> None:
    run = fake_run("20250101_120000")
    assert shown(run, 0.0)[0] == "run 20250101_120000: has not begun"


def test_failed_service(fake_run: Callable[..., FakeRun]) -> None:
    run = fake_run("20250101_120000").start("core").add(1.0, ServiceFailed(service="web", reason="exit 1", log="z"))
    assert "  service web: exit 1" in shown(run, 2.0)


def test_command_shows_the_newest_run(call, fake_run: Callable[..., FakeRun]) -> None:
    fake_run("20250101_120000-2").start("old")
    fake_run("20250101_120000-11").start("new")
    fake_run("20250101_120000-10").start("old")
    result = call(status)
    assert result.output.startswith("run 20250101_120000-11: running for ")
    assert result.return_value == 0


def test_no_run(call) -> None:
    with pytest.raises(UsageError, match=r"there is no run in .*logs yet"):
        call(status)


# Reading a journal that another process writes


def test_line_that_is_being_written_waits(fake_run: Callable[..., FakeRun]) -> None:
    run = fake_run("20250101_120000").start("core")
    whole = run.files.events.read_bytes()
    run.add(1.0, AttemptStarted(group="core", attempt=1, slot=0, log="x"))
    later = run.files.events.read_bytes()
    run.files.events.write_bytes(later[:-5])
    watched = Watched(run.files)
    assert watched.record.started
    assert not watched.record.groups["core"].log
    assert len(whole) < len(later) - 5
    run.files.events.write_bytes(later)
    watched.update()
    assert watched.record.groups["core"].log == "x"


@pytest.mark.parametrize("line", [b"garbage\n", b'{"seq":1,"time":1,"elapsed":1,"data":{"event":"FromTheFuture"}}\n'])
def test_damaged_journal_is_named_with_its_line(fake_run: Callable[..., FakeRun], line: bytes) -> None:
    run = fake_run("20250101_120000").start("core")
    with run.files.events.open("ab") as file:
        file.write(line)
    with pytest.raises(InfrastructureError, match=r"events\.jsonl:2: not an event of this harness"):
        Watched(run.files)


# Whether the harness of a run lives


def test_process_that_got_the_number_later_is_not_the_harness(fake_run: Callable[..., FakeRun]) -> None:
    born = psutil.Process().create_time()
    assert is_alive(fake_run("20250101_120000", started_at=born + 1).start("core").files)
    assert not is_alive(fake_run("20250101_110000", started_at=born - 60).start("core").files)


def test_zombie_is_not_alive(fake_run: Callable[..., FakeRun]) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    try:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays until it is reaped
        run = fake_run("20250101_120000", pid=process.pid, started_at=psutil.Process(process.pid).create_time() + 1)
        assert not is_alive(run.start("core").files)
    finally:
        process.wait()


def test_run_without_an_event_counts_as_alive_while_it_is_young(fake_run: Callable[..., FakeRun]) -> None:
    run = fake_run("20250101_120000")
    assert is_alive(run.files)
    os.utime(run.files.run_dir, (0, 0))
    assert not is_alive(run.files)
