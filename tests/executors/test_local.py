"""What is the local executor's own: its threads."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness.executors import local
from harness.executors.local import LocalExecutor
from harness.model import Job

LONG = 60.0
JOBS = 3


class Attempt:
    """Stands in for run_attempt: each goes on when told to, and says in which thread."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.threads: list[str] = []

    def __call__(self, *_: Any) -> Any:
        self.threads.append(threading.current_thread().name)
        assert self.go.wait(LONG)
        return len(self.threads)


@pytest.fixture
def attempt(monkeypatch: pytest.MonkeyPatch) -> Attempt:
    attempt = Attempt()
    monkeypatch.setattr(local, "run_attempt", attempt)
    return attempt


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    executor = LocalExecutor(JOBS, lambda _: None)
    yield executor
    executor.close()


@pytest.fixture
def job() -> Callable[[int], Job]:
    def make(number: int) -> Job:
        return Job("run", "g", number, 0, (), {}, "/", "", LONG, LONG, {}, reports_tests=False)

    return make


def test_one_after_the_other_share_a_thread(
    executor: LocalExecutor, attempt: Attempt, job: Callable[[int], Job]
) -> None:
    attempt.go.set()
    for number in range(10):
        executor.submit(job(number)).result(LONG)
    assert set(attempt.threads) == {"attempt_0"}


def test_no_more_threads_than_jobs(executor: LocalExecutor, attempt: Attempt, job: Callable[[int], Job]) -> None:
    futures = [executor.submit(job(number)) for number in range(10)]
    attempt.go.set()
    assert len([future.result(LONG) for future in futures]) == 10
    assert set(attempt.threads) <= {"attempt_0", "attempt_1", "attempt_2"}


def test_nobody_waits_for_ever_for_what_raises(
    executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch, job: Callable[[int], Job]
) -> None:
    def bug(*_: Any) -> Any:
        raise SystemExit

    monkeypatch.setattr(local, "run_attempt", bug)
    for number in range(JOBS + 1):
        assert isinstance(executor.submit(job(number)).exception(LONG), SystemExit)


def test_a_future_cannot_be_cancelled(executor: LocalExecutor, attempt: Attempt, job: Callable[[int], Job]) -> None:
    future = executor.submit(job(1))
    assert not future.cancel()
    attempt.go.set()
    future.result(LONG)
