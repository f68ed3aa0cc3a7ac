"""`merge`: shards' directories in, one run out."""

import json
import os
import re
import shlex
import stat
from collections.abc import Callable
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest

from harness.cli.main import cli
from harness.cli.merge import merge
from harness.config.options import resolve
from harness.errors import InfrastructureError, InternalError
from harness.events import (
    AttemptFinished,
    AttemptSpawned,
    AttemptStarted,
    GroupFinished,
    PhaseFinished,
    PhaseStarted,
    RunFinished,
    RunStarted,
    ServiceReady,
    ServiceStarted,
    Stamped,
    encode,
)
from harness.files import RunFiles, all_runs
from harness.history import HISTORY_FILE, History
from harness.model import Group, GroupResult, Outcome, Phase, Status
from harness.planning.load import load_plan
from harness.verify import parse_status

BEGAN = 1_735_787_045.0
MACHINE = "/builds/other/machine"  # no such path here


def phase(name: str, *groups: str, sequential: bool = False) -> Phase:
    made = tuple(Group(name=group, phase=name, command="true") for group in groups)
    return Phase(name=name, sequential=sequential, groups=made)


class Shard:
    """A shard's run as its machine left it, brought here into a directory."""

    def __init__(self, log_dir: Path, number: str, group: str, *, pid: int = 7, host: str = "other") -> None:
        self.files = RunFiles(log_dir, f"20250102_03040{number[0]}")
        self.files.run_dir.mkdir(parents=True)
        self.elapsed, self.seq = 0.0, 0
        self.machine = RunFiles(Path(MACHINE, "logs"), self.files.run_id)
        self.add(
            RunStarted(
                run_id=self.files.run_id,
                version="1",
                project=MACHINE,
                environment="local",
                jobs=2,
                parallel=True,
                fail_fast=0,
                log_dir=str(self.machine.log_dir),
                phases=(phase("core", "core", sequential=True), phase("parallel", group)),
                pid=pid,
                host=host,
                shard=number,
                all_groups=("core", "financial", "search"),
            )
        )
        db = str(self.machine.service_log("db"))
        self.add(ServiceStarted(service="db", pid=8, port=5, log=db), ServiceReady(service="db", seconds=0.1))
        self.files.service_log("db").write_text(f"the database of {number}\n")
        for name, place in (("core", "core"), (group, "parallel")):
            self.add(PhaseStarted(phase=place))
            self.begin(name)
            self.end(name, Status.PASSED)
            self.add(PhaseFinished(phase=place))

    def add(self, *events: object) -> None:
        with self.files.events.open("ab") as file:
            for event in events:
                self.seq, self.elapsed = self.seq + 1, self.elapsed + 0.5
                stamped = Stamped(self.seq, BEGAN + self.elapsed, self.elapsed, event)  # type: ignore[arg-type]
                file.write(encode(stamped) + b"\n")

    def begin(self, group: str) -> None:
        log = str(self.machine.group_log(group))
        self.add(AttemptStarted(group=group, attempt=1, slot=0, log=log))
        self.add(AttemptSpawned(group=group, attempt=1, pid=9, argv=("true",)))
        self.files.group_log(group).write_text(f"{group} of {self.files.run_id}\n")

    def end(self, group: str, status: Status) -> None:
        outcome = Outcome(group=group, attempt=1, status=status, started_at=BEGAN, duration=0.5, exit_code=0)
        result = GroupResult(group=group, status=status, attempts=1, started_at=BEGAN, duration=0.5, exit_code=0)
        self.add(AttemptFinished(outcome=outcome), GroupFinished(result=result))

    def finish(self, exit_code: int = 0) -> "Shard":
        self.add(RunFinished(exit_code=exit_code, duration=self.elapsed))
        return self


Make = Callable[..., Shard]


@pytest.fixture
def shard(project: Path) -> Make:
    """shard(1): the first of two, in shards/1."""

    def make(index: int, directory: str = "", **more: object) -> Shard:
        log_dir = project / (directory or f"shards/{index}")
        return Shard(log_dir, f"{index}/2", ["financial", "search"][index - 1], **more)  # type: ignore[arg-type]

    return make


def newest(project: Path) -> RunFiles:
    return all_runs(project / "logs")[0]


