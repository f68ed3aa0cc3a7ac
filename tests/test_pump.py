"""The pump alone: what it bounds, whoever writes."""

import fcntl
import os
import sys
from collections.abc import Iterator

import pytest

from harness.pump import READ_SIZE, Pump


@pytest.fixture
def pump() -> Iterator[Pump]:
    pump = Pump()
    yield pump
    pump.close()


@pytest.mark.skipif(sys.platform != "linux", reason="pipes of a chosen size")
def test_one_read_takes_all_that_a_pipe_holds(pump: Pump) -> None:
    sizes: list[int] = []
    writing = pump.pipe(lambda data: sizes.append(len(data)))
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, READ_SIZE)
    os.write(writing, b"x" * READ_SIZE)
    pump.turn(0)
    assert sizes == [READ_SIZE]


@pytest.mark.skipif(sys.platform != "linux", reason="pipes of a chosen size")
@pytest.mark.parametrize(("written", "size"), [(1_000, 65_536), (64_000, READ_SIZE), (65_536, READ_SIZE)])
def test_a_pipe_that_was_full_is_made_larger(pump: Pump, written: int, size: int) -> None:
    writing = pump.pipe(lambda _: None)
    os.write(writing, b"x" * written)
    pump.turn(0)
    assert fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ) == size


@pytest.mark.skipif(sys.platform != "linux", reason="pipes of a chosen size")
def test_a_pipe_that_may_not_be_larger_stays_as_it_is(pump: Pump, monkeypatch: pytest.MonkeyPatch) -> None:
    # Stands in for a user who has too many large ones: root may have any number.
    monkeypatch.setattr("harness.pump._SET_SIZE", -1)
    sizes: list[int] = []
    writing = pump.pipe(lambda data: sizes.append(len(data)))
    os.write(writing, b"x" * 65_536)
    pump.turn(0)
    assert sizes == [65_536]


def test_what_comes_next_takes_the_place_of_what_came_before(pump: Pump) -> None:
    pieces: list[memoryview] = []
    writing = pump.pipe(pieces.append)
    for letter in b"ab":
        os.write(writing, bytes([letter]))
        pump.turn(0)
    assert pieces == [b"b", b"b"]


def test_drain_ends_though_the_writer_does_not(pump: Pump) -> None:
    turns: list[int] = []

    def answer(data: memoryview) -> None:
        turns.append(len(data))
        if len(turns) < 1000:
            os.write(writing, data)

    writing = pump.pipe(answer)
    os.write(writing, b"x")
    pump.drain()
    assert 1 < len(turns) < 1000


def test_drain_waits_for_nobody(pump: Pump) -> None:
    writing = pump.pipe(lambda _: None)
    pump.drain()
    assert pump.is_open(writing)


def test_the_end_of_a_pipe(pump: Pump) -> None:
    pieces: list[bytes] = []
    writing = pump.pipe(lambda data: pieces.append(bytes(data)))
    os.write(writing, b"last")
    pump.close_writing(writing)
    pump.turn(0)
    pump.turn(0)
    assert pieces == [b"last"]
    assert not pump.is_open(writing)
    assert pump.turn(0) == []
