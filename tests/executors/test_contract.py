"""What every executor must keep to."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from harness.attempt import Output
from harness.events import AnyEvent, AttemptSpawned
from harness.executors import EXECUTORS, Executor
from harness.model import Job, Outcome, Status

LONG = 60.0
JOBS = 2


class Heard:
    """What the executor notifies; a test can wait until an attempt has written something."""

    def __init__(self) -> None:
        self.spawned: list[str] = []
        self._changed = threading.Condition()
        self._output: dict[str, bytes] = {}

    def __call__(self, event: AnyEvent | Output) -> None:
        with self._changed:
            if isinstance(event, Output):
                self._output[event.group] = self._output.get(event.group, b"") + event.data
            elif isinstance(event, AttemptSpawned):
                self.spawned.append(event.group)
            self._changed.notify_all()

    def wait_for_output(self, group: str) -> bytes:
        with self._changed:
            assert self._changed.wait_for(lambda: group in self._output, LONG)
            return self._output[group]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture(params=sorted(EXECUTORS))
def executor(request: pytest.FixtureRequest, heard: Heard) -> Iterator[Executor]:
    executor = EXECUTORS[request.param](JOBS, heard)
    yield executor
    executor.close()


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str, str], Job]:
    def job(group: str, script: str, grace: float = LONG) -> Job:
        return Job(
            run_id="20260101_000000",
            group=group,
            attempt=1,
            slot=0,
            argv=("bash", "-c", script),
            env=dict(os.environ),
            directory=str(tmp_path),
            log=str(tmp_path / f"{group}.log"),
            timeout=LONG,
            grace=grace,
            statuses={0: Status.PASSED},
            reports_tests=False,
        )

    return job


Make = Callable[..., Job]
WAITING = "trap '' TERM; echo; sleep 60"


def status(future: Future[Outcome]) -> Status:
    return future.result(LONG).status


def test_an_outcome_for_each_job(executor: Executor, make: Make, tmp_path: Path) -> None:
    futures = {name: executor.submit(make(name, f"echo {name}; exit {code}")) for code, name in enumerate("abc")}
    assert [status(future) for future in futures.values()] == [Status.PASSED, Status.FAILED, Status.FAILED]
    assert [future.result().attempt_id for future in futures.values()] == ["a#1", "b#1", "c#1"]
    assert all((tmp_path / f"{name}.log").read_text().endswith(f"\n{name}\n") for name in futures)


def test_events_and_output_are_notified(executor: Executor, make: Make, heard: Heard) -> None:
    executor.submit(make("a", "echo hello")).result(LONG)
    assert heard.spawned == ["a"]
    assert heard.wait_for_output("a") == b"hello\n"


def test_jobs_run_side_by_side(executor: Executor, make: Make, tmp_path: Path) -> None:
    """Each waits for the other."""
    os.mkfifo(tmp_path / "fifo")
    reader = executor.submit(make("reader", "read word <fifo; test $word = hello"))
    writer = executor.submit(make("writer", "echo hello >fifo"))
    assert (status(reader), status(writer)) == (Status.PASSED, Status.PASSED)


def test_what_cannot_be_started_is_an_outcome(executor: Executor, make: Make, tmp_path: Path) -> None:
    (tmp_path / "a.log").mkdir()
    assert status(executor.submit(make("a", "true"))) is Status.ERROR


def test_cancel(executor: Executor, make: Make, heard: Heard) -> None:
    future = executor.submit(make("a", "echo; exec sleep 60"))
    heard.wait_for_output("a")
    executor.cancel("a#1")
    assert status(future) is Status.INTERRUPTED
    assert future.result().signal == signal.SIGTERM


def test_cancel_ends_with_the_grace(executor: Executor, make: Make, heard: Heard) -> None:
    future = executor.submit(make("a", WAITING, grace=0.05))
    heard.wait_for_output("a")
    executor.cancel("a#1")
    assert status(future) is Status.INTERRUPTED
    assert future.result().signal == signal.SIGKILL


def test_kill_after_cancel(executor: Executor, make: Make, heard: Heard) -> None:
    future = executor.submit(make("a", WAITING))
    heard.wait_for_output("a")
    executor.cancel("a#1")
    executor.kill("a#1")
    assert status(future) is Status.INTERRUPTED
    assert future.result().signal == signal.SIGKILL


@pytest.mark.parametrize("verb", ["cancel", "kill"])
def test_what_waits_for_its_turn_never_starts(executor: Executor, make: Make, heard: Heard, verb: str) -> None:
    running = [executor.submit(make(f"running{n}", WAITING)) for n in range(JOBS)]
    waiting = executor.submit(make("waiting", "true"))
    getattr(executor, verb)("waiting#1")
    for n in range(JOBS):
        heard.wait_for_output(f"running{n}")
        executor.kill(f"running{n}#1")
    assert status(waiting) is Status.INTERRUPTED
    assert [status(future) for future in running] == [Status.INTERRUPTED] * JOBS
    assert "waiting" not in heard.spawned


def test_one_cancelled_is_one_cancelled(executor: Executor, make: Make, heard: Heard, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    other = executor.submit(make("other", "echo; read <fifo"))
    future = executor.submit(make("a", "echo; exec sleep 60"))
    heard.wait_for_output("a")
    heard.wait_for_output("other")
    executor.cancel("a#1")
    assert status(future) is Status.INTERRUPTED
    (tmp_path / "fifo").write_text("go\n")
    assert status(other) is Status.PASSED


def test_a_retry_can_be_cancelled_too(executor: Executor, make: Make, heard: Heard) -> None:
    first = make("a", "exit 1")
    assert status(executor.submit(first)) is Status.FAILED
    retry = executor.submit(Job(**{**{f: getattr(make("a", WAITING), f) for f in Job.__struct_fields__}, "attempt": 2}))
    heard.wait_for_output("a")
    executor.kill("a#1")
    executor.kill("a#2")
    assert status(retry) is Status.INTERRUPTED


def test_the_unknown_and_the_ended_do_not_matter(executor: Executor, make: Make) -> None:
    executor.cancel("nobody#1")
    executor.kill("nobody#1")
    assert status(executor.submit(make("a", "true"))) is Status.PASSED
    executor.cancel("a#1")
    executor.kill("a#1")


def test_close_ends_what_runs_and_then_takes_no_more(executor: Executor, make: Make) -> None:
    futures = [executor.submit(make(str(n), "trap '' TERM; sleep 1000")) for n in range(5)]
    executor.close()
    assert [future.done() for future in futures] == [True] * 5
    assert [status(future) for future in futures] == [Status.INTERRUPTED] * 5
    with pytest.raises(RuntimeError):
        executor.submit(make("late", "true"))
