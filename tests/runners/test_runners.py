"""Groups become commands."""

from pathlib import Path

import pytest

from harness.model import Group, Status
from harness.runners import RUNNERS, Launch, PytestOptions, runner_for

PYTEST = ("/opt/python", "-m", "pytest", "-p", "harness_pytest", "-p", "harness_fixtures")


def launch(group: Group, **options: str) -> Launch:
    return runner_for(group).command(group, python="/opt/python", options=PytestOptions(**options))


def pytest_group(**changes: object) -> Group:
    return Group(name="search", phase="parallel", tests=("test_a.py", "sub/test_b.py"), **changes)  # type: ignore[arg-type]


def command_group(command: str | tuple[str, ...]) -> Group:
    return Group(name="smoke", phase="parallel", command=command)


def test_pytest() -> None:
    how = launch(pytest_group())
    assert how.argv == (*PYTEST, "test_a.py", "sub/test_b.py")
    assert how.statuses == {0: Status.PASSED, 5: Status.NO_TESTS}
    assert how.reports_tests


def test_the_directory_of_the_plugin_holds_nothing_else() -> None:
    """Because it is put on the users' PYTHONPATH."""
    directory = Path(launch(pytest_group()).pythonpath)
    ours = {"harness_fixtures", "harness_pytest.py", "harness_warm"}
    assert {path.name for path in directory.iterdir()} - {"__pycache__"} == ours


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({}, {"markers": "not serial"}, ("-m", "not serial")),
        ({}, {"keyword": "refund and not slow"}, ("-k", "refund and not slow")),
        ({"workers": 3}, {}, ("-n", "3", "--dist", "loadfile")),
        ({"workers": 2, "dist": "worksteal"}, {"markers": "x"}, ("-m", "x", "-n", "2", "--dist", "worksteal")),
    ],
)
def test_pytest_options(changes: dict[str, object], options: dict[str, str], words: tuple[str, ...]) -> None:
    argv = launch(pytest_group(**changes), **options).argv
    assert argv[len(PYTEST) : -2] == words


def test_a_group_in_which_no_test_has_the_markers_is_skipped() -> None:
    assert launch(pytest_group(), markers="serial").statuses[5] is Status.SKIPPED


def test_a_string_runs_in_bash() -> None:
    assert launch(command_group("make test | tee out")).argv == ("bash", "-c", "make test | tee out")


def test_a_list_runs_as_it_is() -> None:
    how = launch(command_group(("go", "test", "./...")))
    assert how.argv == ("go", "test", "./...")
    assert how.statuses == {0: Status.PASSED}
    assert not how.reports_tests
    assert how.pythonpath == ""


def test_every_runner_has_a_name() -> None:
    assert {runner_for(pytest_group()), runner_for(command_group("true"))} == set(RUNNERS.values())


@pytest.mark.parametrize(("changes", "warm"), [({}, True), ({"warm": False}, False), ({"workers": 2}, False)])
def test_which_processes_may_be_forks(changes: dict[str, object], warm: bool) -> None:
    assert launch(pytest_group(**changes)).warm is warm
    assert not launch(command_group("true")).warm
