"""Cases 13 and 14 (and 15 once more): what a test leaves running in a session of its own."""

import sys
import time

import pytest
from faults.stage import Stage

DAEMON = """
import os, sys, time
if os.fork():
    os._exit(int(sys.argv[1]))
os.setsid()
if os.fork():
    os._exit(0)
if sys.argv[2] == "silent":
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
open(f"daemon-{os.getpid()}", "w").close()
time.sleep(1000)
"""


@pytest.mark.parametrize("output", ["holding", "silent"])
@pytest.mark.parametrize(("code", "status"), [(0, "passed"), (3, "failed")])
def test_cases_13_14_a_daemon_is_ended_and_told(stage: Stage, output: str, code: int, status: str) -> None:
    stage.write("daemon.py", DAEMON)
    wait = "until ls daemon-* >/dev/null 2>&1; do sleep 0.01; done"
    stage.groups(f"{sys.executable} -S daemon.py 0 {output}; {wait}; exit {code}", "true")
    began = time.monotonic()
    ran = stage.run("test", "--parallel")
    assert time.monotonic() - began < 30, "nobody waits for the daemon"
    assert ran.statuses == {"g0": status, "g1": "passed"}
    assert {suite["name"]: suite["leaked"] for suite in ran.report["suites"]} == {"g0": True, "g1": False}
    stage.judge()


def test_case_14_a_daemon_that_cleared_its_environment_is_ended_as_a_child(stage: Stage) -> None:
    """Whose it was nobody can tell; the oracle finds it by its directory."""
    stage.write("daemon.py", DAEMON)
    wait = "until ls daemon-* >/dev/null 2>&1; do sleep 0.01; done"
    stage.groups(f"env -i {sys.executable} -S daemon.py 0 silent; {wait}")
    assert stage.run("test").statuses == {"g0": "passed"}
    stage.judge()


FORKS = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
limit = time.monotonic() + 20
while time.monotonic() < limit:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0 and os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
    time.sleep(0.005)
"""


def test_case_15_sessions_that_multiply_while_they_are_killed(stage: Stage) -> None:
    stage.write("forks.py", FORKS)
    stage.groups(f"exec {sys.executable} -S forks.py", run='timeout = "1s"\ngrace = "0.3s"')
    ran = stage.run("test")
    assert ran.statuses == {"g0": "timed_out"}
    assert ran.report["suites"][0]["leaked"] is True
    stage.judge()
