"""Moves bytes from the pipes of one process to whoever wants them, in the calling thread.

Reads are bounded, nothing is kept, and nobody is waited for longer than asked: what a process floods, its sinks get in
pieces. Knows nothing of processes.

A flood costs what it takes to copy it, once out of the pipe and once to where it goes: every read of a thread goes into
the same memory, since fresh pages for each would cost as much again, and a pipe that was found full is made larger, or
its writer would wait for us after every 64 KiB.
"""

import contextlib
import fcntl
import math
import mmap
import os
import select
import threading
from collections.abc import Callable

Sink = Callable[[memoryview], None]
"""Is told what has come. That is good until it returns: the memory is used again."""

LONGEST_WAIT = 86_400.0  # seconds: poll takes no more than 2^31 milliseconds
READ_SIZE = 1024 * 1024  # bytes: of one read, and of a pipe that was found full
_MUCH = 32 * 1024  # bytes: half of a pipe as it is made, which may be full of pages that are not
_LAST_READS = 2  # one takes all that a pipe holds, the next sees its end, or more of somebody who still writes
_SET_SIZE = getattr(fcntl, "F_SETPIPE_SZ", None)  # Linux


class _Memory(threading.local):
    """What each thread reads into. It takes no more memory than the longest read has needed."""

    def __init__(self) -> None:
        self.view = memoryview(mmap.mmap(-1, READ_SIZE))


_memory = _Memory()


class Pump:
    """Pipes and their sinks. A pipe is known by its writing end. Not thread-safe."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._sinks: dict[int, Sink] = {}  # by reading end
        self._reading: dict[int, int] = {}  # reading end by writing end, while neither side has closed it
        self._writing: set[int] = set()

    def pipe(self, sink: Sink) -> int:
        reading, writing = os.pipe()
        self._sinks[reading] = sink
        self._reading[writing] = reading
        self._writing.add(writing)
        self._poll.register(reading, select.POLLIN)
        return writing

    def watch(self, descriptor: int) -> None:
        self._poll.register(descriptor, select.POLLIN)

    def forget(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)

    def close_writing(self, *writing: int) -> None:
        for descriptor in writing:
            self._writing.discard(descriptor)
            os.close(descriptor)

    def is_open(self, writing: int) -> bool:
        """Whether anybody may still write to the pipe."""
        return self._reading[writing] in self._sinks

    def turn(self, seconds: float) -> list[int]:
        """Wait for input, read once from each pipe that has some, and return the descriptors that were ready."""
        milliseconds = math.ceil(min(max(seconds, 0.0), LONGEST_WAIT) * 1000)
        ready = [descriptor for descriptor, _ in self._poll.poll(milliseconds)]
        for descriptor in ready:
            if sink := self._sinks.get(descriptor):
                if size := os.readv(descriptor, [_memory.view]):
                    if size > _MUCH:
                        _enlarge(descriptor)
                    sink(_memory.view[:size])
                else:
                    self._close_reading(descriptor)
        return ready

    def drain(self) -> None:
        """Read what is there, without waiting for more."""
        for _ in range(_LAST_READS):
            if not self.turn(0):
                return

    def close(self) -> None:
        for descriptor in list(self._sinks):
            self._close_reading(descriptor)
        self.close_writing(*self._writing)

    def _close_reading(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        del self._sinks[descriptor]
        os.close(descriptor)


def _enlarge(pipe: int) -> None:
    # A user may only have so many large ones: then it stays as it is.
    if _SET_SIZE is not None:
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe, _SET_SIZE, READ_SIZE)
