"""Threads, where there may be no more of them."""

import threading
from collections.abc import Callable

from harness.errors import InfrastructureError

NO_MORE = "no more threads or processes are allowed"
CURE = "Raise `ulimit -u`, or the limit of processes of this container, or run fewer groups at a time."


def start(work: Callable[..., object], *args: object, name: str) -> threading.Thread:
    """Does `work` in a thread that does not keep us from ending. Raises InfrastructureError."""
    thread = threading.Thread(target=work, args=args, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise InfrastructureError(NO_MORE, CURE) from error
    return thread
