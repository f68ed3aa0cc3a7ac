"""Who takes part in a run that goes well, and how a prediction adds up."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model import After, Dependency, Group, Phase
from harness.scheduling.predict import predict, taking_part
from harness.scheduling.simulate import simulate

Make = Callable[..., Group]
MakePhase = Callable[..., Phase]


def test_a_prediction_adds_what_is_not_the_groups_own(phase: MakePhase) -> None:
    found = predict((phase("p", "a", "b"),), {"a": 3, "b": 4}, jobs=2, resources={}, apart=1.5)
    assert (found.jobs, found.makespan, found.bound.seconds, found.over_bound) == (2, 5.5, 5.5, 1.0)


def test_over_bound_is_one_where_nothing_takes_time(phase: MakePhase) -> None:
    assert predict((phase("p", "a"),), {"a": 0}, jobs=2, resources={}, apart=0).over_bound == 1.0


def test_over_bound_says_what_the_order_costs(phase: MakePhase) -> None:
    found = predict((phase("p", "a", "b", "c"),), {"a": 1, "b": 1, "c": 1}, jobs=2, resources={}, apart=0)
    assert found.over_bound == pytest.approx(2 / 1.5)


def test_what_is_off_takes_what_needs_it_along(phase: MakePhase, group: Make) -> None:
    later = (group("b", after=("a",)), group("c", any_of=("a",)), group("d", after=("b",)), "e")
    (left,) = taking_part((phase("off", "a"), phase("on", *later)), ("off",))
    assert left == phase("on", "c", "e")


def test_a_phase_of_which_nothing_is_left_is_none(phase: MakePhase, group: Make) -> None:
    assert taking_part((phase("off", "a"), phase("on", group("b", after=("a",)))), ("off",)) == ()


def test_all_take_part_where_nothing_is_off(phase: MakePhase, group: Make) -> None:
    phases = (phase("p", "a"), phase("q", group("b", after=("a",)), group("c", after=("b", "a"))))
    assert taking_part(phases, ()) == phases


@given(st.data())
def test_those_take_part_that_the_dispatcher_would_start(data: st.DataObject) -> None:
    phases, names = [], list[str]()
    for number in range(3):
        groups = []
        for _ in range(data.draw(st.integers(1, 5))):
            before = data.draw(st.lists(st.sampled_from(names), unique=True, max_size=2)) if names else []
            needs = tuple(Dependency(group=name, after=data.draw(st.sampled_from(After))) for name in before)
            groups.append(Group(name=f"g{len(names)}", phase=f"p{number}", command="true", depends_on=needs))
            names.append(groups[-1].name)
        phases.append(Phase(name=f"p{number}", groups=tuple(groups)))
    off = data.draw(st.sets(st.sampled_from(["p0", "p1", "p2"]), max_size=2))
    durations = dict.fromkeys(names, 1.0)
    whole = simulate(phases, durations, jobs=2, resources={}, off=off)
    left = taking_part(phases, off)
    assert {span.group for span in whole.spans} == {group.name for phase in left for group in phase.groups}
    cut = simulate(left, durations, jobs=2, resources={})
    assert {span.group for span in cut.spans} == {span.group for span in whole.spans}
