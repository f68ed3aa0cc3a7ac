"""The door: where the project is, how the user is addressed, how errors are shown."""

import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli.door import Door, caution, complain
from harness.errors import HarnessError, InfrastructureError, PlanError, UsageError

# Where things are


def test_project_is_the_nearest_plan_upward(project: Path) -> None:
    (project / "a/b").mkdir(parents=True)
    assert Door.at(project / "a/b", "local").project == project


def test_without_option_it_is_looked_for_from_the_current_directory(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "a").mkdir()
    monkeypatch.chdir(project / "a")
    assert Door.at(None, "local").project == project
    assert Door.at(Path(".."), "local").project == project


def test_no_plan_is_the_users_to_mend(project: Path) -> None:
    (project / "harness.toml").unlink()
    with pytest.raises(UsageError, match=r"there is no harness\.toml"):
        _ = Door.at(project, "local").plan


def test_a_place_that_cannot_be_is_the_users_to_mend(project: Path) -> None:
    (project / "loop").symlink_to("loop")
    for place in (project / "loop", project / ("x" * 300)):
        (project / "harness.toml").unlink(missing_ok=True)
        with pytest.raises(UsageError, match=r"there is no harness\.toml"):
            _ = Door.at(place, "local").project


def test_environment_that_the_plan_lacks_is_refused(project: Path) -> None:
    with pytest.raises(UsageError, match='there is no environment "locl"'):
        _ = Door.at(project, "locl").plan


@pytest.mark.parametrize(
    ("plan", "directory"),
    [
        ("", "logs"),
        ("[run]\nlog_dir = 'out'", "out"),
        ("[run]\nlog_dir = 'out'\nnonsense = 1", "out"),
        ("[run]\nlog_dir = 3", "logs"),
        ("run = 3", "logs"),
        ("not toml", "logs"),
        ("[run]\nlog_dir = 'out'\nx = " + "[" * 5000, "logs"),
        ('[run]\nlog_dir = "out\\u0000"', "logs"),
    ],
)
def test_log_directory_is_known_where_the_plan_is_wrong(project: Path, plan: str, directory: str) -> None:
    (project / "harness.toml").write_text(plan)
    assert Door.at(project, "local").log_dir(None) == project / directory


def test_absolute_log_directory(project: Path) -> None:
    (project / "harness.toml").write_text("[run]\nlog_dir = '/var/log/x'")
    assert Door.at(project, "local").log_dir(None) == Path("/var/log/x")


def test_chosen_log_directory_is_meant_from_where_the_user_stands(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "a").mkdir()
    monkeypatch.chdir(project / "a")
    assert Door.at(None, "local").log_dir(Path("x")) == project / "a/x"


# What the user may copy


def test_commands_through_the_script(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (project / "exec.sh").touch()
    (project / "a").mkdir()
    assert Door.at(None, "local").command("logs", "a b") == "./exec.sh local logs 'a b'"
    assert Door.at(None, "staging").command("logs") == "./exec.sh staging logs"
    monkeypatch.chdir(project / "a")
    assert Door.at(None, "local").command("list") == "../exec.sh local list"
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert Door.at(project, "local").command("list") == f"{project}/exec.sh local list"


def test_commands_without_the_script(project: Path) -> None:
    assert Door.at(project, "local").command("list") == "harness list"
    assert Door.at(project, "staging").command("list") == "harness --environment staging list"


# How errors are shown


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("error", "shown", "code"),
    [
        (UsageError("no such thing"), "error: no such thing\n", 2),
        (UsageError("no such thing", "try that"), "error: no such thing\n  try that\n", 2),
        (InfrastructureError("it died:\nlast line", "a\nb"), "error: it died:\n  last line\n  a\n  b\n", 3),
        (
            PlanError(["harness.toml:1: a", "harness.toml:9: b"]),
            "error: harness.toml:1: a\nerror: harness.toml:9: b\n",
            2,
        ),
        (UsageError(""), "error: \n", 2),
        (UsageError("\x1b[2Jgone\x07"), "error: \\x1b[2Jgone\\x07\n", 2),
    ],
)
def test_complaint(capsys: pytest.CaptureFixture[str], error: HarnessError, shown: str, code: int) -> None:
    assert complain(error) == code
    out, err = capsys.readouterr()
    assert (out, err) == ("", shown)


@pytest.mark.usefixtures("project")
def test_complaint_in_colour(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    complain(UsageError("x"))
    assert capsys.readouterr().err == "\x1b[31merror:\x1b[0m x\n"


@pytest.mark.usefixtures("project")
def test_warnings_are_inert(capsys: pytest.CaptureFixture[str]) -> None:
    caution(["\x1b[2Ja\n::error::b ##[error]c"])
    assert capsys.readouterr().err == "warning: \\x1b[2Ja\\n::error::b ## [error]c\n"


def test_what_only_some_runs_need_is_not_loaded_for_all() -> None:
    heavy = ("http.client", "ssl", "tabulate", "rich", "psutil", "xml.etree.ElementTree", "sqlite3")
    code = f"import sys, harness.cli.test; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout == "[]\n"
