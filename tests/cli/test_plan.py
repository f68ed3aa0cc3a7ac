"""`plan --jobs` and `plan --compare`: whole outputs compared, with a history and without one."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli.plan import plan
from harness.errors import NothingToRun, UsageError
from harness.events import (
    AttemptFinished,
    AttemptStarted,
    GroupFinished,
    PhaseStarted,
    RunFinished,
    RunStarted,
    Stamped,
)
from harness.history import HISTORY_FILE, History
from harness.model import GroupResult, Outcome, Phase, Status
from harness.planning.load import load_plan
from harness.record import RunRecord

PLAN = """
[resources]
api = 2

[[phases]]
name = "core"
sequential = true

[[phases.groups]]
name = "core"
command = "true"

[[phases]]
name = "parallel"

[[phases.groups]]
name = "long"
tests = ["test_a.py", "test_b.py"]

[[phases.groups]]
name = "deposits"
command = "true"
parallel_group = "ledger"

[[phases.groups]]
name = "withdrawals"
command = "true"
parallel_group = "ledger"

[[phases]]
name = "stress"
when = "RUN_STRESS_TESTS"

[[phases.groups]]
name = "stress"
command = "true"
"""

PREDICTED = """\
Predicted with 4 jobs: 34.0 s (services 3.0 s, groups 30.0 s, wind-down 1.0 s)
  phase stress is off: set RUN_STRESS_TESTS=true; it is left out

At least 34.0 s, whatever the order (× 1.00):
  core            4.0 s  one group at a time
  parallel       26.0 s  the parallel group ledger

            core   │parallel
core        ███████│                                                       4.0 s
deposits           ██████████████████████████                             14.0 s
long               █████████████████████████████████████                  20.0 s
withdrawals        │                         ██████████████████████       12.0 s
            0 s               10 s              20 s               30 s

What would help, each by itself:
        −6.0 s  let deposits and withdrawals of the parallel group ledger run side by side
It takes no longer with 2 jobs instead of 4.
"""

COMPARED = """\
phase stress is off: set RUN_STRESS_TESTS=true; it is left out

  jobs    makespan    speedup    at least    × that  what binds
     1      54.0 s       1.00      54.0 s      1.00  one job
     2      34.0 s       1.59      34.0 s      1.00  parallel: the parallel group ledger
     3      34.0 s       1.59      34.0 s      1.00  parallel: the parallel group ledger
     4      34.0 s       1.59      34.0 s      1.00  parallel: the parallel group ledger
     5      34.0 s       1.59      34.0 s      1.00  parallel: the parallel group ledger

More than 2 jobs gains nothing (under 1 %).
"""

Teach = Callable[..., None]


@pytest.fixture
def project(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("RUN_STRESS_TESTS", raising=False)
    (project / "harness.toml").write_text(PLAN)
    for name in ("test_a.py", "test_b.py"):
        (project / name).touch()
    return project


@pytest.fixture
def teach(project: Path) -> Teach:
    """teach(group=seconds, …): one passing run in the project's history; its services took 3 s, and its end one."""

    def record(**durations: float) -> None:
        import datetime

        made = load_plan(project, datetime.date(2026, 1, 31))
        phases = tuple(phase for phase in made.phases if phase.name != "stress")
        run = RunRecord()
        clock = 3.0
        events: list[tuple[float, object]] = [(0.0, started(project, phases)), (clock, PhaseStarted(phase="core"))]
        for group, seconds in durations.items():
            outcome = Outcome(group=group, attempt=1, status=Status.PASSED, started_at=clock, duration=seconds)
            result = GroupResult(group=group, status=Status.PASSED, attempts=1, started_at=clock, duration=seconds)
            events.append((clock, AttemptStarted(group=group, attempt=1, slot=0, log="")))
            clock += seconds
            events += [(clock, AttemptFinished(outcome=outcome)), (clock, GroupFinished(result=result))]
        events.append((clock + 1, RunFinished(exit_code=0, duration=clock + 1)))
        for number, (elapsed, event) in enumerate(events, 1):
            run.apply(Stamped(number, 1000.0 + elapsed, elapsed, event))  # type: ignore[arg-type]
        path = project / HISTORY_FILE
        path.parent.mkdir(exist_ok=True)
        history = History.open(path)
        history.record(run, keep=10)
        history.close()

    return record


def started(project: Path, phases: tuple[Phase, ...]) -> RunStarted:
    return RunStarted(
        run_id="20260101_120000",
        version="1",
        project=str(project),
        environment="local",
        jobs=4,
        parallel=True,
        fail_fast=0,
        log_dir=str(project / "logs"),
        phases=phases,
        host="here",
    )


def test_prediction(call, teach: Teach) -> None:
    teach(core=4, long=20, deposits=14, withdrawals=12)
    assert call(plan, "--jobs", "4").output == PREDICTED


