"""The runs in a log directory, as another process finds them: for `logs`, `status` and `clean`.

Protocol: `Watched(files)` reads a run's events.jsonl; `update` reads on from where the last one stopped, so a run that
goes on can be followed. Only whole lines are read: the last one may be being written.

It must not write anything, and it asks a running harness nothing.
"""

import time
from collections.abc import Iterator
from pathlib import Path

from harness.errors import InfrastructureError, UsageError
from harness.events import RunStarted, decode
from harness.files import RunFiles, all_runs
from harness.record import RunRecord

CLOCK_SLACK = 2.0  # seconds; a process's birth is known to a hundredth of a second, the wall clock may be corrected
JUST_BEGUN = 60.0  # seconds that a run may have its directory and no event yet


def newest(log_dir: Path) -> "Watched":
    """The run that was started last. Raises UsageError where there is none."""
    try:
        runs = all_runs(log_dir)
    except OSError as error:
        raise UsageError(
            f"the logs cannot be read: {error.strerror}", f"{log_dir} should be their directory"
        ) from error
    if not runs:
        raise UsageError(f"there is no run in {log_dir} yet", "the command `test` makes one")
    return Watched(runs[0])


class Watched:
    """A run of this or another process: its files, and its record so far."""

    def __init__(self, files: RunFiles) -> None:
        self.files = files
        self.record = RunRecord()
        self._offset = 0
        self._lines = 0
        self.update()

    def update(self) -> None:
        """Brings the record up to date. Raises InfrastructureError where the journal is damaged."""
        for line in self._new_lines():
            self._lines += 1
            try:
                self.record.apply(decode(line))
            except (ValueError, KeyError) as error:
                raise InfrastructureError(
                    f"{self.files.events}:{self._lines}: not an event of this harness: {error}",
                    "The run was made by another version, or the file is damaged; the logs beside it are still good.",
                ) from error

    def _new_lines(self) -> Iterator[bytes]:
        try:
            file = self.files.events.open("rb")
        except FileNotFoundError:  # the run has its directory, and nothing yet in it
            return
        with file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield line

    @property
    def is_running(self) -> bool:
        """Whether it goes on: it has not ended, and the harness that runs it lives."""
        return self.record.finished is None and is_alive(self.files)


def is_alive(files: RunFiles) -> bool:
    """Whether the harness of this run lives. Reads one line, whatever stands in the others."""
    try:
        with files.events.open("rb") as file:
            first = decode(file.readline())
    except (OSError, ValueError):
        return time.time() - files.run_dir.stat().st_mtime < JUST_BEGUN
    return isinstance(first.data, RunStarted) and _has_lived_since(first.data.pid, first.time)


def _has_lived_since(pid: int, moment: float) -> bool:
    """Whether the process of wall time `moment` is still there, and not another one that has got its number since."""
    import psutil

    try:
        process = psutil.Process(pid)
        return bool(process.create_time() <= moment + CLOCK_SLACK and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
