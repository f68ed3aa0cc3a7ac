"""The doors: what reaches the Python core, from wherever and however they are called."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, Home

AWKWARD = ["a b", "", "it's", '"quoted"', "$HOME", "*", "two\nlines", "--", "-x", "ünï"]


def test_arguments_reach_the_core_exactly(home: Home) -> None:
    core, _ = home.open("local", "test", *AWKWARD)
    assert core["argv"] == ["--project", str(home.path), "--environment", "local", "test", *AWKWARD]


def test_parallel_door_is_exec_local_test_parallel(home: Home) -> None:
    core, _ = home.call(home.path / "run_parallel_tests.sh", *AWKWARD)
    assert core["argv"] == [
        *("--project", str(home.path), "--environment", "local", "test", "--parallel"),
        *AWKWARD,
    ]


def test_ci_script_runs_the_pipeline(home: Home) -> None:
    core, _ = home.call(home.path / ".ci/run", "--verbose")
    assert core["argv"][2:] == ["--environment", "local", "cicd", "--parallel", "--verbose"]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--version"]])
def test_without_environment_all_is_left_to_the_core(home: Home, arguments: list[str]) -> None:
    core, _ = home.open(*arguments)
    assert core["argv"] == ["--project", str(home.path), *arguments]


@pytest.mark.parametrize("code", [0, 1, 4, 143])
def test_exit_code_is_that_of_the_core(home: Home, code: int) -> None:
    home.open("local", "test", env=home.env(CORE_EXIT=str(code)), exit_code=code)


def test_the_process_that_was_started_becomes_the_core(home: Home) -> None:
    for _ in ("with set-up", "without"):
        with home.start(home.path / "exec.sh", "local", "test") as door:
            assert f'"pid": {door.pid},' in door.stdout.read()


def test_second_call_is_silent_and_needs_no_tool_but_bash(home: Home) -> None:
    _, first = home.open("local", "test")
    assert "set up in" in first
    for tool in ("python3", "uv", "cat", "dirname", "readlink"):
        (home.bin / tool).unlink()
    core, second = home.open("local", "test")
    assert core["python"] == str(home.path / ".venv/bin/python")
    assert second == ""


def test_harness_script_does_the_same_from_anywhere(home: Home, tmp_path: Path) -> None:
    home.open("local", "list")
    link = tmp_path / "harness"
    link.symlink_to(home.path / ".venv/bin/harness")
    core, _ = home.call(link, "list", *AWKWARD, cwd=tmp_path)
    assert core["argv"] == ["list", *AWKWARD]
    assert core["directory"] == str(tmp_path)


# How it is called


def test_from_inside_by_bare_name(home: Home) -> None:
    core, _ = home.call("bash", "exec.sh", "local", "test", cwd=home.path)
    assert core["argv"][1] == str(home.path)
    assert core["directory"] == str(home.path)


@pytest.mark.parametrize("door", ["../exec.sh", "sub/../../exec.sh"])
def test_by_relative_path_with_cdpath_set(home: Home, door: str) -> None:
    inside = home.path / "integration-tests"
    (inside / "sub").mkdir()
    env = home.env(CDPATH=f"{inside}:{home.path}")
    core, _ = home.call(door, "local", "test", cwd=inside, env=env)
    assert core["argv"][1] == str(home.path)
    assert core["directory"] == str(inside)


def test_by_search_path(home: Home, tmp_path: Path) -> None:
    env = home.env(PATH=f"{home.bin}:{home.path}")
    core, _ = home.call("bash", "-c", "exec.sh local test", env=env, cwd=tmp_path)
    assert core["argv"][1] == str(home.path)


def test_through_the_link_in_the_test_folder(home: Home) -> None:
    link = home.path / "integration-tests/run_parallel_tests.sh"
    assert link.is_symlink()
    core, _ = home.call("./run_parallel_tests.sh", cwd=link.parent)
    assert core["argv"][:5] == ["--project", str(home.path), "--environment", "local", "test"]


@pytest.mark.parametrize("door", ["exec.sh", "run_parallel_tests.sh"])
def test_through_a_chain_of_links_to_a_home_elsewhere(home: Home, tmp_path: Path, door: str) -> None:
    (tmp_path / "middle").mkdir()
    (tmp_path / "middle/step").symlink_to(Path("..") / home.path.name / door)
    (tmp_path / "door").symlink_to(tmp_path / "middle/step")
    core, _ = home.call(tmp_path / "door", "local", "test", cwd=Path("/"))
    assert core["argv"][1] == str(home.path)


@pytest.mark.parametrize("door", ["exec.sh", "run_parallel_tests.sh"])
def test_repository_that_links_to_a_harness_is_the_project(home: Home, tmp_path: Path, door: str) -> None:
    tools = tmp_path / "repository/tools/ci"
    tools.mkdir(parents=True)
    (tmp_path / "repository/harness.toml").touch()
    (tools / door).symlink_to(home.path / door)
    core, _ = home.call(tools / door, "local", "test")
    assert core["argv"][1] == str(tmp_path / "repository")
    assert core["python"] == str(home.path / ".venv/bin/python")


def test_without_any_plan_the_place_of_the_script_is_the_project(home: Home) -> None:
    (home.path / "harness.toml").unlink()
    core, _ = home.open("local", "init")
    assert core["argv"][1] == str(home.path)


# What the tests will see


def test_environment_is_handed_on_unchanged(home: Home) -> None:
    names = (
        "project home script python start called environment target version base old found newline "
        "PYTHONPATH PYTHONSAFEPATH VIRTUAL_ENV IFS_ CDPATH tab"
    )
    given = home.env(**dict.fromkeys(names.split(), "as it was\t"))
    for _ in ("with set-up", "without"):
        core, _ = home.open("local", "test", env=given)
        seen = {name: value for name, value in core["env"].items() if name in given}
        assert seen == given
        assert set(core["env"]) - set(given) <= {"PWD", "OLDPWD", "SHLVL", "_"}


def test_harness_is_not_shadowed_by_pythonpath_or_the_current_directory(home: Home, tmp_path: Path) -> None:
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness/__init__.py").touch()
    (tmp_path / "harness/__main__.py").write_text("print('[\"the wrong one\"]')")
    for _ in ("with set-up", "without"):
        core, _ = home.open("local", "test", cwd=tmp_path, env=home.env(PYTHONPATH=str(tmp_path)))
        assert core["argv"][-1] == "test"
        assert core["env"]["PYTHONPATH"] == str(tmp_path)


# The shell itself


def test_scripts_use_nothing_that_bash_3_lacks() -> None:
    """shellcheck knows no versions of bash, but POSIX: what goes beyond it is named here, and bash 3.2 has it."""
    shellcheck = Path(sys.executable).with_name("shellcheck")
    if not shellcheck.exists():
        pytest.skip("shellcheck is not installed")
    bash_3_has = "SC3028,SC3054,SC3034"  # BASH_SOURCE, its [0], and $(<file)
    for script in ("exec.sh", "run_parallel_tests.sh", ".ci/run"):
        for options in (["-s", "sh", "-e", bash_3_has], ["-s", "bash"]):
            done = subprocess.run(
                [shellcheck, "-x", *options, script], cwd=ROOT, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout


def test_doors_are_executable_and_the_link_is_relative() -> None:
    for script in ("exec.sh", "run_parallel_tests.sh", ".ci/run"):
        assert shutil.which(str(ROOT / script))
    assert (ROOT / "integration-tests/run_parallel_tests.sh").readlink() == Path("../run_parallel_tests.sh")