def test_one_run_of_two_shards(call, shard: Make, project: Path) -> None:
    shard(1).finish()
    shard(2).finish()
    result = call(merge, "shards")
    assert result.return_value == 0
    assert "3 groups passed" in result.output
    files = newest(project)
    report = json.loads(files.report.read_text())
    assert [(suite["name"], suite["status"]) for suite in report["suites"]] == [
        ("core", "passed"),
        ("financial", "passed"),
        ("search", "passed"),
    ]
    assert report["summary"]["jobs"] == 4
    assert [suite.get("name") for suite in ElementTree.parse(files.junit).getroot()] == ["core", "financial", "search"]
    assert json.loads(files.test_report.read_text()) == report
    assert json.loads(files.trace.read_text())["traceEvents"]
    assert "3 groups passed" in files.main_log.read_text()


def test_logs_lie_beside_the_merged_report(call, shard: Make, project: Path) -> None:
    shard(1).finish()
    shard(2).finish()
    call(merge, "shards/1", "shards/2")
    files = newest(project)
    assert files.group_log("core").read_text() == "core of 20250102_030401\n"
    assert files.group_log("search").read_text() == "search of 20250102_030402\n"
    assert files.service_log("db").read_text() == "the database of 1/2\n"
    for name in ("core", "financial", "search"):
        assert stat.S_IMODE(files.group_log(name).stat().st_mode) == 0o600
        assert parse_status(files.status(name).read_text())["LOG"] == str(files.group_log(name))


def test_a_failed_shard_fails_the_whole(call, shard: Make) -> None:
    shard(1).finish()
    failed = shard(2)
    lines = failed.files.events.read_bytes().splitlines(keepends=True)
    failed.files.events.write_bytes(b"".join(lines[:-3]))  # the end of its search
    failed.end("search", Status.FAILED)
    failed.finish(exit_code=1)
    result = call(merge, "shards")
    assert result.return_value == 1
    assert "1 of 3 groups failed" in result.output


def test_nothing_is_changed_in_the_shards(call, shard: Make, project: Path) -> None:
    shard(1).finish()
    shard(2).finish()

    def state() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in (project / "shards").rglob("*") if path.is_file()}

    before = state()
    call(merge, "shards")
    assert state() == before


def test_each_shard_is_in_the_history_and_the_whole_is_not(call, shard: Make, project: Path) -> None:
    shard(1).finish()
    shard(2).finish()
    for _ in range(2):  # merged again, it is no other run
        call(merge, "shards")
    history = History.open(project / HISTORY_FILE)
    assert {(run.shard, run.run_id) for run in history.runs(10)} == {
        ("1/2", "20250102_030401"),
        ("2/2", "20250102_030402"),
    }
    assert len(history.runs(10)) == 2
    assert len(history.groups("core", 10)) == 2
    history.close()


def test_a_history_that_cannot_be_opened_is_a_warning(
    call, shard: Make, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path) -> History:
        raise InfrastructureError("this Python has no SQLite")

    monkeypatch.setattr(History, "open", refuse)
    shard(1).finish()
    shard(2).finish()
    assert call(merge, "shards").return_value == 0
    assert json.loads(newest(project).report.read_text())["warnings"] == [
        "the history was not written: this Python has no SQLite"
    ]


def test_shards_can_lie_in_the_log_directory_itself(call, shard: Make, project: Path) -> None:
    """And be merged again there, beside the merged run of the first time."""
    shard(1, "logs").finish()
    shard(2, "logs").finish()
    for _ in range(2):
        assert call(merge, "logs").return_value == 0
    assert len(all_runs(project / "logs")) == 4


def test_a_directory_may_be_given_twice_or_be_that_of_the_run(call, shard: Make) -> None:
    one, _two = shard(1).finish(), shard(2).finish()
    assert call(merge, "shards/2", "shards", str(one.files.run_dir)).return_value == 0
    assert call(merge, "shards/2", str(one.files.run_dir)).return_value == 0


def test_one_shard_may_lie_below_another(call, shard: Make) -> None:
    shard(1, "shards").finish()
    shard(2, "shards/more/of/them").finish()
    assert call(merge, "shards").return_value == 0


def test_a_missing_shard_leaves_no_run_behind(call, shard: Make, project: Path) -> None:
    shard(2).finish()
    with pytest.raises(InfrastructureError, match="shard 1/2 is missing"):
        call(merge, "shards")
    assert not (project / "logs").exists()


def test_a_run_that_has_only_its_directory_is_missing(call, shard: Make, project: Path) -> None:
    shard(2).finish()
    (project / "shards/1/run_20250102_030400").mkdir(parents=True)
    (project / "shards/1/run_20250102_030401").mkdir()
    (project / "shards/1/run_20250102_030401/events.jsonl").write_bytes(b'{"seq":1,"ti')
    with pytest.raises(InfrastructureError, match="shard 1/2 is missing"):
        call(merge, "shards")


