"""Stops all that attempts run, and lets it go on: what Ctrl-Z means for processes that it does not reach.

Attempts run in sessions of their own, so the terminal's signal never gets to them. Whoever starts a leader says whether
it stops with the run (`joined`); a service does not, because who pauses a run may want to look into its database.
Stopped is every process of these sessions, in whichever process group, and what else bears the marks of an attempt.

While the run stands still no child is started, and the run's clock (clock.py) stands still as well.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness import clock
from harness.process import strays
from harness.process.bearers import Marks, bearers

if TYPE_CHECKING:
    import psutil

_STOPPED = ("stopped", "tracing-stop", "zombie", "dead")  # as psutil calls them
_STOPS_WITHIN = 0.1  # seconds: somebody in a system call may not hear us before its end
_LOOK_AGAIN = 0.001  # seconds
_lock = threading.Lock()
_leaders: set[int] = set()  # of sessions that stop with the run; not reaped, so their pids mean nobody else


def joined(pid: int) -> None:
    """A session that stops with the run. Call it before `starting` (strays.py) is over."""
    with _lock:
        _leaders.add(pid)


def left(pid: int) -> None:
    """Its leader is about to be reaped."""
    with _lock:
        _leaders.discard(pid)


@contextlib.contextmanager
def standing_still(marks: Marks) -> Iterator[None]:
    """Nothing of the attempts of a run moves in the block. `marks` are the variables that all of them bear, and
    nothing else does. From any thread, one at a time."""
    with strays.none_starting():
        clock.pause()
        try:
            _stop(marks)
            yield
        finally:
            clock.resume()
            _continue(marks)


def _stop(marks: Marks) -> None:
    """Again and again, until a look finds nobody new: who was not stopped yet may have forked meanwhile."""
    import psutil

    told: set[psutil.Process] = set()
    while new := [process for process in _members(marks) if process not in told]:
        for process in new:
            with contextlib.suppress(psutil.Error):  # it is gone, or another user's
                process.send_signal(signal.SIGSTOP)
                _await_stop(process)
        told.update(new)


def _await_stop(process: "psutil.Process") -> None:
    """A shell with job control must not see that its child was stopped: it would go on without it."""
    limit = time.monotonic() + _STOPS_WITHIN
    while process.status() not in _STOPPED and time.monotonic() < limit:
        time.sleep(_LOOK_AGAIN)


def _continue(marks: Marks) -> None:
    import psutil

    for process in reversed(_members(marks)):
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGCONT)


def _members(marks: Marks) -> list["psutil.Process"]:
    with _lock:
        leaders = frozenset(_leaders)
    return bearers(marks, leaders)
