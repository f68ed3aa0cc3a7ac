"""The signals of a run: who asks it to stop, and who asks it to stand still."""

import contextlib
import signal
from collections.abc import Callable, Iterator

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def handling(stop: Callable[[int], None], pause: Callable[[], None]) -> Iterator[None]:
    """Hands SIGINT, SIGTERM and SIGHUP to `stop`, and says a SIGTSTP (Ctrl-Z) to `pause`. In the main thread.

    Under nohup SIGHUP stays ignored, and so does SIGTSTP where it was. SIGINT is handled even where a shell started us
    in the background and had it ignored: tests inherit what is ignored, and some of them send themselves a SIGINT.
    """
    before = {number: signal.getsignal(number) for number in (*_STOPPING, signal.SIGTSTP)}
    for number, handler in before.items():
        if number == signal.SIGINT or handler is not signal.SIG_IGN:
            signal.signal(number, lambda received, _: pause() if received == signal.SIGTSTP else stop(received))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stand_still() -> None:
    """Stops this process as Ctrl-Z does one that does not handle it, and returns when it is continued. In the main
    thread.

    The shell that waits for us sees a stopped job. Where nobody could continue us, the kernel does not let us stop.
    """
    handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, handler)
