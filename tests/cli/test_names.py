"""`names`: what it prints and how it ends, which files it takes, and how it writes them."""

import json
import os
from pathlib import Path
from textwrap import dedent

import pytest

from harness.cli.names import names
from harness.errors import InfrastructureError, NothingToRun, UsageError

TEST = """\
def test_registers(api):
    api.post("/c", json={"client_name": "Acme"})
"""
PAGE = """\
test_a.py:2:41: name "Acme" in api.post(…): a second one is refused, or found by a test that did not make it
    instead: unique_client_name

1 fixed identifier in 1 file; 1 can be replaced by --fix
"""


def write(project: Path, name: str, code: str = TEST) -> Path:
    path = project / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(code))
    return path


def test_a_finding_has_a_place_a_reason_and_a_cure(project: Path, call) -> None:
    write(project, "test_a.py")
    result = call(names, "test_a.py")
    assert (result.output, result.return_value) == (PAGE, 1)


def test_what_stays_says_why(project: Path, call) -> None:
    write(project, "test_a.py", 'create_user(username="bob")\n')
    assert (
        "instead: unique_name: it stands outside of the tests and their fixtures\n" in call(names, "test_a.py").output
    )


def test_nothing_found_is_a_success(project: Path, call) -> None:
    write(project, "test_a.py", "def test(): ...\n")
    result = call(names, "test_a.py")
    assert (result.output, result.return_value) == ("0 fixed identifiers in 1 file\n", 0)


def test_fix_rewrites_and_a_second_run_finds_nothing(project: Path, call) -> None:
    path = write(project, "test_a.py")
    path.chmod(0o640)
    result = call(names, "test_a.py", "--fix")
    assert (result.output, result.return_value) == ("0 fixed identifiers in 1 file; 1 replaced\n", 0)
    assert path.read_text() == TEST.replace("(api)", "(api, unique_client_name)").replace(
        '"Acme"', "unique_client_name"
    )
    assert path.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in project.iterdir() if entry.name.startswith(".test")] == []
    assert call(names, "test_a.py").return_value == 0


def test_without_fix_nothing_is_written(project: Path, call) -> None:
    path = write(project, "test_a.py")
    before = path.stat()
    call(names, "test_a.py")
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_a_link_stays_a_link(project: Path, call) -> None:
    path = write(project, "real/test_a.py")
    link = project / "test_link.py"
    link.symlink_to(path)
    call(names, "test_link.py", "--fix")
    assert link.is_symlink()
    assert "unique_client_name" in path.read_text()


def test_a_file_that_is_no_python_is_told_and_the_others_go_on(project: Path, call) -> None:
    write(project, "test_a.py")
    write(project, "test_b.py", "x = 1\ndef (:\n")
    result = call(names, ".", "--fix")
    assert "test_b.py:2: is no Python 3." in result.output
    assert result.output.endswith("1 replaced; 1 file could not be examined\n")
    assert result.return_value == 1


def test_a_directory_is_searched_but_not_where_others_live(project: Path, call) -> None:
    for place in ("tests/test_a.py", "tests/.venv/test_b.py", "tests/node_modules/test_c.py", "tests/deep/conftest.py"):
        write(project, place)
    files = json.loads(call(names, "tests", "--format", "json").output)
    assert [file["file"] for file in files] == ["tests/deep/conftest.py", "tests/test_a.py"]


def test_json_has_it_all(project: Path, call) -> None:
    write(project, "test_a.py")
    (file,) = json.loads(call(names, "test_a.py", "--format", "json").output)
    assert (file["file"], file["problem"], file["fixed"]) == ("test_a.py", "", [])
    (finding,) = file["findings"]
    assert finding["why"]
    assert {key: finding[key] for key in ("line", "column", "kind", "text", "used", "fixture", "obstacle")} == {
        "line": 2,
        "column": 41,
        "kind": "name",
        "text": "Acme",
        "used": "api.post(…)",
        "fixture": "unique_client_name",
        "obstacle": "",
    }


def test_by_default_the_test_files_of_the_plan_and_their_conftest(project: Path, call) -> None:
    for place in ("suite/test_a.py", "suite/conftest.py", "suite/test_unplanned.py"):
        write(project, place)
    plan = (
        '[run]\ntest_root = "suite"\n[[phases]]\nname = "all"\n[[phases.groups]]\nname = "a"\ntests = ["test_a.py"]\n'
    )
    (project / "harness.toml").write_text(plan)
    files = json.loads(call(names, "--format", "json").output)
    assert [file["file"] for file in files] == ["suite/conftest.py", "suite/test_a.py"]


def test_a_plan_of_commands_has_no_test_files(project: Path, call) -> None:
    assert project
    with pytest.raises(NothingToRun, match="no test files"):
        call(names)


def test_a_path_that_is_not_there_is_wrong_usage(project: Path, call) -> None:
    assert project
    with pytest.raises(UsageError, match=r"there is no .nowhere."):
        call(names, "nowhere")


def test_a_file_that_cannot_be_written_is_told(project: Path, call, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(project, "test_a.py")

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("harness.cli.names.write_atomically", full)
    with pytest.raises(InfrastructureError, match=r"test_a\.py: No space left"):
        call(names, "test_a.py", "--fix")
    assert path.read_text() == TEST


def test_a_name_cannot_act_on_the_terminal(project: Path, call) -> None:
    write(project, "test_a.py", 'create_user(username="\\x1b[2J")\n')
    assert "\x1b" not in call(names, "test_a.py").output
