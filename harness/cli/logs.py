"""`logs`: which logs the newest run has, or one of them, whole, its end, or as it grows.

Piped, a log comes byte for byte. On a terminal escape sequences and control characters are left out, because a test
may print what reprograms a terminal; --raw lets them through.
"""

import contextlib
import os
import re
import sys
import time
from pathlib import Path
from typing import BinaryIO

import click

from harness.cli.door import Door, log_dir_option, out, pass_door
from harness.cli.runs import Watched, newest
from harness.errors import HarnessError, UsageError
from harness.files import RUN_ID, age, safe_name
from harness.model import part_name
from harness.planning.problems import did_you_mean
from harness.record import GroupRecord
from harness.reporters.text import BOLD, DIM, GLYPHS, harmless, paint, printable
from harness.scheduling.parts import parts_of
from harness.values import quoted

CHUNK = 64 * 1024
POLL = 0.1  # seconds between two looks at a log that grows

EXAMPLES = """\b
Examples:
  ./exec.sh local logs                     the logs of the newest run
  ./exec.sh local logs financial           the newest log of the group financial
  ./exec.sh local logs -f -n 20 financial  its last lines, and what comes, until the group ends
  ./exec.sh local logs -f search/test_a.py of a splittable group, a file that runs
  less "$(./exec.sh local logs --path financial)"
"""


