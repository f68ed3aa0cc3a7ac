"""Which children are ours, and the end of those that are not.

While we are a subreaper (warm.py), what a test leaves behind becomes our child. Whoever waits for the end of such a
process by its pid, a daemon that a test has stopped, waits until it is reaped; so that is done at once, as init does.

`starting` is held around the start of every child of our own: whatever else is our child is a stray.
"""

import contextlib
import ctypes
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_LOOK_AGAIN = 0.05  # seconds
_lock = threading.Lock()
_ours: Counter[int] = Counter()  # a pid may be another's before we hear that it has ended


@contextlib.contextmanager
def starting() -> Iterator[Callable[[int], None]]:
    """Nothing is reaped as a stray in here. Yields what to tell the pid of a child of our own."""

    def ours(pid: int) -> None:
        _ours[pid] += 1

    with _lock:
        yield ours


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

    def begin(self) -> None:
        """Once or more."""
        with self._lock:
            if not self._thread:
                _be_subreaper(1)
                self._thread = threading.Thread(target=self._work, name="strays", daemon=True)
                self._thread.start()

    def end(self) -> None:
        with self._lock:
            if self._thread:
                self._over.set()
                self._thread.join()
                _be_subreaper(0)

    def _work(self) -> None:
        while not self._over.wait(_LOOK_AGAIN):
            _reap_strays()


def _be_subreaper(answer: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, answer, 0, 0, 0)


def _reap_strays() -> None:
    try:
        # Whatever is adopted becomes a child of the main thread.
        pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    except OSError:  # a kernel without it
        return
    for pid in map(int, pids):
        with _lock:
            if pid not in _ours:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
