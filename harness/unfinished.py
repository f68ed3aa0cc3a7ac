"""The runs of a project that have not come to their end: one file each, locked for as long as anybody attends to it.

`.harness/runs/RUNID-….json` is made when a run begins, and removed once all that the run leaves behind is whole. The
lock is the harness's, and its guardian's, who has it from there. A file that can be locked is thus one of a run that
both have left, and whoever has locked it may finish that run (recovery.py).

Files are made and looked for under the lock of their directory, so nobody sees one that is not yet locked.
"""

import fcntl
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.files import PRIVATE_FILE, RunFiles, locked
from harness.foreign import decoded

UNFINISHED = Path(".harness", "runs")
"""Where they are, in a project."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed to finish a run. Paths are absolute."""

    run_id: str
    log_dir: str
    project: str
    test_root: str
    here: str  # where the user stands
    door: str  # how a command to copy begins
    history_runs: int
    writer: str  # what its temporary files are called by (files.py)

    @property
    def files(self) -> RunFiles:
        return RunFiles(Path(self.log_dir), self.run_id)


_decoder = msgspec.json.Decoder(Facts)


@dataclass(frozen=True)
class Unfinished:
    """A run to which this process attends."""

    facts: Facts
    path: Path
    lock: int  # the descriptor that holds it; whoever inherits it holds it too

    def finished(self) -> None:
        """All that it leaves behind is whole. Raises OSError."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        os.close(self.lock)


def begin(facts: Facts) -> Unfinished:
    """Raises OSError."""
    directory = Path(facts.project, UNFINISHED)
    with locked(directory):
        path = directory / f"{facts.run_id}-{secrets.token_hex(4)}.json"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.write(descriptor, msgspec.json.encode(facts))
        except BaseException:
            path.unlink()
            os.close(descriptor)
            raise
    return Unfinished(facts, path, descriptor)


def attend(path: Path, lock: int) -> Unfinished | None:
    """What another process has begun, by the lock that is inherited from there. None: it has been finished."""
    facts = _facts(lock) if path.exists() else None
    return Unfinished(facts, path, lock) if facts else None


def abandoned(project: Path) -> list[Unfinished]:
    """Those to which nobody attends any more, the oldest first; from now on we do. Raises OSError."""
    directory = Path(project, UNFINISHED)
    if not directory.is_dir():
        return []
    with locked(directory):
        found = []
        for path in sorted(directory.glob("*.json")):
            descriptor = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
            else:
                if facts := _facts(descriptor):
                    found.append(Unfinished(facts, path, descriptor))
                else:  # whoever began it died before it was written, and so before anything else
                    path.unlink()
                    os.close(descriptor)
        return found


def _facts(descriptor: int) -> Facts | None:
    try:
        return decoded(_decoder, os.pread(descriptor, os.fstat(descriptor).st_size, 0))
    except ValueError:
        return None
