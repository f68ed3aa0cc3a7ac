"""What the console says when a run has ended: the table, the failures, how to rerun them, the figures, the verdict.

Pure but for reading the ends of logs: a finished RunRecord in, lines out.
"""

import shlex
from collections import Counter
from collections.abc import Iterable

from harness.errors import ExitCode
from harness.model import Status, TestResult, TestStatus
from harness.record import FAILED_TESTS, GroupRecord
from harness.reporters.base import Context, Detail
from harness.reporters.text import (
    BOLD,
    CYAN,
    DIM,
    GLYPHS,
    GREEN,
    RED,
    YELLOW,
    paint,
    plural,
    printable,
    seconds,
    tail,
)

TAIL_LINES = 15
TAILED_GROUPS = 8  # of more failures, only the first show the ends of their logs
LISTED_TESTS = 10  # failed tests of one group
NOTE_LIMIT = 40

UNREMARKABLE = frozenset({Status.PASSED, Status.CACHED})
LEFT_OVER = frozenset({Status.INTERRUPTED, Status.NOT_RUN})


def mark(status: Status) -> str:
    glyph, colour = GLYPHS[status]
    return paint(f"{glyph} {status.value}", colour)


def why(record: GroupRecord) -> str:
    """One line for people: what is to be said of how a group ended, beyond its status."""
    if record.result is None:
        return ""
    failed = len(record.failed_tests)
    reason = printable(record.result.reason)
    if failed:
        counts = f"{failed} of {plural(len(record.tests), 'test')} failed"
        # The exit code of a pytest whose tests failed tells nothing more.
        return counts if record.status is Status.FAILED or not reason else f"{reason}, {counts}"
    if reason or not record.tests:
        return reason
    return plural(len(record.tests), "test")


def summary(context: Context) -> list[str]:
    """All of it. The record must have seen RunFinished."""
    lines = ["", paint("Summary", BOLD)]
    lines += _table(context)
    lines += _failures(context)
    lines += _rerun(context)
    lines += _figures(context)
    lines += ["", _verdict(context)]
    return lines


def log_tail(context: Context, log: str) -> list[str]:
    """The end of a log as a quotation, under the path to read on; nothing where there is no log."""
    if not log:
        return []
    path = context.shown(log)
    quoted = [f"    {paint('│', DIM)} {line}".rstrip() for line in tail(context.here / log, TAIL_LINES)]
    if not quoted:
        return [f"    {paint('log', DIM)} {path}"]
    return [f"    {paint('the end of', DIM)} {path}", *quoted]


def _table(context: Context) -> list[str]:
    from tabulate import tabulate

    compact = context.detail is Detail.COMPACT
    records = [record for record in context.record.groups.values() if record.result]
    records = [record for record in records if not (compact and record.status in UNREMARKABLE and not _note(record))]
    if not records:
        return []
    retried = any(record.result and record.result.attempts > 1 for record in records)
    noted = any(map(_note, records))
    headers = ["group", "phase", "status", "tests", "duration"]
    headers += ["attempts"] * retried + ["note"] * noted
    rows = []
    for record in records:
        if record.result is None:
            continue
        took = seconds(record.result.duration) if record.attempts else ""
        row = [printable(record.group.name), printable(record.group.phase), mark(record.result.status)]
        row += [_counts(record.tests), took]
        row += [str(record.result.attempts or "")] * retried + [_note(record)] * noted
        rows.append(row)
    align = ["left", "left", "left", "right", "right"] + ["right"] * retried + ["left"] * noted
    table = tabulate(rows, headers, tablefmt="simple", disable_numparse=True, colalign=align)
    head, rule, *body = table.split("\n")
    return ["", *(f"  {line.rstrip()}" for line in (paint(head, BOLD), paint(rule, DIM), *body))]


def _counts(tests: list[TestResult]) -> str:
    failed = sum(test.status in FAILED_TESTS for test in tests)
    passed = f"{len(tests)}" if tests else ""
    return f"{paint(f'{failed} failed', RED)} of {passed}" if failed else passed


