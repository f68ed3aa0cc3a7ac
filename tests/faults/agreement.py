"""O1: that all that a run has left behind tells the same of every group, and tells of every group once.

What is compared, of each `run_…` in the log directory: the groups of its plan, the verdicts in events.jsonl, the
status files, report.json, junit.xml, the history, and test-report.json where it is this run's. By its own readers.
"""

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

Statuses = dict[str, str]
SUMMANDS = ("passed", "cached", "failed", "quarantined", "skipped", "interrupted", "not_run")
FAILURES = {"failed", "timed_out", "killed", "error", "no_tests", "lost"}
NEVER_RAN = {"skipped", "not_run", "cached"}
_RUN = re.compile(r"run_(\d{8}_\d{6}(?:-\d+)?)")


def runs_of(project: Path) -> list[Path]:
    """The directories of its runs."""
    logs = project / "logs"
    return sorted(path for path in logs.iterdir() if _RUN.fullmatch(path.name)) if logs.is_dir() else []


def events_of(run: Path) -> list[dict[str, Any]]:
    """The events that parse, in order; what does not is for another oracle."""
    events = []
    for line in (run / "events.jsonl").read_bytes().splitlines() if (run / "events.jsonl").exists() else ():
        try:
            events.append(json.loads(line)["data"])
        except (ValueError, KeyError, TypeError):
            continue
    return events


def disagreements(project: Path, *, reports: bool, history: bool) -> Iterator[str]:
    """Every contradiction. Without `reports` nobody could write them to their end: what is missing, or still says
    `running`, is no contradiction then. Without `history` nothing is asked of the history."""
    for run in runs_of(project):
        for line in _of_run(project, run, reports=reports, history=history):
            yield f"{run.name}: {line}"


def _of_run(project: Path, run: Path, *, reports: bool, history: bool) -> Iterator[str]:
    events = events_of(run)
    if not events:  # killed before it had said what it was going to do
        yield from (f"nothing was to run, and yet there is {path.name}" for path in _own_files(run))
        return
    if events[0]["event"] != "RunStarted":
        yield f"it begins with {events[0]['event']}"
        return
    groups = [group["name"] for phase in events[0]["phases"] for group in phase["groups"]]
    finished = [event for event in events if event["event"] == "RunFinished"]
    if reports and (len(finished) != 1 or events[-1]["event"] != "RunFinished"):
        yield f"{len(finished)} times finished, and its last event is {events[-1]['event']}"
    numbers = [json.loads(line)["seq"] for line in (run / "events.jsonl").read_bytes().splitlines() if _parses(line)]
    if numbers != list(range(1, len(numbers) + 1)):
        yield "its events are not numbered 1, 2, 3 …"
    verdicts = Counter(event["result"]["group"] for event in events if event["event"] == "GroupFinished")
    for name in sorted(verdicts.keys() | set(groups)):
        if verdicts[name] not in ([1] if reports else [0, 1]) or name not in groups:
            yield f"group {name!r} of the plan has {verdicts[name]} verdicts"
    results = {event["result"]["group"]: event["result"] for event in events if event["event"] == "GroupFinished"}
    statuses = {name: result["status"] for name, result in results.items()}
    found = _status_files(run)
    if not reports:
        found = {name: status for name, status in found.items() if status != "running"}
    written = statuses if reports else {name: status for name, status in statuses.items() if name in found}
    yield from _compared("its status files", written, found)
    code = finished[-1]["exit_code"] if finished else None
    yield from _report(run / "report.json", statuses, code, needed=reports)
    yield from _junit(run / "junit.xml", results, groups, needed=reports)
    newest = project / "logs" / "test-report.json"
    if _names(newest, run):
        yield from _report(newest, statuses, code, needed=reports)
    elif reports and not newest.exists():
        yield "there is no test-report.json"
    if history:
        yield from _history(project, run, statuses, code)


def _own_files(run: Path) -> list[Path]:
    run_id = run.name.removeprefix("run_")
    return [*run.glob("*.json"), *run.glob("*.xml"), *run.parent.glob(f".*_status_{run_id}")]


def _parses(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line)["seq"], int)
    except (ValueError, KeyError, TypeError):
        return False


def _compared(what: str, expected: Statuses, found: Statuses) -> Iterator[str]:
    shown = {_shown(name): status for name, status in expected.items()}
    other = {_shown(name): status for name, status in found.items()}
    for name in sorted(shown.keys() | other.keys()):
        if shown.get(name) != other.get(name):
            said = shown.get(name, "nothing")
            yield f"{what}: {other.get(name, 'nothing')} of group {name!r}, and events.jsonl says {said}"


def _shown(name: str) -> str:
    """As far as it can be told in a status file, where some characters stand as escapes."""
    return re.sub(r"\\[nrt]|\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|[^ -~]", "?", name)


