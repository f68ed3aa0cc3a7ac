"""What the kernel tells of the end of a process, and of what its group leaves. Only for children that are not reaped.

Where there is no pidfd (macOS, an old kernel) one thread a process waits in its stead; where there is no /proc, nothing
is known of survivors.
"""

import contextlib
import errno
import os
import select
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

_LOWEST_PRIORITY = 19


def has_survivors(leader: int) -> bool:
    """Whether anything lives in the process group of `leader`, which has ended and is not reaped.

    A walk over /proc would double the cost of a short process, so it is made only if there is more in the group than
    the leader, living or dead: the leader, dead, gets the lowest priority, and a group's priority is that of its best
    member. (A harness that has the lowest priority itself sees no survivors.)
    """
    if sys.platform != "linux":
        return False
    try:
        os.setpriority(os.PRIO_PROCESS, leader, _LOWEST_PRIORITY)
        alone = os.getpriority(os.PRIO_PGRP, leader) == _LOWEST_PRIORITY
        return not alone and any(_living_members(leader))
    except OSError:  # a leader of another user, or no descriptor left to look with
        return False


def _living_members(group: int) -> Iterator[int]:
    """The pids of a process group, without the dead that nobody has reaped."""
    for entry in Path("/proc").glob("[0-9]*"):
        # A process may go while we look.
        with contextlib.suppress(OSError):
            state, _, its_group, *_ = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            if int(its_group) == group and state not in (b"Z", b"X"):
                yield int(entry.name)


def descriptor_of_end(pid: int) -> int:
    """A descriptor that becomes readable when the child `pid` has ended, and does not reap it."""
    if hasattr(os, "pidfd_open"):
        try:
            return os.pidfd_open(pid)
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.EPERM):  # an old kernel, a sandbox
                raise
    reading, writing = os.pipe()
    threading.Thread(target=_close_at_end, args=(pid, writing), daemon=True).start()
    return reading


def _close_at_end(pid: int, descriptor: int) -> None:
    if hasattr(os, "waitid"):
        # Whoever gives up on the process may reap it before we look.
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    elif sys.platform == "darwin":  # waitid came with Python 3.13 there
        queue = select.kqueue()
        # ESRCH: it has ended already.
        with contextlib.closing(queue), contextlib.suppress(ProcessLookupError):
            exits = select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)
            queue.control([exits], 1, None)
    os.close(descriptor)
