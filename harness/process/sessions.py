"""Which sessions of ours there are, in a file that outlives us: for the guardian, who has to end them if we die.

A slot each: the leader and the seconds that it has between SIGTERM and SIGKILL. The file has no name, so it is gone
with the last process that has it open, and nothing has to be sent or received while all is well.

What a full disk keeps from being written there is found by its marks alone (bearers.py): that is no reason to fail a
process which has been started already.
"""

import contextlib
import os
import struct
import tempfile
import threading
from pathlib import Path

_SLOT = struct.Struct("=id")
_FREE = _SLOT.pack(0, 0.0)


class Sessions:
    """Thread-safe. A leader is added as soon as it is there, and removed before it is reaped."""

    def __init__(self, directory: Path) -> None:
        """The file is made in this directory. Raises OSError.

        Not in that for temporary files: to find it, Python tries it out by a file, which a kill in that moment leaves.
        Where the file has to have a name for a moment, it is one that recovery removes (files.py).
        """
        self._file = tempfile.TemporaryFile(  # noqa: SIM115 - closed by `close`
            prefix=".sessions-", suffix=".tmp", dir=directory, buffering=0
        )
        self._lock = threading.Lock()
        self._free: list[int] = []
        self._slots: dict[int, int] = {}  # by leader

    def fileno(self) -> int:
        return self._file.fileno()

    def add(self, leader: int, grace: float) -> None:
        with self._lock:
            slot = self._free.pop() if self._free else len(self._slots)
            self._slots[leader] = slot
            self._write(_SLOT.pack(leader, grace), slot)

    def remove(self, leader: int) -> None:
        """Without effect for one that is not there."""
        with self._lock:
            if (slot := self._slots.pop(leader, None)) is not None:
                self._free.append(slot)
                self._write(_FREE, slot)

    def _write(self, data: bytes, slot: int) -> None:
        with contextlib.suppress(OSError):
            os.pwrite(self._file.fileno(), data, slot * _SLOT.size)

    def close(self) -> None:
        self._file.close()


def read_sessions(descriptor: int) -> dict[int, float]:
    """Leader -> grace."""
    data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    whole = len(data) - len(data) % _SLOT.size
    return {leader: grace for leader, grace in _SLOT.iter_unpack(data[:whole]) if leader}
