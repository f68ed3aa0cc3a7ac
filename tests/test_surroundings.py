"""An attempt inside its surroundings: what becomes of it when they cannot be made, or taken down."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from harness.attempt import Left, run_attempt
from harness.errors import InfrastructureError
from harness.model import Job, Status
from harness.process import Control


@dataclass
class Around:
    """Surroundings that do as they are told."""

    error: Exception | None = None
    left: Left | Exception = field(default_factory=Left)
    log: list[str] = field(default_factory=list)

    def enter(self, job: Job, control: Control) -> Job:
        self.log.append("enter")
        if self.error:
            raise self.error
        return msgspec.structs.replace(job, env=job.env | {"GREETING": "hello"})

    def leave(self, job: Job, status: Status) -> Left:
        self.log.append(f"leave {job.env['GREETING']} {status.value}")
        if isinstance(self.left, Exception):
            raise self.left
        return self.left


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(
        run_id="20260101_000000",
        group="g",
        attempt=1,
        slot=0,
        argv=("bash", "-c", 'test "$GREETING" = hello'),
        env={"PATH": "/usr/bin:/bin"},
        directory=str(tmp_path),
        log=str(tmp_path / "g.log"),
        timeout=60.0,
        grace=1.0,
        statuses={0: Status.PASSED},
        reports_tests=False,
    )


def test_it_runs_with_what_was_made_and_leaves_with_its_status(job: Job) -> None:
    around = Around()
    assert run_attempt(job, lambda _event: None, None, around).status is Status.PASSED
    assert around.log == ["enter", "leave hello passed"]


def test_a_failure_leaves_too(job: Job) -> None:
    around = Around()
    failing = msgspec.structs.replace(job, argv=("bash", "-c", "exit 3"))
    assert run_attempt(failing, lambda _event: None, None, around).exit_code == 3
    assert around.log[-1] == "leave hello failed"


def test_what_cannot_be_made_is_an_error_and_nothing_starts(job: Job) -> None:
    around = Around(error=InfrastructureError("[isolation.db] could not be made:\nno answer", "Start it."))
    outcome = run_attempt(job, lambda _event: None, None, around)
    assert (outcome.status, outcome.reason) == (
        Status.ERROR,
        "[isolation.db] could not be made: no answer Start it.",
    )
    assert around.log == ["enter"]
    assert Path(job.log).read_text().endswith("[isolation.db] could not be made: no answer Start it.\n")


def test_what_is_broken_off_while_it_is_made_was_interrupted(job: Job) -> None:
    control = Control()
    control.cancel()
    outcome = run_attempt(job, lambda _event: None, control, Around(error=InfrastructureError("broken off")))
    assert (outcome.status, outcome.reason) == (Status.INTERRUPTED, "stopped before it had started")
    assert Path(job.log).exists()


def test_a_bug_in_the_making_ends_the_group_and_not_the_run(job: Job) -> None:
    outcome = run_attempt(job, lambda _event: None, None, Around(error=ZeroDivisionError("by zero")))
    assert (outcome.status, outcome.reason) == (Status.ERROR, "the harness failed: ZeroDivisionError: by zero")


@pytest.mark.parametrize(("argv", "ends"), [("exit 0", Status.PASSED), ("exit 1", Status.FAILED)])
def test_what_stays_behind_is_told_and_changes_no_status(job: Job, argv: str, ends: Status) -> None:
    around = Around(left=Left(leaked=True, contaminates=("table users: 1 row",)))
    outcome = run_attempt(msgspec.structs.replace(job, argv=("bash", "-c", argv)), lambda _event: None, None, around)
    assert (outcome.status, outcome.leaked, outcome.contaminates) == (ends, True, ("table users: 1 row",))


def test_a_bug_in_the_taking_down_is_no_pass(job: Job) -> None:
    outcome = run_attempt(job, lambda _event: None, None, Around(left=KeyError("x")))
    assert (outcome.status, outcome.leaked) == (Status.ERROR, True)


def test_the_time_of_both_belongs_to_the_attempt(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()  # other threads may look at it too
    monkeypatch.setattr("harness.attempt.time.monotonic", lambda: float(next(clock)))
    bare = run_attempt(job, lambda _event: None, None, None)
    inside = run_attempt(job, lambda _event: None, None, Around())
    assert inside.duration > bare.duration
