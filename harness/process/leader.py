"""The first process of a session, which everything else of it descends from: starting, signalling and reaping it.

A child inherits ignored signals. Whoever owns the signals of the harness therefore handles those that tests may want
(a handled one is reset in the child) and leaves SIGCHLD alone, or the kernel reaps behind our back.
"""

import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.endings import descriptor_of_end
from harness.process import pausing, strays

_NOTHING = os.open(os.devnull, os.O_RDONLY)  # what every one of them reads


class Leader:
    """A process that leads a session of its own. It is our child until `reap`, so that its pid means nobody else.

    `ended` is a descriptor that is readable once the leader has ended. Not thread-safe.
    """

    def __init__(self, pid: int) -> None:
        """Of a child that has just been started, and that nobody else reaps; told to strays.py as ours."""
        self.pid = pid
        self.ended = -1
        try:
            self.ended = descriptor_of_end(pid)
        except BaseException:
            self.reap()
            raise

    @classmethod
    def start(
        cls,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        directory: str | Path,
        output: int,
        inherited: Sequence[int] = (),
        user: tuple[int, int] | None = None,
        grace: float = 0.0,
        pauses: bool = True,
    ) -> "Leader":
        """Start `argv` as `user` (uid, gid) or as ourselves, with its output into a descriptor and nothing to read.

        `grace`: the seconds that it has to end, should we be killed. `pauses`: it stops when the run is paused. Raises
        OSError or ValueError.
        """
        # No preexec_fn, and user None wherever possible: with either, Popen gives up vfork, and copies our page tables.
        with strays.starting() as ours:
            popen = subprocess.Popen(
                argv,
                stdin=_NOTHING,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=directory,
                pass_fds=inherited,
                start_new_session=True,
                user=user[0] if user else None,
                group=user[1] if user else None,
                extra_groups=[] if user else None,
            )
            ours(popen.pid, grace)
            if pauses:
                pausing.joined(popen.pid)
        popen.returncode = 0  # we reap it ourselves: Popen must not think that it still runs
        return cls(popen.pid)

    @classmethod
    def adopt(cls, born: Callable[[], int | None], grace: float) -> "Leader | None":
        """A child that `born` has another process start, and that does not end before this returns: it gives the pid,
        or None where there is to be none. While it is asked no child is taken for a stray."""
        with strays.starting() as ours:
            pid = born()
            if pid is None:
                return None
            ours(pid, grace)
            pausing.joined(pid)
        return cls(pid)

    def terminate(self, number: int) -> None:
        # A leader that has changed its user may be out of our reach.
        with contextlib.suppress(PermissionError):
            os.kill(self.pid, number)
            os.killpg(self.pid, signal.SIGCONT)

    def kill_group(self) -> None:
        # macOS answers EPERM for a group in which only the dead are left.
        with contextlib.suppress(PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def reap(self) -> tuple[int, resource.struct_rusage]:
        """Kill the group, wait for the leader's end, and return its code as subprocess gives it and its usage."""
        self.kill_group()
        strays.killed(self.pid)
        pausing.left(self.pid)
        _, status, usage = os.wait4(self.pid, 0)
        strays.reaped(self.pid)
        with contextlib.suppress(ChildProcessError):  # of its group, what is ours because we are a subreaper (warm.py)
            while os.waitpid(-self.pid, os.WNOHANG)[0]:
                pass
        if self.ended >= 0:
            os.close(self.ended)
        return os.waitstatus_to_exitcode(status), usage
