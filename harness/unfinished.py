"""The runs of a project that have not come to their end: one file each, locked for as long as anybody attends to it.

`.harness/runs/RUNID-….json` is made when a run begins, and removed once all that the run leaves behind is whole. The
lock is the harness's, and its guardian's, who has it from there. A file that can be locked is thus one of a run that
both have left, and whoever has locked it may finish that run (recovery.py).

Files are made and looked for under the lock of their directory, so nobody sees one that is not yet locked.

A project may be moved or copied with them. Moved, its runs are finished where they are now. A copy has no lock; but
while the file from which it was made is there, the run is that one's, and may be alive.
"""

import fcntl
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.files import PRIVATE_FILE, RunFiles, is_copy, locked
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

    def moved_to(self, project: Path) -> "Facts":
        """As they are where the project is `project`."""

        def moved(path: str) -> str:
            inside = Path(path).is_relative_to(self.project)
            return str(project / Path(path).relative_to(self.project)) if inside else path

        return msgspec.structs.replace(
            self,
            project=str(project),
            log_dir=moved(self.log_dir),
            test_root=moved(self.test_root),
            here=moved(self.here),
        )


_decoder = msgspec.json.Decoder(Facts)


@dataclass(frozen=True)
class Unfinished:
    """A run to which this process attends."""

    facts: Facts
    path: Path
    lock: int  # the descriptor that holds it; whoever inherits it holds it too
    run_dir: str  # as its processes know it

    @property
    def is_elsewhere(self) -> bool:
        """Its project has been moved: whoever starts there next finishes it."""
        return not self.path.exists() and os.fstat(self.lock).st_nlink > 0

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
    return Unfinished(facts, path, descriptor, str(facts.files.run_dir))


def attend(path: Path, lock: int) -> Unfinished | None:
    """What another process has begun, by the lock that is inherited from there. None: it was never written."""
    facts = _facts(lock)
    return Unfinished(facts, path, lock, str(facts.files.run_dir)) if facts else None


def abandoned(project: Path, warn: Callable[[str], None]) -> list[Unfinished]:
    """Those to which nobody attends any more, the oldest first; from now on we do. Raises OSError.

    `warn` is told of each file that cannot be read, as of another user or another version: the others are none the
    worse for it.
    """
    directory = Path(project, UNFINISHED)
    if not directory.is_dir():
        return []
    found = []
    with locked(directory):
        for path in sorted(directory.glob("*.json")):
            try:
                run = _taken(path, project)
            except (OSError, ValueError) as error:
                why = error.strerror if isinstance(error, OSError) else f"not of this version of the harness: {error}"
                warn(f"cannot see which run {path} is of, and whether that has died: {why}; remove it if it has")
            else:
                found += [run] if run else []
    return found


def _taken(path: Path, project: Path) -> Unfinished | None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        facts = _facts(descriptor)
        if facts and not is_copy(path, Path(facts.project, UNFINISHED, path.name)):
            run_dir = str(facts.files.run_dir)
            return Unfinished(facts.moved_to(project), path, os.dup(descriptor), run_dir)
        if not facts:  # whoever began it died before it was written, and so before anything else
            path.unlink()
    except BlockingIOError:
        pass
    finally:
        os.close(descriptor)
    return None


def _facts(descriptor: int) -> Facts | None:
    """None: they were not written to their end. Raises ValueError for anything else."""
    data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    return decoded(_decoder, data) if data.endswith(b"}") else None
