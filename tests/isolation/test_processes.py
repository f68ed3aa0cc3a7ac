"""What a group left running is found by the marks in its environment, said, and ended; nothing else is."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping

import psutil
import pytest
from projects import eventually

from harness.isolation.processes import describe, end, leftover_processes, listeners

RUN = "20260101_000000"
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
        self.attempt = (RUN, "my group", 2, shared)
        self.marks = {"HARNESS_RUN_ID": RUN, "HARNESS_GROUP": "my group", "HARNESS_ATTEMPT": "2"}
        self.marks["HARNESS_SHARED"] = shared
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
        process.communicate()
    end(*starter.attempt)


def test_a_daemon_is_found_with_its_session_and_age(starter: Starter) -> None:
    process, _ = starter.start(SLEEP)
    (said,) = leftover_processes(*starter.attempt)
    assert said.startswith(f"process {process.pid} ({sys.executable} -S -c import time")
    assert ", in a session of its own, started 0 s before" in said or " started 1 s before" in said


def test_what_stays_in_our_session_is_not_said_to_have_its_own(starter: Starter) -> None:
    starter.start(SLEEP, new_session=False)
    (said,) = leftover_processes(*starter.attempt)
    assert "session" not in said


def test_the_ports_on_which_it_listens_are_found(starter: Starter) -> None:
    process, port = starter.start(LISTEN)
    _, said = leftover_processes(*starter.attempt)
    assert said == f"port {port} is listened on by {describe(psutil.Process(process.pid))}"
    assert listeners({int(port)}) == {int(port): describe(psutil.Process(process.pid))}


@pytest.mark.parametrize("mark", ["HARNESS_RUN_ID", "HARNESS_GROUP", "HARNESS_ATTEMPT", "HARNESS_SHARED"])
def test_what_bears_another_mark_is_somebody_elses(starter: Starter, mark: str) -> None:
    process, _ = starter.start(SLEEP, {mark: "1"})
    assert leftover_processes(*starter.attempt) == []
    assert end(*starter.attempt) == []
    assert process.poll() is None


def test_each_part_of_a_group_has_its_own(starter: Starter) -> None:
    process, _ = starter.start(SLEEP, {"HARNESS_PART": "a.py"})
    assert leftover_processes(*starter.attempt, part="b.py") == []
    assert end(*starter.attempt, part="b.py") == []
    assert process.poll() is None
    (said,) = leftover_processes(*starter.attempt, part="a.py")
    assert said.startswith(f"process {process.pid} ")
    assert end(*starter.attempt, part="a.py") == []
    assert process.wait() == 0


def test_this_process_is_not_found_though_it_bears_the_marks() -> None:
    """As when the harness runs inside a group of another harness."""
    script = (
        "from harness.isolation.processes import end, leftover_processes;"
        f"print(leftover_processes('{RUN}', 'g', 1, 'x'), end('{RUN}', 'g', 1, 'x'))"
    )
    marks = {"HARNESS_RUN_ID": RUN, "HARNESS_GROUP": "g", "HARNESS_ATTEMPT": "1", "HARNESS_SHARED": "x"}
    argv = [sys.executable, "-c", script]
    assert subprocess.run(argv, env=os.environ | marks, capture_output=True, text=True).stdout == "[] []\n"


def test_what_was_just_killed_is_no_leftover(starter: Starter) -> None:
    for _ in range(5):
        process, _ = starter.start(SLEEP)
        process.send_signal(signal.SIGKILL)  # and not waited for: it may be running still
        assert leftover_processes(*starter.attempt) == []


@pytest.mark.parametrize("script", [SLEEP, STUBBORN, HYDRA], ids=["quiet", "stubborn", "hydra"])
def test_all_of_it_is_ended(starter: Starter, script: str) -> None:
    process, _ = starter.start(script)
    assert end(*starter.attempt) == []
    assert leftover_processes(*starter.attempt) == []
    assert not psutil.pid_exists(process.pid)


def test_a_stopped_one_gets_its_sigterm(starter: Starter) -> None:
    process, _ = starter.start(POLITE)
    process.send_signal(signal.SIGSTOP)
    eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, "a stopped process")
    assert end(*starter.attempt) == []
    assert process.stdout
    assert process.stdout.read() == "asked to end\n"


def test_a_long_command_is_cut_and_made_printable(starter: Starter) -> None:
    process, _ = starter.start("#\x1b[31m\n" + SLEEP + "#" * 100)
    said = describe(psutil.Process(process.pid))
    assert len(said) < 120
    assert said.isprintable()
    assert r"#\x1b[31m\nimport" in said
    assert said.endswith("…)")
