"""kill -9 of a harness, and of its guardian, and what is to be seen afterwards."""

import signal
import time
from collections.abc import Iterator

import psutil
from faults.oracles import TOKEN
from faults.stage import Stage
from projects import eventually

BOX = """
    [isolation.box]
    kind = "command"
    setup = "touch box-$HARNESS_LEASE; echo BOX=1 > $HARNESS_ENV"
    teardown = "rm -f box-$HARNESS_LEASE"
"""


def boxes(stage: Stage) -> frozenset[str]:
    return frozenset(path.name for path in stage.directory.glob("box-*"))


def processes(stage: Stage) -> Iterator[psutil.Process]:
    """All that bear the stage's token."""
    for process in psutil.process_iter():
        try:
            if process.environ().get(TOKEN) == stage.mark:
                yield process
        except psutil.Error:
            continue


def guardians(stage: Stage) -> list[psutil.Process]:
    found = []
    for process in processes(stage):
        try:
            if any("harness.guardian" in word for word in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def kill_guardian(stage: Stage) -> None:
    for process in guardians(stage):
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.Error:
            continue


def await_silence(stage: Stage, seconds: float) -> None:
    """Returns when no process is left that bears the token; at the latest after so many seconds."""
    began = time.monotonic()
    eventually(lambda: not list(processes(stage)), "the end of all processes of the run")
    assert time.monotonic() - began < seconds, "it took too long"
