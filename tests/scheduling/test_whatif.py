"""What a change saves is what two simulations say, and only changes that matter are named."""

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest
from groups import make_phase, make_splittable
from hypothesis import given
from hypothesis import strategies as st

from harness.model import After, Dependency, Group, LockMode, Phase
from harness.scheduling.parts import split
from harness.scheduling.simulate import simulate
from harness.scheduling.whatif import (
    Change,
    Drop,
    Jobs,
    Split,
    Suite,
    Unlock,
    WhatIf,
    Widen,
    fewer_jobs,
    what_ifs,
)

Make = Callable[..., Group]
MakePhase = Callable[..., Phase]

TWO_FILES = ("test_a.py", "test_b.py")
RESOURCES = {"api": 4}


def test_a_dependency_is_dropped_for_all_files_and_no_file_is_split() -> None:
    first = make_splittable("first", "a", "b")
    phases = split((make_phase("p", first, make_splittable("last", "c", "d", after=("first",))),))
    durations = {"first/a": 4.0, "first/b": 4.0, "last/c": 4.0, "last/d": 4.0}
    changes = {found.change: found.saves for found in what_ifs(phases, durations, jobs=4, resources={})}
    assert changes == {Drop("last", "first"): 4.0}
    ids = make_splittable("s", "a::test_1", "a::test_2", "b")
    changes = {
        found.change
        for found in what_ifs(split((make_phase("p", ids),)), {"s/a": 9.0, "s/b": 1.0}, jobs=4, resources={})
    }
    assert changes == set()


@st.composite
def suites(draw: st.DrawFn) -> Suite:
    phases, names = [], list[str]()
    for number in range(draw(st.integers(1, 2))):
        groups = []
        for _ in range(draw(st.integers(1, 7))):
            name = f"g{len(names)}"
            before = draw(st.lists(st.sampled_from(names), unique=True, max_size=2)) if names else []
            needs: dict[str, int | LockMode] = {}
            if draw(st.booleans()):
                needs["api"] = draw(st.integers(1, 4))
            if draw(st.booleans()):
                needs["settings"] = draw(st.sampled_from(LockMode))
            group = Group(
                name=name,
                phase=f"p{number}",
                tests=TWO_FILES[: draw(st.integers(1, 2))],
                depends_on=tuple(Dependency(group=other, after=draw(st.sampled_from(After))) for other in before),
                parallel_group=draw(st.sampled_from([(), ("ledger",), ("docker", "ledger")])),
                needs=needs,
                slots=draw(st.sampled_from([1, 1, 1, 2, 9])),
            )
            groups.append(group)
            names.append(name)
        phases.append(Phase(name=f"p{number}", sequential=draw(st.booleans()), groups=tuple(groups)))
    durations = {name: draw(st.floats(0.05, 50)) for name in names}
    return Suite(tuple(phases), durations, draw(st.integers(1, 6)), RESOURCES)


def found(suite: Suite) -> list[WhatIf]:
    return what_ifs(suite.phases, suite.durations, jobs=suite.jobs, resources=suite.resources)


def changes(suite: Suite) -> list[Change]:
    return [what.change for what in found(suite)]


@given(suites())
def test_what_a_change_saves_is_the_difference_of_two_simulations(suite: Suite) -> None:
    def makespan(of: Suite) -> float:
        return simulate(of.phases, of.durations, jobs=of.jobs, resources=of.resources).makespan

    now = makespan(suite)
    for what in found(suite):
        assert what.makespan == makespan(what.change.apply(suite))
        assert what.saves == now - what.makespan
        assert what.saves >= max(0.005 * now, 0.1)


@given(suites())
def test_the_best_come_first_and_none_twice(suite: Suite) -> None:
    saved = [what.saves for what in found(suite)]
    assert saved == sorted(saved, reverse=True)
    assert len(set(changes(suite))) == len(saved)


