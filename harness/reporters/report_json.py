"""report.json of the run, and logs/test-report.json, which is always that of the run that ended last.

`render` is a pure fold over a finished record; docs/files.md describes the fields. In the summary `passed`, `cached`,
`failed`, `quarantined`, `skipped`, `interrupted` and `not_run` add up to `total`; `statuses` counts each status by
itself.
"""

import os
from collections import Counter
from typing import Any, ClassVar

import msgspec

from harness.events import RunFinished, Stamped, to_builtins
from harness.files import write_atomically
from harness.model import Status, TestStatus
from harness.record import GroupRecord, RunRecord
from harness.reporters.base import Context, Quiet, iso_time
from harness.reporters.tally import tally

_TEST_STATUSES = tuple(status.value for status in TestStatus)  # an enumeration takes long to go through


class JsonReport(Quiet):
    name: ClassVar[str] = "JSON report"
    durable: ClassVar[bool] = True

    def __init__(self, context: Context) -> None:
        self._files = context.files
        self._record = context.record

    def handle(self, stamped: Stamped) -> None:
        if isinstance(stamped.data, RunFinished):
            report = render(self._record)
            write_atomically(self._files.report, report)
            write_atomically(self._files.test_report, report)


def render(record: RunRecord) -> bytearray:
    """The whole report. Suite by suite: those of 10,000 groups as values, and as text once more, fill the memory."""
    project = record.started.project if record.started else ""
    head, empty, rest = _text(_frame(record, project)).partition(b'"suites": []')
    report = bytearray(head)
    suites = (_text(_suite(group, project)).replace(b"\n", b"\n    ") for group in record.groups.values())
    opened = b'"suites": [\n    '
    for suite in suites:
        report += opened + suite
        opened = b",\n    "
    report += (b"\n  ]" if record.groups else empty) + rest + b"\n"
    return report


def _text(value: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2)


def _frame(record: RunRecord, project: str) -> dict[str, Any]:
    """All but the suites. Times are epoch seconds but for `timestamp`, durations seconds, memory bytes."""
    return {
        "timestamp": iso_time(record.started_at),
        "duration": _rounded(record.makespan),
        "suites": [],
        "summary": _summary(record),
        "services": [
            {
                "name": name,
                "port": service.port,
                "ready_after": service.seconds,
                "error_message": service.failure or None,
                "log_file": _path(service.log, project),
            }
            for name, service in record.services.items()
        ],
        "warnings": record.warnings,
    }


def _suite(record: GroupRecord, project: str) -> dict[str, Any]:
    group, result = record.group, record.result
    tests: Counter[str] = Counter(test.status for test in record.tests)
    succeeded = result is not None and result.status.succeeded
    return {
        "name": group.name,
        "description": group.description,
        "category": group.category,
        "phase": group.phase,
        "status": result.status if result else None,
        "start_time": record.started_at,
        "end_time": record.finished_at,
        "duration": _rounded(result.duration) if result else 0.0,
        "return_code": result.exit_code if result else None,
        "error_message": None if succeeded or result is None else result.reason or result.status,
        "log_file": _path(record.log, project),
        "attempts": result.attempts if result else len(record.attempts),
        "reason": result.reason if result else "",
        "cpu_seconds": _rounded(result.cpu_seconds) if result else 0.0,
        "peak_memory": result.peak_memory if result else 0,
        "leaked": result.leaked if result else False,
        "contaminates": result.contaminates if result else (),
        "waited": {what: _rounded(seconds) for what, seconds in result.waited.items()} if result else {},
        "quarantined": result.quarantined if result else "",
        "cached_from": result.cached_from if result else "",
        "tests": {"total": len(record.tests), **{status: tests[status] for status in _TEST_STATUSES}},
        "test_results": [to_builtins(test) for test in record.tests],
    }


def _summary(record: RunRecord) -> dict[str, Any]:
    started, statuses, counts = record.started, record.statuses, tally(record)
    return {
        "total": len(record.groups),
        "passed": len(counts.passed),
        "cached": len(counts.cached),
        "failed": len(counts.failed),
        "quarantined": len(counts.excused),
        "skipped": statuses[Status.SKIPPED],
        "interrupted": statuses[Status.INTERRUPTED],
        "not_run": statuses[Status.NOT_RUN],
        "statuses": {status.value: statuses[status] for status in Status},
        "run_id": started.run_id if started else "",
        "environment": started.environment if started else "",
        "commit": started.commit if started else "",
        "dirty": started.dirty if started else False,
        "shard": started.shard if started else "",
        "seed": started.seed if started else 0,
        "jobs": record.jobs,
        "paused": _rounded(record.paused),
        "exit_code": record.finished.exit_code if record.finished else None,
        "stopped_by": record.finished.stopped_by if record.finished else "",
        "sequential_time": _rounded(record.sequential_time),
        "speedup": _rounded(record.speedup),
        "lower_bound": _rounded(record.lower_bound(record.jobs)),
        "predicted": _rounded(started.predicted) if started and started.predicted is not None else None,
    }


def _rounded(seconds: float) -> float:
    return round(seconds, 6)


def _path(path: str, project: str) -> str | None:
    """Relative to the project where it lies in it, so that a report can be read on another machine."""
    return path.removeprefix(os.path.join(project, "")) or None  # noqa: PTH118  (pathlib is slow, for every group)
