"""Processes that nobody stays with: services."""

import math
import os
import select
import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.process.leader import Leader
from harness.pump import LONGEST_WAIT


class Child:
    """A long-running process in a session of its own, with its output in a file. Thread-safe.

    Once its leader has ended, whoever looks first (poll, wait or stop) kills the rest of its group and reaps it.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        directory: str | Path,
        log: Path,
        user: tuple[int, int] | None = None,
        grace: float = 0.0,
    ) -> None:
        """Start it as `user` (uid, gid) or as ourselves, output appended to `log`. `grace` as of a Leader.

        Raises OSError or ValueError.
        """
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            self._leader = Leader.start(
                argv, env=env, directory=directory, output=output, user=user, grace=grace, pauses=False
            )
        finally:
            os.close(output)
        self._lock = threading.Lock()
        self._returncode: int | None = None
        self.pid = self._leader.pid

    def poll(self) -> int | None:
        """Its exit code, or minus its signal; None while it runs."""
        return self.wait(0)

    def wait(self, timeout: float | None) -> int | None:
        """Like `poll`, after up to `timeout` seconds."""
        with self._lock:
            if self._returncode is not None:
                return self._returncode
            # A descriptor of our own: another thread may reap meanwhile.
            ended = os.dup(self._leader.ended)
        try:
            if not _is_readable(ended, timeout):
                return None
        finally:
            os.close(ended)
        with self._lock:
            if self._returncode is None:
                self._returncode, _ = self._leader.reap()
            return self._returncode

    def stop(self, grace: float, sig: int = signal.SIGTERM) -> None:
        """`sig` to the leader, up to `grace` seconds for it to end, then SIGKILL to what is left of the group."""
        if self.poll() is not None:
            return
        with self._lock:
            if self._returncode is None:
                self._leader.terminate(sig)
        if self.wait(grace) is not None:
            return
        with self._lock:
            if self._returncode is None:
                self._leader.kill_group()
        self.wait(None)


def _is_readable(descriptor: int, timeout: float | None) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if timeout is None else math.ceil(min(timeout, LONGEST_WAIT) * 1000)))