@click.command("logs", epilog=EXAMPLES)
@click.argument("group", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on as it grows, until the group ends.")
@click.option("-n", "--lines", type=click.IntRange(min=0), metavar="N", help="Only the last N lines.")
@click.option("--path", "only_path", is_flag=True, help="Print only where the log is.")
@click.option("--raw", is_flag=True, help="Leave escape sequences in, also on a terminal.")
@log_dir_option
@pass_door
def logs(
    door: Door, group: str | None, follow: bool, lines: int | None, only_path: bool, raw: bool, log_dir: Path | None
) -> int:
    """Show the newest log of a GROUP or service; without one, list the logs of the newest run."""
    watched = newest(door.log_dir(log_dir))
    if group is None:
        if follow or only_path or lines is not None:
            raise UsageError("-f, -n and --path need a GROUP", f"one of them: {', '.join(watched.record.groups)}")
        out().write(index(watched))
        return 0
    if follow:
        wait_for_log(watched, group)
    planned: list[str] = []
    with contextlib.suppress(HarnessError):  # a wrong plan only costs the suggestion
        planned = [each.name for each in door.plan.groups]
    log = find_log(watched, group, planned)
    if only_path:
        click.echo(os.fsencode(log))
        return 0
    writer = Plain() if raw or not sys.stdout.isatty() else Harmless()
    with log.open("rb") as file:
        file.seek(0 if lines is None else offset_of_last(file, lines))
        while True:
            # Asked before reading: all that the group wrote before it ended is then read.
            more = follow and goes_on(watched, group)
            while data := file.read(CHUNK):
                writer.write(data)
            writer.flush(final=not more)
            if not more:
                return 0
            time.sleep(POLL)


def index(watched: Watched) -> list[str]:
    """The logs of a run, with how their groups stand."""
    from tabulate import tabulate

    record = watched.record
    rows = []
    for name, group in record.groups.items():
        if not group.log:
            continue
        glyph, colour = GLYPHS[group.result.status] if group.result else ("▸", DIM)
        word = group.result.status.value if group.result else "running" if watched.is_running else "lost"
        rows.append((paint(f"{glyph} {word}", colour), printable(name), printable(os.path.relpath(group.log))))
    rows += [
        ("service", printable(name), printable(os.path.relpath(service.log)))
        for name, service in record.services.items()
        if service.log
    ]
    rows.append(("all", "", printable(os.path.relpath(watched.files.main_log))))
    table = tabulate(rows, tablefmt="plain", disable_numparse=True)
    return [paint(f"run {watched.files.run_id}", BOLD), *(f"  {line.rstrip()}" for line in table.splitlines())]


def goes_on(watched: Watched, name: str) -> bool:
    """Whether the log of this group, part or service may still grow."""
    watched.update()
    record, group = watched.record, watched.record.groups.get(name)
    grows = name in record.services or name in record.running if group is None else group.result is None
    return watched.is_running and grows


def wait_for_log(watched: Watched, name: str) -> None:
    """Returns when the group has a log, or will not get one any more."""
    group = watched.record.groups.get(name)
    if group is None:
        _wait_for_part(watched, name)
        return
    if group.log or not goes_on(watched, name):
        return
    say(f"waiting for {name} to start …")
    while goes_on(watched, name) and not group.log:
        time.sleep(POLL)
    # The event comes first, then the file.
    while goes_on(watched, name) and not Path(group.log).exists():
        time.sleep(POLL)


def _wait_for_part(watched: Watched, name: str) -> None:
    whole, file = _part(watched, name)
    if whole is None or file in whole.parts or not goes_on(watched, whole.group.name):
        return
    say(f"waiting for {name} to start …")
    while goes_on(watched, whole.group.name) and file not in whole.parts:
        time.sleep(POLL)
    while goes_on(watched, name) and not watched.files.part_log(name).exists():
        time.sleep(POLL)


def _part(watched: Watched, name: str) -> tuple[GroupRecord | None, str]:
    """The group whose part is called that, and the file."""
    for whole in watched.record.groups.values():
        for part in parts_of(whole.group):
            if part.part_of and part.name == name:
                return whole, part.part
    return None, ""


def find_log(watched: Watched, name: str, planned: list[str]) -> Path:
    """The newest log of a group, or the newest run's of a service or of a part, which is its group's once it has ended.

    Raises UsageError where there is none.
    """
    group, service = watched.record.groups.get(name), watched.record.services.get(name)
    log = group.log if group else service.log if service else str(watched.files.part_log(name))
    if log and Path(log).exists():
        return Path(log)
    if group and (running := [part_name(name, part) for part in group.running if part]):
        raise UsageError(
            f"no file of {quoted(name)} has run to its end, and so there is nothing in its log",
            f"each has a log of its own until then: {', '.join(running)}",
        )
    whole, file = _part(watched, name)
    if whole and file in whole.parts and Path(whole.log).exists():
        say(f"{name} has run; what it wrote is in the log of {whole.group.name}")
        return Path(whole.log)
    older = newest_log(watched.files.log_dir, name)
    if older is None:
        known = list(dict.fromkeys([*watched.record.groups, *watched.record.services, *planned]))
        raise UsageError(f"there is no log of {quoted(name)}", did_you_mean(name, set(known) - {name}))
    say(f"{name} has no log in the newest run, {watched.files.run_id}; this is {os.path.relpath(older)}")
    return older


def newest_log(log_dir: Path, name: str) -> Path | None:
    """The newest log of the group in this directory, by the run ids in the names."""
    pattern = re.compile(rf"{re.escape(safe_name(name))}_{RUN_ID}\.log", re.ASCII)
    found = [match for path in log_dir.iterdir() if (match := pattern.fullmatch(path.name))]
    if not found:
        return None
    return log_dir / max(found, key=age).string


def offset_of_last(file: BinaryIO, lines: int) -> int:
    """Where the last so many lines of a file begin; a last line without its newline is one of them."""
    end = file.seek(0, os.SEEK_END)
    if lines == 0 or end == 0:
        return end
    file.seek(end - 1)
    wanted = lines + (file.read(1) == b"\n")  # newlines to pass, that of the last line included
    start = end
    while start > 0:
        size = min(CHUNK, start)
        start -= size
        file.seek(start)
        block = file.read(size)
        if block.count(b"\n") < wanted:
            wanted -= block.count(b"\n")
            continue
        at = len(block)
        for _ in range(wanted):
            at = block.rindex(b"\n", 0, at)
        return start + at + 1
    return 0


class Plain:
    """Bytes to stdout as they are."""

    def write(self, data: bytes) -> None:
        sys.stdout.buffer.write(data)

    def flush(self, *, final: bool) -> None:
        sys.stdout.buffer.flush()


class Harmless:
    """Bytes to a terminal, without what a terminal obeys. A line is held back until it is whole, or far too long."""

    def __init__(self) -> None:
        self._held = b""

    def write(self, data: bytes) -> None:
        whole, newline, self._held = (self._held + data).rpartition(b"\n")
        self._show(whole + newline)
        if len(self._held) > CHUNK:
            self._show(self._held)
            self._held = b""

    def flush(self, *, final: bool) -> None:
        if final:
            self._show(self._held)
            self._held = b""
        sys.stdout.flush()

    def _show(self, data: bytes) -> None:
        lines = map(harmless, data.decode("utf-8", "replace").split("\n"))
        encoding = sys.stdout.encoding
        sys.stdout.write("\n".join(lines).encode(encoding, "backslashreplace").decode(encoding))


def say(message: str) -> None:
    """To stderr: stdout has the log and nothing else."""
    print(f"harness: {printable(message)}", file=sys.stderr, flush=True)
