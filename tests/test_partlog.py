"""The logs of parts: where they end, whole and one after another."""

import errno
import os
import threading
from pathlib import Path

import pytest
from groups import make_outcome

from harness import partlog
from harness.files import RunFiles
from harness.model import Outcome, Status
from harness.partlog import with_log_in_place


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    made = RunFiles(tmp_path, "20250102_030405")
    made.run_dir.mkdir()
    return made


def ended(files: RunFiles, part: str, wrote: bytes) -> Outcome:
    outcome = make_outcome("s", Status.FAILED, part=part, failed_tests=("t",))
    files.part_log(outcome.name).write_bytes(wrote)
    return outcome


def test_what_each_part_wrote_is_a_block_of_its_groups_log(files: RunFiles) -> None:
    for part, wrote in (("b", b"=== b\nno newline"), ("a", b"=== a\n\xff\x00"), ("c", b"=== c\n")):
        outcome = ended(files, part, wrote)
        assert with_log_in_place(outcome, files) == outcome
    assert files.group_log("s").read_bytes() == b"=== b\nno newline\n=== a\n\xff\x00\n=== c\n"
    assert files.group_log("s").stat().st_mode & 0o777 == 0o600
    assert list(files.run_dir.iterdir()) == []


def test_those_that_end_at_once_are_not_mixed(files: RunFiles) -> None:
    blocks = [bytes([65 + number]) * (3 * 1024 * 1024) + b"\n" for number in range(8)]
    outcomes = [ended(files, str(number), block) for number, block in enumerate(blocks)]
    threads = [threading.Thread(target=with_log_in_place, args=(outcome, files)) for outcome in outcomes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(files.group_log("s").read_bytes().splitlines(keepends=True)) == blocks


def test_a_group_without_parts_has_its_log_already(files: RunFiles) -> None:
    files.group_log("s").write_bytes(b"its own")
    outcome = make_outcome("s")
    assert with_log_in_place(outcome, files) is outcome
    assert files.group_log("s").read_bytes() == b"its own"


def test_a_part_whose_log_could_not_be_opened_says_so_itself(files: RunFiles) -> None:
    outcome = make_outcome("s", Status.ERROR, reason="cannot write the log", part="a")
    assert with_log_in_place(outcome, files) is outcome


def test_where_it_cannot_be_appended_nothing_is_and_the_part_keeps_it(
    files: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.group_log("s").write_bytes(b"before\n")
    outcome = ended(files, "a", b"x" * 100)
    write, left = os.write, 30

    def on_a_full_disk(handle: int, data: bytes) -> int:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(handle, bytes(data)[:left])
        left -= written
        return written

    monkeypatch.setattr(partlog.os, "write", on_a_full_disk)
    told = with_log_in_place(outcome, files)
    own = files.part_log("s/a")
    assert (told.status, told.failed_tests) == (Status.ERROR, ())
    assert told.reason == (
        f"cannot write the log {files.group_log('s')}: No space left on device; what belongs in it is in {own}"
    )
    assert files.group_log("s").read_bytes() == b"before\n"
    assert own.read_bytes() == b"x" * 100
