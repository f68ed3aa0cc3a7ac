"""Processes, from start to end. The only module of the house that imports subprocess.

`run` starts one process in a session of its own (stdin is /dev/null, stdout and stderr are one pipe) and stays with it,
in the calling thread, until it is gone. `Child` is a long-running process that nobody stays with (a service), and
`run_tool` a short helper whose answer is wanted (initdb, psql).

The order of an ending is always the same, also when the process went quietly:

1. The leader has ended but is not reaped, so its pid, which is its group's id too, cannot be given to a stranger.
2. What is left of its group has 200 ms to end by itself (multiprocessing's resource tracker needs a few). If by then
   anything in the group lives, or anything anywhere holds the output pipe, the run is `leaked`.
3. SIGKILL to the whole group. 4. The leader is reaped. 5. What the pipes still hold is read, without waiting.

A process in a session of its own (`setsid`, a daemon) escapes step 3; if it holds the output it is at least reported.

The ladder, for a process that must end: SIGTERM to the leader alone, so that it can tear down what its children serve;
SIGCONT to the group, because a stopped process takes SIGTERM only then; after the grace, SIGKILL to the group.

A child inherits ignored signals. Whoever owns the signals of the harness therefore handles those that tests may want
(a handled one is reset in the child) and leaves SIGCHLD alone, or the kernel reaps behind our back.

Without /proc (macOS) the silent survivors of a group are killed, but not reported.

This module knows nothing of groups, logs or statuses, and must not decide what an ending means.
"""

import contextlib
import math
import os
import resource
import select
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from harness.endings import descriptor_of_end, has_survivors
from harness.errors import InfrastructureError
from harness.profile import SAMPLER, told_peak
from harness.pump import LONGEST_WAIT, Pump, Sink

SIDE_VARIABLE = "HARNESS_TEST_EVENTS_FD"

_LINGER = 0.2  # seconds that the rest of a group has after its leader's end
_LOOK_FOR_STOP = 0.1  # seconds
_LOOK_AGAIN = 0.01  # seconds between looks for survivors that hold no pipe


class ToolError(InfrastructureError):
    """A helper tool could not be started, took too long or failed."""


class Request(IntEnum):
    """What a Control was asked for. A higher one includes the lower."""

    NONE = 0
    CANCEL = 1
    KILL = 2


class Control:
    """Stops one `run` from any thread: before its start too, and without effect after its end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._request = Request.NONE
        self._wake: int | None = None

    @property
    def request(self) -> Request:
        return self._request

    def cancel(self) -> None:
        """Start the ladder."""
        self._ask(Request.CANCEL)

    def kill(self) -> None:
        """SIGKILL to the group now."""
        self._ask(Request.KILL)

    def _ask(self, request: Request) -> None:
        with self._lock:
            if request > self._request:
                self._request = request
                if self._wake is not None:
                    os.write(self._wake, b"!")

    @contextlib.contextmanager
    def _waking(self, descriptor: int) -> Iterator[None]:
        """Requests are written to `descriptor` too, so that a `run` which waits for input hears of them."""
        with self._lock:
            self._wake = descriptor
        try:
            yield
        finally:
            with self._lock:
                self._wake = None


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended. Without exit code and signal it was stopped before it had started."""

    exit_code: int | None
    signal: int | None
    started_at: float  # wall time
    duration: float
    cpu_seconds: float  # of its tree, see profile.py: of what was waited for, or what was seen, whichever is more
    peak_memory: int  # bytes, likewise; 0: nobody knows
    timed_out: bool
    stopped: bool  # cancel() or kill() made us signal it
    leaked: bool  # something of its own outlived it


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    directory: str | Path,
    output: Sink,
    timeout: float | None,
    grace: float,
    control: Control,
    spawned: Callable[[int], None],
    side: Sink | None,
) -> Exit:
    """Run `argv` until it has ended, by itself, at `timeout` seconds, or because of `control`.

    `env` is its whole environment. `output` gets what it writes, as it comes, at most 64 KiB at a time; `side` likewise
    for a second pipe, whose descriptor the process finds in HARNESS_TEST_EVENTS_FD. `spawned` gets its pid. When one
    of these raises, the process is killed and the exception passed on.

    Raises OSError or ValueError if it cannot be started.
    """
    environment = {name: value for name, value in env.items() if name != SIDE_VARIABLE}
    pump = Pump()
    try:
        stdout = pump.pipe(output)
        inherited = (pump.pipe(side),) if side else ()
        wake = pump.pipe(_ignore)
        if inherited:
            environment[SIDE_VARIABLE] = str(inherited[0])
        with control._waking(wake):
            if control.request:
                return Exit(None, None, time.time(), 0.0, 0.0, 0, timed_out=False, stopped=True, leaked=False)
            started_at, started = time.time(), time.monotonic()
            leader = _Leader(argv, env=environment, directory=directory, output=stdout, inherited=inherited)
            try:
                with SAMPLER.watching(leader.pid) as tree:
                    pump.close_writing(stdout, *inherited)
                    spawned(leader.pid)
                    pump.watch(leader.ended)
                    timed_out, stopped = _attend(leader, pump, control, started, timeout, grace)
                    duration = time.monotonic() - started
                    leaked = _linger(leader, pump, stdout)
            except BaseException:
                leader.reap()
                raise
            returncode, usage = leader.reap()
            pump.drain()
    finally:
        pump.close()
    return Exit(
        exit_code=returncode if returncode >= 0 else None,
        signal=-returncode if returncode < 0 else None,
        started_at=started_at,
        duration=duration,
        cpu_seconds=max(usage.ru_utime + usage.ru_stime, tree.cpu_seconds),
        peak_memory=max(told_peak(usage), tree.peak_memory),
        timed_out=timed_out,
        stopped=stopped,
        leaked=leaked,
    )


