"""How a process stands still: it stops, unless somebody has continued it since it was asked to."""

import os
import signal
import subprocess
import sys

from projects import eventually

STANDS_STILL = """
import os, signal, sys
from harness import signals

with signals.handling(lambda number: None, lambda: None), signals.about_to_stand_still():
    {meanwhile}
    print("about to", flush=True)
    signals.stand_still()
print("went on", flush=True)
os.kill(os.getpid(), signal.SIGTSTP)  # as it was before: it stops
print("went on", flush=True)
"""


def start(meanwhile: str) -> subprocess.Popen[str]:
    script = STANDS_STILL.format(meanwhile=meanwhile)
    # In our session: the kernel stops nobody whose parent could not continue it.
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, process_group=0)


def await_stop(pid: int) -> None:
    eventually(lambda: os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT | os.WNOHANG) is not None, "a stopped process")


def test_it_stops_and_goes_on() -> None:
    process = start("pass")
    await_stop(process.pid)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    process.send_signal(signal.SIGCONT)
    await_stop(process.pid)
    process.send_signal(signal.SIGCONT)
    assert process.communicate()[0].splitlines() == ["about to", "went on", "went on"]


def test_who_is_continued_before_it_has_stopped_does_not_stop() -> None:
    process = start("os.kill(os.getpid(), signal.SIGCONT)")
    assert process.stdout
    assert [process.stdout.readline(), process.stdout.readline()] == ["about to\n", "went on\n"]
    await_stop(process.pid)
    process.send_signal(signal.SIGCONT)
    assert process.communicate()[0] == "went on\n"
