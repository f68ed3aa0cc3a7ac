"""The signals of a run: who asks it to stop, and who asks it to stand still."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

from harness import threads

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def handling(stop: Callable[[int], None], pause: Callable[[bool], None], wake: Callable[[], object]) -> Iterator[None]:
    """Hands SIGINT, SIGTERM and SIGHUP to `stop`, and tells `pause` True at a SIGTSTP (Ctrl-Z) and False at a SIGCONT.

    Call it in the main thread, where both are called. That may be asleep while the kernel gives a signal to another
    thread, as it does with the second of two that come at once: so `wake` is called too, in a thread of its own.

    Under nohup SIGHUP stays ignored, and so does SIGTSTP where it was. SIGINT is handled even where a shell started us
    in the background and had it ignored: tests inherit what is ignored, and some of them send themselves a SIGINT.
    """
    handlers: dict[int, Callable[[int, object], None]] = {
        **dict.fromkeys(STOPPING, lambda number, _: stop(number)),
        signal.SIGTSTP: lambda *_: pause(True),
        signal.SIGCONT: lambda *_: pause(False),
    }
    before = {number: signal.getsignal(number) for number in handlers}
    with _waking(wake):
        for number, handler in handlers.items():
            if number == signal.SIGINT or before[number] is not signal.SIG_IGN:
                signal.signal(number, handler)
        try:
            yield
        finally:
            for number, former in before.items():
                signal.signal(number, former)


@contextlib.contextmanager
def _waking(wake: Callable[[], object]) -> Iterator[None]:
    """Python writes a byte for every signal, in whichever thread it comes."""

    def work() -> None:
        while os.read(reading, 4096):
            wake()
        os.close(reading)

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    former = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        waker = threads.start(work, name="signals")
        yield
    finally:
        signal.set_wakeup_fd(former)
        os.close(writing)
    waker.join()


def stand_still(is_wanted: Callable[[], bool]) -> None:
    """Stops this process as Ctrl-Z does one that does not handle it, and returns when it is continued. In the main
    thread.

    The shell that waits for us sees a stopped job. Where nobody could continue us, the kernel does not let us stop. And
    below `make`, whose end the shell waits for, we may have been continued already: `is_wanted` knows that up to the
    moment when the signal is pending, and from then on a SIGCONT takes it away again.
    """
    handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTSTP])
    signal.raise_signal(signal.SIGTSTP)
    if not is_wanted():
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # that takes it away, too
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTSTP])
    signal.signal(signal.SIGTSTP, handler)