def _note(record: GroupRecord) -> str:
    """What the other columns do not say; of a failure the section below tells all."""
    if record.result is None:
        return ""
    note = "" if record.result.status.is_failure else printable(record.result.reason)
    if len(note) > NOTE_LIMIT:
        note = f"{note[:NOTE_LIMIT]}…"
    leak = paint("leaked a process", YELLOW) if record.result.leaked else ""
    return ", ".join(filter(None, (leak, note)))


def _failures(context: Context) -> list[str]:
    lines = []
    for index, record in enumerate(context.record.failed):
        status = record.result.status if record.result else Status.LOST
        title = f"{GLYPHS[status][0]} {printable(record.group.name)} {status.value}"
        reason = why(record)
        lines += ["", paint(title, BOLD, RED) + (f": {reason}" if reason else "")]
        for test in record.failed_tests[:LISTED_TESTS]:
            lines.append(f"    {printable(test.id)}")
            if test.message:
                lines.append(f"        {paint(printable(test.message), DIM)}")
        if len(record.failed_tests) > LISTED_TESTS:
            lines.append(f"    … and {len(record.failed_tests) - LISTED_TESTS} more")
        if index < TAILED_GROUPS:
            lines += log_tail(context, record.log)
        elif record.log:
            lines.append(f"    {paint('log', DIM)} {context.shown(record.log)}")
    return lines


def _rerun(context: Context) -> list[str]:
    started = context.record.started
    failed, left = context.record.failed, context.record.having(LEFT_OVER)
    if started is None or not (failed or left):
        return []
    heading = "Rerun what failed:" if failed else "Run what is left:"
    names = ",".join(record.group.name for record in failed or left)
    command = f"{context.door} test --groups {shlex.quote(names)}"
    command += " --parallel" if started.parallel else ""
    return ["", paint(heading, BOLD), f"  {paint(printable(command), CYAN)}"]


def _listed(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts if count)


def _figures(context: Context) -> list[str]:
    record, files = context.record, context.files
    tests = Counter(test.status for group in record.groups.values() for test in group.tests)
    figures = [("groups", _listed((status.value, record.statuses[status]) for status in Status))]
    if tests:
        figures.append(("tests", _listed((status.value, tests[status]) for status in TestStatus)))
    figures.append(("total time", seconds(record.makespan)))
    whole = record.finished is not None and not record.finished.stopped_by
    if whole and record.jobs > 1 and record.sequential_time > 0:
        bound = record.lower_bound(record.jobs)
        near = f", and the run took {record.makespan / bound:.2f} × that" if bound else ""
        figures += [
            ("sequential time", seconds(record.sequential_time)),
            ("speedup", f"{record.speedup:.1f} ×"),
            ("lower bound", f"{seconds(bound)} with {record.jobs} jobs{near}"),
        ]
    figures += [("log", context.shown(files.main_log)), ("reports", f"{context.shown(files.run_dir)}/")]
    return ["", *(f"  {paint(f'{label:<15}', DIM)}  {value}" for label, value in figures)]


def _verdict(context: Context) -> str:
    record = context.record
    total, failed = len(record.groups), len(record.failed)
    finished = record.finished
    if finished is None:
        return ""
    if finished.exit_code == ExitCode.OK:
        flaky = record.statuses[Status.FLAKY]
        passed = paint(f"✓ {plural(len(record.succeeded), 'group')} passed", BOLD, GREEN)
        return passed + (f", {flaky} of them only when tried again" if flaky else "")
    said = [f"{failed} of {plural(total, 'group')} failed"] if failed else []
    if finished.stopped_by:
        said.append(f"stopped by {printable(finished.stopped_by)}")
    elif not failed:
        said.append("the run failed")
    return paint(f"✗ {', '.join(said)}", BOLD, RED) + f" (exit code {finished.exit_code})"
