"""The oracles themselves: a good run passes them, and each planted fault turns them red.

Out of reach of O2 is a process that has cleared its environment, left its session and its directory: nothing tells that
it belongs to the run. Only a subreaper that still lives finds it, as its child.
"""

import base64
import html
import json
import shutil
import sqlite3
import subprocess
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from faults.agreement import runs_of
from faults.oracles import TOKEN, Said, Scene, forms_of, judge
from projects import Harness

CANARY = 'c4n"ary/of+this=\\tést&<run>'
SUITE = """
    [[phases]]
    name = "p"

    [[phases.groups]]
    name = "good"
    command = "true"

    [[phases.groups]]
    name = "bad"
    command = "exit 3"

    [[phases.groups]]
    name = "after"
    command = "true"
    depends_on = "bad"
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Said]:
    harness = Harness(tmp_path_factory.mktemp("finished"), "oracles")
    harness.plan(SUITE)
    ran = harness.run("test", "--parallel")
    return harness.directory, Said(ran.code, ran.stdout, ran.stderr)


@dataclass
class Left:
    """A copy of what that run left behind."""

    scene: Scene

    @property
    def run(self) -> Path:
        return runs_of(self.scene.project)[0]

    def status(self, group: str) -> Path:
        (path,) = self.run.parent.glob(f".{group}_status_*")
        return path

    def change(self, path: Path, old: str, new: str) -> None:
        text = path.read_text()
        assert old in text, f"{path} has no {old}"
        path.write_text(text.replace(old, new, 1))

    def sql(self, statement: str) -> None:
        connection = sqlite3.connect(self.scene.project / ".harness" / "history.sqlite3")
        with connection:
            assert connection.execute(statement).rowcount, statement
        connection.close()


@pytest.fixture
def left(finished: tuple[Path, Said], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    project, said = finished
    copy = tmp_path / "copy"
    shutil.copytree(project, copy)
    temporary = tmp_path_factory.mktemp("t")
    yield Left(Scene(copy, f"token of {tmp_path}", temporary, [said], [CANARY], [copy / ".env"]))
    shutil.rmtree(temporary)


def red(left: Left, told: str, scene: Scene | None = None) -> None:
    with pytest.raises(AssertionError) as caught:
        judge(scene or left.scene)
    assert told in str(caught.value)


def test_a_good_run_passes(left: Left) -> None:
    (left.scene.project / ".env").write_text(f"KEY={CANARY}\n")
    judge(left.scene)


Plant = Callable[[Left], object]
DISAGREEMENTS: list[tuple[Plant, str]] = [
    (lambda left: left.status("good").unlink(), "its status files: nothing of group 'good'"),
    (lambda left: left.change(left.status("good"), "STATUS=passed", "STATUS=running"), "running of group 'good'"),
    (lambda left: left.change(left.status("good"), "STATUS=passed", "STATUS=failed"), "its status files: failed"),
    (
        lambda left: left.change(left.run / "events.jsonl", '"good","status":"passed"', '"good","status":"lost"'),
        "says lost",
    ),
    (
        lambda left: left.change(left.run / "report.json", '"status": "passed"', '"status": "flaky"'),
        "report.json: flaky",
    ),
    (lambda left: left.change(left.run / "report.json", '"failed": 1', '"failed": 0'), "do not add up"),
    (lambda left: left.change(left.run / "report.json", '"exit_code": 1', '"exit_code": 0'), "says exit code 0"),
    (lambda left: left.change(left.run / "report.json", '"total": 3', '"total": 4'), "and says 4, of 3"),
    (lambda left: (left.run / "report.json").unlink(), "there is no report.json"),
    (
        lambda left: left.change(left.run.parent / "test-report.json", '"status": "failed"', '"status": "killed"'),
        "killed",
    ),
    (lambda left: (left.run.parent / "test-report.json").unlink(), "there is no test-report.json"),
    (lambda left: left.change(left.run / "junit.xml", 'value="failed"', 'value="passed"'), "junit.xml: passed"),
    (lambda left: left.change(left.run / "junit.xml", "<failure", "<skipped"), "which is failed, as green"),
    (lambda left: left.change(left.run / "junit.xml", 'failures="1"', 'failures="0"'), "counts 0 failures"),
    (lambda left: left.sql("UPDATE group_runs SET status = 'lost' WHERE \"group\" = 'bad'"), "the history: lost"),
    (lambda left: left.sql("DELETE FROM group_runs WHERE \"group\" = 'good'"), "the history: nothing of group 'good'"),
    (lambda left: left.sql("UPDATE runs SET exit_code = 0"), "the history says exit code 0"),
    (lambda left: left.sql("UPDATE runs SET run_id = 'other'"), "the history has it 0 times"),
    (lambda left: (left.scene.project / ".harness" / "history.sqlite3").write_text("garbage"), "cannot be read"),
]


@pytest.mark.parametrize(
    ("plant", "told"), DISAGREEMENTS, ids=[f"{n}: {told}" for n, (_, told) in enumerate(DISAGREEMENTS)]
)
def test_a_planted_disagreement_is_told(left: Left, plant: Plant, told: str) -> None:
    plant(left)
    red(left, told)


@pytest.mark.parametrize("times", [0, 2])
@pytest.mark.parametrize("kind", ["GroupFinished", "RunFinished"])
def test_a_verdict_that_is_missing_or_there_twice_is_told(left: Left, kind: str, times: int) -> None:
    path = left.run / "events.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    (place, *_) = (number for number, line in enumerate(lines) if f'"{kind}"' in line)
    lines[place : place + 1] = [lines[place]] * times
    path.write_text("".join(lines))
    red(left, f"has {times} verdicts" if kind == "GroupFinished" else f"{times} times finished")


def test_a_report_of_a_run_that_never_began_is_told(left: Left) -> None:
    (left.run / "events.jsonl").write_text("")
    red(left, "nothing was to run, and yet there is report.json")


def test_where_reports_could_not_be_written_they_may_be_missing_but_not_lie(left: Left) -> None:
    scene = replace(left.scene, broken_reports=True, history=False)
    (left.run / "junit.xml").unlink()
    judge(scene)
    left.change(left.run / "report.json", '"status": "passed"', '"status": "flaky"')
    red(left, "report.json: flaky", scene)


@pytest.mark.parametrize(
    "orphan",
    [
        lambda scene: subprocess.Popen(["sleep", "1000"], env={TOKEN: scene.token, "PATH": "/bin:/usr/bin"}, cwd="/"),
        lambda scene: subprocess.Popen(
            ["sleep", "1000"], env={"HARNESS_RUN_DIR": f"{scene.project}/logs/run_1", "PATH": "/bin:/usr/bin"}, cwd="/"
        ),
        lambda scene: subprocess.Popen(["sleep", "1000"], cwd=scene.project, env={"PATH": "/bin:/usr/bin"}),
    ],
    ids=["with the token", "with the run's directory", "in the project, with no variable"],
)
def test_a_planted_orphan_is_told(left: Left, orphan: Callable[[Scene], subprocess.Popen[bytes]]) -> None:
    process = orphan(left.scene)
    try:
        red(left, f"a process is left: {process.pid} sleep 1000", replace(left.scene, settles=0.0))
    finally:
        process.kill()
        process.wait()


def test_what_is_left_on_servers_and_in_directories_is_told(left: Left) -> None:
    red(left, "not told as leaked: schema h_1", replace(left.scene, inventory=lambda: frozenset({"schema h_1"})))
    red(left, "gone, though it was there before: schema s", replace(left.scene, before=frozenset({"schema s"})))
    for name in ("leases", "shared", "runs"):
        thing = left.scene.project / ".harness" / name / "thing"
        thing.parent.mkdir(exist_ok=True)
        thing.touch()
        red(left, f".harness/{name}/thing is left")
        thing.unlink()
    (left.scene.temporary / "harness-thing").touch()
    red(left, "harness-thing is left in the directory for temporary files")


def test_what_is_told_as_leaked_may_be_left_if_the_report_marks_its_group(left: Left) -> None:
    events = left.run / "events.jsonl"
    lease = {"token": "t0k3n", "entry": "db", "group": "good"}
    made = {
        "event": "LeaseMade",
        **lease,
        "kind": "postgres",
        "attempt": 1,
        "details": {"schema": "h_t0k3n"},
        "seconds": 0,
    }
    ended = {"event": "LeaseEnded", **lease, "ending": "leaked", "reason": "no"}
    first, *rest = events.read_text().splitlines()
    lines = [json.dumps({"seq": 0, "data": data}) for data in (made, ended)]
    numbered = [json.loads(line) | {"seq": number} for number, line in enumerate([first, *lines, *rest], 1)]
    events.write_text("".join(json.dumps(line) + "\n" for line in numbered))
    scene = replace(left.scene, inventory=lambda: frozenset({"schema h_t0k3n"}))
    red(left, "not told as leaked", scene)
    left.change(left.run / "report.json", '"leaked": false', '"leaked": true')
    judge(scene)


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


TORN: list[tuple[Plant, str]] = [
    (lambda left: (left.run / ".report.json.1-2.tmp").touch(), ".report.json.1-2.tmp is left"),
    (lambda left: (left.scene.project / ".harness" / "x.new").touch(), "x.new is left"),
    (lambda left: cut(left.run / "report.json"), "report.json does not parse"),
    (lambda left: cut(left.run / "trace.json"), "trace.json does not parse"),
    (lambda left: cut(left.run / "junit.xml"), "junit.xml does not parse"),
    (lambda left: cut(left.run / "events.jsonl"), "events.jsonl does not parse: its last line has no end"),
    (lambda left: append(left.status("good"), "REASON=$(touch pwned)\n"), "not KEY=value, safely quoted"),
    (lambda left: append(left.status("good"), "echo hello\n"), "cannot be sourced"),
    (lambda left: left.change(left.status("good"), "REASON=", "OTHER="), "cannot be sourced"),
    (lambda left: left.status("good").write_text(""), "cannot be sourced"),
]


@pytest.mark.parametrize(("plant", "told"), TORN, ids=[f"{n}: {told}" for n, (_, told) in enumerate(TORN)])
def test_a_torn_file_is_told(left: Left, plant: Plant, told: str) -> None:
    plant(left)
    red(left, told)


# Made here by other means than `forms_of`: as programs that print a secret would make them.
WRITTEN = {
    "plain": CANARY,
    "in the midst of base64": base64.b64encode(f"user:{CANARY}!".encode()).decode(),
    "base64 after one more": base64.b64encode(f"users:{CANARY}".encode()).decode(),
    "base64 after two more": base64.urlsafe_b64encode(f"uusers:{CANARY}..".encode()).decode(),
    "URL": "https://x/?key=" + urllib.parse.quote(CANARY, safe=""),
    "form": urllib.parse.urlencode({"key": CANARY}),
    "JSON": json.dumps({"key": CANARY}),
    "JSON in UTF-8": json.dumps({"key": CANARY}, ensure_ascii=False),
    "XML": html.escape(CANARY),
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN.keys())
def test_a_planted_secret_is_told_in_each_form(left: Left, written: str) -> None:
    log = left.run.parent / "good.log"
    log.write_text(f"before {written} after")
    red(left, "in logs/good.log")
    log.unlink()
    red(left, "in what was said, 0", replace(left.scene, said=[Said(0, f"says {written} and", "")]))
    red(left, "in what was said, 0", replace(left.scene, said=[Said(0, "", f"says {written} and")]))


def test_a_planted_secret_is_told_in_a_name_in_the_history_and_line_by_line(left: Left) -> None:
    (left.scene.project / "secret-in-a-name").touch()
    red(left, "in secret-in-a-name", replace(left.scene, canaries=["secret-in-a-name"]))
    (left.scene.project / "secret-in-a-name").unlink()
    left.sql("UPDATE runs SET host = 'a secret of two'")
    red(left, "line 1) in .harness/history.sqlite3", replace(left.scene, canaries=["secret of two\nlines of it"]))


def test_no_form_is_so_short_that_it_stands_anywhere() -> None:
    assert all(len(form) >= 6 for secret in ("1234567", CANARY) for form in forms_of(secret).values())


SAID = [
    (Said(1, "", "Traceback (most recent call last):\n"), "a traceback of the harness"),
    (Said(1, 'File "/usr/lib/harness/run.py", line 7, in loop\n', ""), "a traceback of the harness"),
    (Said(1, "g0: the harness failed: KeyError", ""), "the harness failed"),
    (Said(0, "", "a line\n" * 13), "13 lines on stderr"),
    (Said(2, "", ""), "exit code 2, and nothing says"),
    (Said(3, "", "trouble\n"), "exit code 3, and nothing says"),
    (Said(70, "", "error: results contradict\n"), "contradicts itself"),
    (Said(0, "\x1b[2J", ""), "an escape sequence"),
]


@pytest.mark.parametrize(("said", "told"), SAID, ids=[f"{n}: {told}" for n, (_, told) in enumerate(SAID)])
def test_what_nobody_can_read_is_told(left: Left, said: Said, told: str) -> None:
    red(left, told, replace(left.scene, said=[said]))


def test_words_that_say_what_to_do_pass(left: Left) -> None:
    judge(replace(left.scene, said=[Said(2, "", "error: harness.toml:1: no\n"), Said(3, "g0 error", "")]))
