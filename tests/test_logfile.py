"""Logs: what is printed, byte for byte, but for secrets, and for the middle of what is too much."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.logfile import LogFile
from harness.masking import Secrets

SECRET = "abcd-12345678"


@pytest.fixture
def secrets() -> Secrets:
    known = Secrets(["*"])
    known.learn({"A": SECRET})
    return known


def test_the_file_and_whoever_looks_get_the_same(tmp_path: Path, secrets: Secrets) -> None:
    shown: list[bytes] = []
    log = LogFile(str(tmp_path / "log"), secrets, show=shown.append)
    assert log.open()
    assert log.write_line(f"=== header {SECRET}")
    for piece in (b"all bytes: ", bytes(range(256)), b"\nabcd-12", b"345678 and abcd-1", b"2 and abcd"):
        assert log.write(piece)
    log.close()
    printed = b"all bytes: " + bytes(range(256)) + b"\n*** and abcd-12 and abcd"
    assert (tmp_path / "log").read_bytes() == b"=== header ***\n" + printed
    assert b"".join(shown) == printed
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_a_line_of_ours_stands_alone(tmp_path: Path, secrets: Secrets) -> None:
    for printed in (b"half a line, abcd", b"a whole line\n", b""):
        log = LogFile(str(tmp_path / "log"), secrets)
        assert log.open()
        assert log.write_line("=== one")
        assert log.write(printed)
        assert log.write_line("=== two")
        log.close()
    lines = ["=== one", "half a line, abcd", "=== two", "=== one", "a whole line", "=== two", "=== one", "=== two", ""]
    assert (tmp_path / "log").read_text().split("\n") == lines


def capped(path: Path, limit: int, *pieces: bytes, secrets: Secrets | None = None) -> bytes:
    shown: list[bytes] = []
    log = LogFile(str(path), Secrets() if secrets is None else secrets, limit=limit, show=shown.append)
    before = path.stat().st_size if path.exists() else 0
    assert log.open()
    for piece in pieces:
        assert log.write(piece)
    log.close()
    assert path.read_bytes()[before:] == b"".join(shown)
    return b"".join(shown)


MARKER = re.compile(rb"^=== (.*) left out here: log_limit is 100 KB$", re.MULTILINE)


def test_of_too_much_the_beginning_and_the_end_are_kept(tmp_path: Path) -> None:
    lines = [b"line %06d\n" % number for number in range(100_000)]
    kept = capped(tmp_path / "log", 100_000, *lines)
    assert len(kept) <= 100_000
    marker = MARKER.search(kept)
    assert marker
    assert marker[1] == b"1.1 MB"
    before, after = kept[: marker.start()], kept[marker.end() + 1 :]
    assert b"".join(lines).startswith(before.removesuffix(b"\n"))
    assert b"".join(lines).endswith(after)
    assert after.startswith(b"line ")
    assert len(before) == len(b"".join(lines)[:50_000] + b"\n")
    assert len(after) > 49_000


def test_each_opening_has_room_of_its_own(tmp_path: Path) -> None:
    first = capped(tmp_path / "log", 100_000, b"a" * 99_999)
    second = capped(tmp_path / "log", 100_000, b"b" * 300_000)
    assert first == b"a" * 99_999
    assert len(second) <= 100_000
    assert MARKER.search(second)


def test_what_just_fits_is_whole(tmp_path: Path) -> None:
    assert capped(tmp_path / "log", 100_000, *[b"x" * 10_000] * 10) == b"x" * 100_000


def test_one_endless_line(tmp_path: Path) -> None:
    kept = capped(tmp_path / "log", 100_000, *[b"x" * 65_536] * 100, b"THE END\n")
    assert len(kept) <= 100_000
    assert MARKER.search(kept)
    assert kept.endswith(b"xxxTHE END\n")
    assert len(kept) > 99_000


def test_a_line_of_ours_in_what_is_left_out(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "log"), Secrets(), limit=100_000)
    log.open()
    log.write(b"x" * 200_000)
    log.write_line("=== process 2")
    log.write(b"y\n")
    log.close()
    assert (tmp_path / "log").read_bytes().endswith(b"x\n=== process 2\ny\n")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 30_000), max_size=20), st.integers(10_000, 100_000))
def test_the_limit_holds_and_no_secret_is_cut_in_two(tmp_path_factory, sizes: list[int], limit: int) -> None:
    secrets = Secrets(["*"])
    secrets.learn({"A": SECRET})
    printed = (SECRET.encode() * (sum(sizes) // len(SECRET) + 1))[: sum(sizes)]
    pieces, at = [], 0
    for size in sizes:
        pieces.append(printed[at : at + size])
        at += size
    kept = capped(tmp_path_factory.mktemp("log") / "log", limit, *pieces, secrets=secrets)
    assert len(kept) <= limit
    assert re.fullmatch(rb"(\*\*\*)*(\*{0,2}\n=== .*\n\*{0,2})?(\*\*\*)*" + rb"[abcd\-1-8]{0,12}", kept)


def test_a_full_disk_is_told_once_and_the_output_still_shown() -> None:
    shown: list[bytes] = []
    log = LogFile("/dev/full", Secrets(), show=shown.append)
    assert log.open()
    assert not log.write(b"one")
    assert not log.write(b"two")
    log.close()
    assert log.problem == "cannot write the log /dev/full: No space left on device"
    assert shown == [b"one", b"two"]


def test_a_log_that_cannot_be_opened(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "no" / "log"), Secrets())
    assert not log.open()
    log.close()
    assert log.problem.endswith("No such file or directory")


def test_short_pieces_take_little_memory(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "log"), Secrets(), limit=10_000)
    log.open()
    for _ in range(400_000):
        log.write(b"ab")
    assert len(log._end) <= 2 * 256 * 1024 + 2
    log.close()
    assert os.path.getsize(tmp_path / "log") <= 10_000  # noqa: PTH202
