"""Moves bytes from the pipes of one process to whoever wants them, in the calling thread.

Reads are bounded, nothing is kept, and nobody is waited for longer than asked: what a process floods, its sinks get in
pieces. Knows nothing of processes.
"""

import math
import os
import select
from collections.abc import Callable

Sink = Callable[[bytes], None]

LONGEST_WAIT = 86_400.0  # seconds: poll takes no more than 2^31 milliseconds
_READ_SIZE = 64 * 1024
_LAST_READS = 16  # of _READ_SIZE: a pipe holds 1 MiB at most, more comes from somebody who still writes


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
                if data := os.read(descriptor, _READ_SIZE):
                    sink(data)
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