def test_missing_logs_leave_no_run_behind(call, shard: Make, project: Path) -> None:
    shard(1).finish()
    shard(2).finish().files.group_log("search").unlink()
    with pytest.raises(InfrastructureError, match=r"shard 2/2 has no log of search in .*/shards/2$") as caught:
        call(merge, "shards")
    assert "whole log directory" in caught.value.cure
    assert not (project / "logs").exists()


def test_a_group_that_could_not_be_started_may_have_no_log(call, shard: Make, project: Path) -> None:
    shard(1).finish()
    broken = shard(2)
    lines = broken.files.events.read_bytes().splitlines(keepends=True)
    broken.files.events.write_bytes(b"".join(lines[:-3]))
    broken.end("search", Status.ERROR)
    broken.finish(exit_code=3).files.group_log("search").unlink()
    assert call(merge, "shards").return_value == 3
    assert parse_status(newest(project).status("search").read_text())["STATUS"] == "error"


def test_the_log_of_a_service_may_be_missing(call, shard: Make) -> None:
    shard(1).finish().files.service_log("db").unlink()
    shard(2).finish()
    assert call(merge, "shards").return_value == 0


def test_a_harness_that_died_has_lost_what_it_ran(call, shard: Make, project: Path) -> None:
    shard(1).finish()
    died = shard(2)
    lines = died.files.events.read_bytes().splitlines(keepends=True)
    died.files.events.write_bytes(b"".join(lines[:-3]) + lines[-3][:20])  # in mid-line
    result = call(merge, "shards")
    assert result.return_value == 3
    assert parse_status(newest(project).status("search").read_text())["STATUS"] == "lost"
    history = History.open(project / HISTORY_FILE)
    assert [run.shard for run in history.runs(10)] == ["2/2", "1/2"]
    assert not history.latest("local")["search"].whole
    history.close()


def test_what_failed_on_another_machine_is_not_cached_here(call, shard: Make, project: Path) -> None:
    history = History.open(project / HISTORY_FILE)
    history.store_fingerprint("search", "passed", {}, "20250101_000000", 1.0)
    failed = shard(2)
    lines = failed.files.events.read_bytes().splitlines(keepends=True)
    failed.files.events.write_bytes(b"".join(lines[:-3]))  # the end of its search
    failed.end("search", Status.FAILED)
    failed.finish(exit_code=1)
    shard(1).finish()
    assert call(merge, "shards").return_value == 1
    assert history.fingerprints()["search"].digest == ""
    history.close()


@pytest.mark.parametrize("shards", ["zz", "0/2", "3", "1/2/3", "-1/2"])
def test_what_is_no_shard(call, shard: Make, shards: str) -> None:
    shard(1).finish()
    wrong = shard(2).finish()
    wrong.files.events.write_text(wrong.files.events.read_text().replace('"shard":"2/2"', f'"shard":"{shards}"'))
    with pytest.raises(InfrastructureError, match="is no shard"):
        call(merge, "shards")


