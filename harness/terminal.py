"""A program that has the terminal for itself, while we wait for it."""

import os
import signal
import time
from collections.abc import Mapping, Sequence

# cd, and then become the program: posix_spawn cannot change the directory itself.
_THERE = 'cd -- "$0" && exec "$@"'
_GRACE = 2.0  # seconds
_LOOK_AGAIN = 0.02  # seconds
_OF_THE_TERMINAL = (signal.SIGINT, signal.SIGQUIT)


def _end(pid: int) -> None:
    """A shell ends by SIGHUP and not by SIGTERM, other programs the other way round; what minds neither is killed."""
    for number in (signal.SIGHUP, signal.SIGTERM):
        os.kill(pid, number)
    limit = time.monotonic() + _GRACE
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > limit:
            os.kill(pid, signal.SIGKILL)
        time.sleep(_LOOK_AGAIN)


def converse(argv: Sequence[str], *, env: Mapping[str, str], directory: str) -> int:
    """Runs `argv` on our own stdin, stdout and stderr; its exit code, or 128 + its signal. Call it in the main thread.

    What is typed on the terminal, Ctrl-C too, is for the program. Raises OSError if there is no sh.
    """
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _OF_THE_TERMINAL}
    try:
        pid = os.posix_spawnp("sh", ["sh", "-c", _THERE, directory, *argv], env, setsigdef=_OF_THE_TERMINAL)
        try:
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        except BaseException:  # a signal that is to end us: the program goes first
            _end(pid)
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code
