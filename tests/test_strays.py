"""Which of our children are strays: what a test has left behind, and nothing that we are starting ourselves."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import psutil
import pytest
from projects import eventually

from harness.process import Adoption, Leader
from harness.process.strays import none_starting, starting

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets us adopt")


@pytest.fixture
def adoption() -> Iterator[Adoption]:
    made = Adoption()
    made.begin()
    yield made
    made.end()


def test_while_nothing_is_left_behind_a_look_does_not_wait_for_what_is_started(adoption: Adoption) -> None:
    found: list[bool] = []
    looking = threading.Thread(target=lambda: found.append(adoption.has_any))
    with starting():
        looking.start()
        looking.join(10)
        assert found == [False]


def test_what_is_left_behind_is_seen_while_something_else_is_started(adoption: Adoption) -> None:
    with starting() as ours:
        shell = subprocess.Popen(["sh", "-c", "sleep 1000 &"])
        ours(shell.pid, 0.0)
    shell.wait()
    is_starting, seen, go_on = threading.Event(), threading.Event(), threading.Event()
    found: list[bool] = []

    def start() -> None:
        with starting():
            is_starting.set()
            go_on.wait()

    def look() -> None:
        found.append(adoption.has_any)
        seen.set()

    threads = [threading.Thread(target=start), threading.Thread(target=look)]
    threads[0].start()
    is_starting.wait()
    threads[1].start()
    seen.wait(0.1)  # too early, if it does not wait for the start
    go_on.set()
    for thread in threads:
        thread.join()
    assert found == [True]


def test_what_is_being_adopted_is_no_stray(adoption: Adoption) -> None:
    found: list[bool] = []
    looker = threading.Thread(target=lambda: found.append(adoption.has_any))

    def born() -> int:
        process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        process.returncode = 0  # its leader reaps it
        looker.start()
        looker.join(0.1)  # too early, if it does not wait until it is adopted
        return process.pid

    leader = Leader.adopt(born, grace=0.0)
    looker.join()
    assert leader
    leader.reap()
    assert found == [False]


def test_a_start_waits_for_all_who_hold_it_back() -> None:
    started = threading.Event()

    def start() -> None:
        with starting():
            started.set()

    thread = threading.Thread(target=start)
    with none_starting():
        with none_starting():
            thread.start()
        assert not started.wait(0.05)
    thread.join()
    assert started.is_set()


def test_what_is_another_users_is_named_and_let_be(adoption: Adoption, monkeypatch: pytest.MonkeyPatch) -> None:
    with starting() as ours:
        shell = subprocess.Popen(["sh", "-c", "sleep 1000 & sleep 2000 & echo $!"], stdout=subprocess.PIPE, text=True)
        ours(shell.pid, 0.0)
    assert shell.stdout
    with shell.stdout:
        sacred = int(shell.stdout.readline())
    shell.wait()
    eventually(lambda: psutil.Process(sacred).name() == "sleep", "the exec of a child of the shell")
    kill = os.kill

    def refusing(pid: int, number: int) -> None:
        if pid == sacred:
            raise PermissionError
        kill(pid, number)

    monkeypatch.setattr("os.kill", refusing)
    assert adoption.end() == (1, [f"process {sacred} (sleep 2000)"])
    kill(sacred, signal.SIGKILL)