@given(suites())
def test_a_change_leaves_the_rest_as_it_is(suite: Suite) -> None:
    for change in changes(suite):
        changed = change.apply(suite)
        before = {group.name: group for phase in suite.phases for group in phase.groups}
        after = {group.name: group for phase in changed.phases for group in phase.groups}
        if isinstance(change, Jobs):
            assert changed == Suite(suite.phases, suite.durations, change.count, suite.resources)
        elif isinstance(change, Widen):
            assert changed == Suite(suite.phases, suite.durations, suite.jobs, {"api": change.count})
            assert change.count > suite.resources["api"]
        elif isinstance(change, Split):
            assert after.keys() - before.keys() == {change.second}
            assert sum(changed.durations.values()) == pytest.approx(sum(suite.durations.values()))
            assert after[change.group].tests + after[change.second].tests == before[change.group].tests
            assert after[change.group].needs == after[change.second].needs == before[change.group].needs
        else:
            touched = {name: group for name, group in after.items() if group != before[name]}
            assert touched == {name: changed_by_hand(change, before[name]) for name in touched}
            assert touched.keys() == ({change.group} if isinstance(change, Drop) else set(change.groups))
            assert changed == replace(suite, phases=changed.phases)


def changed_by_hand(change: Change, group: Group) -> Group:
    if isinstance(change, Drop):
        kept = tuple(need for need in group.depends_on if need.group != change.dependency)
        return msgspec.structs.replace(group, depends_on=kept)
    assert isinstance(change, Unlock)
    if change.parallel_group:
        return msgspec.structs.replace(group, parallel_group=tuple(n for n in group.parallel_group if n != change.name))
    return msgspec.structs.replace(group, needs=group.needs | {change.name: LockMode.SHARED})


@given(suites())
def test_fewer_jobs_that_are_as_good_lose_less_than_one_percent(suite: Suite) -> None:
    fewer = fewer_jobs(suite.phases, suite.durations, jobs=suite.jobs, resources=suite.resources)
    if fewer is not None:
        assert isinstance(fewer.change, Jobs)
        assert 1 <= fewer.change.count < suite.jobs
        assert fewer.makespan == fewer.change.apply(suite).simulated().makespan
        assert fewer.makespan < suite.simulated().makespan * 1.01


def suite_of(*phases: Phase, jobs: int = 2, resources: dict[str, int] | None = None, **durations: float) -> Suite:
    return Suite(phases, durations, jobs, resources or {})


def test_the_longest_group_is_split_if_it_has_two_files(phase: MakePhase, group: Make) -> None:
    long = msgspec.structs.replace(group("long"), tests=TWO_FILES, command=None)
    suite = suite_of(phase("p", long, "short"), jobs=3, long=10, short=2)
    assert found(suite) == [WhatIf(Split("long"), 5, 5)]
    assert found(suite_of(phase("p", "long", "short"), jobs=3, long=10, short=2)) == []


def test_both_halves_stand_where_the_group_stood(phase: MakePhase, group: Make) -> None:
    middle = msgspec.structs.replace(group("b", after=("a",)), tests=TWO_FILES, command=None)
    suite = suite_of(phase("p", "a", middle, group("c", after=("b",)), group("d", any_of=("b",))), a=1, b=8, c=1, d=1)
    first, second = Split("b").apply(suite).phases[0].groups[1:3]
    assert (first.tests, second.tests) == (("test_a.py",), ("test_b.py",))
    assert first.depends_on == second.depends_on == middle.depends_on
    c, d = Split("b").apply(suite).phases[0].groups[3:]
    assert [need.group for need in c.depends_on] == ["b", second.name]
    assert [need.after for need in d.depends_on] == [After.ANY, After.ANY]


def test_a_dependency_that_nobody_needs_is_dropped(phase: MakePhase, group: Make) -> None:
    suite = suite_of(phase("p", "a", group("b", after=("a",))), a=3, b=4)
    assert found(suite) == [WhatIf(Drop("b", "a"), 3, 4)]


def test_only_what_the_end_waited_for_is_looked_at(phase: MakePhase, group: Make) -> None:
    suite = suite_of(phase("p", "a", group("b", after=("a",)), "long"), jobs=3, a=1, b=1, long=9)
    assert found(suite) == []


