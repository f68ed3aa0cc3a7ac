"""`status`: the newest run, seen from another terminal while it runs or after it.

Reads the run's journal and nothing else; the exit code says only whether that could be done.
"""

import os
import time
from datetime import datetime
from pathlib import Path

import click

from harness.cli.door import Door, log_dir_option, out, pass_door
from harness.cli.runs import Watched, newest
from harness.model import Status
from harness.record import GroupRecord
from harness.reporters.text import BOLD, CYAN, DIM, GLYPHS, GREEN, RED, YELLOW, paint, plural, printable, seconds
from harness.scheduling.parts import parts_of

RUNNING = ("▸", CYAN, "running")
WAITING = ("·", DIM, "waiting")
RESTING = ("↻", YELLOW, "waiting")  # between two attempts
LOST = (*GLYPHS[Status.LOST], Status.LOST.value)


@click.command("status", epilog="\b\nExample:\n  watch -n 1 ./exec.sh local status")
@log_dir_option
@pass_door
def status(door: Door, log_dir: Path | None) -> int:
    """Show how the newest run stands: its groups, their status, elapsed time and current test."""
    watched = newest(door.log_dir(log_dir))
    out().write(overview(watched, now=time.time()))
    return 0


def overview(watched: Watched, now: float) -> list[str]:
    """The lines to show at wall time `now`."""
    from tabulate import tabulate

    alive = watched.is_running
    lines = [paint(f"run {watched.files.run_id}", BOLD) + f": {verdict(watched, alive, now)}"]
    record = watched.record
    if record.started:
        how = f"{plural(record.jobs, 'group')} at a time" if record.started.parallel else "one group at a time"
        lines.append(f"  {printable(record.started.environment)}, {how}, {progress(watched)}")
    services = [
        f"  service {printable(name)}: {paint(printable(service.failure), RED)}"
        for name, service in record.services.items()
        if service.failure
    ]
    rows = [_row(group, record.started_at, now if alive else None) for group in record.groups.values()]
    table = tabulate(rows, ["group", "status", "elapsed", "note"], tablefmt="plain", disable_numparse=True)
    lines += [*services, "", *(f"  {line.rstrip()}" for line in table.splitlines())] if rows else services
    return [*lines, "", f"  {paint('log', DIM)} {printable(os.path.relpath(watched.files.main_log))}"]


def verdict(watched: Watched, alive: bool, now: float) -> str:
    """How the run as a whole stands, in a few words."""
    record = watched.record
    if record.finished:
        code = record.finished.exit_code
        when = _clock(record.started_at + record.finished.duration)
        stopped = f", stopped by {printable(record.finished.stopped_by)}" if record.finished.stopped_by else ""
        words = paint("passed", GREEN) if code == 0 else paint(f"ended with exit code {code}", RED)
        return f"{words} at {when} after {seconds(record.finished.duration)}{stopped}"
    if not record.started:
        return "has not begun"
    if alive:
        return (
            f"{paint('running', CYAN)} for {seconds(max(0.0, now - record.started_at))} (process {record.started.pid})"
        )
    return f"{paint('died', RED)} after {seconds(record.elapsed)}: its process {record.started.pid} is gone"


def _clock(moment: float) -> str:
    try:
        return datetime.fromtimestamp(moment).strftime("%H:%M:%S")
    except (OverflowError, OSError, ValueError):  # the journal may hold anything
        return "no time that there is"


def progress(watched: Watched) -> str:
    """How many groups have ended, and how."""
    counts = watched.record.statuses
    ended = f"{counts.total()} of {plural(len(watched.record.groups), 'group')} ended"
    parts = [f"{count} {status.value}" for status, count in counts.items()]
    return f"{ended} ({', '.join(parts)})" if parts else ended


def _row(group: GroupRecord, started_at: float, now: float | None) -> tuple[str, str, str, str]:
    """`now` is None where the run is over: what was running then has been lost."""
    note, elapsed = "", None
    if group.result:
        glyph, colour, word = *GLYPHS[group.result.status], group.result.status.value
        elapsed = group.result.duration if group.attempts else None
        note = group.result.reason
    elif not group.running and not group.attempts:
        glyph, colour, word = WAITING
    elif now is None:
        glyph, colour, word = LOST
    elif not group.running:
        glyph, colour, word = RESTING
        last = group.attempts[-1]
        note = _ended_parts(group) or f"attempt {last.attempt}: {last.reason}; tries again"
    else:
        glyph, colour, word = RUNNING
        began = min(part.running_since or 0.0 for part in group.running.values())
        elapsed = now - (group.started_at if _has_parts(group) and group.started_at else started_at + began)
        note = ", ".join(filter(None, (*(part.current_test for part in group.running.values()), _ended_parts(group))))
    took = "" if elapsed is None else seconds(max(0.0, elapsed))
    return printable(group.group.name), paint(f"{glyph} {word}", colour), took, printable(note)


def _has_parts(group: GroupRecord) -> bool:
    return len(parts_of(group.group)) > 1


def _ended_parts(group: GroupRecord) -> str:
    """How many of its files have run, of a group whose files do so one by one."""
    parts = len(parts_of(group.group))
    ended = sum(part.running_since is None for part in group.parts.values())
    return f"{ended} of {parts} files have run" if parts > 1 else ""
