"""What --last-failed runs, group by group."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model import Group, Phase, Plan, Status
from harness.past import Latest
from harness.planning.rerun import rerun

SOURCE = """
import pytest
from hypothesis import given
from hypothesis import strategies as st

def test_one(): ...

@pytest.mark.parametrize("x", [1, 2])
def test_two(x): ...

class TestA:
    def test_in(self): ...

class TestB(TestA):
    pass
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    for name in ("test_a.py", "sub/test_a.py", "test_broken.py"):
        path = tmp_path / "it" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("def test_one(:\n" if "broken" in name else SOURCE)
    groups = (
        Group(name="api", phase="p", tests=("test_a.py", "sub/test_a.py", "test_broken.py", "test_gone.py")),
        Group(name="half", phase="p", tests=("test_a.py::TestA",)),
        Group(name="build", phase="p", command="make"),
    )
    return Plan(project=str(tmp_path), test_root="it", phases=(Phase(name="p", groups=groups),))


PASSED = Latest(status=Status.PASSED, failed_tests=(), whole=True)


def failed(*tests: str, status: Status = Status.FAILED, whole: bool = True) -> Latest:
    return Latest(status=status, failed_tests=tests, whole=whole)


def of(plan: Plan, group: str, latest: Latest) -> object:
    """What is to run of one group, while the others have passed; "nothing" where it does not run."""
    return rerun(plan, {"api": PASSED, "half": PASSED, "build": PASSED} | {group: latest}).get(group, "nothing")


def test_what_never_ran_runs_whole_and_what_passed_does_not(plan: Plan) -> None:
    assert rerun(plan, {}) == {"api": None, "half": None, "build": None}
    assert rerun(plan, {"api": PASSED, "half": PASSED}) == {"build": None}
    assert rerun(plan, {"api": PASSED, "half": PASSED, "build": PASSED, "of another plan": failed("x")}) == {}


@pytest.mark.parametrize(
    ("tests", "expected"),
    [
        (("test_a.py::test_one",), ("test_a.py::test_one",)),
        (("it/test_a.py::test_one",), ("test_a.py::test_one",)),  # as pytest says it whose settings are in the project
        (("sub/test_a.py::TestA", "test_a.py::test_one"), ("sub/test_a.py::TestA", "test_a.py::test_one")),
        (("test_a.py::TestB::test_in",), ("test_a.py::TestB::test_in",)),  # inherited
        # With all its parameters, once.
        (("test_a.py::test_two[1]", "test_a.py::test_two[a::b]"), ("test_a.py::test_two",)),
        # No such test any more, or it is another group's.
        (("test_a.py::test_removed",), None),
        (("test_a.py::test_one", "test_a.py::test_removed"), None),
        (("test_gone.py::test_one",), None),
        (("test_broken.py::test_one",), None),
        (("test_elsewhere.py::test_one",), None),
        (("other/test_a.py::test_one",), None),
        (("a.py::test_one",), None),
        (("test_a.py",), None),  # could not be collected
        (("",), None),
    ],
)  # fmt: skip
def test_failed_tests_run_alone_where_they_can_be_found(
    plan: Plan, tests: tuple[str, ...], expected: tuple[str, ...] | None
) -> None:
    assert of(plan, "api", failed(*tests)) == expected


def test_of_a_group_that_is_part_of_a_file_only_that_part_runs(plan: Plan) -> None:
    assert of(plan, "half", failed("test_a.py::TestA::test_in")) == ("test_a.py::TestA::test_in",)
    assert of(plan, "half", failed("test_a.py::test_one")) is None
    one = Group(name="one", phase="p", tests=("test_a.py::test_one",))
    of_one_test = Plan(project=plan.project, test_root="it", phases=(Phase(name="p", groups=(one,)),))
    assert rerun(of_one_test, {"one": failed("test_a.py::test_one")}) == {"one": ("test_a.py::test_one",)}


def test_a_name_that_could_mean_two_files_means_none(plan: Plan, tmp_path: Path) -> None:
    """From the directory above the test root, and from the test root, where that has a directory of its own name."""
    (tmp_path / "it/it").mkdir()
    (tmp_path / "it/it/test_a.py").write_text(SOURCE)
    group = Group(name="api", phase="p", tests=("test_a.py", "it/test_a.py"))
    both = Plan(project=plan.project, test_root="it", phases=(Phase(name="p", groups=(group,)),))
    assert rerun(both, {"api": failed("it/test_a.py::test_one")}) == {"api": None}
    assert rerun(both, {"api": failed("test_a.py::test_one")}) == {"api": ("test_a.py::test_one",)}


@pytest.mark.parametrize("status", [Status.TIMED_OUT, Status.KILLED, Status.ERROR, Status.LOST, Status.INTERRUPTED])
def test_what_did_not_come_to_its_end_runs_whole(plan: Plan, status: Status) -> None:
    assert of(plan, "api", failed("test_a.py::test_one", status=status, whole=False)) is None
    assert of(plan, "api", failed(status=status, whole=False)) is None


def test_a_command_runs_whole(plan: Plan) -> None:
    assert of(plan, "build", failed("pkg::TestX")) is None
    assert of(plan, "build", failed(whole=False)) is None


def test_a_group_without_tests_runs_again(plan: Plan) -> None:
    assert of(plan, "api", failed(status=Status.NO_TESTS)) is None


def test_failed_tests_that_have_passed_since_are_done(plan: Plan) -> None:
    assert of(plan, "api", failed()) == "nothing"


def test_a_test_that_failed_alone_after_its_group_passed_runs(plan: Plan) -> None:
    assert of(plan, "api", failed("test_a.py::test_one", status=Status.PASSED)) == ("test_a.py::test_one",)


def test_flaky_counts_as_the_plan_says(plan: Plan) -> None:
    flaky = failed(status=Status.FLAKY)
    assert of(plan, "api", flaky) == "nothing"
    strict = Plan(project=plan.project, test_root="it", phases=plan.phases, flaky="fail")
    assert of(strict, "api", flaky) is None


@given(st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.sampled_from(Status), st.booleans(), st.booleans())))
def test_what_has_not_passed_since_runs_again(stands: dict[str, tuple[Status, bool, bool]]) -> None:
    """Groups of commands, which always run whole."""
    groups = tuple(Group(name=name, phase="p", command="true") for name in "abcdef")
    plan = Plan(project="/nowhere", phases=(Phase(name="p", groups=groups),))
    latest = {
        name: Latest(status=status, failed_tests=("t",) if failing else (), whole=whole)
        for name, (status, failing, whole) in stands.items()
    }
    again = rerun(plan, latest)
    assert set(again.values()) <= {None}
    assert list(again) == [name for name in "abcdef" if name in again]
    for name in "abcdef":
        if name not in latest or latest[name].failed_tests or not latest[name].whole:
            assert name in again
        elif latest[name].status in (Status.PASSED, Status.CACHED):
            assert name not in again
