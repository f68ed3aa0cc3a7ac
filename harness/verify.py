"""The validator: after a run, whether everything that was left behind says the same.

Protocol: `verify` reads the run's files back and compares them with the record that the events made; what it returns is
what contradicts. It never raises for what it finds on the disk: a torn or foreign file is a problem to report, and the
caller's answer to any problem is that the harness, not a test, is at fault. It raises OSError where this machine has
too little left to look.

It must not mend anything, or look at another run.
"""

import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from xml.parsers import expat

import msgspec

from harness.events import GroupFinished, decode
from harness.files import RunFiles
from harness.foreign import decoded
from harness.model import Group, Status
from harness.record import GroupRecord, RunRecord
from harness.scheduling.parts import parts_of

STATUS_KEYS = (
    "GROUP",
    "STATUS",
    "EXIT_CODE",
    "DURATION",
    "ATTEMPTS",
    "STARTED_AT",
    "FINISHED_AT",
    "LOG",
    "REASON",
)
_KNOWN_KEYS = {*STATUS_KEYS, "PID"}
# What the groups of a summary add up to.
SUMMANDS = ("passed", "cached", "failed", "quarantined", "skipped", "interrupted", "not_run")
_STATUS_LINE = re.compile(r"([A-Z_]+)=(.+)")

Statuses = dict[str, str]


def verify(files: RunFiles, record: RunRecord) -> list[str]:
    """Every contradiction, one line each; empty when all adds up. The record must have seen RunFinished.

    Raises OSError for what is there and cannot be read.
    """
    problems = [problem for group in record.groups.values() for problem in _group_problems(files, group)]
    expected = {name: record.status.value for name, record in record.groups.items() if record.status}
    problems += _compared(files.events.name, expected, _events_statuses, files.events)
    problems += _compared(files.report.name, expected, _report_statuses, files.report)
    problems += _test_report_problems(files, expected)
    colours = _colours(record)
    problems += _compared(files.junit.name, colours, lambda path: _junit_colours(path, colours), files.junit)
    return problems + [f"temporary file left behind: {path}" for path in _temporary(files)]


