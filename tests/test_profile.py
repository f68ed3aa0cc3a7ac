"""profile.py on real trees. Processes say when they are ready and wait for the end of their stdin; nobody sleeps."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import profile
from harness.profile import Sampler, Seen, Tree

NEVER = 1e9  # seconds: the sampler's own thread does not look; the tests do
MEGABYTE = 1_000_000

# CPU time is told in hundredths of a second, so that a process that burnt 0.3 s may show 0.28.
PRELUDE = """
import os, signal, sys, time
def ready():
    os.write(1, b"!")
def rest():  # until the test ends
    ready(); sys.stdin.read()
def pause():  # until somebody kills it; leaves stdin to others
    ready(); signal.pause()
def hold(megabytes):
    global held
    held = bytearray(megabytes * 1_000_000)
    held[::4096] = b"x" * len(held[::4096])
def burn(seconds):
    while time.process_time() < seconds:
        pass
def child(does):
    pid = os.fork()
    if not pid:
        does(); os._exit(0)
    return pid
"""


class Grown:
    """A tree of processes whose leader runs `script`, as far as `ready` processes are ready."""

    def __init__(self, script: str, ready: int) -> None:
        self.leader = subprocess.Popen(
            [sys.executable, "-S", "-c", PRELUDE + script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.pid = self.leader.pid
        for _ in range(ready):
            self.wait_for_one()

    def wait_for_one(self) -> None:
        assert self.leader.stdout is not None
        assert self.leader.stdout.read(1) == b"!"

    def fell(self) -> None:
        """End all that still reads its stdin, and the rest of the leader's group."""
        with self.leader:
            if self.leader.poll() is None:
                os.killpg(self.pid, signal.SIGKILL)


@pytest.fixture
def grow() -> Iterator[Callable[..., Grown]]:
    grown: list[Grown] = []

    def grow(script: str, ready: int) -> Grown:
        grown.append(Grown(script, ready))
        return grown[-1]

    yield grow
    for tree in grown:
        tree.fell()


@pytest.fixture
def sampler() -> Sampler:
    return Sampler(interval=NEVER)


def until(condition: Callable[[], object]) -> bool:
    deadline = time.monotonic() + 20
    while not condition():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.005)
    return True


def test_memory_is_that_of_all_processes_together_at_their_most(grow: Any, sampler: Sampler) -> None:
    tree = grow("child(lambda: (hold(50), rest())); child(lambda: (hold(50), rest())); rest()", ready=3)
    with sampler.watching(tree.pid) as seen:
        sampler.look()
        assert 100 * MEGABYTE < seen.peak_memory < 400 * MEGABYTE
        most = seen.peak_memory
        tree.fell()
        sampler.look()
    assert seen.peak_memory == most


def test_one_that_outlives_its_parent_counts(grow: Any, sampler: Sampler) -> None:
    script = "os.waitpid(child(lambda: child(lambda: (burn(0.3), rest()))), 0); rest()"
    tree = grow(script, ready=2)
    with sampler.watching(tree.pid) as seen:
        sampler.look()
    assert seen.cpu_seconds >= 0.25


def test_one_that_is_gone_counts_as_it_was_last_seen(grow: Any, sampler: Sampler) -> None:
    tree = grow("pid = child(lambda: (burn(0.3), pause())); os.read(0, 1); os.kill(pid, 9); os.wait(); rest()", 1)
    with sampler.watching(tree.pid) as seen:
        sampler.look()
        before = seen.cpu_seconds
        assert before >= 0.25
        tree.leader.stdin.write(b"x")
        tree.leader.stdin.flush()
        tree.wait_for_one()
        sampler.look()
    assert seen.cpu_seconds >= before


def test_a_descendant_that_left_for_a_session_of_its_own_counts_with_what_is_below_it(
    grow: Any, sampler: Sampler
) -> None:
    below = "child(lambda: (os.setsid(), burn(0.2), child(lambda: (burn(0.2), rest())), rest()))"
    tree = grow(f"child(lambda: (os.setsid(), {below}, rest())); rest()", ready=4)
    with sampler.watching(tree.pid) as seen:
        sampler.look()
    assert seen.cpu_seconds >= 0.35


def test_one_that_was_adopted_counts_also_when_its_parent_is_gone(grow: Any, sampler: Sampler) -> None:
    hold_later = "(os.setsid(), ready(), os.read(0, 1), hold(50), rest())"
    tree = grow(f"child(lambda: (child(lambda: {hold_later}), pause())); pause()", ready=3)
    with sampler.watching(tree.pid) as seen:
        sampler.look()
        [middle] = [p for p in psutil.Process(tree.pid).children() if p.children()]
        middle.kill()
        tree.leader.stdin.write(b"x")
        tree.leader.stdin.flush()
        tree.wait_for_one()
        sampler.look()
    assert seen.peak_memory > 50 * MEGABYTE


def test_each_tree_has_its_own_and_strangers_count_for_none(grow: Any, sampler: Sampler) -> None:
    large, small, _stranger = (grow(f"hold({size}); rest()", ready=1) for size in (60, 20, 200))
    with sampler.watching(large.pid) as of_large, sampler.watching(small.pid) as of_small:
        sampler.look()
    assert 20 * MEGABYTE < of_small.peak_memory < 60 * MEGABYTE < of_large.peak_memory < 200 * MEGABYTE