def _attend(
    leader: "_Leader", pump: Pump, control: Control, started: float, timeout: float | None, grace: float
) -> tuple[bool, bool]:
    """Pump until the leader has ended, and climb the ladder when asked to or when time is up.

    Returns whether it timed out and whether it was stopped. A request that finds the leader ended changes nothing.
    """
    timed_out = stopped = False
    rung = Request.NONE
    deadline = math.inf if timeout is None else started + timeout
    while leader.ended not in pump.turn(deadline - time.monotonic()):
        if control.request > rung:
            stopped = True
            rung = control.request
        elif time.monotonic() >= deadline:
            timed_out = timed_out or rung is Request.NONE
            rung = Request(rung + 1)
        else:
            continue
        if rung is Request.CANCEL:
            leader.terminate(signal.SIGTERM)
            deadline = time.monotonic() + grace
        else:
            leader.kill_group()
            deadline = math.inf
    return timed_out, stopped


def _linger(leader: "_Leader", pump: Pump, stdout: int) -> bool:
    """Give the rest of the group its 200 ms. Returns whether something of it is left, or holds the output."""
    limit = time.monotonic() + _LINGER
    pump.forget(leader.ended)
    while (held := pump.is_open(stdout)) or has_survivors(leader.pid):
        left = limit - time.monotonic()
        if left <= 0:
            return True
        pump.turn(left if held else min(left, _LOOK_AGAIN))
    return False


def _ignore(data: bytes) -> None:
    pass


class _Leader:
    """A process that leads a session of its own. It is our child until `reap`, so that its pid means nobody else.

    `ended` is a descriptor that is readable once the leader has ended. Not thread-safe.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        directory: str | Path,
        output: int,
        inherited: Sequence[int] = (),
        user: tuple[int, int] | None = None,
    ) -> None:
        # No preexec_fn, and user None wherever possible: with either, Popen gives up vfork, and copies our page tables.
        self._popen = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
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
        self.pid = self._popen.pid
        self.ended = -1
        try:
            self.ended = descriptor_of_end(self.pid)
        except BaseException:
            self.reap()
            raise

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
        _, status, usage = os.wait4(self.pid, 0)
        self._popen.returncode = os.waitstatus_to_exitcode(status)
        if self.ended >= 0:
            os.close(self.ended)
        return self._popen.returncode, usage


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
    ) -> None:
        """Start it as `user` (uid, gid) or as ourselves, output appended to `log`. Raises OSError or ValueError."""
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            self._leader = _Leader(argv, env=env, directory=directory, output=output, user=user)
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


def _communicate(tool: "subprocess.Popen[str]", timeout: float, stop: threading.Event | None) -> tuple[str, str]:
    """As Popen.communicate; a stop is a TimeoutExpired as well."""
    limit = time.monotonic() + timeout
    while stop:
        try:
            return tool.communicate(timeout=min(_LOOK_FOR_STOP, max(limit - time.monotonic(), 0)))
        except subprocess.TimeoutExpired:
            if stop.is_set() or time.monotonic() >= limit:
                raise
    return tool.communicate(timeout=timeout)


def run_tool(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    directory: str | Path | None = None,
    timeout: float,
    user: tuple[int, int] | None = None,
    check: bool = True,
    stop: threading.Event | None = None,
) -> str:
    """Run a short helper and return its stdout. With `check`, an exit code other than 0 is an error.

    When `stop` is set, it is ended, and that is an error too.
    Raises ToolError with the command and the last lines of its stderr, or of its stdout if it wrote none there.
    """
    command = shlex.join(argv)
    try:
        tool = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            cwd=directory,
            start_new_session=True,
            encoding="utf-8",
            errors="backslashreplace",
            user=user[0] if user else None,
            group=user[1] if user else None,
            extra_groups=[] if user else None,
        )
    except (OSError, ValueError) as error:
        raise ToolError(f"{command}: could not be started: {error}") from error
    with tool:
        try:
            stdout, stderr = _communicate(tool, timeout, stop)
        except subprocess.TimeoutExpired as error:
            why = "was broken off: the run stops" if stop and stop.is_set() else f"no end after {timeout:g} s"
            raise ToolError(f"{command}: {why}") from error
        finally:
            # Not after it was reaped: the number may be another's by then.
            if tool.returncode is None:
                os.killpg(tool.pid, signal.SIGKILL)
    if check and tool.returncode:
        last_lines = "".join(f"\n  {line}" for line in (stderr if stderr.strip() else stdout).splitlines()[-5:])
        raise ToolError(f"{command}: exit code {tool.returncode}{last_lines}")
    return stdout
