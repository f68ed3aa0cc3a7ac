"""Locks between processes: flock on files, and a number of places of which each has one holder.

A lock belongs to the opened file, so threads that open it anew exclude one another like processes, and the kernel frees
it when its holder dies, however it dies. Nothing here needs a daemon, and nothing has to be cleaned up after a crash.

Runs under the users' interpreter: the standard library only, Python 3.8 or later. Knows nothing of tests or budgets.
"""

from __future__ import annotations

import os
import random
import weakref
from collections.abc import Generator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

HAS_FLOCK = fcntl is not None
POLL = 0.005
"""Seconds after which who waits for a place looks again."""

_opened: weakref.WeakSet[Lock] = weakref.WeakSet()


class Lock:
    """A file to be locked. Opened at once, and closed on exec and in a forked child, unless `pass_on` was called.

    Raises OSError where the file cannot be made, and NotImplementedError where the system has no flock.
    """

    def __init__(self, path: Path) -> None:
        if not HAS_FLOCK:
            raise NotImplementedError("this system has no flock, and without it processes cannot wait for one another")
        self._path = path
        self._open()
        _opened.add(self)

    def _open(self) -> None:
        self._process = os.getpid()
        self.descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        self._identity = self._identify()

    def _identify(self) -> tuple[int, int]:
        status = os.fstat(self.descriptor)
        return status.st_dev, status.st_ino

    def is_open(self) -> bool:
        """Whether the descriptor is still ours: a test may close all there are, and open files of its own."""
        try:
            return self._identify() == self._identity
        except OSError:
            return False

    def reopen(self) -> None:
        """Makes it usable again after somebody closed it."""
        if not self.is_open():
            self._open()

    def take(self, *, shared: bool = False) -> None:
        """Waits until it is ours. Handlers of signals run meanwhile."""
        fcntl.flock(self.descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)

    def try_take(self, *, shared: bool = False) -> bool:
        """Takes it if nobody holds it."""
        try:
            fcntl.flock(self.descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def let_go(self) -> None:
        """Of the lock, not of the file. In a forked child: nothing, for the lock is still its parent's."""
        # Said to the kernel and not left to `close`: a child that Python did not fork has the file open as well.
        if self._process == os.getpid() and self.is_open():
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Lets go of the lock and the file. A second time: nothing."""
        self.let_go()
        if self.is_open():
            os.close(self.descriptor)
        self._identity = (-1, -1)

    def pass_on(self) -> None:
        """Lets what this process becomes by exec hold the lock, until that and all its children have ended."""
        os.set_inheritable(self.descriptor, True)

    def stay_behind(self) -> None:
        """In a forked child: with the file open, it would hold the lock after its parent's death."""
        if self.is_open() and not os.get_inheritable(self.descriptor):
            self.close()


def _leave_behind() -> None:
    for lock in list(_opened):
        lock.stay_behind()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_leave_behind)


def take_place(directory: Path, count: int, *, blocking: bool) -> Generator[float, None, Lock]:
    """Takes one of `count` places. Yields seconds to wait before going on, and returns the lock of the place.

    Those who wait stand at a gate, and one of them looks for a place, so that a hundred who wait cost no more than one.
    With `blocking` the time at the gate is spent inside, at no cost; otherwise in the caller's hands like the rest. Who
    came first is not always served first.
    """
    gate = Lock(directory / "gate")
    try:
        if blocking:
            gate.take()
        while not gate.try_take():
            yield POLL
        first = random.randrange(count)  # so that they do not all try the places in the same order
        while True:
            for number in range(count):
                place = Lock(directory / f"place-{(first + number) % count}")
                if place.try_take():
                    return place
                place.close()
            yield POLL
    finally:
        gate.close()
