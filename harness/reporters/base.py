"""What a reporter is, and what all of them are handed.

Protocol: a reporter gets every event of a run once, in order, from one thread, after the shared RunRecord has been
brought up to date; live output comes the same way. At the end it is closed, also when the run was cut short.

A reporter must not change the record, read the environment of the process, or know another reporter.
"""

import functools
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Protocol, TextIO

from harness.events import Stamped
from harness.files import RunFiles
from harness.record import RunRecord
from harness.reporters.text import printable

_QUARTER = 900  # seconds


class Detail(StrEnum):
    """How much the console says."""

    COMPACT = "compact"  # failures and the summary
    NORMAL = "normal"
    VERBOSE = "verbose"  # and the groups' output as it comes


@dataclass(frozen=True)
class Context:
    """What reporters are made from. Whoever makes it has read the environment; they do not."""

    files: RunFiles
    record: RunRecord
    stream: TextIO  # the console
    colour: bool
    detail: Detail
    here: Path  # where the user stands: paths below it are shown relative to it
    door: str  # how a command to copy begins: "./exec.sh local"
    step_summary: Path | None = None  # GITHUB_STEP_SUMMARY
    workspace: Path | None = None  # GITHUB_WORKSPACE, the root of the checkout
    test_root: Path | None = None  # absolute; what the ids of pytest's tests are relative to

    def shown(self, path: Path | str) -> str:
        """A path as the user would type it from where they stand, made printable."""
        path = Path(path)
        return printable(str(path.relative_to(self.here) if path.is_relative_to(self.here) else path))


class Reporter(Protocol):
    name: ClassVar[str]
    durable: ClassVar[bool]  # people and machines rely on what it leaves: its failure changes the exit code

    def handle(self, stamped: Stamped) -> None: ...

    def output(self, group: str, data: bytes) -> None: ...

    def close(self) -> None: ...


class Quiet:
    """Base of reporters that do nothing with live output, or have nothing to close."""

    def output(self, group: str, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass


def iso_time(seconds: float) -> str:
    """Wall time as ISO 8601 with the local offset."""
    return datetime.fromtimestamp(seconds, _offset(int(seconds // _QUARTER))).isoformat(timespec="milliseconds")


@functools.lru_cache
def _offset(quarter: int) -> tzinfo | None:
    """The local offset in a quarter of an hour: it changes at the beginning of one, and the C library reads
    /etc/localtime whenever it is asked."""
    return datetime.fromtimestamp(quarter * _QUARTER).astimezone().tzinfo
