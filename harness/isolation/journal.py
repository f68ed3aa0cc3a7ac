"""The journal of a run's leases: what was about to be made is written down before it is made.

One file a run, `.harness/leases/RUNID-….jsonl`, one JSON object a line, appended. Its run holds a lock on it for as
long as its process lives, however that ends; a journal that can be locked is thus one of a dead run, and whoever has
locked it may take down what it speaks of (sweep.py). A journal in which nothing is left is removed.

A line is on the disk before `making` returns, where the thing could outlive this machine. A line that a crash tore is
the last one, and of a thing that had not been made.

A journal that was copied with its project is nobody's while the first one is there: that run may be alive.
"""

import errno
import fcntl
import os
import re
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from harness.files import PRIVATE_FILE, is_copy, locked
from harness.foreign import decoded
from harness.isolation.lease import Lease

LEASES = Path(".harness", "leases")
"""Where the journals are, in a project."""


class _Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """What happened to a lease. `lease` and `journal`, our own path, come with making, `details` with learned."""

    did: Literal["making", "learned", "released", "kept"]
    token: str
    lease: Lease | None = None
    journal: str = ""
    details: dict[str, str] = {}


_decoder = msgspec.json.Decoder(_Line)
_TOKEN = re.compile(r"[0-9a-f]{12}")  # lease.py: new_token


@dataclass
class Standing:
    """A lease that was made, or was about to be, and not released."""

    lease: Lease
    journal: str = ""  # that speaks of it: the path by which it was made
    kept: bool = False  # because its group failed and somebody wants to look at it


@dataclass
class Journal:
    """An open journal, whose lock this process holds. Any thread may write."""

    path: Path
    _descriptor: int
    standing: dict[str, Standing]  # by token, in the order in which they were made
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(cls, directory: Path, run_id: str) -> "Journal":
        """A new journal. Raises OSError."""
        path = directory / f"{run_id}-{secrets.token_hex(4)}.jsonl"
        with locked(directory):
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        return cls(path, descriptor, {})

    def making(self, lease: Lease, durable: bool) -> None:
        """Before it is made. With `durable` the line is on the disk when this returns. Raises OSError."""
        self.standing[lease.token] = Standing(lease, str(self.path))
        self._write(_Line("making", lease.token, lease, str(self.path)), durable)

    def learned(self, token: str, details: Mapping[str, str]) -> None:
        """What else is needed for its removal. Raises OSError."""
        self._write(_Line("learned", token, details=dict(details)), durable=False)
        _learn(self.standing, token, details)

    def kept(self, token: str) -> None:
        """It stays, though its group has ended. Raises OSError."""
        self._write(_Line("kept", token), durable=True)
        self.standing[token].kept = True

    def released(self, token: str) -> None:
        """It is gone. Raises OSError."""
        # Not durable: a release that is done again does no harm.
        self._write(_Line("released", token), durable=False)
        self.standing.pop(token, None)

    def close(self) -> None:
        """Ends the run, as far as its leases go. What is left in it is for `gc`. Raises OSError."""
        try:
            if not self.standing:
                self.path.unlink(missing_ok=True)
        finally:
            os.close(self._descriptor)

    def _write(self, line: _Line, durable: bool) -> None:
        data = msgspec.json.encode(line) + b"\n"
        with self._lock:
            written = os.write(self._descriptor, data)
            if written < len(data):
                os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            if durable:
                os.fsync(self._descriptor)


@contextmanager
def dead_journals(directory: Path) -> Iterator[list[Journal]]:
    """The journals of runs that have ended, locked until the block is left, so that no two sweeps meet; oldest
    first."""
    found: list[Journal] = []
    try:
        with locked(directory) if directory.is_dir() else nullcontext():
            found += filter(None, map(_lock, sorted(directory.glob("*.jsonl"))))
        yield found
    finally:
        for journal in found:
            with suppress(OSError):  # it can be swept again
                journal.close()


def all_standing(directory: Path) -> dict[str, Standing]:
    """What the journals of all runs speak of, living ones too, by token."""
    found: dict[str, Standing] = {}
    for path in directory.glob("*.jsonl"):
        with suppress(OSError):
            found |= _read(path)
    return found


def _lock(path: Path) -> Journal | None:
    """None: its run lives, or may live, or somebody else sweeps it, or has swept it meanwhile."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        standing = _read(path)
        copied = any(it.journal and is_copy(path, it.journal) for it in standing.values())
        if os.fstat(descriptor).st_nlink and not copied:
            return Journal(path, descriptor, standing)
    except OSError:
        pass
    os.close(descriptor)
    return None


def _read(path: Path) -> dict[str, Standing]:
    """What a journal says is still there."""
    standing: dict[str, Standing] = {}
    for data in path.read_bytes().splitlines():
        try:
            line = decoded(_decoder, data)
        except ValueError:  # also of what is no UTF-8
            continue  # torn by a crash
        if line.did == "making" and line.lease and _is_token(line.token) and line.lease.token == line.token:
            standing[line.token] = Standing(line.lease, line.journal)
        elif line.did == "learned":
            _learn(standing, line.token, line.details)
        elif line.did == "kept" and line.token in standing:
            standing[line.token].kept = True
        elif line.did == "released":
            standing.pop(line.token, None)
    return standing


def _is_token(text: str) -> bool:
    """Directories are named by it, and removed: a journal that somebody else wrote must not name others."""
    return _TOKEN.fullmatch(text) is not None


def _learn(standing: Mapping[str, Standing], token: str, details: Mapping[str, str]) -> None:
    if token in standing:
        known = standing[token].lease
        standing[token].lease = msgspec.structs.replace(known, details=known.details | dict(details))
