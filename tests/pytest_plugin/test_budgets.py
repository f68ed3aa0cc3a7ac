"""Budgets: what is bounded stays bounded, whoever asks and whoever dies; in real processes, threads and event loops."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from projects import eventually

from harness.pytest_plugin.harness_fixtures import budgets
from harness.pytest_plugin.harness_fixtures.budgets import (
    HORIZON,
    MARGIN,
    Budget,
    BudgetError,
    BudgetTimeout,
    UnknownBudget,
    file_name,
    known,
    write_spec,
)

PLUGIN = Path(budgets.__file__).parent.parent
START = "import os, sys, time\nfrom harness_fixtures.budgets import *\nbudget = Budget.open(sys.argv[1], 'api')\n"

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """start(script): another process that has opened the budget `api`; it is killed at the end."""
    with ExitStack() as stack:

        def started(script: str) -> "subprocess.Popen[str]":
            argv = [sys.executable, "-c", START + dedent(script), str(tmp_path)]
            process = subprocess.Popen(
                argv, env={**os.environ, "PYTHONPATH": str(PLUGIN)}, stdin=-1, stdout=-1, text=True
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield started


def declare(directory: Path, concurrent: int | None = None, requests: int | None = None, window: float = 1.0) -> Budget:
    write_spec(directory, "api", concurrent, requests, window)
    return Budget.open(directory, "api")


def is_free(budget: Budget) -> bool:
    try:
        with budget.hold(timeout=0):
            return True
    except BudgetTimeout:
        return False


HOLDER = """
with budget.hold():
    print("in", flush=True)
    sys.stdin.readline()
