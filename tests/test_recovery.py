"""A run that died at any moment is made whole: each group has one verdict, and all that is left says the same."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from projects import Harness, Ran

from harness.events import AttemptFinished, GroupFinished, LeaseEnded, LeaseMade, RunFinished, Stamped, decode, encode
from harness.files import RunFiles
from harness.model import Status
from harness.record import replay
from harness.recovery import DIED, finish_abandoned
from harness.unfinished import UNFINISHED, Facts, begin
from harness.verify import parse_status, verify

PLAN = """
    [run]
    test_root = "."
    env_files = []

    [isolation.place]
    kind = "tmpdir"

    [[phases]]
    name = "first"
    [[phases.groups]]
    name = "fine"
    command = "true"
    isolate = ["place"]
    [[phases.groups]]
    name = "again"
    command = "test $HARNESS_ATTEMPT = 2"
    retries = 1
    [[phases.groups]]
    name = "split"
    tests = ["test_a.py", "test_b.py"]
    splittable = true

    [[phases]]
    name = "second"
    [[phases.groups]]
    name = "bad"
    command = "false"
    [[phases.groups]]
    name = "after"
    command = "true"
    depends_on = ["bad"]
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A run that came to its end."""
    directory = tmp_path_factory.mktemp("whole")
    harness = Harness(directory, directory.name)
    harness.plan(PLAN)
    for name in ("test_a.py", "test_b.py"):
        harness.write(name, "def test_one(): pass\n")
    ran = harness.run("test", "--parallel")
    assert ran.code == 1, ran.stdout + ran.stderr
    return ran


class Dead:
    """What is left of that run in a project of its own, had its harness died when its journal was so long."""

    def __init__(self, project: Path, whole: Ran, journal: bytes) -> None:
        self.project = project
        self.files = RunFiles(project / "logs", whole.files.run_id)
        self.journal = journal
        shutil.copytree(whole.log_dir, self.files.log_dir)
        for path in (self.files.report, self.files.junit, self.files.trace, self.files.test_report):
            path.unlink()
        for status in self.files.log_dir.glob(".*_status_*"):
            status.write_text("GROUP=x\nSTATUS=running\n")
        moved = journal.replace(str(whole.log_dir).encode(), str(self.files.log_dir).encode())
        self.files.events.write_bytes(moved)
        begin(self.facts).close()

    @property
    def facts(self) -> Facts:
        project = str(self.project)
        return Facts(
            run_id=self.files.run_id, log_dir=str(self.files.log_dir), project=project, test_root=project,
            here=project, door="harness", history_runs=200, writer="0a1b2c3d",
        )  # fmt: skip

    def finish(self) -> list[str]:
        return finish_abandoned(self.project)

    @property
    def events(self) -> list[Stamped]:
        return [decode(line) for line in self.files.events.read_bytes().splitlines()]

    def statuses(self) -> dict[str, str]:
        """By their files, which must say what everything else says."""
        record = replay(self.files.events.read_bytes().splitlines(keepends=True))
        assert record.finished
        assert verify(self.files, record) == []
        return {name: parse_status(self.files.status(name).read_text())["STATUS"] for name in record.groups}

    def remembered(self) -> list[tuple[str, int]]:
        with closing(sqlite3.connect(self.project / ".harness" / "history.sqlite3")) as history:
            return history.execute("SELECT run_id, exit_code FROM runs").fetchall()


def cuts(journal: bytes) -> Iterator[bytes]:
    """The journal after each event but none, and in the middle of the one to come."""
    so_far = b""
    for line in journal.splitlines(keepends=True):
        so_far += line
        yield so_far
        yield so_far + b'{"seq":1,"ti'


def test_wherever_its_journal_ends_the_run_is_made_whole(whole: Ran, tmp_path: Path) -> None:
    journal = whole.files.events.read_bytes()
    ends = whole.statuses
    for number, cut in enumerate(cuts(journal)):
        dead = Dead(tmp_path / str(number), whole, cut)
        told = [event.data.result.group for event in dead.events if isinstance(event.data, GroupFinished)] if (
            cut.endswith(b"\n")
        ) else None  # fmt: skip
        (said,) = dead.finish()
        assert said.startswith(f"run {dead.files.run_id} had not come to its end (")
        statuses = dead.statuses()
        assert statuses.keys() == ends.keys()
        for name, status in statuses.items():
            assert status in (ends[name], Status.LOST, Status.NOT_RUN)
            assert told is None or (status == ends[name]) == (name in told)
        code = 1 if cut == journal or cut.startswith(journal) else 3
        assert dead.remembered() == [(dead.files.run_id, code)]
        assert list(Path(dead.project, UNFINISHED).iterdir()) == []
        assert not list(dead.files.run_dir.glob("part-*"))
        assert dead.finish() == []


def test_what_ran_is_lost_and_what_had_not_started_was_not_run(whole: Ran, tmp_path: Path) -> None:
    lines = whole.files.events.read_bytes().splitlines(keepends=True)
    ended = next(n for n, line in enumerate(lines) if isinstance(decode(line).data, AttemptFinished))
    dead = Dead(tmp_path, whole, b"".join(lines[:ended]))
    dead.finish()
    statuses = dead.statuses()
    assert {statuses[name] for name in ("bad", "after")} == {"not_run"}
    assert {statuses[name] for name in ("fine", "again")} == {"lost"}
    last = dead.events[-1].data
    assert isinstance(last, RunFinished)
    assert (last.exit_code, last.stopped_by) == (3, DIED)
    assert [event.seq for event in dead.events] == list(range(1, len(dead.events) + 1))
    log = dead.files.main_log.read_text()
    assert "✗ lost" in log
    assert f"stopped by {DIED}" in log


def test_leases_that_stand_are_told_as_leaked(whole: Ran, tmp_path: Path) -> None:
    lines = whole.files.events.read_bytes().splitlines(keepends=True)
    made = next(n for n, line in enumerate(lines) if isinstance(decode(line).data, LeaseMade))
    dead = Dead(tmp_path, whole, b"".join(lines[: made + 1]))
    dead.finish()
    (ended,) = [event.data for event in dead.events if isinstance(event.data, LeaseEnded)]
    assert (ended.group, ended.ending) == ("fine", "leaked")
    report = json.loads(dead.files.report.read_text())
    assert {suite["name"]: suite["leaked"] for suite in report["suites"]} == {
        "fine": True, "again": False, "split": False, "bad": False, "after": False,
    }  # fmt: skip


def test_what_an_earlier_recovery_has_told_as_leaked_stays_so(whole: Ran, tmp_path: Path) -> None:
    lines = whole.files.events.read_bytes().splitlines(keepends=True)
    made = next(n for n, line in enumerate(lines) if isinstance(decode(line).data, LeaseMade))
    dead = Dead(tmp_path, whole, b"".join(lines[: made + 1]))
    dead.finish()
    told = dead.files.events.read_bytes().splitlines(keepends=True)[: made + 2]
    dead.files.events.write_bytes(b"".join(told))  # as if that had been killed after its first line
    begin(dead.facts).close()
    dead.finish()
    report = json.loads(dead.files.report.read_text())
    assert [suite["name"] for suite in report["suites"] if suite["leaked"]] == ["fine"]


def test_a_run_that_had_not_begun_leaves_nothing(whole: Ran, tmp_path: Path) -> None:
    dead = Dead(tmp_path, whole, b'{"seq":1')
    for path in dead.files.run_dir.iterdir():
        if path != dead.files.events:
            path.unlink()
    assert dead.finish() == []
    assert not dead.files.run_dir.exists()
    assert not dead.files.main_log.exists()


def test_what_was_being_written_is_removed_and_nothing_of_others(whole: Ran, tmp_path: Path) -> None:
    dead = Dead(tmp_path, whole, whole.files.events.read_bytes())
    logs, run_id = dead.files.log_dir, dead.files.run_id
    torn = [
        dead.files.run_dir / ".report.json.ffffffff-9.tmp",  # also of whoever died while finishing it
        logs / f"..good_status_{run_id}.0a1b2c3d-1.tmp",
        logs / ".test-report.json.0a1b2c3d-12.tmp",
    ]
    others = [logs / ".test-report.json.0a1b2c3e-1.tmp", logs / "..good_status_20240101_000000.0a1b2c3d-1.tmp"]
    for path in torn + others:
        path.touch()
    dead.finish()
    assert [path for path in torn + others if path.exists()] == others


def test_an_older_run_does_not_become_the_newest_report(whole: Ran, tmp_path: Path) -> None:
    dead = Dead(tmp_path, whole, whole.files.events.read_bytes())
    newer = RunFiles(dead.files.log_dir, "29990101_000000")
    newer.run_dir.mkdir()
    newer.test_report.write_text("{}")
    dead.finish()
    assert newer.test_report.read_text() == "{}"
    assert json.loads(dead.files.report.read_text())["summary"]["run_id"] == dead.files.run_id


def test_a_damaged_journal_is_told_and_stops_nothing(whole: Ran, tmp_path: Path) -> None:
    journal = whole.files.events.read_bytes()
    dead = Dead(tmp_path, whole, b"garbage\n" + journal)
    (said,) = dead.finish()
    (path,) = Path(tmp_path, UNFINISHED).iterdir()
    assert "its reports cannot be made whole" in said
    assert f"remove {path} to hear no more of it" in said
    assert dead.files.events.read_bytes().startswith(b"garbage\n")


def test_the_time_until_the_death_counts_where_it_is_known(whole: Ran, tmp_path: Path) -> None:
    from harness.recovery import _finish
    from harness.unfinished import abandoned

    first = decode(whole.files.events.read_bytes().splitlines()[0])
    dead = Dead(tmp_path, whole, encode(first) + b"\n")
    (run,) = abandoned(tmp_path, print)
    _finish(run, {}, died_at=first.time + 7.0)
    run.close()
    assert dead.events[-1].data.duration == pytest.approx(first.elapsed + 7.0)


def test_a_report_that_could_not_be_written_is_made_once_it_can(tmp_path: Path) -> None:
    harness = Harness(tmp_path, tmp_path.name)
    harness.plan(PLAN)
    harness.write("logs/test-report.json/lies-in-the-way", "")
    for name in ("test_a.py", "test_b.py"):
        harness.write(name, "def test_one(): pass\n")
    ran = harness.run("test", "--parallel")
    assert ran.code == 3
    assert "a report of this run could not be written" in ran.stderr
    shutil.rmtree(harness.directory / "logs" / "test-report.json")
    assert "its reports are whole now" in harness.run("gc").stdout
    record = replay(ran.files.events.read_bytes().splitlines(keepends=True))
    assert verify(ran.files, record) == []
    assert harness.run("gc").stdout == "nothing to remove\n"
