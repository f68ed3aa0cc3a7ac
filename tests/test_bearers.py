"""What a group left running is found by the marks in its environment, said, and ended; nothing else is."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping

import psutil
import pytest
from projects import eventually

from harness.process.bearers import attempt_marks, describe, end, leftovers, listeners

SLEEP = "import time; print(flush=True); time.sleep(1000)"
LISTEN = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); s.accept()"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(1000)"
POLITE = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("asked to end")))
print(flush=True)
time.sleep(1000)
"""
# Ends at SIGTERM, but leaves a child in a session of its own behind.
HYDRA = f"""
import signal, subprocess, sys, time
def go(*_):
    subprocess.Popen([sys.executable, "-S", "-c", {SLEEP!r}], start_new_session=True)
    sys.exit()
signal.signal(signal.SIGTERM, go)
print(flush=True)
time.sleep(1000)
"""


class Starter:
    """Starts processes with the marks of one attempt, but for what `changed` says."""

    def __init__(self, shared: str) -> None:
        self.marks = {"HARNESS_GROUP": "my group", "HARNESS_ATTEMPT": "2"}
        self.marks |= {"HARNESS_RUN_DIR": f"{shared}/run_1", "HARNESS_SHARED": shared}
        self.started: list[subprocess.Popen[str]] = []

    def start(
        self, script: str, changed: Mapping[str, str] | None = None, *, new_session: bool = True
    ) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", script],
            env=self.marks | dict(changed or {}),
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=new_session,
        )
        self.started.append(process)
        assert process.stdout
        return process, process.stdout.readline().strip()


@pytest.fixture
def starter(tmp_path: os.PathLike[str]) -> Iterator[Starter]:
    starter = Starter(str(tmp_path))
    yield starter
    for process in starter.started:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()  # what escaped may hold the other end
    end(starter.marks)


def test_a_daemon_is_found_with_its_session_and_age(starter: Starter) -> None:
    process, _ = starter.start(SLEEP)
    (said,) = leftovers(starter.marks)
    assert said.startswith(f"process {process.pid} ({sys.executable} -S -c import time")
    assert ", in a session of its own, started 0 s before" in said or " started 1 s before" in said


def test_what_stays_in_our_session_is_not_said_to_have_its_own(starter: Starter) -> None:
    starter.start(SLEEP, new_session=False)
    (said,) = leftovers(starter.marks)
    assert "session" not in said


def test_the_ports_on_which_it_listens_are_found(starter: Starter) -> None:
    process, port = starter.start(LISTEN)
    _, said = leftovers(starter.marks)
    assert said == f"port {port} is listened on by {describe(psutil.Process(process.pid))}"
    assert listeners({int(port)}) == {int(port): describe(psutil.Process(process.pid))}


@pytest.mark.parametrize("mark", ["HARNESS_RUN_DIR", "HARNESS_GROUP", "HARNESS_ATTEMPT", "HARNESS_SHARED"])
def test_what_bears_another_mark_is_somebody_elses(starter: Starter, mark: str) -> None:
    process, _ = starter.start(SLEEP, {mark: "1"})
    assert leftovers(starter.marks) == []
    assert end(starter.marks) == []
    assert process.poll() is None


def test_each_part_of_a_group_has_its_own(starter: Starter) -> None:
    process, _ = starter.start(SLEEP, {"HARNESS_PART": "a.py"})
    assert leftovers(starter.marks | {"HARNESS_PART": "b.py"}) == []
    assert end(starter.marks | {"HARNESS_PART": "b.py"}) == []
    assert process.poll() is None
    (said,) = leftovers(starter.marks | {"HARNESS_PART": "a.py"})
    assert said.startswith(f"process {process.pid} ")
    assert end(starter.marks | {"HARNESS_PART": "a.py"}) == []
    assert process.wait() == 0


def test_this_process_is_not_found_though_it_bears_the_marks() -> None:
    """As when the harness runs inside a group of another harness."""
    script = (
        "import os; from harness.process.bearers import attempt_marks, end, leftovers;"
        "marks = attempt_marks(os.environ); print(leftovers(marks), end(marks))"
    )
    marks = {"HARNESS_RUN_DIR": "x", "HARNESS_GROUP": "g", "HARNESS_ATTEMPT": "1"}
    argv = [sys.executable, "-c", script]
    assert subprocess.run(argv, env=os.environ | marks, capture_output=True, text=True).stdout == "[] []\n"


def test_what_was_just_killed_is_no_leftover(starter: Starter) -> None:
    for _ in range(5):
        process, _ = starter.start(SLEEP)
        process.send_signal(signal.SIGKILL)  # and not waited for: it may be running still
        assert leftovers(starter.marks) == []


@pytest.mark.parametrize("script", [SLEEP, STUBBORN, HYDRA], ids=["quiet", "stubborn", "hydra"])
def test_all_of_it_is_ended(starter: Starter, script: str) -> None:
    process, _ = starter.start(script)
    assert end(starter.marks) == []
    assert leftovers(starter.marks) == []
    assert not psutil.pid_exists(process.pid)


def test_a_stopped_one_gets_its_sigterm(starter: Starter) -> None:
    process, _ = starter.start(POLITE)
    process.send_signal(signal.SIGSTOP)
    eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, "a stopped process")
    assert end(starter.marks) == []
    assert process.stdout
    assert process.stdout.read() == "asked to end\n"


def test_a_long_command_is_cut_and_made_printable(starter: Starter) -> None:
    process, _ = starter.start("#\x1b[31m\n" + SLEEP + "#" * 100)
    said = describe(psutil.Process(process.pid))
    assert len(said) < 120
    assert said.isprintable()
    assert r"#\x1b[31m\nimport" in said
    assert said.endswith("…)")


def test_marks_that_tell_of_no_run_are_refused() -> None:
    """Every process of the machine would bear them."""
    for marks in ({}, {"HARNESS_GROUP": "g"}, {"HARNESS_RUN_DIR": "", "HARNESS_SHARED": ""}):
        with pytest.raises(ValueError, match="these marks are no run's"):
            end(marks)
    assert attempt_marks({"HARNESS_GROUP": "g", "HOME": "/"}) == {"HARNESS_GROUP": "g"}


def test_a_session_has_its_own_grace_and_its_members_need_no_marks(starter: Starter) -> None:
    cleared, _ = starter.start(SLEEP, dict.fromkeys(starter.marks, "another's"))
    stubborn, _ = starter.start(STUBBORN)
    assert end(starter.marks, {cleared.pid: 0.0, stubborn.pid: 0.3}) == []
    assert (cleared.poll(), stubborn.poll()) == (0, 0)  # psutil has reaped them


def test_who_starts_the_next_and_ends_is_caught(starter: Starter) -> None:
    hare = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(flush=True)
while True:
    time.sleep(0.01)
    if os.fork():
        os._exit(0)
    os.setsid()
"""
    starter.start(hare)
    assert end(starter.marks) == []
    assert leftovers(starter.marks) == []
