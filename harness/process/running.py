"""One process from its start to its end, in the calling thread.

The order of an ending is always the same, also when the process went quietly:

1. The leader has ended but is not reaped, so its pid, which is its group's id too, cannot be given to a stranger.
2. What is left of its group has 200 ms to end by itself (multiprocessing's resource tracker needs a few). If by then
   anything in the group lives, or anything anywhere holds the output pipe, the run is `leaked`.
3. SIGKILL to the whole group. 4. The leader is reaped. 5. What the pipes still hold is read, without waiting.

A process in a session of its own (`setsid`, a daemon) escapes step 3; bearers.py finds it.

The ladder, for a process that must end: SIGTERM to the leader alone, so that it can tear down what its children serve;
SIGCONT to the group, because a stopped process takes SIGTERM only then; after the grace, SIGKILL to the group.

Without /proc (macOS) the silent survivors of a group are killed, but not reported.
"""

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Protocol

from harness import clock
from harness.endings import has_survivors
from harness.process.leader import Leader
from harness.profile import SAMPLER, told_peak
from harness.pump import Pump, Sink

SIDE_VARIABLE = "HARNESS_TEST_EVENTS_FD"

_LINGER = 0.2  # seconds that the rest of a group has after its leader's end
_LOOK_AGAIN = 0.01  # seconds between looks for survivors that hold no pipe


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


class Launch(Protocol):
    """Starts the process of a run. Raises OSError or ValueError if it cannot."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        directory: str | Path,
        output: int,
        inherited: Sequence[int],
        grace: float,
    ) -> Leader: ...


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
    launch: Launch = Leader.start,
) -> Exit:
    """Run `argv` until it has ended, by itself, at `timeout` seconds, or because of `control`.

    `env` is its whole environment. `output` gets what it writes, as it comes; `side` likewise for a second pipe, whose
    descriptor the process finds in HARNESS_TEST_EVENTS_FD. `spawned` gets its pid. When one of these raises, the
    process is killed and the exception passed on.

    Raises OSError or ValueError if it cannot be started.
    """
    environment = dict(env)
    environment.pop(SIDE_VARIABLE, None)
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
            leader = launch(argv, env=environment, directory=directory, output=stdout, inherited=inherited, grace=grace)
            # Only now: the launch may have waited for what others need as well (warm.py).
            started_at, started = time.time(), clock.now()
            try:
                with SAMPLER.watching(leader.pid) as tree:
                    pump.close_writing(stdout, *inherited)
                    spawned(leader.pid)
                    pump.watch(leader.ended)
                    timed_out, stopped = _attend(leader, pump, control, started, timeout, grace)
                    duration = clock.now() - started
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
    leader: "Leader", pump: Pump, control: Control, started: float, timeout: float | None, grace: float
) -> tuple[bool, bool]:
    """Pump until the leader has ended, and climb the ladder when asked to or when time is up.

    Returns whether it timed out and whether it was stopped. A request that finds the leader ended changes nothing.
    """
    timed_out = stopped = False
    rung = Request.NONE
    deadline = math.inf if timeout is None else started + timeout
    while leader.ended not in pump.turn(deadline - clock.now()):
        if control.request > rung:
            stopped = True
            rung = control.request
        elif clock.now() >= deadline:
            timed_out = timed_out or rung is Request.NONE
            rung = Request(rung + 1)
        else:
            continue
        if rung is Request.CANCEL:
            leader.terminate(signal.SIGTERM)
            deadline = clock.now() + grace
        else:
            leader.kill_group()
            deadline = math.inf
    return timed_out, stopped


def _linger(leader: "Leader", pump: Pump, stdout: int) -> bool:
    """Give the rest of the group its 200 ms. Returns whether something of it is left, or holds the output."""
    limit = clock.now() + _LINGER
    pump.forget(leader.ended)
    while (held := pump.is_open(stdout)) or has_survivors(leader.pid):
        left = limit - clock.now()
        if left <= 0:
            return True
        pump.turn(left if held else min(left, _LOOK_AGAIN))
    return False


def _ignore(data: memoryview) -> None:
    pass
