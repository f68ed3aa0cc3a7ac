"""Which children are ours, and the end of those that are not.

While we are a subreaper (warm.py), what a test leaves behind becomes our child. Whoever waits for the end of such a
process by its pid, a daemon that a test has stopped, waits until it is reaped; so that is done soon, as init does.

`starting` is held around the start of every child of our own: whatever else is our child is a stray. While anything is
started, nothing is reaped as one. `none_starting` holds such starts back.
"""

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_LOOK_AGAIN = 0.05  # seconds: nothing tells of the end of a child of which we do not know
_lock = threading.Condition()
_ours: Counter[int] = Counter()  # a pid may be another's before we hear that it has ended
_starts = 0  # of children of our own that are under way
_held_back = False  # those to come wait


@contextlib.contextmanager
def starting() -> Iterator[Callable[[int], None]]:
    """Yields what to tell the pid of a child of our own."""
    global _starts
    with _lock:
        _lock.wait_for(lambda: not _held_back)
        _starts += 1
    try:
        yield _remember
    finally:
        with _lock:
            _starts -= 1
            _lock.notify_all()


@contextlib.contextmanager
def none_starting() -> Iterator[None]:
    """No child of our own is being started in the block: what was under way is over, what is to come waits."""
    global _held_back
    with _lock:
        _held_back = True
        _lock.wait_for(lambda: not _starts)
    try:
        yield
    finally:
        with _lock:
            _held_back = False
            _lock.notify_all()


def _remember(pid: int) -> None:
    with _lock:
        _ours[pid] += 1


def reaped(pid: int) -> None:
    """A child of our own is no more."""
    with _lock:
        _ours[pid] -= 1
        if _ours[pid] <= 0:
            del _ours[pid]


class Adoption:
    """What descendants leave behind becomes our child, from `begin` to `end`, and is reaped: prctl(2). Linux only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> bool:
        """Once or more. Whether the system lets us."""
        with self._lock:
            if not self._thread:
                if not _be_subreaper(1):
                    return False
                self._thread = threading.Thread(target=self._work, name="strays", daemon=True)
                self._thread.start()
            return True

    def end(self) -> None:
        with self._lock:
            if self._thread:
                self._over.set()
                self._thread.join()
                _be_subreaper(0)

    def _work(self) -> None:
        while not self._over.wait(_LOOK_AGAIN):
            _reap_strays()


def _be_subreaper(answer: int) -> bool:
    import ctypes  # only when it is needed

    return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, answer, 0, 0, 0) == 0)


def _reap_strays() -> None:
    try:
        # Whatever is adopted becomes a child of the main thread.
        pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    except OSError:  # a kernel without it
        return
    with _lock:
        for pid in map(int, pids) if not _starts else ():
            if pid not in _ours:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
