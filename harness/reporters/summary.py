"""What the console says when a run has ended: the table, the failures, how to rerun them; figures.py has the rest.

Pure but for reading the ends of logs: a finished RunRecord in, lines out.
"""

import re
import shlex

from harness.model import GroupResult, Status, TestResult
from harness.record import FAILED_TESTS, GroupRecord
from harness.reporters.base import Context, Detail
from harness.reporters.figures import figures, verdict
from harness.reporters.tally import tally
from harness.reporters.text import (
    BOLD,
    CYAN,
    DIM,
    GLYPHS,
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

_TESTS_FAILED = re.compile(r"\b\d+ of \d+ tests? failed: ")
LEFT_OVER = frozenset({Status.INTERRUPTED, Status.NOT_RUN})


def glyph_of(result: GroupResult) -> tuple[str, str]:
    """The mark of how a group ended, and its colour: red only for what decides."""
    glyph, colour = GLYPHS[result.status]
    return glyph, YELLOW if result.quarantined else colour


def why(record: GroupRecord) -> str:
    """One line for people: what is to be said of how a group ended, beyond its status."""
    if record.result is None:
        return ""
    excuse = record.result.quarantined
    return ", ".join(filter(None, (_cause(record, record.result), excuse and f"quarantined: {printable(excuse)}")))


def marks(result: GroupResult) -> list[str]:
    """What is to be said of a group apart from its status."""
    return [
        paint(mark, YELLOW)
        for mark, holds in (("leaked", result.leaked), ("contaminates", result.contaminates))
        if holds
    ]


def _cause(record: GroupRecord, result: GroupResult) -> str:
    failed = len(record.failed_tests)
    reason = printable(result.reason)
    if failed:
        counts = f"{failed} of {plural(len(record.tests), 'test')} failed"
        if record.status is not Status.FAILED and reason:
            return f"{reason}, {counts}"
        # The names of the failed tests stand below. What is wrong with the report of the tests, or with a file that has
        # none to name, does not.
        first, *more = reason.split("; ")
        of_a_file = any(first.startswith(printable(file)) for file in record.group.files)
        told = [part for part in ([first] if of_a_file else []) + more if not _TESTS_FAILED.search(part)]
        return "; ".join([counts, *told])
    if reason or not record.tests:
        return reason
    return plural(len(record.tests), "test")


def summary(context: Context) -> list[str]:
    """All of it. The record must have seen RunFinished."""
    lines = ["", paint("Summary", BOLD)]
    lines += _table(context)
    lines += _failures(context)
    lines += _contamination(context)
    lines += _rerun(context)
    lines += figures(context)
    return [*lines, "", verdict(context.record)]


def log_tail(context: Context, log: str, part: str = "") -> list[str]:
    """The end of a log as a quotation, under the path to read on; nothing where there is no log.

    `part` is as in `tail`.
    """
    if not log:
        return []
    path = context.shown(log)
    quoted = [f"    {paint('│', DIM)} {line}".rstrip() for line in tail(context.here / log, TAIL_LINES, part)]
    if not quoted:
        return [f"    {paint('log', DIM)} {path}"]
    return [f"    {paint('the end of', DIM)} {path}", *quoted]


def _table(context: Context) -> list[str]:
    compact = context.detail is Detail.COMPACT
    records = [record for record in context.record.groups.values() if record.result]
    records = [record for record in records if not (compact and _is_plain(record))]
    if not records:
        return []
    from tabulate import tabulate

    retried = any(record.result and record.result.attempts > 1 for record in records)
    noted = any(map(_note, records))
    headers = ["group", "phase", "status", "tests", "duration"]
    headers += ["attempts"] * retried + ["note"] * noted
    rows = []
    for record in records:
        if record.result is None:
            continue
        took = seconds(record.result.duration) if record.attempts else ""
        row = [printable(record.group.name), printable(record.group.phase), _mark(record.result)]
        row += [_counts(record.tests), took]
        row += [str(record.result.attempts or "")] * retried + [_note(record)] * noted
        rows.append(row)
    align = ["left", "left", "left", "right", "right"] + ["right"] * retried + ["left"] * noted
    table = tabulate(rows, headers, tablefmt="simple", disable_numparse=True, colalign=align)
    head, rule, *body = table.split("\n")
    return ["", *(f"  {line.rstrip()}" for line in (paint(head, BOLD), paint(rule, DIM), *body))]


def _is_plain(record: GroupRecord) -> bool:
    """Whether nothing is to be said of it in a summary that is kept short."""
    return record.status is Status.CACHED or (record.status is Status.PASSED and not _note(record))


def _mark(result: GroupResult) -> str:
    glyph, colour = glyph_of(result)
    return paint(f"{glyph} {result.status.value}", colour)


def _counts(tests: list[TestResult]) -> str:
    failed = sum(test.status in FAILED_TESTS for test in tests)
    passed = f"{len(tests)}" if tests else ""
    return f"{paint(f'{failed} failed', RED)} of {passed}" if failed else passed


def _note(record: GroupRecord) -> str:
    """What the other columns do not say; of a failure the section below tells all."""
    if record.result is None:
        return ""
    if record.status is Status.CACHED:
        return f"from run {printable(record.result.cached_from)}"
    if record.result.quarantined:
        note = "in quarantine"
    else:
        note = "" if record.result.status.is_failure else printable(record.result.reason)
    if len(note) > NOTE_LIMIT:
        note = f"{note[:NOTE_LIMIT]}…"
    return ", ".join(filter(None, (*marks(record.result), note)))


def _contamination(context: Context) -> list[str]:
    """What was touched though it belonged to nobody who ran, under the groups that may have done it."""
    lines: list[str] = []
    for record in context.record.groups.values():
        if record.result and record.result.contaminates:
            lines += ["", f"  {paint(printable(record.group.name), BOLD)} {paint('contaminates', YELLOW)}"]
            lines += [f"    {printable(found)}" for found in record.result.contaminates]
    return lines


def _failures(context: Context) -> list[str]:
    """Those that decide first."""
    lines: list[str] = []
    counts = tally(context.record)
    for index, record in enumerate([*counts.failed, *counts.excused]):
        if record.result is None:
            continue
        glyph, colour = glyph_of(record.result)
        title = f"{glyph} {printable(record.group.name)} {record.result.status.value}"
        reason = why(record)
        lines += ["", paint(title, BOLD, colour) + (f": {reason}" if reason else "")]
        for test in record.failed_tests[:LISTED_TESTS]:
            lines.append(f"    {printable(test.id)}")
            if test.message:
                lines.append(f"        {paint(printable(test.message), DIM)}")
        if len(record.failed_tests) > LISTED_TESTS:
            lines.append(f"    … and {len(record.failed_tests) - LISTED_TESTS} more")
        if index < TAILED_GROUPS:
            lines += log_tail(context, record.log, record.failed_part)
        elif record.log:
            lines.append(f"    {paint('log', DIM)} {context.shown(record.log)}")
    return lines


def _rerun(context: Context) -> list[str]:
    started = context.record.started
    failed, left = tally(context.record).failed, context.record.having(LEFT_OVER)
    if started is None or not (failed or left):
        return []
    heading = "Rerun what failed:" if failed else "Run what is left:"
    names = ",".join(record.group.name for record in failed or left)
    ways = {heading: f"--groups {shlex.quote(names)}"}
    if failed and left:
        ways["Rerun that, and what is left:"] = "--last-failed"
    parallel = " --parallel" if started.parallel else ""
    lines = []
    for title, selection in ways.items():
        # What printable would change is written so that a shell reads the same: ## stands in quotes, and these join it.
        command = f"{context.door} test {selection}{parallel}".replace("##", "#''#")
        lines += ["", paint(title, BOLD), f"  {paint(printable(command, None), CYAN)}"]
    return lines
