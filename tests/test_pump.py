"""The pump alone: what it bounds, whoever writes."""

import fcntl
import os
import sys
from collections.abc import Iterator

import pytest

from harness.pump import Pump


@pytest.fixture
def pump() -> Iterator[Pump]:
    pump = Pump()
    yield pump
    pump.close()


@pytest.mark.skipif(sys.platform != "linux", reason="pipes of a chosen size")
def test_reads_are_bounded(pump: Pump) -> None:
    pieces: list[bytes] = []
    writing = pump.pipe(pieces.append)
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 500_000)
    os.write(writing, b"x" * 500_000)
    pump.turn(0)
    assert [len(piece) for piece in pieces] == [65_536]
    pump.drain()
    assert sum(len(piece) for piece in pieces) == 500_000


def test_drain_ends_though_the_writer_does_not(pump: Pump) -> None:
    turns: list[bytes] = []

    def answer(data: bytes) -> None:
        turns.append(data)
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
    writing = pump.pipe(pieces.append)
    os.write(writing, b"last")
    pump.close_writing(writing)
    pump.turn(0)
    pump.turn(0)
    assert pieces == [b"last"]
    assert not pump.is_open(writing)
    assert pump.turn(0) == []
