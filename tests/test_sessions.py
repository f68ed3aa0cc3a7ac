"""The table of our sessions: what stands in it is what a guardian would find, at any moment."""

import errno
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.process import Leader, Sessions, read_sessions, told


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    made = Sessions(tmp_path)
    yield made
    made.close()


@given(st.lists(st.tuples(st.integers(1, 6), st.floats(0, 1e6))))
def test_it_is_a_dict_that_another_process_can_read(steps: list[tuple[int, float]]) -> None:
    table, expected = Sessions(Path()), {}
    for leader, grace in steps:
        if leader in expected:
            del expected[leader]
            table.remove(leader)
        else:
            expected[leader] = grace
            table.add(leader, grace)
        assert read_sessions(table.fileno()) == expected
    table.close()


def test_no_directory_for_temporary_files_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a file in it, which a kill would leave there."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    Sessions(tmp_path).close()
    assert tempfile.tempdir is None
    assert not list(tmp_path.iterdir())


def test_slots_are_used_again(sessions: Sessions) -> None:
    for leader in range(1, 1000):
        sessions.add(leader, 1.0)
        sessions.remove(leader)
    assert os.fstat(sessions.fileno()).st_size < 100


def test_what_is_not_there_is_removed_without_effect(sessions: Sessions) -> None:
    sessions.remove(7)
    assert read_sessions(sessions.fileno()) == {}


def test_a_leader_stands_in_it_from_its_start_until_it_is_reaped(sessions: Sessions) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with told(sessions):
        leader = Leader.start(["sleep", "1000"], env={}, directory="/", output=nowhere, grace=2.5)
        assert read_sessions(sessions.fileno()) == {leader.pid: 2.5}
        leader.reap()
        assert read_sessions(sessions.fileno()) == {}
    os.close(nowhere)
    leader = Leader.start(["true"], env={}, directory="/", output=2)
    assert read_sessions(sessions.fileno()) == {}
    leader.reap()


def test_a_full_disk_neither_loses_a_process_nor_keeps_it(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with told(sessions), monkeypatch.context() as patch:
        patch.setattr("os.pwrite", full)
        leader = Leader.start(["sleep", "1000"], env={}, directory="/", output=2)
        assert leader.reap()[0] == -signal.SIGKILL
    sessions.add(1, 1.0)
    assert read_sessions(sessions.fileno()) == {1: 1.0}
