"""The loop itself, with real processes and reporters that misbehave. Whole runs are tested in end_to_end/."""

import gc
import itertools
import os
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from harness.events import AttemptFinished, AttemptSpawned, Stamped
from harness.files import open_run
from harness.model import Environment, Group, Phase, Plan
from harness.record import RunRecord
from harness.reporters import Reporters
from harness.request import Request
from harness.run import execute
from harness.runners import PytestOptions


class Fails:
    """A reporter that cannot write once an attempt has ended."""

    name = "report"

    def __init__(self, *, durable: bool) -> None:
        self.durable = durable

    def handle(self, stamped: Stamped) -> None:
        if isinstance(stamped.data, AttemptFinished):
            raise OSError(28, "No space left on device")

    def output(self, group: str, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass


def run(tmp_path: Path, reporter: Fails, second: str, first: str = "true") -> tuple[int, RunRecord]:
    """Three groups, one at a time; `second` is the command of the second."""
    commands = {"first": first, "second": second, "third": "true"}
    groups = tuple(Group(name=name, phase="p", command=command) for name, command in commands.items())
    plan = Plan(
        project=str(tmp_path), phases=(Phase(name="p", groups=groups),), environments=(Environment(name="local"),)
    )
    request = Request(
        plan=plan,
        phases=plan.phases,
        off={},
        deselected=0,
        services=(),
        environment="local",
        parallel=False,
        jobs=1,
        max_failures=0,
        global_timeout=None,
        shell=dict(os.environ),
        dotenv={},
        pytest=PytestOptions(),
        python=sys.executable,
        shows_output=False,
    )
    record = RunRecord()
    return execute(request, open_run(tmp_path, datetime.now()), Reporters(record, [reporter])), record


class Crashes(Fails):
    """What no reporter does: it breaks the loop itself, as a bug would."""

    def handle(self, stamped: Stamped) -> None:
        if isinstance(stamped.data, AttemptSpawned):
            self.pid = stamped.data.pid
            raise SystemExit("a bug")


def test_a_bug_in_the_loop_leaves_no_process(tmp_path: Path) -> None:
    reporter = Crashes(durable=True)
    with pytest.raises(SystemExit):
        run(tmp_path, reporter, "true", first="exec sleep 1000")
    with pytest.raises(ProcessLookupError):
        os.kill(reporter.pid, 0)


def statuses(record: RunRecord) -> dict[str, str]:
    return {name: group.status or "" for name, group in record.groups.items()}


def test_a_report_that_cannot_be_written_stops_the_run(tmp_path: Path) -> None:
    """The second group starts while the failure of the first one's report is noticed."""
    code, record = run(tmp_path, Fails(durable=True), "exec sleep 1000")
    assert code == 3
    assert statuses(record) == {"first": "passed", "second": "interrupted", "third": "not_run"}
    assert "No space left" in record.warnings[0]


def test_a_reporter_for_the_eyes_does_not(tmp_path: Path) -> None:
    code, record = run(tmp_path, Fails(durable=False), "true")
    assert code == 0
    assert statuses(record) == {"first": "passed", "second": "passed", "third": "passed"}
    assert "No space left" in record.warnings[0]


def test_a_bug_before_the_first_group_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ready(_environments: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("harness.ground.Environments.ready", ready)
    code, record = run(tmp_path, Fails(durable=False), "true")
    assert (code, set(statuses(record).values())) == (3, {"error"})
    result = record.groups["first"].result
    assert result is not None
    assert result.reason == "the harness failed: ZeroDivisionError: a bug"


def test_a_bug_in_the_clean_up_leaves_no_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[bool] = []

    def close(_environments: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("harness.ground.Environments.close", close)
    monkeypatch.setattr("harness.ground.Services.stop", lambda _services: stopped.append(True))
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, Fails(durable=False), "true")
    assert stopped


def test_the_collector_looks_through_everything_again_after_a_run(tmp_path: Path) -> None:
    run(tmp_path, Fails(durable=False), "true")
    assert gc.get_freeze_count() == 0


def test_a_wall_clock_that_jumps_changes_no_duration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day on or back, whenever anybody looks at it."""
    real, days = time.time, itertools.cycle((0, 1, -1))
    monkeypatch.setattr(time, "time", lambda: real() + next(days) * 86_400)
    seen: list[Stamped] = []
    reporter = Fails(durable=False)
    monkeypatch.setattr(reporter, "handle", seen.append)
    code, record = run(tmp_path, reporter, "sleep 0.2")
    assert (code, statuses(record)) == (0, {"first": "passed", "second": "passed", "third": "passed"})
    assert any(abs(stamped.time - real()) > 80_000 for stamped in seen), "it has jumped"
    assert [stamped.elapsed for stamped in seen] == sorted(stamped.elapsed for stamped in seen)
    for group in record.groups.values():
        assert group.result
        assert (0.2 if group.group.name == "second" else 0.0) <= group.result.duration < 60
    assert record.finished
    assert 0.2 <= record.finished.duration < 60
