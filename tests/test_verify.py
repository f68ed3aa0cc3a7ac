import io
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.events import AnyEvent, AttemptFinished, AttemptStarted, GroupFinished, RunFinished, RunStarted, Stamped
from harness.files import RunFiles
from harness.model import Group, GroupResult, Outcome, Phase, Status
from harness.record import PartRecord, RunRecord
from harness.reporters import Context, Detail, Reporters, standard
from harness.verify import parse_status, verify

NASTY = "it's $(x)\n\x1b[2J ünï\x01"


class Run:
    """A run that really was reported: two groups that ran, one that did not."""

    def __init__(self, root: Path, run_id: str = "20250102_030405") -> None:
        self.files = RunFiles(root / "logs", run_id)
        self.files.run_dir.mkdir(parents=True)
        self.record = RunRecord()
        self.seq = 0
        context = Context(
            files=self.files, record=self.record, stream=io.StringIO(), colour=False, detail=Detail.NORMAL,
            here=root, door="./exec.sh",
        )  # fmt: skip
        self.reporters = Reporters(self.record, standard(context, live=False, github=False))
        names = ("good", NASTY, "never")
        groups = tuple(Group(name=name, phase="p", command="true") for name in names)
        self.emit(
            RunStarted(
                run_id=run_id, version="1", project=str(root), environment="local", jobs=2, parallel=True,
                fail_fast=0, log_dir=str(self.files.log_dir), phases=(Phase(name="p", groups=groups),),
            )
        )  # fmt: skip
        for name, status in (("good", Status.PASSED), (NASTY, Status.FAILED)):
            log = self.files.group_log(name)
            log.touch()
            self.emit(AttemptStarted(group=name, attempt=1, slot=0, log=str(log)))
            outcome = Outcome(group=name, attempt=1, status=status, started_at=1.0, duration=1.0)
            self.emit(AttemptFinished(outcome=outcome))
            result = GroupResult(group=name, status=status, reason=name, attempts=1, started_at=1.0, duration=1.0)
            self.emit(GroupFinished(result=result))
        self.emit(GroupFinished(result=GroupResult(group="never", status=Status.NOT_RUN)))
        self.emit(RunFinished(exit_code=1, duration=2.0))
        self.reporters.close()

    def emit(self, event: AnyEvent) -> None:
        self.seq += 1
        assert self.reporters.handle(Stamped(self.seq, 1000.0 + self.seq, float(self.seq), event)) == []

    @property
    def problems(self) -> list[str]:
        return verify(self.files, self.record)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def test_a_run_that_adds_up_has_no_problems(run: Run) -> None:
    assert run.problems == []


DAMAGE: list[tuple[Callable[[Run], object], str]] = [
    (lambda run: run.files.status("good").unlink(), "No such file or directory"),
    (lambda run: edit(run.files.status("good"), "passed", "failed"), "says failed, the events say passed"),
    (lambda run: edit(run.files.status("good"), "STATUS=passed\n", ""), "STATUS missing"),
    (lambda run: edit(run.files.status("good"), "REASON=good", "REASON=$(touch pwned)"), "REASON is not safely quoted"),
    (lambda run: run.files.status("good").write_bytes(b"\xff\x00"), "codec can't decode"),
    (lambda run: edit(run.files.report, '"status": "failed"', '"status": "passed"'), "its summary does not add up"),
    (
        lambda run: edit(run.files.report, '"name": "good"', '"name": "other"'),
        "report.json says nothing of group 'good'",
    ),
    (lambda run: edit(run.files.report, '"total": 3', '"total": 4'), "its suites do not add up"),
    (lambda run: run.files.report.write_text("{"), "report.json cannot be read back"),
    (lambda run: run.files.report.write_text("[]"), "report.json cannot be read back"),
    (lambda run: run.files.test_report.unlink(), "test-report.json cannot be read back"),
    (lambda run: edit(run.files.test_report, '"name": "good"', '"name": "x"'), "test-report.json says nothing of"),
    (lambda run: run.files.junit.write_text("<testsuites>"), "junit.xml cannot be read back"),
    (lambda run: run.files.junit.write_text("<testsuites/>"), "junit.xml cannot be read back"),
    (lambda run: run.files.junit.write_text("<testsuites><failure/></testsuites>"), "junit.xml cannot be read back"),
    (lambda run: edit(run.files.junit, "</testsuites>", ""), "junit.xml cannot be read back"),
    (lambda run: edit(run.files.junit, "<failure", "<skipped"), "junit.xml says green of group"),
    (lambda run: run.files.events.write_bytes(b"garbage\n"), "events.jsonl cannot be read back"),
    (
        lambda run: edit(run.files.events, '"status":"not_run"', '"status":"lost"'),
        "events.jsonl says lost of group 'never'",
    ),
    (lambda run: run.files.group_log("good").unlink(), "group 'good' ran, but has no log"),
    (lambda run: (run.files.run_dir / ".report.json.x.tmp").touch(), "temporary file left behind"),
    (lambda run: run.files.log_dir.joinpath(f".a_status_{run.files.run_id}.x.tmp").touch(), "temporary file left"),
]


