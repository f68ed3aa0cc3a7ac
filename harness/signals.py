"""The signals of a run: who asks it to stop, and who asks it to stand still."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def handling(stop: Callable[[int], None], pause: Callable[[], None]) -> Iterator[None]:
    """Hands SIGINT, SIGTERM and SIGHUP to `stop`, and says a SIGTSTP (Ctrl-Z) to `pause`. In the main thread.

    Under nohup SIGHUP stays ignored, and so does SIGTSTP where it was. SIGINT is handled even where a shell started us
    in the background and had it ignored: tests inherit what is ignored, and some of them send themselves a SIGINT.
    """
    before = {number: signal.getsignal(number) for number in (*STOPPING, signal.SIGTSTP)}
    for number, handler in before.items():
        if number == signal.SIGINT or handler is not signal.SIG_IGN:
            signal.signal(number, lambda received, _: pause() if received == signal.SIGTSTP else stop(received))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def about_to_stand_still() -> Iterator[None]:
    """Around all that is done before `stand_still`: who continues us meanwhile must not find us stopped afterwards.

    The stop waits from now on, for a SIGCONT takes back one that waits. In the main thread.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTSTP})
    try:
        signal.pthread_kill(threading.get_ident(), signal.SIGTSTP)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTSTP})


def stand_still() -> None:
    """Stops this process as Ctrl-Z does one that does not handle it, and returns when it is continued. In the main
    thread, and only `about_to_stand_still`.

    The shell that waits for us sees a stopped job. Where nobody could continue us, the kernel does not let us stop.
    """
    handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTSTP})
    signal.signal(signal.SIGTSTP, handler)
