"""Which processes stand still with a run, and in which order they are told."""

import functools
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from projects import eventually

from harness.process import Leader, pausing, standing_still

MARK = "HARNESS_SHARED"


@pytest.fixture
def marks(tmp_path: Path) -> dict[str, str]:
    """Those of this test alone: whatever bears them will be stopped."""
    return {MARK: str(tmp_path)}


@pytest.fixture
def leaders() -> Iterator[list[Leader]]:
    made: list[Leader] = []
    yield made
    for leader in made:
        leader.reap()


def start(script: str, leaders: list[Leader], directory: Path, **more: str) -> psutil.Process:
    null = os.open(os.devnull, os.O_WRONLY)
    leaders.append(Leader.start(("bash", "-c", script), env={**os.environ, **more}, directory=directory, output=null))
    os.close(null)
    return psutil.Process(leaders[-1].pid)


def is_stopped(process: psutil.Process) -> bool:
    return process.status() == psutil.STATUS_STOPPED


def test_a_whole_session_stands_still_and_goes_on(leaders: list[Leader], marks: dict[str, str], tmp_path: Path) -> None:
    """Whatever groups there are in it, and without any mark."""
    shell = start("set -m; sleep 1000 & (sleep 1000; true) & wait", leaders, tmp_path)
    eventually(lambda: len(shell.children(recursive=True)) == 3, "its children")
    family = [shell, *shell.children(recursive=True)]
    with standing_still(marks):
        assert all(map(is_stopped, family))
    eventually(lambda: not any(map(is_stopped, family)), "that they go on")
    assert shell.is_running()
    for process in shell.children(recursive=True):
        process.kill()


def test_a_session_that_bears_the_marks_stands_still_too(
    leaders: list[Leader], marks: dict[str, str], tmp_path: Path
) -> None:
    shell = start("setsid sleep 1000 & wait", leaders, tmp_path, **marks)
    eventually(lambda: [child.name() for child in shell.children()] == ["sleep"], "it")
    (apart,) = shell.children()
    with standing_still(marks):
        assert is_stopped(apart)
    eventually(lambda: not is_stopped(apart), "that it goes on")
    apart.kill()


def test_an_adopted_process_stands_still_before_it_shows_a_mark(leaders: list[Leader], marks: dict[str, str]) -> None:
    """As the fork of a warm pytest, which shows its variables only later."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)  # whatever becomes of the test
        os.setsid()
        signal.pause()
    leader = Leader.adopt(lambda: pid, grace=0)
    assert leader
    leaders.append(leader)
    fork = psutil.Process(pid)
    eventually(lambda: os.getsid(pid) == pid, "its own session")
    with standing_still(marks):
        assert is_stopped(fork)
    eventually(lambda: not is_stopped(fork), "that it goes on")


def test_what_is_to_go_on_and_what_is_gone_are_left_alone(
    leaders: list[Leader], marks: dict[str, str], tmp_path: Path
) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    service = Leader.start(("sleep", "1000"), env=os.environ, directory=tmp_path, output=null, pauses=False)
    os.close(null)
    leaders.append(service)
    start("true", leaders, tmp_path)
    gone = leaders.pop()
    gone.reap()
    with standing_still(marks):
        assert not is_stopped(psutil.Process(service.pid))
    assert not pausing._leaders & {service.pid, gone.pid}


def test_parents_are_stopped_first_and_continued_last(
    leaders: list[Leader], marks: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each has stopped before the next one is told: a shell must not hear of a stopped child."""
    shell = start("bash -c 'sleep 1000; true'; true", leaders, tmp_path)
    eventually(lambda: len(shell.children(recursive=True)) == 2, "its children")
    family = [shell, *shell.children(recursive=True)]
    told: list[tuple[int, int, tuple[bool, ...]]] = []
    real = psutil.Process.send_signal

    def send(process: psutil.Process, number: int) -> None:
        told.append((family.index(process), number, tuple(map(is_stopped, family))))
        real(process, number)

    monkeypatch.setattr(psutil.Process, "send_signal", send)
    for _ in range(20):
        with standing_still(marks):
            pass
        eventually(lambda: not any(map(is_stopped, family)), "that all go on")
    monkeypatch.undo()
    assert told[:3] == [
        (0, signal.SIGSTOP, (False, False, False)),
        (1, signal.SIGSTOP, (True, False, False)),
        (2, signal.SIGSTOP, (True, True, False)),
    ]
    assert [who for who, _, _ in told[3:6]] == [2, 1, 0]
    assert {stopped for who, number, stopped in told if (who, number) == (2, signal.SIGSTOP)} == {(True, True, False)}


def test_nobody_who_forks_meanwhile_gets_away(leaders: list[Leader], marks: dict[str, str], tmp_path: Path) -> None:
    born = tmp_path / "born"
    start("while :; do (sleep 0.5; echo . >>born) & sleep 0.001; done", leaders, tmp_path)
    before = 0
    for _ in range(4):
        eventually(functools.partial(is_longer, born, before), "that they go on")
        with standing_still(marks):
            before = born.stat().st_size
            time.sleep(0.7)  # longer than any of them lives
            assert not is_longer(born, before)


def is_longer(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size > size
