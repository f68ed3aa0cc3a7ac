"""The clock of a run: it goes on with real time, and not in pauses."""

import threading
import time
from collections.abc import Iterator

import pytest

from harness import clock
from harness.events import TestFinished
from harness.model import TestResult, TestStatus
from harness.process import strays
from harness.results import KnownTests


@pytest.fixture(autouse=True)
def _goes_on() -> Iterator[None]:
    yield
    with pytest.raises(AssertionError):
        clock.resume()  # no test has left it standing


def test_it_goes_on_as_real_time_does() -> None:
    before, real = clock.now(), time.monotonic()
    time.sleep(0.01)
    assert clock.now() - before == pytest.approx(time.monotonic() - real, abs=0.005)


def test_it_stands_still_in_a_pause_and_goes_on_from_there() -> None:
    stood = clock.stood()
    clock.pause()
    at = clock.now()
    time.sleep(0.02)
    assert clock.now() == at
    assert clock.stood() == stood, "of pauses that are over"
    lost = clock.resume()
    assert lost >= 0.02
    assert clock.stood() - stood == pytest.approx(lost)
    assert clock.now() >= at
    assert time.monotonic() - clock.now() >= stood + lost - 1e-6


def test_pauses_add_up() -> None:
    behind = time.monotonic() - clock.now()
    lost = 0.0
    for _ in range(3):
        clock.pause()
        time.sleep(0.005)
        lost += clock.resume()
    assert time.monotonic() - clock.now() - behind == pytest.approx(lost, abs=0.001)


def test_it_never_goes_back() -> None:
    """Whoever looks in any thread while it is stopped and started again and again."""
    over = threading.Event()
    backwards: list[tuple[float, float]] = []

    def look() -> None:
        last = clock.now()
        while not over.is_set():
            now = clock.now()
            if now < last:
                backwards.append((last, now))
            last = now

    watcher = threading.Thread(target=look)
    watcher.start()
    for _ in range(2000):
        clock.pause()
        clock.resume()
    over.set()
    watcher.join()
    assert backwards == []


def test_a_test_has_not_lasted_for_the_pause() -> None:
    told: list[TestFinished] = []
    tests = KnownTests("g", 1, lambda event: told.append(event) if isinstance(event, TestFinished) else None)
    for test in ("long", "short", "cut off"):
        tests.start(test)
    clock.pause()
    time.sleep(0.02)
    lost = clock.resume()
    tests.start("later")
    for test, duration in (("long", 5 + lost), ("short", lost / 2), ("later", 3.0), ("never started", 4.0)):
        tests.finish(TestResult(id=test, status=TestStatus.PASSED, duration=duration))
    tests.close("it died")
    durations = {event.result.id: event.result.duration for event in told}
    assert durations.pop("cut off") < lost
    assert durations == pytest.approx({"long": 5, "short": 0, "later": 3, "never started": 4})


def test_no_child_is_started_while_that_is_held_back() -> None:
    begun, may_end, started = threading.Event(), threading.Event(), threading.Event()
    held: list[bool] = []

    def start_first() -> None:
        with strays.starting():
            begun.set()
            may_end.wait()

    def start_second() -> None:
        with strays.starting():
            started.set()

    def hold() -> None:
        with strays.none_starting():
            held.append(may_end.is_set())
            second.start()
            held.append(started.wait(0.05))

    second = threading.Thread(target=start_second)
    first, holder = threading.Thread(target=start_first), threading.Thread(target=hold)
    first.start()
    begun.wait()
    holder.start()
    may_end.set()
    for thread in (first, holder, second):
        thread.join(30)
    assert held == [True, False], "it waits for what is under way, and what is to come waits for it"
    assert started.is_set()
