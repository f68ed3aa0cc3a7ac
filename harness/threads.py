"""Threads, where there may be no more of them."""

import errno
import threading
from collections.abc import Callable

from harness.errors import SHORTAGES, InfrastructureError

NO_MORE = SHORTAGES[errno.EAGAIN]


def start(work: Callable[..., object], *args: object, name: str) -> threading.Thread:
    """Does `work` in a thread that does not keep us from ending. Raises InfrastructureError."""
    thread = threading.Thread(target=work, args=args, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise InfrastructureError(NO_MORE) from error
    return thread
