"""KnownTests: what is counted, and what is told at once. Sink: ids that are unique, durations that are durations."""

import math

import pytest

from harness.events import AnyEvent, TestFinished, TestStarted, Warned
from harness.model import TestResult, TestStatus
from harness.results import KnownTests, Sink


class Heard:
    def __init__(self) -> None:
        self.events: list[AnyEvent] = []
        self.tests = KnownTests("search", 2, self.events.append)


@pytest.fixture
def heard() -> Heard:
    return Heard()


def result(test: str, status: TestStatus = TestStatus.PASSED) -> TestResult:
    return TestResult(id=test, status=status, duration=0.5)


def test_events(heard: Heard) -> None:
    heard.tests.start("a")
    heard.tests.finish(result("a"))
    heard.tests.warn("careful")
    assert heard.events == [
        TestStarted(group="search", attempt=2, test="a"),
        TestFinished(group="search", attempt=2, result=result("a")),
        Warned(message="search: careful"),
    ]


def test_counts(heard: Heard) -> None:
    for number, status in enumerate(TestStatus):
        heard.tests.finish(result(str(number), status))
    assert (heard.tests.finished, heard.tests.failed) == (6, ["1", "2"])


def test_what_still_runs_at_the_end_is_an_error(heard: Heard) -> None:
    heard.tests.start("a")
    heard.tests.start("b")
    heard.tests.finish(result("a"))
    assert heard.tests.running == ["b"]
    heard.tests.close("killed by SIGKILL")
    last = heard.events[-1]
    assert isinstance(last, TestFinished)
    assert (last.result.id, last.result.status, last.result.message) == ("b", TestStatus.ERROR, "killed by SIGKILL")
    assert last.result.duration >= 0
    assert (heard.tests.running, heard.tests.failed) == ([], ["b"])


def test_a_sink_tells_namesakes_apart_also_across_files(heard: Heard) -> None:
    sink = Sink(heard.tests)
    other = Sink(heard.tests, taken=sink.taken)
    assert [sink.start("a"), other.start("a"), sink.start(" a "), sink.start(""), other.start("\n")] == [
        "a",
        "a (2)",
        "a (3)",
        "(no name)",
        "(no name) (2)",
    ]


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf, -1.0])
def test_a_duration_that_is_none_is_zero(heard: Heard, seconds: float) -> None:
    Sink(heard.tests).add("a", TestStatus.PASSED, seconds)
    assert isinstance(heard.events[0], TestFinished)
    assert heard.events[0].result.duration == 0.0
