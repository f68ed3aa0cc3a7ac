"""The ranks: each rule by a small literal phase, and what holds for every plan."""

import random
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model import Dependency, Group, LockMode, Phase
from harness.scheduling.ranks import UNKNOWN, ranks

Make = Callable[..., Group]
MakePhase = Callable[..., Phase]

RESOURCES = {"api": 5, "mail": 4}
SHARED, EXCLUSIVE = {"x": LockMode.SHARED}, {"x": LockMode.EXCLUSIVE}


def ranked(*phases: Phase, jobs: int = 4, **estimates: float) -> dict[str, float]:
    return ranks(phases, estimates, jobs=jobs, resources=RESOURCES)


def test_a_group_alone_has_its_own_estimate(phase: MakePhase) -> None:
    assert ranked(phase("p", "a", "b"), a=3.0) == {"a": 3.0, "b": UNKNOWN}


def test_the_longest_chain_that_waits_for_a_group_is_added(phase: MakePhase, group: Make) -> None:
    groups = ("a", group("b", after=("a",)), group("c", any_of=("b",)), group("d", after=("a",)))
    assert ranked(phase("p", *groups), a=1, b=2, c=4, d=5) == {"a": 7, "b": 6, "c": 4, "d": 5}


def test_what_waits_in_a_later_phase_counts_nothing(phase: MakePhase, group: Make) -> None:
    assert ranked(phase("p", "a"), phase("q", group("b", after=("a",))), a=1, b=9) == {"a": 1, "b": 9}


@pytest.mark.parametrize("alone", [{"needs": EXCLUSIVE}, {"parallel_group": ("x",)}, {"needs": {"api": 3}}])
def test_groups_that_exclude_one_another_are_a_chain_the_longest_first(
    phase: MakePhase, group: Make, alone: dict[str, object]
) -> None:
    groups = (group("a", **alone), group("b", **alone), group("c", **alone), "free")
    assert ranked(phase("p", *groups), a=2, b=1, c=4, free=5) == {"c": 7, "a": 3, "b": 1, "free": 5}


def test_of_those_that_exclude_one_another_the_longest_tail_goes_first(phase: MakePhase, group: Make) -> None:
    groups = (group("long", needs=EXCLUSIVE), group("short", needs=EXCLUSIVE), group("tail", after=("short",)))
    assert ranked(phase("p", *groups), long=9, short=1, tail=5) == {"short": 10, "long": 9, "tail": 5}


def test_equal_ones_go_in_the_order_of_the_plan(phase: MakePhase, group: Make) -> None:
    found = ranked(phase("p", *(group(name, needs=EXCLUSIVE) for name in "cab")))
    assert sorted(found, key=lambda name: -found[name]) == ["c", "a", "b"]


def test_sharers_do_not_wait_for_one_another(phase: MakePhase, group: Make) -> None:
    groups = (group("a", needs=SHARED), group("b", needs=SHARED), group("c", needs=EXCLUSIVE))
    assert ranked(phase("p", *groups), a=2, b=3, c=1) == {"a": 3, "b": 4, "c": 1}
    assert ranked(phase("p", *groups), a=2, b=3, c=9) == {"a": 2, "b": 3, "c": 12}


def test_little_of_a_counted_resource_is_no_lock(phase: MakePhase, group: Make) -> None:
    groups = (group("a", needs={"api": 2, "mail": 2}), group("b", needs={"api": 2, "mail": 2}))
    assert ranked(phase("p", *groups), a=2, b=3) == {"a": 2, "b": 3}


def test_a_lock_a_parallel_group_and_a_count_of_one_name_are_three_things(phase: MakePhase, group: Make) -> None:
    groups = (
        group("a", parallel_group=("api",)),
        group("b", needs={"api": 5}),
        group("c", needs={"count:api": LockMode.EXCLUSIVE}),
    )
    assert ranked(phase("p", *groups), a=2, b=3, c=4) == {"a": 2, "b": 3, "c": 4}