def parse_status(text: str) -> dict[str, str]:
    """The values of a status file. Raises ValueError for anything but what the harness writes: one `KEY=value` a line,
    each known key once (PID besides), each value quoted as `shlex.quote` would."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        match = _STATUS_LINE.fullmatch(line)
        key, quoted = match.groups() if match else ("", "")
        if key not in _KNOWN_KEYS or key in values:
            raise ValueError(f"unexpected line {line!r}")
        value = quoted[1:-1].replace("'\"'\"'", "'") if quoted.startswith("'") else quoted
        if shlex.quote(value) != quoted:
            raise ValueError(f"{key} is not safely quoted: {quoted!r}")
        values[key] = value
    missing = [key for key in STATUS_KEYS if key not in values]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing")
    return values


def _group_problems(files: RunFiles, record: GroupRecord) -> list[str]:
    name = record.group.name
    problems = []
    if record.verdicts != 1:
        problems.append(f"group {name!r} has {record.verdicts} verdicts instead of one")
    if record.result is not None:
        problems += _status_problems(files.status(name), record.result.status)
    # An attempt whose log could not be opened is an `error`; any other has one.
    if record.attempts and record.status is not Status.ERROR and not files.group_log(name).exists():
        problems.append(f"group {name!r} ran, but has no log {files.group_log(name)}")
    return problems + [problem for part in parts_of(record.group) for problem in _part_problems(files, record, part)]


def _part_problems(files: RunFiles, record: GroupRecord, part: Group) -> list[str]:
    if not part.part_of:
        return []
    attempts = record.parts[part.part].attempts if part.part in record.parts else []
    problems = []
    if record.status in (Status.PASSED, Status.FLAKY) and not attempts:
        problems.append(f"group {part.part_of!r} {record.status}, but its file {part.part!r} did not run")
    # One that could not be appended is an `error`, and stays.
    if files.part_log(part.name).exists() and not (attempts and attempts[-1].status is Status.ERROR):
        problems.append(f"the log of {part.name!r} is not in that of its group: {files.part_log(part.name)}")
    return problems


def _raise_unreadable(error: Exception) -> None:
    """Of what is there and cannot be read nothing is known, which is no contradiction."""
    if isinstance(error, OSError) and not isinstance(error, FileNotFoundError | IsADirectoryError):
        raise error


def _status_problems(path: Path, expected: Status) -> list[str]:
    try:
        found = parse_status(path.read_bytes().decode())["STATUS"]
    except (OSError, ValueError) as error:
        _raise_unreadable(error)
        return [f"status file {path}: {error}"]
    return [] if found == expected.value else [f"status file {path} says {found}, the events say {expected.value}"]


def _compared(what: str, expected: Statuses, read: Callable[[Path], Statuses], path: Path) -> list[str]:
    try:
        found = read(path)
    except (OSError, ValueError, KeyError, TypeError, IndexError, expat.ExpatError) as error:
        _raise_unreadable(error)
        return [f"{path} cannot be read back: {error or type(error).__name__}"]
    names = [name for name in {**expected, **found} if expected.get(name) != found.get(name)]
    return [
        f"{what} says {found.get(name, 'nothing')} of group {name!r}, the events say {expected.get(name, 'nothing')}"
        for name in names
    ]


def _events_statuses(path: Path) -> Statuses:
    """Event by event: the record of 10,000 groups a second time would fill the memory."""
    with path.open("rb") as lines:
        events = (decode(line).data for line in lines)
        return {event.result.group: event.result.status.value for event in events if isinstance(event, GroupFinished)}


class _Suite(msgspec.Struct):
    name: str
    status: str


class _Report(msgspec.Struct):
    """What is compared of a report. The rest is read over: of 10,000 groups it would fill the memory."""

    suites: list[_Suite]
    summary: dict[str, Any]


_decoder = msgspec.json.Decoder(_Report)


def _report_statuses(path: Path) -> Statuses:
    return _suites(_report(path))


def _report(path: Path) -> _Report:
    return decoded(_decoder, path.read_bytes())


def _suites(report: _Report) -> Statuses:
    statuses = {suite.name: suite.status for suite in report.suites}
    if len(statuses) != len(report.suites) or report.summary["total"] != len(statuses):
        raise ValueError("its suites do not add up")
    summed = sum(report.summary[kind] for kind in SUMMANDS)
    if summed != len(statuses) or +Counter(report.summary["statuses"]) != Counter(statuses.values()):
        raise ValueError("its summary does not add up")
    return statuses


def _test_report_problems(files: RunFiles, expected: Statuses) -> list[str]:
    def read(path: Path) -> Statuses:
        report = _report(path)
        statuses = _suites(report)
        # Another run of the same log directory may have ended since: then the newest report is that one's.
        return statuses if report.summary["run_id"] == files.run_id else expected

    return _compared(files.test_report.name, expected, read, files.test_report)


def _colours(record: RunRecord) -> Statuses:
    """What a CI server must see of each group."""
    results = {name: group.result for name, group in record.groups.items() if group.result}
    return {
        name: "red" if result.counts_as_failure or result.status is Status.INTERRUPTED else "green"
        for name, result in results.items()
    }


def _junit_colours(path: Path, names: Iterable[str]) -> Statuses:
    """By place, not by name: what a name has that XML cannot hold is missing there."""
    colours: list[str] = []

    def opened(element: str, _: object) -> None:
        if element == "testsuite":
            colours.append("green")
        elif element in ("failure", "error"):
            colours[-1] = "red"

    parser = expat.ParserCreate()
    parser.StartElementHandler = opened
    with path.open("rb") as file:
        parser.ParseFile(file)
    return dict(zip(names, colours, strict=True))


def _temporary(files: RunFiles) -> list[Path]:
    mine = files.log_dir.glob(f".*_status_{files.run_id}.*.tmp")
    return sorted([*files.run_dir.glob(".*.tmp"), *mine])
