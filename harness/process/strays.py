"""Which children are ours, and the end of those that are not.

While we are a subreaper, what our descendants leave behind becomes our child. Whoever waits for the end of such a
process by its pid, a daemon that a test has stopped, waits until it is reaped; so that is done soon, as init does.

`starting` is held around the start of every child of our own: whatever else is our child is a stray. While anything is
started, nothing is reaped as one. `none_starting` holds such starts back.
"""

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from io import FileIO

from harness import threads
from harness.process.bearers import describe
from harness.process.sessions import Sessions

_PR_SET_CHILD_SUBREAPER = 36
_LOOK_AGAIN = 0.05  # seconds: nothing tells of the end of a child of which we do not know
_LIMIT = 5.0  # seconds that what was killed has to be gone
_MOST_READ = 64 * 1024  # bytes
_lock = threading.Condition()
_ours: Counter[int] = Counter()  # a pid may be another's before we hear that it has ended
_starts = 0  # of children of our own that are under way
_holding_back = 0  # who wants those to come to wait
_told: Sessions | None = None  # where the guardian would look for them


@contextlib.contextmanager
def starting() -> Iterator[Callable[[int, float], None]]:
    """Yields what to tell the pid of a child of our own that leads a session, and its grace in seconds."""
    global _starts
    with _lock:
        _lock.wait_for(lambda: not _holding_back)
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
    global _holding_back
    with _lock:
        _holding_back += 1
        _lock.wait_for(lambda: not _starts)
    try:
        yield
    finally:
        with _lock:
            _holding_back -= 1
            _lock.notify_all()


def _remember(pid: int, grace: float) -> None:
    with _lock:
        _ours[pid] += 1
    if _told:
        _told.add(pid, grace)


def killed(pid: int) -> None:
    """What it led was killed. To be called before it is reaped: then its number may be another's."""
    if _told:
        _told.remove(pid)


def reaped(pid: int) -> None:
    """A child of our own is no more."""
    with _lock:
        _ours[pid] -= 1
        if _ours[pid] <= 0:
            del _ours[pid]


@contextlib.contextmanager
def told(sessions: Sessions) -> Iterator[None]:
    """Whatever is started meanwhile stands in `sessions` for as long as it is there."""
    global _told
    _told = sessions
    try:
        yield
    finally:
        _told = None


class Adoption:
    """What descendants leave behind becomes our child, from `begin` to `end`, and is reaped: prctl(2). Linux only."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._children: FileIO | None = None  # as the kernel lists them; None: it does not

    def begin(self) -> None:
        """Without effect where the system does not let us. Raises InfrastructureError where no thread can be had."""
        if _be_subreaper(1):
            self._children = _list_of_children()
            self._thread = threads.start(self._work, name="strays")

    @property
    def is_on(self) -> bool:
        return self._thread is not None

    @property
    def has_any(self) -> bool:
        """Whether anything is left behind: then one of them is our child. False where nothing is adopted."""
        if not self._thread:
            return False
        with _lock:
            if not _unknown(self._children):
                return False
        # What another attempt starts is unknown as well, until it is told: nobody could tell it from what is left.
        with none_starting(), _lock:
            return bool(_unknown(self._children))

    def end(self) -> tuple[int, list[str]]:
        """Kills what is left behind, and takes in no more. Once more is no harm.

        Returns how many there were, and those that could not be killed, for people.
        """
        if not self._thread:
            return 0, []
        self._over.set()
        self._thread.join()
        self._thread = None
        killed, immortal = _kill_strays(self._children)
        if self._children:
            self._children.close()
        _be_subreaper(0)
        return len(killed), immortal

    def _work(self) -> None:
        while not self._over.wait(_LOOK_AGAIN):
            _reap_strays(self._children)


def _be_subreaper(answer: int) -> bool:
    import ctypes  # only when it is needed

    try:
        return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, answer, 0, 0, 0) == 0)
    except AttributeError:  # no Linux
        return False


def _list_of_children() -> FileIO | None:
    """Living and dead, of the main thread: whatever is adopted becomes a child of that. None: a kernel without it."""
    try:
        return FileIO(f"/proc/self/task/{os.getpid()}/children")
    except OSError:
        return None


def _unknown(children: FileIO | None) -> list[int]:
    """What is left behind, or is being started. To be called under the lock."""
    # Read again and again, for every attempt ends with such a look, and to open it takes five times as long.
    told, more = b"", b" "
    while children and more:  # it comes a page at a time
        more = os.pread(children.fileno(), _MOST_READ, len(told))
        told += more
    return [pid for pid in map(int, told.split()) if pid not in _ours]


def _strays(children: FileIO | None) -> list[int]:
    """Living and dead; none while anything is started, since it could be that. To be called under the lock."""
    return [] if _starts else _unknown(children)


def _reap_strays(children: FileIO | None) -> None:
    with _lock:
        for pid in _strays(children):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _kill_strays(children: FileIO | None) -> tuple[set[int], list[str]]:
    """Each may leave its own children to us, so again and again."""
    seen: set[int] = set()
    immortal: dict[int, str] = {}  # other users'
    limit = time.monotonic() + _LIMIT
    while time.monotonic() < limit:
        _reap_strays(children)
        with _lock:
            pids = [pid for pid in _strays(children) if pid not in immortal]
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)  # it is not reaped, so it is no other's
                except PermissionError:
                    import psutil

                    immortal[pid] = describe(psutil.Process(pid))
        if not pids:
            break
        seen.update(pids)
        time.sleep(_LOOK_AGAIN / 10)
    return seen - immortal.keys(), list(immortal.values())