def test_a_session_that_was_a_stranger_s_is_traced_again_for_a_new_leader(grow: Any, sampler: Sampler) -> None:
    early, late = (grow("child(lambda: (os.setsid(), hold(50), rest())); rest()", ready=2) for _ in range(2))
    with sampler.watching(early.pid):
        sampler.look()
        with sampler.watching(late.pid) as of_late:
            sampler.look()
    assert of_late.peak_memory > 50 * MEGABYTE


@pytest.mark.parametrize("error", [psutil.NoSuchProcess(1), psutil.AccessDenied(1), ProcessLookupError(), OSError(24)])
def test_a_process_that_cannot_be_read_is_left_out(
    grow: Any, sampler: Sampler, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    tree = grow("child(lambda: (hold(50), rest())); rest()", ready=2)
    read = profile._seen

    def read_all_but_the_leader(process: psutil.Process) -> Seen:
        if process.pid == tree.pid:
            raise error
        return read(process)

    monkeypatch.setattr(profile, "_seen", read_all_but_the_leader)
    with sampler.watching(tree.pid) as seen:
        sampler.look()
    assert seen.peak_memory > 50 * MEGABYTE


@pytest.mark.parametrize("gone", [2**22 + 1, -1])
def test_a_process_that_is_gone_before_it_is_asked_is_left_out(
    grow: Any, sampler: Sampler, monkeypatch: pytest.MonkeyPatch, gone: int
) -> None:
    tree = grow("hold(50); rest()", ready=1)
    monkeypatch.setattr(psutil, "pids", lambda: [gone, tree.pid])
    with sampler.watching(tree.pid) as seen:
        sampler.look()
    assert seen.peak_memory > 50 * MEGABYTE


def test_what_a_look_finds_after_the_end_is_not_added(
    grow: Any, sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number may mean somebody else by then."""
    tree = grow("hold(50); rest()", ready=1)
    watching = contextlib.ExitStack()
    seen = watching.enter_context(sampler.watching(tree.pid))
    look = sampler._sessions.look

    def end_in_mid_look(leaders: Any) -> Any:
        watching.close()
        return look(leaders)

    monkeypatch.setattr(sampler._sessions, "look", end_in_mid_look)
    sampler.look()
    assert (seen.peak_memory, seen.cpu_seconds) == (0, 0.0)


births = st.tuples(st.integers(1, 3), st.sampled_from([1.0, 2.0]))
looks = st.lists(st.lists(st.builds(Seen, births, st.floats(0, 9), st.integers(0))))


@given(looks)
def test_cpu_time_is_the_sum_of_the_last_seen_and_memory_the_largest_sum(looks: list[list[Seen]]) -> None:
    """A pid that came back with another time of birth is another process."""
    tree = Tree(since=0.0)
    for look in looks:
        tree.add(look)
    last = {seen.identity: seen.cpu_seconds for look in looks for seen in look}
    assert tree.cpu_seconds == sum(last.values())
    assert tree.peak_memory == max((sum(seen.memory for seen in look) for look in looks), default=0)


class Waits(threading.Condition):
    """A condition that remembers how long it was asked to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.timeouts: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.timeouts.append(timeout)
        return super().wait(timeout)


def test_its_thread_looks_while_something_is_watched_and_then_waits_without_end(grow: Any) -> None:
    sampler = Sampler(interval=0.01)
    sampler._changed = waits = Waits()
    tree = grow("hold(50); rest()", ready=1)
    for _ in range(2):
        with sampler.watching(tree.pid) as seen:
            assert until(lambda: seen.peak_memory > 50 * MEGABYTE)
        assert until(lambda: waits.timeouts[-1] is None)


def test_short_attempts_do_not_wake_its_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = Sampler(interval=NEVER)
    sampler._changed = waits = Waits()
    with sampler.watching(os.getpid()):
        assert until(lambda: waits.timeouts[-1:] not in ([], [None]))
    notified: list[None] = []
    monkeypatch.setattr(waits, "notify", lambda: notified.append(None))
    for _ in range(100):
        with sampler.watching(os.getpid()):
            pass
    assert notified == []  # it looks by itself when it is time to


def test_a_dear_look_makes_the_next_one_come_late(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = Sampler(interval=0.01)
    sampler._changed = waits = Waits()
    monkeypatch.setattr(sampler, "look", lambda: 2.0)
    with sampler.watching(os.getpid()):
        assert until(lambda: any((timeout or 0) > 100 for timeout in waits.timeouts))
    longest = max(timeout or 0 for timeout in waits.timeouts)
    assert longest <= 2.0 / 0.01


def test_a_short_attempt_is_never_looked_at() -> None:
    """Not even psutil is loaded for it, which alone would take longer than many an attempt."""
    script = (
        "import sys; from harness.process import Control, run\n"
        "run(['true'], env={}, directory='/', output=print, timeout=None, grace=1, control=Control(),"
        " spawned=lambda _: None, side=None)\n"
        "assert 'psutil' not in sys.modules"
    )
    # The interval is put off: a machine that is busy must not make this fail.
    off = "from harness import profile; profile.SAMPLER = profile.Sampler(interval=60)\n"
    subprocess.run([sys.executable, "-c", off + script], check=True, cwd=Path(profile.__file__).parent.parent)