"""


# Names and bounds


@given(st.text(), st.text())
def test_any_name_is_a_safe_file_name_of_its_own(one: str, other: str) -> None:
    name = file_name(one)
    assert name.isascii()
    assert not set(name) & set("/\\\0 .")
    assert len(name) <= 60
    assert name == name.lower()
    assert (name == file_name(other)) == (one == other)


def test_an_unknown_budget_names_those_that_there_are(tmp_path: Path) -> None:
    for name in ("payments api", "ünï/..", "api"):
        write_spec(tmp_path, name, 1, None, 1.0)
    assert known(tmp_path) == ["api", "payments api", "ünï/.."]
    with pytest.raises(UnknownBudget, match=r'no budget "apy" in .* \(there are: api, payments api, ünï/..\)'):
        Budget.open(tmp_path, "apy")
    with pytest.raises(UnknownBudget, match="there are: none"):
        Budget.open(tmp_path / "elsewhere", "api")


def test_bounds_are_read_back(tmp_path: Path) -> None:
    budget = declare(tmp_path, 20, 25, 60)
    assert (budget.name, budget.concurrent, budget.requests, budget.window) == ("api", 20, 25, 60.0)
    assert str(budget) == 'budget "api" (20 at the same time, 25 in 60 s)'


def test_the_same_bounds_keep_what_was_granted_and_others_begin_anew(tmp_path: Path) -> None:
    with declare(tmp_path, requests=1, window=3600).hold():
        (spec,) = tmp_path.glob("*/spec.json")
        before = spec.stat().st_ino
    assert not is_free(declare(tmp_path, requests=1, window=3600))
    assert spec.stat().st_ino == before
    assert is_free(declare(tmp_path, requests=2, window=3600))


def test_a_damaged_spec_is_told(tmp_path: Path) -> None:
    declare(tmp_path, 1)
    (path,) = tmp_path.glob("*/spec.json")
    for text in ("", "[]", "{}"):
        path.write_text(text)
        with pytest.raises(BudgetError, match="damaged"):
            Budget.open(tmp_path, "api")


def test_files_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    budget = declare(tmp_path, 1)
    (budget.directory / "places-1").write_text("no directory")
    with pytest.raises(BudgetError, match='cannot use the budget "api"'), budget.hold():
        pass


def test_without_flock_it_says_so(tmp_path: Path) -> None:
    declare(tmp_path, 1)
    script = "import sys; sys.modules['fcntl'] = None\n" + START + "with budget.hold(): pass"
    env = {**os.environ, "PYTHONPATH": str(PLUGIN)}
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=env, capture_output=True, text=True)
    assert 'BudgetError: cannot use the budget "api" (1 at the same time): this system has no flock' in ended.stderr


# At the same time


def test_no_more_processes_than_places(tmp_path: Path, start: Start) -> None:
    budget = declare(tmp_path, concurrent=3)
    holders = [start(HOLDER) for _ in range(3)]
    for holder in holders:
        assert holder.stdout.readline() == "in\n"
    with pytest.raises(BudgetTimeout, match=r'no request of the budget "api" \(3 at the same time\) was free within 0'):
        budget.hold(timeout=0.05).__enter__()
    waiting = start(HOLDER)
    holders[1].communicate("\n")
    assert waiting.stdout.readline() == "in\n"
    assert not is_free(budget)


def test_many_processes_at_once(tmp_path: Path, start: Start) -> None:
    """The journal is appended to under the budget, so its lines are in order."""
    declare(tmp_path, concurrent=2)
    journal = tmp_path / "journal"
    script = """
    journal = os.open(sys.argv[1] + "/journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for _ in range(25):
        with budget.hold(timeout=None if os.getpid() % 2 else 60):
            os.write(journal, b"+")
            time.sleep(0.001)
            os.write(journal, b"-")
    """
    for process in [start(script) for _ in range(6)]:
        assert process.wait(60) == 0
    inside = [journal.read_bytes()[:n].count(b"+") - journal.read_bytes()[:n].count(b"-") for n in range(301)]
    assert max(inside) == 2
    assert inside[-1] == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_holder_and_a_killed_waiter_hold_nothing(tmp_path: Path, start: Start, number: int) -> None:
    budget = declare(tmp_path, concurrent=1)
    holder = start(HOLDER)
    assert holder.stdout.readline() == "in\n"
    waiter = start("print('waits', flush=True)\n" + dedent(HOLDER))
    assert waiter.stdout.readline() == "waits\n"
    waiter.send_signal(number)
    waiter.wait()
    assert not is_free(budget)
    holder.send_signal(number)
    holder.wait()
    assert is_free(budget)


def test_threads_are_as_separate_as_processes(tmp_path: Path) -> None:
    budget = declare(tmp_path, concurrent=2)
    both = threading.Barrier(3)
    go = threading.Event()

    def hold() -> None:
        with budget.hold():
            both.wait(60)
            go.wait(60)

    threads = [threading.Thread(target=hold) for _ in range(2)]
    for thread in threads:
        thread.start()
    both.wait(60)
    assert not is_free(budget)
    go.set()
    for thread in threads:
        thread.join()
    assert is_free(budget)


def test_a_failure_inside_gives_the_place_back(tmp_path: Path) -> None:
    budget = declare(tmp_path, concurrent=1)
    with pytest.raises(ZeroDivisionError), budget.hold():
        _ = 1 / is_free(budget)
    assert is_free(budget)


def test_a_forked_child_neither_gives_back_nor_keeps_the_place(tmp_path: Path, start: Start) -> None:
    budget = declare(tmp_path, concurrent=1)
    process = start("""
    with budget.hold():
        child = os.fork()
    if child == 0:                      # has left the block as well
        os.write(1, b"left\\n")  # one write, as print's need not be: the other process writes there too
        os.read(0, 1)
        os._exit(0)
    with budget.hold():
        child = os.fork()
        if child == 0:                  # stays in the block, with the file open
            os.read(0, 1)
            os._exit(0)
    with budget.hold():
        os.write(1, b"in\\n")
        sys.stdin.readline()
    """)
    assert sorted(process.stdout.readline() for _ in range(2)) == ["in\n", "left\n"]
    assert not is_free(budget)
    process.communicate("\n\n")
    assert is_free(budget)


def test_tasks_of_one_event_loop_wait_without_blocking_it(tmp_path: Path) -> None:
    budget = declare(tmp_path, concurrent=1)
    order: list[int] = []

    async def task(number: int) -> None:
        async with budget.hold():
            order.append(number)
            await asyncio.sleep(0.01)
            order.append(number)

    async def main() -> None:
        await asyncio.wait_for(asyncio.gather(*map(task, range(4))), 60)

    asyncio.run(main())
    assert order[::2] == order[1::2]
    assert sorted(order[::2]) == [0, 1, 2, 3]


def test_a_cancelled_task_takes_nothing(tmp_path: Path) -> None:
    budget = declare(tmp_path, concurrent=1)

    async def main() -> None:
        waiting = asyncio.create_task(budget.hold().__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    with budget.hold():
        asyncio.run(main())
    assert is_free(budget)


# In a window


class Clock:
    """A clock of the test's own: who sleeps moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(budgets, "time", SimpleNamespace(monotonic=made.monotonic, sleep=made.sleep))
    return made


def most_in_a_window(moments: list[float], window: float) -> int:
    """The most moments in any half-open window of that length: one begins at a moment, without loss of generality."""
    ordered = sorted(moments)
    return max(sum(begin <= moment < begin + window for moment in ordered) for begin in ordered)


def ring_of(budget: Budget) -> Path:
    (ring,) = budget.directory.glob("grants-*")
    return ring


def test_the_first_come_at_once_and_the_next_a_window_later(tmp_path: Path, clock: Clock) -> None:
    budget = declare(tmp_path, requests=3, window=2)
    moments = [budget.hold().__enter__() - 1000 for _ in range(7)]
    period = 2 * (1 + MARGIN)
    assert moments == pytest.approx([0, 0, 0, period, period, period, 2 * period])
    assert clock.now == pytest.approx(1000 + 2 * period)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4),
    st.sampled_from([0.1, 1.0, 60.0, 3600.0]),
    st.lists(st.floats(0, 1.5), min_size=1, max_size=30),
)
def test_no_window_holds_more_whenever_they_come(
    tmp_path_factory: pytest.TempPathFactory, requests: int, window: float, gaps: list[float]
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        clock = Clock()
        monkeypatch.setattr(budgets, "time", SimpleNamespace(monotonic=clock.monotonic, sleep=clock.sleep))
        budget = declare(tmp_path_factory.mktemp("budget"), requests=requests, window=window)
        moments = []
        for gap in gaps:
            clock.now += gap * window
            moments.append(budget.hold().__enter__())
            assert clock.now >= moments[-1]
        assert most_in_a_window(moments, window) <= requests


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=48))
def test_whatever_stands_in_the_file_it_goes_on_and_keeps_the_bound(
    tmp_path_factory: pytest.TempPathFactory, garbage: bytes
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        clock = Clock()
        monkeypatch.setattr(budgets, "time", SimpleNamespace(monotonic=clock.monotonic, sleep=clock.sleep))
        budget = declare(tmp_path_factory.mktemp("budget"), requests=4, window=1)
        (budget.directory / "grants-4-1.0").write_bytes(garbage)
        moments = [budget.hold().__enter__() for _ in range(20)]
        assert most_in_a_window(moments, 1.0) <= 4
        assert clock.now <= 1000 + HORIZON + 8 * (1 + MARGIN)


def test_what_was_granted_before_the_machine_was_started_anew_counts_for_nothing(tmp_path: Path, clock: Clock) -> None:
    budget = declare(tmp_path, requests=2, window=60)
    for _ in range(2):
        assert is_free(budget)
    assert not is_free(budget)
    clock.now = 20.0
    assert is_free(budget)
    assert is_free(budget)
    assert not is_free(budget)


def test_who_cannot_be_served_in_time_is_told_at_once_and_costs_nothing(tmp_path: Path, clock: Clock) -> None:
    budget = declare(tmp_path, requests=1, window=60)
    assert budget.hold().__enter__() == 1000
    with pytest.raises(BudgetTimeout, match=r"\(1 in 60 s\) was free within 30 s"):
        budget.hold(timeout=30).__enter__()
    assert clock.now == 1000
    assert budget.hold(timeout=62).__enter__() == pytest.approx(1061.2)


def test_a_timeout_gives_the_place_back(tmp_path: Path) -> None:
    budget = declare(tmp_path, concurrent=1, requests=1, window=3600)
    assert is_free(budget)
    assert not is_free(budget)
    declare(tmp_path, concurrent=1)
    assert is_free(Budget.open(tmp_path, "api"))


def test_who_is_killed_while_it_waits_for_long_has_reserved_nothing(tmp_path: Path, start: Start) -> None:
    budget = declare(tmp_path, requests=1, window=3600)
    with budget.hold():
        before = ring_of(budget).read_bytes()
    waiting = start("print('waits', flush=True)\nbudget.hold().__enter__()")
    assert waiting.stdout.readline() == "waits\n"
    eventually(lambda: is_asleep(waiting.pid), "it waits")
    waiting.kill()
    waiting.wait()
    assert ring_of(budget).read_bytes() == before


def is_asleep(pid: int) -> bool:
    import psutil

    return psutil.Process(pid).status() == psutil.STATUS_SLEEPING


def test_who_is_killed_between_its_two_writes_costs_one_request_and_grants_none_too_many(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = declare(tmp_path, requests=3, window=1)
    moments = [budget.hold().__enter__() for _ in range(3)]
    clock.now += 2
    write, writes = os.pwrite, iter([True, False])

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        if not next(writes):
            raise KeyboardInterrupt
        return write(descriptor, data, offset)

    with monkeypatch.context() as killed:
        killed.setattr(os, "pwrite", pwrite)
        with pytest.raises(KeyboardInterrupt):
            budget.hold().__enter__()
    moments += [budget.hold().__enter__() for _ in range(9)]
    assert most_in_a_window(moments, 1.0) == 3
    assert clock.now == pytest.approx(1002 + 2 * (1 + MARGIN))  # three at 1002, 1003, 1004, though one came to nothing


@pytest.mark.slow
def test_eight_processes_keep_within_25_a_second_and_use_it(tmp_path: Path, start: Start) -> None:
    """As fast as they can. The upper bound always holds; the lower one when the machine lets them run."""
    script = """
    print("ready", flush=True)
    sys.stdin.readline()
    end = time.monotonic() + 4
    while True:
        with budget.hold() as granted:
            print(granted, flush=True)
        if granted > end:
            break
    """
    for window in (1.0, 1.0000001, 1.0000002):  # each with a fresh state
        declare(tmp_path, requests=25, window=window)
        processes = [start(script) for _ in range(8)]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        begin = time.monotonic()
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        moments = [float(line) for process in processes for line in process.communicate(timeout=60)[0].split()]
        assert most_in_a_window(moments, 1.0) <= 25
        if sum(moment < begin + 4 for moment in moments) >= 0.95 * 25 * 4:
            return
    pytest.fail("less than 95 % of the budget was used, three times out of three")


# Forks


@pytest.mark.parametrize("passed_on", [False, True])
def test_a_forked_child_holds_a_place_after_the_death_of_its_parent_only_where_it_is_meant(
    tmp_path: Path, start: Start, passed_on: bool
) -> None:
    budget = declare(tmp_path, concurrent=1)
    process = start(f"""
        held = budget.hold()
        with held:
            if {passed_on}:
                held.pass_on()
            reading, writing = os.pipe()
            if os.fork():
                os.close(writing)
                os.read(reading, 1)
                os._exit(0)
            print(os.getpid(), flush=True)
            os.close(writing)
            sys.stdin.readline()
        """)
    child = int(process.stdout.readline())
    assert process.wait(60) == 0
    assert is_free(budget) is not passed_on
    os.kill(child, signal.SIGKILL)
