"""Processes that nobody stays with: services.

A thread moves what one prints into its log, so that the process never waits for its pipe. It ends when the process has,
at the latest 200 ms later: a daemon that holds the pipe then writes into nothing.
"""

import math
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness import threads
from harness.logfile import LogFile
from harness.process.leader import Leader
from harness.pump import LONGEST_WAIT, Pump, Sink

_LINGER = 0.2  # seconds that the pipe may be held open after the leader's end
_WRITES_WITHIN = 10.0  # seconds: of the last lines; a file system may hang


class Child:
    """A long-running process in a session of its own, with its output in a log. Thread-safe.

    Once its leader has ended, whoever looks first (poll, wait or stop) kills the rest of its group and reaps it.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        directory: str | Path,
        log: LogFile,
        hear: Callable[[bytes], None] | None = None,
        user: tuple[int, int] | None = None,
        grace: float = 0.0,
    ) -> None:
        """Start it as `user` (uid, gid) or as ourselves, with its output in `log`, which is opened here, and closed
        when it has ended; `hear` is told all of it, unmasked. `grace` as of a Leader. Raises OSError, ValueError or
        InfrastructureError."""
        pump = Pump()
        try:
            if not log.open():
                raise OSError(log.problem)
            output = pump.pipe(_into(log, hear))
            self._leader = Leader.start(
                argv, env=env, directory=directory, output=output, user=user, grace=grace, pauses=False
            )
        except BaseException:
            pump.close()
            log.close()
            raise
        self._lock = threading.Lock()
        self._log = log
        self._returncode: int | None = None
        self.pid = self._leader.pid
        ended = -1
        try:
            ended = os.dup(self._leader.ended)  # of the thread's own: whoever waits may reap meanwhile
            self._pumping = threads.start(_move, pump, output, ended, log, name=f"output of {self.pid}")
        except BaseException:
            self._leader.reap()
            if ended >= 0:
                os.close(ended)
            pump.close()
            log.close()
            raise

    @property
    def log_problem(self) -> str:
        """What was wrong with its log, once it has ended; empty: nothing."""
        return self._log.problem

    def poll(self) -> int | None:
        """Its exit code, or minus its signal; None while it runs."""
        return self.wait(0)

    def wait(self, timeout: float | None) -> int | None:
        """Like `poll`, after up to `timeout` seconds. Once it has ended, its last lines are in the log."""
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
                returncode, _ = self._leader.reap()
                self._pumping.join(_WRITES_WITHIN)
                self._returncode = returncode
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


def _into(log: LogFile, hear: Callable[[bytes], None] | None) -> Sink:
    def write(data: memoryview) -> None:
        log.write(data)
        if hear:
            hear(bytes(data))

    return write


def _move(pump: Pump, output: int, ended: int, log: LogFile) -> None:
    """All that comes through the pipe into the log, until the process has ended."""
    try:
        pump.close_writing(output)
        pump.watch(ended)
        while ended not in pump.turn(LONGEST_WAIT):
            pass
        pump.forget(ended)
        limit = time.monotonic() + _LINGER
        while pump.is_open(output) and (left := limit - time.monotonic()) > 0:
            pump.turn(left)
        pump.drain()
    finally:
        pump.close()
        os.close(ended)
        log.close()


def _is_readable(descriptor: int, timeout: float | None) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if timeout is None else math.ceil(min(timeout, LONGEST_WAIT) * 1000)))