def _status_files(run: Path) -> Statuses:
    found = {}
    run_id = run.name.removeprefix("run_")
    for path in run.parent.glob(f".*_status_{run_id}"):
        values = dict(line.partition("=")[::2] for line in path.read_text("utf-8", "replace").splitlines())
        found[_unquoted(values.get("GROUP", f"({path.name})"))] = _unquoted(values.get("STATUS", ""))
    return found


def _unquoted(value: str) -> str:
    return value[1:-1].replace("'\"'\"'", "'") if value.startswith("'") else value


def _names(report: Path, run: Path) -> bool:
    try:
        return json.loads(report.read_bytes())["summary"]["run_id"] == run.name.removeprefix("run_")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _report(path: Path, statuses: Statuses, code: int | None, *, needed: bool) -> Iterator[str]:
    if not path.exists():
        if needed:
            yield f"there is no {path.name}"
        return
    try:
        report = json.loads(path.read_bytes())
        suites, summary = report["suites"], report["summary"]
        yield from _compared(path.name, statuses, {suite["name"]: suite["status"] for suite in suites})
        if len(suites) != len(statuses) or summary["total"] != len(suites):
            yield f"{path.name} has {len(suites)} suites, and says {summary['total']}, of {len(statuses)} groups"
        counted = Counter(suite["status"] for suite in suites)
        if sum(summary[kind] for kind in SUMMANDS) != len(suites):
            yield f"the counts in the summary of {path.name} do not add up"
        if {status: count for status, count in summary["statuses"].items() if count} != counted:
            yield f"the summary of {path.name} counts other statuses than its suites have"
        for kind in ("interrupted", "not_run"):
            if summary[kind] != counted[kind]:
                yield f"the summary of {path.name} says {summary[kind]} {kind}, and there are {counted[kind]}"
        failed = sum(counted[status] for status in FAILURES)
        if summary["failed"] + summary["quarantined"] != failed:
            yield f"the summary of {path.name} says {summary['failed']} failed, and there are {failed}"
        if summary["exit_code"] != code:
            yield f"{path.name} says exit code {summary['exit_code']}, and events.jsonl says {code}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield f"{path.name} cannot be read: {error!r}"


def _junit(path: Path, results: dict[str, Any], groups: list[str], *, needed: bool) -> Iterator[str]:
    if not path.exists():
        if needed:
            yield f"there is no {path.name}"
        return
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        yield f"{path.name} cannot be read: {error}"
        return
    suites = list(root.iter("testsuite"))
    if len(suites) != len(groups):
        yield f"{path.name} has {len(suites)} suites of {len(groups)} groups"
    # By their places: XML cannot have every character that a name has.
    for name, suite in zip(groups, suites, strict=False):
        if name.isprintable() and suite.get("name") != name:
            yield f"{path.name} has {suite.get('name')!r} in the place of {name!r}"
        said, expected = _property(suite, "status"), results.get(name, {}).get("status")
        if said != expected:
            yield f"{path.name}: {said} of group {name!r}, and events.jsonl says {expected}"
    for suite in suites:
        red = any(suite.find(f".//{tag}") is not None for tag in ("failure", "error"))
        status = _property(suite, "status")
        must_be = status in FAILURES | {"interrupted"} and not _property(suite, "quarantined")
        if red != must_be:
            yield f"{path.name} shows {suite.get('name')!r}, which is {status}, as {'red' if red else 'green'}"
    totals = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}
    for element in [root, *suites]:
        for attribute, tag in totals.items():
            if element.get(attribute) != str(sum(1 for _ in element.iter(tag))):
                yield f"{path.name} counts {element.get(attribute)} {attribute} of {element.get('name')!r}"


def _property(suite: ElementTree.Element, name: str) -> str:
    found = [item.get("value", "") for item in suite.iter("property") if item.get("name") == name]
    return found[0] if found else ""


def _history(project: Path, run: Path, statuses: Statuses, code: int | None) -> Iterator[str]:
    path = project / ".harness" / "history.sqlite3"
    run_id = run.name.removeprefix("run_")
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            (sound,) = connection.execute("PRAGMA integrity_check").fetchone()
            runs = connection.execute("SELECT id, exit_code FROM runs WHERE run_id = ?", (run_id,)).fetchall()
            ran = connection.execute(
                'SELECT "group", status FROM group_runs WHERE run = ?1 UNION ALL '
                'SELECT "group", status FROM unrun WHERE run = ?1',
                (runs[0][0] if runs else -1,),
            ).fetchall()
    except sqlite3.Error as error:
        yield f"the history cannot be read: {error}"
        return
    if sound != "ok":
        yield f"the history is damaged: {sound}"
    if len(runs) != 1:
        yield f"the history has it {len(runs)} times"
        return
    if runs[0][1] != code:
        yield f"the history says exit code {runs[0][1]}, and events.jsonl says {code}"
    if len(ran) != len(dict(ran)):
        yield "the history has a group twice"
    # A group that was off, or cached, says nothing about itself, and is not kept.
    expected = {name: status for name, status in statuses.items() if status not in NEVER_RAN or name in dict(ran)}
    yield from _compared("the history", expected, dict(ran))
