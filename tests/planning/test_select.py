from typing import Any

import pytest

from harness.errors import NothingToRun, UsageError
from harness.model import After, Dependency, Environment, Group, Phase, Plan, Service
from harness.planning.select import Selected, Selection, select


def group(name: str, phase: str, **more: Any) -> Group:
    return Group(name=name, phase=phase, **{"command": "true", "services": ("db", "web")} | more)


PLAN = Plan(
    project="/nowhere",
    phases=(
        Phase(name="core", sequential=True, groups=(group("core", "core", category="core", services=("db",)),)),
        Phase(
            name="parallel",
            groups=(
                group("search", "parallel", category="features", depends_on=(Dependency(group="core"),)),
                group(
                    "financial",
                    "parallel",
                    category="acceptance",
                    depends_on=(Dependency(group="search", after=After.ANY), Dependency(group="core")),
                ),
            ),
        ),
        Phase(
            name="stress",
            when="RUN_STRESS_TESTS",
            groups=(
                group("mass", "stress", category="stress", services=("db", "queue")),
                Group(name="files", phase="stress", tests=("test_x.py",), category="stress"),
            ),
        ),
    ),
    services=(Service(name="db", command="x"), Service(name="queue", command="x"), Service(name="web", command="x")),
    environments=(
        Environment(name="local", services=("db", "queue", "web")),
        Environment(name="half", services=("web",)),
    ),
)
OFF = {"stress": "phase stress is off: set RUN_STRESS_TESTS=true"}


def names(selected: Selected) -> list[str]:
    return [group.name for phase in selected.phases for group in phase.groups]


def chosen(variables: dict[str, str] | None = None, **selection: Any) -> Selected:
    return select(PLAN, Selection(**selection), variables or {})


def test_nothing_asked_for_is_everything() -> None:
    selected = chosen()
    assert names(selected) == ["core", "search", "financial", "mass", "files"]
    assert (selected.off, selected.deselected) == (OFF, 0)
    assert selected.phases[:2] == PLAN.phases[:2]


@pytest.mark.parametrize("text", ["true", "TRUE", "1", "yes", "on"])
def test_a_true_variable_turns_the_phase_on(text: str) -> None:
    assert chosen({"RUN_STRESS_TESTS": text}).off == {}


@pytest.mark.parametrize("text", ["", "false", "0", "no", "Off"])
def test_a_false_variable_leaves_it_off(text: str) -> None:
    assert chosen({"RUN_STRESS_TESTS": text}).off == OFF


@pytest.mark.parametrize("selection", [{}, {"phases": ("stress",)}])
def test_a_bad_variable_is_refused_even_where_it_does_not_matter(selection: Any) -> None:
    with pytest.raises(UsageError, match='RUN_STRESS_TESTS: "abc" is neither true nor false'):
        chosen({"RUN_STRESS_TESTS": "abc"}, **selection)


@pytest.mark.parametrize("selection", [{"phases": ("stress",)}, {"groups": ("mass",)}, {"tests": ("mass",)}])
def test_naming_a_phase_or_what_is_in_it_turns_it_on(selection: Any) -> None:
    selected = chosen({"RUN_STRESS_TESTS": "false"}, **selection)
    assert selected.off == {}
    assert "mass" in names(selected)


def test_naming_a_category_does_not() -> None:
    assert chosen(categories=("core", "stress")).off == OFF
    with pytest.raises(NothingToRun, match="is in a phase that is off") as caught:
        chosen(categories=("stress",))
    assert caught.value.exit_code == 4
    assert "set RUN_STRESS_TESTS=true" in caught.value.cure


def test_filters_intersect_and_keep_the_order_of_the_plan() -> None:
    selected = chosen(groups=("financial", "core", "search"), categories=("core", "acceptance"))
    assert names(selected) == ["core", "financial"]
    assert [phase.name for phase in selected.phases] == ["core", "parallel"]
    assert selected.deselected == 3


