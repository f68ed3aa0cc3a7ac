"""The journal: what is in it when a run dies, and who may read it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from boxes import box

from harness.isolation.journal import Journal, all_standing, dead_journals

OWNER = """
import sys
from pathlib import Path
from harness.isolation.journal import Journal
from harness.isolation.lease import Lease
journal = Journal.open(Path(sys.argv[1]), "20260101_000000")
for n in range(3):
    journal.making(Lease(token=f"{n:012x}", entry="box", kind="box", run_id="20260101_000000"), durable=True)
journal.learned("0" * 12, {"number": "7"})
journal.released(f"{1:012x}")
journal.kept(f"{2:012x}")
print("written", flush=True)
sys.stdin.read()
"""


def standing(directory: Path) -> list[tuple[str, dict[str, str], bool]]:
    with dead_journals(directory) as dead:
        return [(it.lease.token, it.lease.details, it.kept) for journal in dead for it in journal.standing.values()]


def test_a_run_that_is_killed_leaves_what_it_had_written_and_nobody_reads_it_before(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "written\n"
    assert standing(tmp_path) == []
    owner.kill()
    owner.wait()
    assert standing(tmp_path) == [("000000000000", {"number": "7"}, False), ("000000000002", {}, True)]
    owner.stdout.close()
    if owner.stdin:
        owner.stdin.close()


def test_a_journal_in_which_nothing_is_left_is_removed(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, "20260101_000000")
    lease = box()
    journal.making(lease, durable=False)
    journal.released(lease.token)
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_what_is_left_can_be_read_when_its_run_has_closed_it(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, "20260101_000000")
    lease = box()
    journal.making(lease, durable=False)
    journal.close()
    assert standing(tmp_path) == [(lease.token, {}, False)]


def test_while_one_sweeps_another_finds_nothing(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, "20260101_000000")
    journal.making(box(), durable=False)
    journal.close()
    with dead_journals(tmp_path) as first:
        assert len(first) == 1
        assert standing(tmp_path) == []
    assert len(standing(tmp_path)) == 1


def test_a_torn_or_foreign_line_costs_only_itself(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, "20260101_000000")
    first, second = box(), box()
    journal.making(first, durable=False)
    journal.close()
    with journal.path.open("ab") as file:
        file.write(b'{"did": "dance"}\n\xff\xfe\n{"did":"making","token":"\xff"}\n')
    with dead_journals(tmp_path) as (again,):
        again.making(second, durable=False)
    with journal.path.open("ab") as file:
        file.write(b'{"did":"released","token":"' + first.token.encode())
    assert [token for token, _, _ in standing(tmp_path)] == [first.token, second.token]


@pytest.mark.parametrize("token", ["../../src", "/home", "", "0123456789AB", "0" * 13])
def test_what_a_foreign_journal_calls_no_token_names_nothing(tmp_path: Path, token: str) -> None:
    """Directories are called by it, and are removed."""
    lease = msgspec.json.encode(msgspec.structs.replace(box(), token=token))
    line = b'{"did":"making","token":' + msgspec.json.encode(token) + b',"lease":' + lease + b"}\n"
    (tmp_path / "20260101_000000-aa.jsonl").write_bytes(line)
    assert standing(tmp_path) == []
    assert all_standing(tmp_path) == {}


def test_a_line_that_is_nested_too_deeply_costs_only_itself(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, "20260101_000000")
    lease = box()
    journal.making(lease, durable=False)
    journal.close()
    with journal.path.open("ab") as file:
        file.write(b'{"did":"kept","token":"' + lease.token.encode() + b'","x":' + b"[" * 100_000 + b"\n")
    assert standing(tmp_path) == [(lease.token, {}, False)]
    assert list(all_standing(tmp_path)) == [lease.token]


def test_what_must_be_durable_is_on_the_disk_before_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal.open(tmp_path, "20260101_000000")
    synced: list[bytes] = []
    monkeypatch.setattr("harness.isolation.journal.os.fsync", lambda _fd: synced.append(journal.path.read_bytes()))
    first, second = box(), box()
    journal.making(first, durable=False)
    assert not synced
    journal.making(second, durable=True)
    assert second.token.encode() in synced[0]
    journal.close()


def test_a_journal_that_was_swept_while_we_waited_for_it_is_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal.open(tmp_path, "20260101_000000")
    journal.making(box(), durable=False)
    journal.close()
    monkeypatch.setattr("harness.isolation.journal.fcntl.flock", lambda *_how: journal.path.unlink())
    assert standing(tmp_path) == []


def test_a_line_that_was_written_in_part_does_not_swallow_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal.open(tmp_path, "20260101_000000")
    first, second = box(), box()
    write = os.write
    monkeypatch.setattr("harness.isolation.journal.os.write", lambda fd, data: write(fd, data[:20]))
    with pytest.raises(OSError, match="No space left"):
        journal.making(first, durable=False)
    monkeypatch.undo()
    journal.making(second, durable=False)
    journal.close()
    assert [token for token, _, _ in standing(tmp_path)] == [second.token]


def test_it_is_its_owners_alone(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "leases", "20260101_000000")
    assert journal.path.stat().st_mode & 0o077 == 0
    journal.close()


def test_a_copy_is_read_by_nobody_while_the_first_is_there(tmp_path: Path) -> None:
    first, copy = tmp_path / "first", tmp_path / "copy"
    journal = Journal.open(first, "20260101_000000")
    lease = box()
    journal.making(lease, durable=False)
    shutil.copytree(first, copy)
    assert standing(copy) == []
    journal.close()
    first.rename(tmp_path / "moved")
    assert standing(tmp_path / "moved") == standing(copy) == [(lease.token, {}, False)]