def test_a_parallel_group_is_opened_for_two(phase: MakePhase, group: Make) -> None:
    ledger = {"parallel_group": ("ledger",)}
    suite = suite_of(phase("p", group("a", **ledger), group("b", **ledger)), a=3, b=4)
    assert found(suite) == [WhatIf(Unlock("ledger", ("a", "b"), True), 3, 4)]


def test_of_many_that_exclude_one_another_each_is_tried_by_itself(phase: MakePhase, group: Make) -> None:
    ledger = {"parallel_group": ("ledger",)}
    suite = suite_of(phase("p", *(group(name, **ledger) for name in "abc")), jobs=3, a=1, b=2, c=4)
    assert found(suite) == [
        WhatIf(Unlock("ledger", ("a", "b", "c"), True), 3, 4),
        WhatIf(Unlock("ledger", ("c",), True), 3, 4),
        WhatIf(Unlock("ledger", ("b",), True), 2, 5),
        WhatIf(Unlock("ledger", ("a",), True), 1, 6),
    ]


def test_an_exclusive_lock_becomes_a_shared_one(phase: MakePhase, group: Make) -> None:
    shared, exclusive = {"needs": {"x": LockMode.SHARED}}, {"needs": {"x": LockMode.EXCLUSIVE}}
    suite = suite_of(phase("p", group("a", **shared), group("b", **exclusive)), a=3, b=4)
    assert found(suite) == [WhatIf(Unlock("x", ("b",), False), 3, 4)]


def test_a_resource_is_widened_by_one_and_as_far_as_it_helps(phase: MakePhase, group: Make) -> None:
    takers = [group(name, needs={"api": 2}) for name in "abcd"]
    suite = suite_of(phase("p", *takers), jobs=8, resources={"api": 3}, a=4, b=4, c=4, d=4)
    assert found(suite) == [WhatIf(Widen("api", 8), 12, 4), WhatIf(Widen("api", 4), 8, 8)]


def test_more_jobs_and_twice_as_many(phase: MakePhase) -> None:
    suite = suite_of(phase("p", *"abcd"), jobs=2, a=3, b=3, c=3, d=3)
    assert found(suite) == [WhatIf(Jobs(4), 3, 3)]
    alone = suite_of(phase("p", *"abcd"), jobs=1, a=3, b=3, c=3, d=3)
    assert found(alone) == [WhatIf(Jobs(2), 6, 6)]


def test_a_sequential_phase_offers_nothing(phase: MakePhase, group: Make) -> None:
    first = msgspec.structs.replace(group("a"), tests=TWO_FILES, command=None)
    rest = group("b", after=("a",), parallel_group=("ledger",))
    assert found(suite_of(phase("p", first, rest, sequential=True), jobs=4, a=5, b=5)) == []


def test_the_fewest_jobs_that_are_as_good(phase: MakePhase) -> None:
    durations = {"a": 10.0, "b": 5.0, "c": 5.0, "d": 5.0}
    fewer = fewer_jobs((phase("p", *"abcd"),), durations, jobs=9, resources={})
    assert fewer is not None
    assert (fewer.change, fewer.saves) == (Jobs(3), 0)
    assert fewer_jobs((phase("p", *"abcd"),), durations, jobs=3, resources={}) is None
    assert fewer_jobs((phase("p", "a"),), durations, jobs=1, resources={}) is None


def test_what_is_unlocked_keeps_what_else_it_needs(phase: MakePhase, group: Make) -> None:
    held = group("a", parallel_group=("x", "y"), needs={"x": LockMode.EXCLUSIVE, "api": 2})
    (left,) = Unlock("x", ("a",), True).apply(suite_of(phase("p", held))).phases[0].groups
    assert (left.parallel_group, left.needs) == (("y",), held.needs)
    (shared,) = Unlock("x", ("a",), False).apply(suite_of(phase("p", held))).phases[0].groups
    assert (shared.parallel_group, shared.needs) == (("x", "y"), {"x": LockMode.SHARED, "api": 2})