def test_prediction_without_any_history(call, project: Path) -> None:
    output = call(plan, "--jobs", "4").output
    assert output.startswith("Predicted with 4 jobs: 3.0 s\n")
    assert "\n  There is no history yet: all groups count as equal, 1 s each. One run teaches it.\n" in output
    assert not (project / HISTORY_FILE).exists(), "a look makes no file"


def test_guesses_are_named(call, teach: Teach) -> None:
    teach(core=4, long=20, deposits=14)
    output = call(plan, "--jobs", "4").output
    assert "\n  1 of 4 estimates is a guess (17.0 s, the 75th percentile of the others): withdrawals\n" in output


def test_time_of_services_that_is_not_known(call, teach: Teach, project: Path) -> None:
    teach(core=4, long=20, deposits=14, withdrawals=12)
    with sqlite3.connect(project / HISTORY_FILE) as database:
        database.execute("UPDATE runs SET exit_code = 1")
    first = call(plan, "--jobs", "4").output.splitlines()[0]
    assert first == "Predicted with 4 jobs: 30.0 s (without the services, whose time is not known yet)"


def test_comparison(call, teach: Teach) -> None:
    teach(core=4, long=20, deposits=14, withdrawals=12)
    assert call(plan, "--compare", "1..5").output == COMPARED


def test_comparison_that_ends_too_early(call, teach: Teach) -> None:
    teach(core=4, long=20, deposits=14, withdrawals=12)
    output = call(plan, "--compare", "1..2").output
    assert output.endswith("\nMore than 2 jobs may gain still: nothing above was looked at.\n")


def test_comparison_without_any_history(call, project: Path) -> None:
    assert "all groups count as equal, 1 s each. One run teaches it.\n\n" in call(plan, "--compare", "1..2").output
    assert not (project / HISTORY_FILE).exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("16..1", '--compare: "1" is not a whole number from 16 to 1024'),
        ("0..4", '--compare: "0" is not a whole number from 1 to 1024'),
        ("1..2000", '--compare: "2000" is not a whole number from 1 to 1024'),
        ("1..", '--compare: "" is not a whole number from 1 to 1024'),
        ("1..2..3", '--compare: "2..3" is not a whole number from 1 to 1024'),
        ("a", '--compare: "a" is not a range; write 1..16, from 1 to 1024'),
        ("", '--compare: "" is not a range; write 1..16, from 1 to 1024'),
    ],
)
def test_wrong_ranges_are_refused(call, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        call(plan, "--compare", text)
    assert caught.value.message == message


@pytest.mark.parametrize("text", ["0", "-1", "1_0", "abc", "", "999999", "٣"])
def test_wrong_jobs_are_refused(call, text: str) -> None:
    with pytest.raises(UsageError, match=r"^--jobs: .* is not a whole number from 1 to 1024$"):
        call(plan, "--jobs", text)


@pytest.mark.parametrize("given", ["--jobs 2 --compare 1..2", "--format dot --jobs 2", "--format json --compare 1..2"])
def test_two_questions_at_once_are_refused(call, given: str) -> None:
    with pytest.raises(UsageError, match="show different things; leave one out"):
        call(plan, *given.split())


def test_phase_that_is_on_takes_part(call, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / ".env").write_text("RUN_STRESS_TESTS=true\n")
    output = call(plan, "--jobs", "4").output
    assert "left out" not in output
    assert "│stress\n" in output
    monkeypatch.setenv("RUN_STRESS_TESTS", "no")
    assert "left out" in call(plan, "--jobs", "4").output


def test_nothing_is_predicted_where_nothing_would_run(call, project: Path) -> None:
    stress = PLAN[PLAN.index('[[phases]]\nname = "stress"') :]
    after_it = '[[phases]]\nname = "p"\n[[phases.groups]]\nname = "a"\ncommand = "true"\ndepends_on = ["stress"]'
    for text in (stress, stress + after_it):
        (project / "harness.toml").write_text(text)
        with pytest.raises(NothingToRun, match="every"):
            call(plan, "--jobs", "4")


def test_damaged_history_is_no_reason_to_say_nothing(call, project: Path) -> None:
    path = project / HISTORY_FILE
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"no database" * 1000)
    ran = call(plan, "--jobs", "4")
    assert "There is no history yet" in ran.stdout
    assert ran.stderr.startswith("warning: ")


def test_pictures_read_no_history(project: Path) -> None:
    program = (
        "import sys; from harness.cli.main import main; main(); "
        "heavy = {'sqlite3', 'tabulate', 'psutil', 'rich', 'harness.scheduling.dispatch', 'harness.history'}; "
        "print(heavy & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--project", str(project), "plan"],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "withdrawals" in done.stdout
    assert done.stderr == "set()\n"


def test_the_page_shows_what_the_code_does() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/scheduling.md").read_text()
    for text in (PLAN, PREDICTED, COMPARED):
        assert text.strip() in page
