"""Runs that never were, as records that a history can keep."""

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.events import (
    AnyEvent,
    AttemptFinished,
    AttemptStarted,
    GroupFinished,
    PhaseStarted,
    RunFinished,
    RunStarted,
    Stamped,
    TestFinished,
)
from harness.history import database
from harness.model import Group, GroupResult, Outcome, Phase, Status, TestResult, TestStatus
from harness.record import RunRecord

EPOCH = 1_700_000_000.0
NEVER_STARTED = {"skipped", "not_run", "cached"}

Tests = Mapping[str, str]  # id -> status, or status and message


@dataclass
class Ended:
    """How a group ended. `attempts` has the tests of each attempt."""

    status: str = "passed"
    duration: float = 1.0
    attempts: list[Tests] = field(default_factory=lambda: [{}])
    partial: bool = False
    reason: str = ""
    all_known: bool = True  # its failed tests alone are why it failed, if it did and has some
    more: Mapping[str, object] = field(default_factory=dict)  # of the GroupResult


def test_result(test: str, said: str) -> TestResult:
    status, _, message = said.partition(": ")
    return TestResult(id=test, status=TestStatus(status), duration=0.5, message=message)


def make_record(
    number: int,
    groups: Mapping[str, Ended | str],
    *,
    duration: float = 10.0,
    exit_code: int | None = None,
    services: float = 2.0,
    **started: object,
) -> RunRecord:
    """The run of that number: an hour after the one before it. A group given as a text ended so, without tests."""
    endings = {name: ended if isinstance(ended, Ended) else Ended(ended) for name, ended in groups.items()}
    record, at = RunRecord(), EPOCH + 3600 * number
    seq = 0

    def tell(elapsed: float, *events: AnyEvent) -> None:
        nonlocal seq
        for event in events:
            seq += 1
            record.apply(Stamped(seq, at + elapsed, elapsed, event))

    made = tuple(Group(name=name, phase="p", command="x", partial=ended.partial) for name, ended in endings.items())
    values: dict[str, object] = {
        "run_id": f"20250101_{number:06}", "version": "1", "project": "/p", "environment": "local", "jobs": 4,
        "parallel": True, "fail_fast": 0, "log_dir": "/l", "phases": (Phase(name="p", groups=made),), "pid": 7,
        "host": "here", "cores": 2, "commit": "c0ffee", "seed": 3,
    }  # fmt: skip
    tell(0.0, RunStarted(**{**values, **started}))  # type: ignore[arg-type]
    tell(services, PhaseStarted(phase="p"))
    for name, ended in endings.items():
        tell(services + ended.duration, *events_of(name, ended))
    if exit_code is None:
        exit_code = int(any(Status(ended.status).is_failure for ended in endings.values()))
    tell(duration, RunFinished(exit_code=exit_code, duration=duration))
    return record


def events_of(name: str, ended: Ended) -> Iterator[AnyEvent]:
    status = Status(ended.status)
    starts = ended.status not in NEVER_STARTED
    for number, tests in enumerate(ended.attempts if starts else (), 1):
        last = number == len(ended.attempts)
        results = [test_result(test, said) for test, said in tests.items()]
        failed = tuple(each.id for each in results if each.status in {TestStatus.FAILED, TestStatus.ERROR})
        how = Status.FAILED if not last else Status.PASSED if status is Status.FLAKY else status
        yield AttemptStarted(group=name, attempt=number, slot=1, log="/l/x.log")
        yield from (TestFinished(group=name, attempt=number, result=result) for result in results)
        yield AttemptFinished(
            outcome=Outcome(
                group=name,
                attempt=number,
                status=how,
                started_at=EPOCH,
                duration=ended.duration,
                reason=ended.reason,
                failed_tests=failed if ended.all_known and how is Status.FAILED else (),
            )
        )
    values: dict[str, object] = {
        "group": name, "status": status, "reason": ended.reason, "attempts": len(ended.attempts) * starts,
        "started_at": EPOCH if starts else None, "duration": ended.duration * starts,
    }  # fmt: skip
    yield GroupFinished(result=GroupResult(**{**values, **ended.more}))  # type: ignore[arg-type]


def overwrite_pages(path: Path) -> None:
    """Damages all pages of a history but those that are looked at when it is opened."""
    size = 4096
    for start in range(size, path.stat().st_size, size):
        content = path.read_bytes()
        path.write_bytes(content[:start] + b"\xa5" * size + content[start + size :])
        try:
            database.open_readonly(path).close()
        except sqlite3.DatabaseError:
            path.write_bytes(content)
