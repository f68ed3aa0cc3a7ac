"""Whatever has become of the file, a run goes on: what cannot be believed is set aside, and told of once."""

import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from past_runs import Ended, make_record

from harness.errors import UsageError
from harness.history import History
from harness.history.schema import TABLES
from harness.past import StoredFingerprint

QUESTIONS: list[Callable[[History], object]] = [
    lambda past: past.durations("local", ["a", "b"]),
    lambda past: past.test_durations("local", ["a"]),
    lambda past: past.apart("local"),
    lambda past: past.runs(10),
    lambda past: past.groups("a", 10),
    lambda past: past.group_names(),
    lambda past: past.failed_groups(10),
    lambda past: past.slowest_tests("a", 5),
    lambda past: past.all_groups(),
    lambda past: past.all_tests(),
    lambda past: past.examples(),
    lambda past: past.latest("local"),
    lambda past: past.fingerprints(),
]


def columns_of(create: str, table: str) -> list[tuple[str]]:
    connection = sqlite3.connect(":memory:")
    connection.execute(create)
    found = connection.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall()
    connection.close()
    return found


WRONG = ["abc", b"\xff\xfe", 9e999, -1, 2**62, "", '{"a": 1}', "[" * 100_000]
COLUMNS = [
    (table, column)
    for table, body in TABLES.items()
    for (column,) in columns_of(f"CREATE TABLE {table} ({body})", table)
]


def fill(path: Path) -> bytes:
    past = History.open(path)
    for number in range(6):
        tests = {"t1": "passed", "t2": "failed: boom 12"}
        a = Ended("failed" if number % 2 else "passed", attempts=[tests])
        past.record(make_record(number, {"a": a, "b": "passed", "c": "skipped"}), keep=100)
    past.store_fingerprint("a", "digest", {"x": "y"}, "r", 1.0)
    past.close()
    return path.read_bytes()


def judge(path: Path) -> list[str]:
    """Asks everything of the history, adds a run to it, and sees it there; returns the warnings."""
    for ask in QUESTIONS:
        past = History.open(path)
        ask(past)
        past.close()
    past = History.open(path)
    past.record(make_record(9, {"a": "passed"}), keep=100)
    assert past.runs(1)[0].run_id.endswith("9")
    assert len(past.warnings) <= 1
    past.close()
    return past.warnings


def damage(path: Path, content: bytes) -> None:
    for each in path.parent.glob("*"):
        each.unlink()
    path.write_bytes(content)


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_a_value_of_a_wrong_type(path: Path, table: str, column: str) -> None:
    content = fill(path)
    for value in WRONG:
        damage(path, content)
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            try:
                connection.execute(f'UPDATE {table} SET "{column}" = ?', (value,))
            except sqlite3.IntegrityError:
                continue  # a key, which SQLite itself keeps unique, or an integer
        connection.close()
        judge(path)


def flipped(content: bytes, number: int) -> bytes:
    """Some bits of it are others, and sometimes its end is gone."""
    chance = random.Random(number)
    data = bytearray(content)
    for _ in range(chance.choice([1, 1, 3, 20])):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data[: chance.randrange(len(data)) if chance.random() < 0.2 else len(data)])


def test_flipped_bits(path: Path) -> None:
    content = fill(path)
    for number in range(150):
        damage(path, flipped(content, number))
        judge(path)


@pytest.mark.slow
def test_very_many_flipped_bits(path: Path) -> None:
    content = fill(path)
    for number in range(1000, 4000):
        damage(path, flipped(content, number))
        judge(path)


def test_cut_off_at_many_places(path: Path) -> None:
    content = fill(path)
    for length in [*range(0, 120, 7), *range(120, len(content), 1021)]:
        damage(path, content[:length])
        judge(path)


def test_a_directory_in_its_place(path: Path) -> None:
    path.mkdir(parents=True)
    past = History.open(path)
    past.record(make_record(1, {"a": "passed"}), keep=9)
    assert len(past.runs(9)) == 1
    assert past.warnings == [f"{path} cannot be used: [Errno 21] Is a directory: '{path}'; nothing is added to it"]


def test_a_named_pipe_in_its_place(path: Path) -> None:
    path.parent.mkdir()
    os.mkfifo(path)
    past = History.open(path)
    past.record(make_record(1, {"a": "passed"}), keep=9)
    assert len(past.runs(9)) == 1
    assert past.warnings == [f"{path} cannot be used: it is no regular file; nothing is added to it"]


def test_a_look_makes_no_file_and_reads_what_is_there(path: Path) -> None:
    past = History.open(path, make=False)
    assert (past.runs(9), past.warnings, past.is_durable) == ([], [], False)
    assert not path.parent.exists()
    fill(path)
    past = History.open(path, make=False)
    assert len(past.runs(9)) == 6
    assert past.fingerprints() == {"a": StoredFingerprint(digest="digest", parts={"x": "y"}, run="r", at=1.0)}
    past.close()


@pytest.mark.parametrize(("table", "column"), [("runs", "duration"), ("test_runs", "error"), ("fingerprints", "at")])
def test_the_history_of_another_machine_brings_in_no_wrong_types(path: Path, table: str, column: str) -> None:
    other = path.with_name("other.sqlite3")
    fill(path)
    fill(other)
    with sqlite3.connect(other) as connection:
        connection.execute("UPDATE runs SET key = key || 'x'")
        connection.execute(f'UPDATE {table} SET "{column}" = ?', (b"abc",))
    connection.close()
    past = History.open(path)
    with pytest.raises(UsageError, match=rf"{table}\.{column} holds what is no"):
        past.absorb(other)
    assert (len(past.runs(99)), past.warnings) == (6, [])
    past.close()


@pytest.mark.parametrize("duration", [1e300, float("inf"), -1e300])
def test_a_run_of_an_impossible_time_does_not_spoil_the_history(path: Path, duration: float) -> None:
    fill(path)
    past = History.open(path)
    past.record(make_record(7, {"a": Ended(duration=duration)}), keep=9)
    assert len(past.all_groups()) == 12
    (warning,) = past.warnings
    assert warning.startswith(f"run 20250101_000007 is not added to {path}: Expected `float`")
    past.close()


WRITE_AND_SAY_SO = """
import sys
from pathlib import Path
from harness.history import History
from past_runs import Ended, make_record

past = History.open(Path(sys.argv[1]))
for number in range(int(sys.argv[2]), int(sys.argv[2]) + 1000):
    past.record(make_record(number, {"a": Ended(attempts=[{"t": "passed"}])}), keep=100_000)
    print(number, flush=True)
"""


def test_two_writers_are_killed_and_no_acknowledged_run_is_lost(path: Path) -> None:
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    chance = random.Random(1)
    acknowledged: set[str] = set()
    for number in range(6):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITE_AND_SAY_SO, path, str(1000 * (2 * number + n))],
                stdout=subprocess.PIPE,
                text=True,
                env=env,
            )
            for n in range(2)
        ]
        for writer in writers:
            assert writer.stdout
            # Each is killed in the midst of the next run.
            said = [writer.stdout.readline() for _ in range(chance.randrange(1, 30))]
            writer.kill()
            acknowledged.update([*said, *writer.stdout.read().splitlines(keepends=True)])
            writer.wait()
            writer.stdout.close()
    past = History.open(path)
    kept = {f"{int(run.run_id.rpartition('_')[2])}\n" for run in past.runs(100_000)}
    assert {line for line in acknowledged if line.endswith("\n")} <= kept
    assert past.warnings == []
    past.close()
