"""Cases 29 and 30: the history is derived; garbage in it costs a warning, and no death loses what was acknowledged."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from faults.stage import Stage
from projects import DEADLINE, eventually

HISTORY = ".harness/history.sqlite3"


def spoiled(data: bytes, kind: str) -> bytes:
    match kind:
        case "noise":
            return bytes(range(256)) * 64
        case "cut":
            return data[: len(data) // 2]
        case "a page of noise":
            return data[:4096] + b"\xff" * 4096 + data[8192:]
    return b"Traceback (most recent call last):\n" * 300


@pytest.mark.parametrize("kind", ["noise", "cut", "a page of noise", "text"])
def test_case_29_a_history_of_garbage_is_set_aside(stage: Stage, kind: str) -> None:
    stage.groups("true", "exit 1")
    assert stage.run("test", "--parallel").code == 1
    path = stage.directory / HISTORY
    path.write_bytes(spoiled(path.read_bytes(), kind))
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)
    shutil.rmtree(stage.directory / "logs")  # only the history of the runs to come is judged
    ran = stage.run("test", "--parallel")
    assert (ran.code, ran.statuses) == (1, {"g0": "passed", "g1": "failed"})
    assert "warning" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert list(path.parent.glob("history.sqlite3.damaged-*"))
    stage.judge()


def test_case_29_a_history_that_becomes_garbage_while_tests_run(stage: Stage) -> None:
    stage.groups(f"printf garbage-of-some-length > {HISTORY}", "true")
    ran = stage.run("test")
    assert (ran.code, set(ran.statuses.values())) == (0, {"passed"})
    assert "warning" in ran.stderr
    stage.judge()


WRITER = """
import sys
from pathlib import Path
from harness.history import History
from past_runs import Ended, make_record

past = History.open(Path(sys.argv[1]))
for number in range(int(sys.argv[2]), int(sys.argv[2]) + 1000):
    print(past.record(make_record(number, {"a": Ended(attempts=[{"t": "passed"}])}), keep=100000), flush=True)
"""


def test_case_30_of_writers_that_are_killed_no_acknowledged_row_is_lost(stage: Stage) -> None:
    path = stage.directory / HISTORY
    path.parent.mkdir()
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "HARNESS_TEST_MARK": stage.mark}
    acknowledged: set[str] = set()
    for attempt in range(4):
        outputs = [stage.directory / f"{attempt}-{n}" for n in range(2)]
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, path, str(10_000 * attempt + 1000 * n)], env=env, stdout=output.open("w")
            )
            for n, output in enumerate(outputs)
        ]
        eventually(lambda outputs=outputs: all(len(it.read_text().split()) > 5 for it in outputs), "some rows of each")
        for writer in writers:
            writer.kill()
        for writer in writers:
            writer.wait(DEADLINE)
        # A line that was not finished acknowledges nothing.
        for output in outputs:
            acknowledged |= set(output.read_text().rpartition("\n")[0].split())
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        kept = {key for (key,) in connection.execute("SELECT key FROM runs")}
        (whole,) = connection.execute("SELECT count(DISTINCT run) FROM group_runs").fetchone()
        assert whole == len(kept), "a run is there with its groups, or not at all"
    assert acknowledged <= kept
    assert len(acknowledged) >= 40
    stage.judge()
