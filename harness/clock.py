"""The clock of a run: seconds that only go on while the run does.

Whatever waits for something, or says how long it took, asks this clock. While the run is paused (Ctrl-Z,
process/pausing.py) it stands still, so no deadline of an attempt, a retry or the run comes nearer. It never jumps with
the wall clock. A wait for so many seconds may end early after a pause: whoever waits looks at the clock again.

What others measure too is none of its business: when a lease was last renewed, how long a process has lived.
"""

import time

# The moment at which it stands, or None, and the seconds for which it ever stood: replaced as one, so that no thread
# sees half of a change.
_state: tuple[float | None, float] = (None, 0.0)


def now() -> float:
    """Seconds since some moment, without those of pauses."""
    since, stood = _state
    return (time.monotonic() if since is None else since) - stood


def stood() -> float:
    """For how many seconds in all it has stood still in pauses that are over: to be taken off what others measured."""
    return _state[1]


def pause() -> None:
    """Stand still. Nobody else may be between this and `resume`."""
    global _state
    _state = (time.monotonic(), _state[1])


def resume() -> float:
    """Go on. Returns for how many seconds it stood."""
    global _state
    since, before = _state
    assert since is not None
    lost = time.monotonic() - since
    _state = (None, before + lost)
    return lost
