"""Test events from bytes: what the pytest plugin writes, and what else may come down the pipe."""

import json
import os
import tracemalloc

import pytest

from harness.events import AnyEvent, TestFinished, TestStarted, Warned
from harness.model import TestResult, TestStatus
from harness.results import KnownTests
from harness.teststream import TestStream


class Heard:
    def __init__(self) -> None:
        self.events: list[AnyEvent] = []
        self.tests = KnownTests("search", 2, self.events.append, mask=lambda text: text.replace("s3cr3t", "***"))
        self.stream = TestStream(self.tests)

    def warnings(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Warned)]


@pytest.fixture
def heard() -> Heard:
    return Heard()


def line(event: str, **fields: object) -> bytes:
    return json.dumps({"event": event, **fields}).encode() + b"\n"


def finish(test: str, status: str = "passed", **fields: object) -> bytes:
    return line("finish", id=test, status=status, duration=0.5, **fields)


def test_start_and_finish(heard: Heard) -> None:
    heard.stream.feed(line("start", id="a.py::test") + finish("a.py::test", "failed", message="why", details="all"))
    result = TestResult(id="a.py::test", status=TestStatus.FAILED, duration=0.5, message="why", details="all")
    assert heard.events == [
        TestStarted(group="search", attempt=2, test="a.py::test"),
        TestFinished(group="search", attempt=2, result=result),
    ]


def test_pieces_of_any_size_mean_the_same(heard: Heard) -> None:
    data = line("begin") + line("start", id="ä") + b"\n\n" + finish("ä") + line("end")
    whole = Heard()
    whole.stream.feed(data)
    for index in range(len(data)):
        heard.stream.feed(data[index : index + 1])
    assert heard.events == whole.events
    assert len(heard.events) == 2


@pytest.mark.parametrize(
    ("data", "missing"),
    [
        (b"", ""),
        (line("start", id="a"), ""),
        (line("begin"), "its tests were not over"),
        (line("begin") + line("end"), ""),
    ],
)
def test_whole(heard: Heard, data: bytes, missing: str) -> None:
    heard.stream.feed(data)
    assert heard.stream.close() == missing


@pytest.mark.parametrize(
    "garbage",
    [
        b"no json\n",
        b"[]\n",
        b'{"event": "dance"}\n',
        b'{"event": "start"}\n',
        b'{"event": "finish", "id": "a", "status": "splendid", "duration": 1}\n',
        b'{"event": "finish", "id": "a", "status": "passed", "duration": "long"}\n',
        b'{"event": "start", "id": "\xff"}\n',
        b"\x00\xff\xfe\n",
        b"[" * 100_000 + b"\n",
        b'{"event": "end", "x": ' + b"[" * 100_000 + b"\n",
        b'{"event": "finish", "id": "a", "status": "passed", "duration": 1e999}\n',
    ],
)
def test_garbage_is_dropped_with_one_warning(heard: Heard, garbage: bytes) -> None:
    heard.stream.feed(garbage + line("start", id="a") + garbage)
    assert len(heard.warnings()) == 1
    assert heard.warnings()[0].startswith("search: not a test event, dropped")
    assert TestStarted(group="search", attempt=2, test="a") in heard.events


def test_a_line_that_is_too_long_is_dropped(heard: Heard) -> None:
    heard.stream.feed(b"x" * 2_000_000 + b"\n" + line("start", id="a"))
    assert heard.warnings() == ["search: not a test event, dropped (and any more like it): a line of more than 1 MiB"]
    assert heard.tests.running == ["a"]


def test_numbers_that_no_clock_has_measured_and_endless_texts_are_kept_out(heard: Heard) -> None:
    for duration in (-1.0, 1e300):
        heard.stream.feed(
            finish("a", "failed", message="why\nmore" * 10_000, details="x" * 500_000).replace(b"0.5", b"%r" % duration)
        )
    (first, second) = (event.result for event in heard.events if isinstance(event, TestFinished))
    assert first == second
    assert (first.duration, first.message, first.status) == (0.0, "why", TestStatus.FAILED)
    assert len(first.details) < 70_000


@pytest.mark.parametrize(
    "garbage",
    [
        line("start", id="x" * 30_000),
        finish("a", memory_growth=-1),
        finish("a", memory_growth=10**30),
    ],
)
def test_what_would_not_fit_anywhere_is_garbage_too(heard: Heard, garbage: bytes) -> None:
    heard.stream.feed(garbage)
    assert len(heard.warnings()) == len(heard.events) == 1


def test_a_flood_of_garbage_is_one_warning_and_little_memory(heard: Heard) -> None:
    tracemalloc.start()
    for _ in range(100):
        heard.stream.feed(os.urandom(1 << 16) + b"{" * (1 << 20))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(heard.events) == 1
    assert peak < 10_000_000


def test_a_line_torn_at_the_end_is_no_garbage(heard: Heard) -> None:
    heard.stream.feed(line("start", id="a") + b'{"event": "fin')
    heard.stream.close()
    assert heard.warnings() == []


def test_what_is_shown_of_garbage_is_masked_before_it_is_cut(heard: Heard) -> None:
    heard.stream.feed(b"x" * 76 + b"s3cr3t\n")
    (warning,) = heard.warnings()
    assert "s3cr" not in warning