@pytest.mark.parametrize("host", ["", "here"])
def test_a_shard_that_still_runs_here(call, shard: Make, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setattr("platform.node", lambda: "here")
    monkeypatch.setattr("harness.cli.merge.is_alive", lambda _files: True)
    shard(1).finish()
    running = shard(2, pid=os.getpid(), host=host)
    with pytest.raises(InfrastructureError, match=rf"shard 2/2 still runs: .*, process {os.getpid()}$"):
        call(merge, "shards")
    running.finish()
    assert call(merge, "shards").return_value == 0


def test_a_process_of_another_machine_means_nothing(call, shard: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.cli.merge.is_alive", lambda _files: True)
    shard(1).finish()
    shard(2, host="other")
    assert call(merge, "shards").return_value == 3  # it did not end; it does not run here either


@pytest.mark.parametrize("line", [b"garbage\n", b'{"seq":1,"time":0.0,"elapsed":0.0,"data":{"event":"Unknown"}}\n'])
def test_a_damaged_journal_is_named(call, shard: Make, line: bytes) -> None:
    damaged = shard(1).finish()
    with damaged.files.events.open("ab") as file:
        file.write(line)
    place = len(damaged.files.events.read_bytes().splitlines())
    with pytest.raises(InfrastructureError, match=rf"shards/1/run_20250102_030401/events.jsonl:{place}: not a run"):
        call(merge, "shards")


def test_an_event_of_a_group_that_the_run_lacks(call, shard: Make) -> None:
    strange = shard(1)
    strange.end("nobody", Status.PASSED)
    with pytest.raises(InfrastructureError, match=r"events.jsonl: not a run of this harness: 'nobody'"):
        call(merge, "shards")


def test_log_that_cannot_be_copied(call, shard: Make) -> None:
    one = shard(1).finish()
    shard(2).finish()
    one.files.group_log("core").unlink()
    one.files.group_log("core").mkdir()
    with pytest.raises(InfrastructureError, match=r"cannot copy .*/core_20250102_030401.log to .*: Is a directory"):
        call(merge, "shards")


def test_reports_that_cannot_be_written(call, shard: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    shard(1).finish()
    shard(2).finish()
    monkeypatch.setattr("harness.reporters.report_json.write_atomically", refuse)
    with pytest.raises(InfrastructureError, match="JSON report failed: No space left on device"):
        call(merge, "shards")


def test_what_was_written_is_read_back(call, shard: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    shard(1).finish()
    shard(2).finish()
    monkeypatch.setattr("harness.cli.merge.verify", lambda _files, record: [f"{len(record.groups)} wrong"])
    with pytest.raises(InternalError, match="contradict each other:\n3 wrong"):
        call(merge, "shards")


def test_github_gets_one_summary(call, shard: Make, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project / "summary.md"))
    shard(1).finish()
    shard(2).finish()
    call(merge, "shards")
    assert (project / "summary.md").read_text().count("| search") == 1


# --- docs/shards.md

PAGE = (Path(__file__).parent.parent.parent / "docs/shards.md").read_text()


def commands_of_the_page() -> list[str]:
    blocks = re.findall(r"```(?:bash|yaml)\n(.*?)```", PAGE, re.DOTALL)
    return [line for block in blocks for line in re.findall(r"\./exec\.sh (.*)", block)]


def test_the_page_has_both_services() -> None:
    test = "local test --parallel --shard"
    assert [command for command in commands_of_the_page() if command.startswith(test)][1:] == [
        f"{test} ${{{{ matrix.shard }}}}/4",
        f"{test} $CI_NODE_INDEX/$CI_NODE_TOTAL --log-dir shards/$CI_NODE_INDEX",
    ]
    assert commands_of_the_page().count("local merge shards/*") == 2


@pytest.mark.parametrize("line", commands_of_the_page())
def test_commands_of_the_page_are_right(line: str, project: Path) -> None:
    """As far as the real command line and the real options can tell."""
    (project / "shards/1").mkdir(parents=True)
    for name, value in {"${{ matrix.shard }}": "2", "$CI_NODE_INDEX": "2", "$CI_NODE_TOTAL": "4"}.items():
        line = line.replace(name, value)
    environment, name, *words = shlex.split(line.replace("shards/*", "shards/1"), comments=True)
    assert environment == "local"
    with click.Context(cli) as context:
        command = cli.get_command(context, name)
        assert command
        given = command.make_context(name, list(words), parent=context).params
    if name == "test":
        shard = resolve(given, {}, load_plan(project, date(2026, 1, 31))).shard
        assert shard
        assert (shard.index, shard.count) == (2, 4)


def says_twice_how_it_ended(shard: Shard) -> None:
    shard.end("search", Status.PASSED)
    shard.finish()


def does_not_say_how_it_ended(shard: Shard) -> None:
    lines = shard.files.events.read_bytes().splitlines(keepends=True)
    shard.files.events.write_bytes(b"".join(lines[:-2]))
    shard.finish()


def passes_with_a_failure(shard: Shard) -> None:
    content = shard.files.events.read_bytes()
    shard.files.events.write_bytes(content.replace(b'"status":"passed"', b'"status":"failed"'))
    shard.finish()


@pytest.mark.parametrize(
    ("contradict", "message"),
    [
        (says_twice_how_it_ended, "group 'search' goes on after its end"),
        (does_not_say_how_it_ended, "it is over, and does not say how group 'search' ended"),
        (passes_with_a_failure, "it says that it passed, and that group 'core' failed"),
        (lambda shard: shard.finish(exit_code=-1), "-1 is no exit code"),
        (lambda shard: shard.finish(exit_code=256), "256 is no exit code"),
    ],
)
def test_a_shard_that_contradicts_itself_is_damaged(
    call, shard: Make, project: Path, contradict: Callable[[Shard], object], message: str
) -> None:
    shard(1).finish()
    contradict(shard(2))
    with pytest.raises(InfrastructureError, match=message):
        call(merge, "shards")
    assert not (project / "logs").exists()