@pytest.mark.parametrize(("damage", "told"), DAMAGE, ids=[told for _, told in DAMAGE])
def test_each_contradiction_is_found(run: Run, damage: Callable[[Run], object], told: str) -> None:
    damage(run)
    assert told in run.problems[0]
    assert len(run.problems) <= 2  # a wrong name is found from both sides


def split_run(record: RunRecord) -> Group:
    """The good group of that run, as if its two files had run one by one."""
    good = record.groups["good"]
    good.group = Group(name="good", phase="p", tests=("a.py", "b.py"), splittable=True)
    good.parts = {file: PartRecord(attempts=list(good.attempts)) for file in good.group.tests}
    return good.group


def test_a_log_of_a_part_that_is_not_in_its_groups_is_found(run: Run) -> None:
    split_run(run.record)
    assert run.problems == []
    log = run.files.part_log("good/b.py")
    log.touch()
    assert run.problems == [f"the log of 'good/b.py' is not in that of its group: {log}"]
    failed = Outcome(group="good", part="b.py", attempt=1, status=Status.ERROR, started_at=1.0, duration=1.0)
    run.record.groups["good"].parts["b.py"].attempts.append(failed)
    assert run.problems == [], "an error says where it is"


def test_a_group_that_passed_without_one_of_its_files_is_found(run: Run) -> None:
    split_run(run.record)
    run.record.groups["good"].parts["a.py"].attempts.clear()
    assert run.problems == ["group 'good' passed, but its file 'a.py' did not run"]


@pytest.mark.parametrize("verdicts", [0, 2])
def test_a_group_without_exactly_one_verdict_is_found(run: Run, verdicts: int) -> None:
    run.record.groups["never"].verdicts = verdicts
    assert run.problems == [f"group 'never' has {verdicts} verdicts instead of one"]


def test_the_newest_report_may_be_that_of_another_run(run: Run, tmp_path: Path) -> None:
    other = Run(tmp_path, "20250102_030405-2")
    edit(run.files.test_report, '"name": "good"', '"name": "theirs"')
    assert run.problems == []
    assert "nothing of group 'good'" in other.problems[0]


@pytest.mark.parametrize(
    "line",
    ["", "GROUP", "GROUP=", "group=x", "GROUP=a b", "GROUP=x;y", "GROUP='a'b'", "GROUP='x'", "OTHER=x", "STATUS=x"],
)
def test_a_status_file_is_read_strictly(run: Run, line: str) -> None:
    text = run.files.status("good").read_text()
    assert parse_status(text)["GROUP"] == "good"
    with pytest.raises(ValueError, match=r"unexpected line|not safely quoted|missing"):
        parse_status(text + line if line in ("STATUS=x", "OTHER=x") else text.replace("GROUP=good", line))


def test_what_cannot_be_looked_at_is_no_contradiction(run: Run) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            assert run.problems
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
