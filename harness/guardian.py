"""The guardian of a run: a process that waits for the harness to die, and then finishes the run in its stead.

`main([UNFINISHED, LOCK, SESSIONS, ALIVE])`: the run's file and three descriptors. ALIVE is the reading end of a pipe
whose writing end only the harness has. That it ends is all that the guardian waits for, so it costs nothing meanwhile;
a harness that ends as it should kills it first (guarded.py).

It leads a session of its own and ignores what a terminal or a shell sends to all. Until it is needed it imports
nothing: it has to be there soon, and stay small.
"""

import os
import signal


def main(words: list[str]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    path, lock, sessions, alive = words
    while os.read(int(alive), 1):
        pass
    from harness.recovery import take_over

    take_over(path, int(lock), int(sessions))
