"""A file that is damaged, foreign, locked, out of reach or from the future costs a warning and never the run."""

import os
import re
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from past_runs import Ended, make_record, overwrite_pages

from harness.errors import InfrastructureError
from harness.history import History
from harness.history import database as module
from harness.history.schema import VERSION

MANY = 1000
SET_ASIDE = r"history\.sqlite3\.damaged-\d{8}_\d{6}(-\d+)?"


def filled(path: Path, *numbers: int) -> History:
    past = History.open(path)
    for number in numbers:
        tests = {f"t{each}": "passed" for each in range(200)}
        past.record(make_record(number, {"a": Ended(attempts=[tests])}), keep=MANY)
    return past


def ids(past: History) -> list[str]:
    return [run.run_id[-1] for run in past.runs(MANY)]


def aside(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir() if ".damaged-" in each.name)


def test_what_is_made(path: Path) -> None:
    past = filled(path, 1)
    assert {each.name for each in path.parent.iterdir()} == {path.name, f"{path.name}-wal", f"{path.name}-shm"}
    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}
    past.close()
    assert [each.name for each in path.parent.iterdir()] == [path.name], "closed, it is one file to copy"
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


# Damage


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwrite_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"nothing of the sort")


def overwrite_schema(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 3000)


def become_another_program_s(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE runs (colour)")
    connection.close()


def lose_a_table(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE fingerprints")
    connection.close()


@pytest.mark.parametrize(
    "damage", [cut_short, overwrite_header, overwrite_schema, become_another_program_s, lose_a_table]
)
def test_damage_is_set_aside_when_the_file_is_opened(path: Path, damage: Callable[[Path], None]) -> None:
    filled(path, 1).close()
    damage(path)
    content = path.read_bytes()
    past = filled(path, 2)
    assert ids(past) == ["2"]
    (name,) = aside(path)
    assert re.fullmatch(SET_ASIDE, name)
    assert path.with_name(name).read_bytes() == content
    assert len(past.warnings) == 1
    assert str(path) in past.warnings[0]
    assert f"is set aside as {name}" in past.warnings[0]
    past.close()
    assert ids(History.open(path)) == ["2"], "what is new is kept"


def lose_a_column(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE runs DROP COLUMN wind_down")
    connection.close()


@pytest.mark.parametrize(
    ("damage", "use"),
    [
        (lose_a_column, lambda past: past.runs(MANY)),
        (lose_a_column, lambda past: past.record(make_record(9, {"a": "passed"}), keep=MANY)),
        (overwrite_pages, lambda past: past.all_tests()),
        (overwrite_pages, lambda past: past.record(make_record(9, {"a": Ended(attempts=[{"t5": "passed"}])}), keep=1)),
    ],
)
def test_damage_is_set_aside_when_it_shows(
    path: Path, damage: Callable[[Path], None], use: Callable[[History], object]
) -> None:
    filled(path, 1, 2, 3).close()
    damage(path)
    past = History.open(path)
    assert past.warnings == []
    use(past)
    assert len(past.warnings) == len(aside(path)) == 1
    past.record(make_record(4, {"a": "passed"}), keep=MANY)
    past.close()
    again = History.open(path)
    assert "4" in ids(again)
    assert again.warnings == []


def test_damage_that_comes_back_ends_in_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that damages whatever is written must not keep the harness busy."""
    past = filled(path, 1)
    check = module.check

    def refuse(connection: sqlite3.Connection) -> None:
        check(connection)
        raise module.DamagedError("page 7 is not what was written")

    monkeypatch.setattr(module, "check", refuse)
    past.close()
    broken = filled(path, 2)
    assert ids(broken) == ["2"]
    assert ["set aside" in warning for warning in broken.warnings] == [True, False]
    assert len(aside(path)) == 1


def test_two_that_find_the_same_damage_set_it_aside_once(path: Path) -> None:
    filled(path, 1).close()
    lose_a_column(path)
    first, second = History.open(path), History.open(path)
    first.record(make_record(2, {"a": "passed"}), keep=MANY)
    second.record(make_record(3, {"a": "passed"}), keep=MANY)
    name = aside(path)[0]
    assert aside(path) == [name, f"{name}-shm", f"{name}-wal"], "with what the other one still has open"
    assert ids(first) == ids(second) == ids(History.open(path)) == ["3", "2"]
    assert second.warnings == []


# What is sound, and yet cannot be used


def test_a_newer_version_is_left_alone(path: Path) -> None:
    filled(path, 1).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    content = path.read_bytes()
    past = filled(path, 2)
    assert ids(past) == ["2"]
    past.close()
    assert path.read_bytes() == content
    assert aside(path) == []
    assert len(past.warnings) == 1
    assert f"format {VERSION + 1}, not {VERSION}" in past.warnings[0]


def test_an_older_version_makes_way(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(path, 1).close()
    monkeypatch.setattr(module, "VERSION", VERSION + 1)
    monkeypatch.setattr(module, "CREATE", [*module.CREATE[:-1], f"PRAGMA user_version = {VERSION + 1}"])
    past = filled(path, 2)
    assert ids(past) == ["2"]
    assert len(aside(path)) == 1
    assert f"older version of the harness (format {VERSION}, not {VERSION + 1})" in past.warnings[0]


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / ".harness" / "history.sqlite3"
    past = filled(path, 1)
    assert ids(past) == ["1"]
    assert past.warnings == [
        f"{path} cannot be used: [Errno 20] Not a directory: '{path.parent}'; nothing is added to it"
    ]


def test_what_cannot_be_written_is_still_read(path: Path) -> None:
    filled(path, 1).close()
    path.with_name(f"{path.name}-wal").mkdir()  # stops even root
    content = path.read_bytes()
    past = filled(path, 2)
    assert ids(past) == ["2", "1"]
    assert len(past.warnings) == 1
    assert "cannot be used: " in past.warnings[0]
    past.close()
    assert path.read_bytes() == content


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_checkout(path: Path) -> None:
    filled(path, 1).close()
    path.chmod(0o400)
    path.parent.chmod(0o500)
    try:
        past = filled(path, 2)
        assert ids(past) == ["2", "1"]
        assert len(past.warnings) == 1
    finally:
        path.parent.chmod(0o700)


def test_a_run_that_holds_the_file_for_too_long(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUSY_TIMEOUT", 10)
    filled(path, 1).close()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    past = filled(path, 2)
    assert ids(past) == ["2", "1"]
    assert past.warnings == [f"{path} cannot be used: database is locked; nothing is added to it"]
    holder.execute("ROLLBACK")
    holder.close()
    assert ids(History.open(path)) == ["1"]
    assert aside(path) == []


def test_a_run_that_reads_does_not_keep_it_from_being_opened(path: Path) -> None:
    """Another program has taken it out of WAL mode, which can be had back only while nobody reads."""
    filled(path, 1).close()
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("PRAGMA journal_mode = DELETE")
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM runs").fetchone()
    past = History.open(path)
    assert (ids(past), past.warnings) == (["1"], [])
    reader.execute("COMMIT")
    reader.close()
    filled(path, 2).close()
    assert ids(past) == ["2", "1"]


def test_without_sqlite(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    with pytest.raises(InfrastructureError, match="this Python has no SQLite"):
        History.open(path)


def test_half_a_run_is_no_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    past = filled(path, 1)

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.history.store.prune", fail)
    with pytest.raises(KeyboardInterrupt):
        past.record(make_record(2, {"a": "passed"}), keep=MANY)
    monkeypatch.undo()
    assert ids(past) == ["1"]
    past.record(make_record(3, {"a": "passed"}), keep=MANY)
    assert ids(past) == ["3", "1"]


RECORD_SOME = """
import sys
from pathlib import Path
from harness.history import History
from past_runs import Ended, make_record

sys.stdin.read()  # until all are there
past = History.open(Path(sys.argv[1]))
for number in range(int(sys.argv[2]), int(sys.argv[2]) + 10):
    past.record(make_record(number, {"a": Ended(attempts=[{"t": "passed"}])}), keep=1000)
    past.durations("local", ["a"])
past.close()
if past.warnings:
    sys.exit("\\n".join(past.warnings))
"""


def test_runs_side_by_side_lose_nothing(path: Path) -> None:
    """From the first moment: none of them finds the file there."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    writers = [
        subprocess.Popen([sys.executable, "-c", RECORD_SOME, path, str(10 * n)], stdin=subprocess.PIPE, env=env)
        for n in range(6)
    ]
    for writer in writers:
        assert writer.stdin
        writer.stdin.close()
    assert [writer.wait(60) for writer in writers] == [0] * 6
    assert len(History.open(path).runs(MANY)) == 60


# What becomes of the file while it is open


def test_a_file_that_is_removed_meanwhile_is_made_anew(path: Path) -> None:
    past = filled(path, 1)
    for each in path.parent.glob("history.sqlite3*"):
        each.unlink()
    past.record(make_record(2, {"a": "passed"}), keep=MANY)
    past.close()
    assert ids(History.open(path)) == ["2"]


def test_a_file_that_is_replaced_meanwhile_is_the_one_to_write(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "history.sqlite3"
    filled(other, 7).close()
    past = filled(path, 1)
    for each in path.parent.glob("history.sqlite3-*"):
        each.unlink()
    other.rename(path)
    past.record(make_record(2, {"a": "passed"}), keep=MANY)
    past.close()
    assert sorted(ids(History.open(path))) == ["2", "7"]