@pytest.mark.parametrize("wide", [{"slots": 2}, {"workers": 2}])
def test_a_wide_group_comes_before_the_narrower_work(phase: MakePhase, group: Make, wide: dict[str, int]) -> None:
    groups = ("a", "b", group("wide", **wide), group("wider", slots=9))
    found = ranked(phase("p", *groups), a=4, b=8, wide=2, wider=1)
    assert found == {"a": 4, "b": 8, "wide": 2 + 12 / 4, "wider": 1 + (12 + 2 * 2) / 4}


@st.composite
def phases(draw: st.DrawFn) -> tuple[Phase, dict[str, float]]:
    groups: list[Group] = []
    for number in range(draw(st.integers(1, 9))):
        names = [group.name for group in groups]
        before = draw(st.lists(st.sampled_from(names), unique=True, max_size=2)) if names else []
        needs: dict[str, int | LockMode] = {}
        if draw(st.booleans()):
            needs["api"] = draw(st.integers(1, RESOURCES["api"]))
        if draw(st.booleans()):
            needs["x"] = draw(st.sampled_from(LockMode))
        groups.append(
            Group(
                name=f"g{number}",
                phase="p",
                command="true",
                depends_on=tuple(Dependency(group=name) for name in before),
                parallel_group=tuple(draw(st.lists(st.sampled_from(["ledger", "docker"]), unique=True))),
                needs=needs,
                slots=draw(st.sampled_from([1, 1, 2, 9])),
            )
        )
    seconds = st.one_of(st.just(0.0), st.floats(0, 1e6), st.floats(0, 1e-300))
    return Phase(name="p", groups=tuple(groups)), {group.name: draw(seconds) for group in groups}


@given(phases(), st.integers(1, 5))
def test_a_rank_is_no_less_than_the_chain_below_it(made: tuple[Phase, dict[str, float]], jobs: int) -> None:
    phase, estimates = made
    found = ranked(phase, jobs=jobs, **estimates)
    assert found.keys() == estimates.keys()
    for group in phase.groups:
        assert found[group.name] >= estimates[group.name]
        for need in group.depends_on:
            assert found[need.group] >= estimates[need.group] + found[group.name]


@given(phases(), st.integers(1, 5))
def test_of_two_that_exclude_one_another_one_waits_for_the_other(
    made: tuple[Phase, dict[str, float]], jobs: int
) -> None:
    phase, estimates = made
    found = ranked(phase, jobs=jobs, **estimates)
    for one in phase.groups:
        for other in phase.groups:
            if one is not other and _exclude(one, other):
                orders = ((one.name, other.name), (other.name, one.name))
                assert any(found[first] >= estimates[first] + found[then] for first, then in orders)


@given(phases(), st.integers(1, 5), st.randoms(use_true_random=False))
def test_the_order_of_the_plan_decides_only_between_equals(
    made: tuple[Phase, dict[str, float]], jobs: int, dice: random.Random
) -> None:
    phase, _ = made
    powers = {group.name: 2.0**place for place, group in enumerate(phase.groups)}  # no two sums of them are equal
    mixed = list(phase.groups)
    dice.shuffle(mixed)
    turned = msgspec.structs.replace(phase, groups=tuple(mixed))
    assert ranked(turned, jobs=jobs, **powers) == pytest.approx(ranked(phase, jobs=jobs, **powers))


@given(phases(), st.integers(1, 5))
def test_twice_as_long_is_twice_as_high(made: tuple[Phase, dict[str, float]], jobs: int) -> None:
    phase, estimates = made
    doubled = {name: 2 * seconds for name, seconds in estimates.items()}
    once = ranked(phase, jobs=jobs, **estimates)
    assert ranked(phase, jobs=jobs, **doubled) == pytest.approx({name: 2 * rank for name, rank in once.items()})


def _exclude(one: Group, other: Group) -> bool:
    if set(one.parallel_group) & set(other.parallel_group):
        return True
    held = [group.needs.get("x") for group in (one, other)]
    if None not in held and LockMode.EXCLUSIVE in held:
        return True
    return all(2 * int(group.needs.get("api", 0)) > RESOURCES["api"] for group in (one, other))