def test_dependencies_outside_the_selection_count_as_met() -> None:
    _, financial = [group for phase in chosen(groups=("core", "financial")).phases for group in phase.groups]
    assert financial.depends_on == (Dependency(group="core"),)
    (search,) = chosen(groups=("search",)).phases[0].groups
    assert search.depends_on == ()


def test_one_test_waits_for_nothing() -> None:
    selected = chosen(tests=("search", "financial"))
    assert [group.depends_on for phase in selected.phases for group in phase.groups] == [(), ()]


def test_nothing_left_is_nothing_to_run() -> None:
    with pytest.raises(NothingToRun, match="no group fits all"):
        chosen(groups=("core",), phases=("parallel",))


def test_unknown_names_are_refused_together_with_suggestions() -> None:
    with pytest.raises(UsageError) as caught:
        chosen(groups=("finacial", "core"), categories=("nothing like it",), phases=("strss",))
    assert caught.value.message.splitlines() == [
        '--groups: there is no group "finacial"; did you mean "financial"?',
        '--categories: there is no category "nothing like it"',
        '--phases: there is no phase "strss"; did you mean "stress"?',
    ]
    assert "--groups may name: core, search, financial, mass, files" in caught.value.cure


def test_services_are_those_of_the_groups_that_will_run() -> None:
    assert chosen().services == ("db", "web")  # the stress phase, which needs the queue, is off
    assert chosen({"RUN_STRESS_TESTS": "1"}).services == ("db", "queue", "web")
    assert chosen(groups=("core",)).services == ("db",)


def test_an_environment_starts_only_its_own_services() -> None:
    selected = select(PLAN, Selection(), {}, "half")
    assert selected.services == ("web",)
    assert [group.services for phase in selected.phases for group in phase.groups][:2] == [(), ("web",)]


def test_commands_have_no_markers() -> None:
    assert names(chosen({"RUN_STRESS_TESTS": "1"}, markers="serial")) == ["files"]
    assert len(names(chosen(markers="not serial"))) == 5
    with pytest.raises(UsageError, match="--markers"):
        chosen(markers="and and")


def test_only_what_is_to_run_again_and_of_that_only_these_tests() -> None:
    again = {"core": None, "files": ("test_x.py::test_a",)}
    selected = select(PLAN, Selection(rerun=again), {"RUN_STRESS_TESTS": "true"})
    chosen = {group.name: group for phase in selected.phases for group in phase.groups}
    assert list(chosen) == ["core", "files"]
    assert (chosen["files"].tests, chosen["files"].partial) == (("test_x.py::test_a",), True)
    assert not chosen["core"].partial


def test_only_what_has_changed() -> None:
    selected = select(PLAN, Selection(changed={"financial", "files"}), {})
    assert [group.name for phase in selected.phases for group in phase.groups] == ["financial", "files"]
    assert selected.phases[0].groups[0].depends_on == ()


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (Selection(rerun={}), "nothing to run: every group has passed since it failed last"),
        (Selection(changed=set()), "nothing to run: no group's tests or inputs have changed"),
        (Selection(changed={"core"}, rerun={"search": None}), "nothing to run: no group fits all of the options"),
    ],
)
def test_nothing_to_run_says_why(selection: Selection, message: str) -> None:
    with pytest.raises(NothingToRun) as caught:
        select(PLAN, selection, {})
    assert caught.value.message == message


@pytest.mark.parametrize("selection", [Selection(markers="not slow"), Selection(keyword="deposit")])
def test_tests_left_out_by_pytest_make_a_group_partial(selection: Selection) -> None:
    selected = select(PLAN, selection, {"RUN_STRESS_TESTS": "true"})
    partial = {group.name: group.partial for phase in selected.phases for group in phase.groups}
    assert partial == {"core": False, "search": False, "financial": False, "mass": False, "files": True}


def test_a_group_asked_for_by_its_own_name_is_whole() -> None:
    selected = select(PLAN, Selection(tests=("files",)), {})
    assert [group.partial for phase in selected.phases for group in phase.groups] == [False]
