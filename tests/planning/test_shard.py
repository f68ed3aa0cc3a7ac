"""`--shard`: every group once, the core in all, what is bound in one, and the work in equal parts."""

import itertools
import random
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.model import After, Dependency, Group, LockMode, Phase
from harness.planning.shard import bindings, shard


def group(name: str, **more: object) -> Group:
    return Group(name=name, phase="", command="true", **more)  # type: ignore[arg-type]


def phase(name: str, *groups: str | Group, sequential: bool = False) -> Phase:
    made = [group(each) if isinstance(each, str) else each for each in groups]
    whole = tuple(msgspec.structs.replace(each, phase=name) for each in made)
    return Phase(name=name, sequential=sequential, groups=whole)


def names(phases: Sequence[Phase]) -> list[list[str]]:
    return [[group.name for group in phase.groups] for phase in phases]


def all_shards(
    phases: Sequence[Phase], seconds: dict[str, float], count: int, jobs: int = 4
) -> list[tuple[Phase, ...]]:
    return [shard(phases, seconds, index, count, jobs=jobs) for index in range(1, count + 1)]


def place_of(shards: Sequence[Sequence[Phase]]) -> dict[str, set[int]]:
    places: dict[str, set[int]] = {}
    for index, phases in enumerate(shards):
        for name in itertools.chain(*names(phases)):
            places.setdefault(name, set()).add(index)
    return places


# --- literal plans


CORE = phase("core", "setup", "login", sequential=True)


def test_the_core_is_in_every_shard_and_the_rest_in_equal_parts() -> None:
    plan = [CORE, phase("parallel", "a", "b", "c", "d")]
    seconds = {"setup": 50.0, "login": 1.0, "a": 5.0, "b": 9.0, "c": 4.0, "d": 8.0}
    first, second = all_shards(plan, seconds, 2, jobs=1)
    assert names(first) == [["setup", "login"], ["b", "c"]]
    assert names(second) == [["setup", "login"], ["a", "d"]]


def test_a_splittable_group_stays_whole_and_takes_no_longer_than_its_longest_file() -> None:
    big = group("big", tests=("a", "b", "c", "d"), splittable=True)
    seconds = {
        "big": 40.0,
        "x": 12.0,
        "y": 12.0,
        "z": 12.0,
        **dict.fromkeys(("big/a", "big/b", "big/c", "big/d"), 10.0),
    }
    shards = all_shards([phase("p", big, "x", "y", "z")], seconds, 2)
    assert [names(each) for each in shards] == [[["x", "y", "z"]], [["big"]]]
    alone = all_shards([phase("p", big, "x")], {"big": 40.0, "x": 35.0, "big/a": 10.0}, 2)
    assert sorted(itertools.chain(*(names(each)[0] for each in alone))) == ["big", "x"]


def test_a_later_sequential_phase_is_no_core() -> None:
    plan = [CORE, phase("parallel", "a"), phase("stories", "x", "y", sequential=True)]
    shards = all_shards(plan, {"a": 1.0, "x": 1.0, "y": 1.0}, 3)
    assert sorted(names(each)[1:] for each in shards) == [[["a"]], [["x"]], [["y"]]]


def test_a_plan_that_is_all_core_is_run_whole_by_each() -> None:
    assert [names(each) for each in all_shards([CORE], {}, 2)] == [[["setup", "login"]]] * 2


def test_more_shards_than_groups_leave_some_with_the_core_alone() -> None:
    shards = all_shards([CORE, phase("parallel", "a")], {"a": 1.0}, 3)
    assert sorted(map(names, shards)) == [[["setup", "login"]]] * 2 + [[["setup", "login"], ["a"]]]


def test_with_one_shard_it_is_the_plan() -> None:
    plan = (CORE, phase("parallel", "a", "b"))
    assert shard(plan, {}, 1, 1, jobs=4) == plan


def test_the_core_need_not_be() -> None:
    assert sorted(map(names, all_shards([phase("all", "a", "b")], {}, 2))) == [[["a"]], [["b"]]]


def test_slots_count_as_work() -> None:
    """A group of four slots leaves no room beside it on a machine of four jobs."""
    wide = [group("wide1", slots=4), group("wide2", slots=4)]
    plan = [phase("parallel", *wide, "a", "b", "c", "d")]
    seconds = dict.fromkeys(["wide1", "wide2"], 4.0) | dict.fromkeys("abcd", 4.0)
    assert {len(each[0].groups) for each in all_shards(plan, seconds, 3)} == {1, 4}


def test_a_chain_is_as_long_as_all_its_groups() -> None:
    """Four jobs do not shorten it, so it is dealt out first and nothing is put on top of it."""
    chain = [
        group("a"),
        group("b", depends_on=(Dependency(group="a"),)),
        group("c", depends_on=(Dependency(group="b"),)),
    ]
    plan = [phase("parallel", *chain, *"wxyz")]
    shards = all_shards(plan, dict.fromkeys("abc", 4.0) | dict.fromkeys("wxyz", 10.0), 2)
    assert [names(each) for each in shards] == [[["a", "b", "c"]], [["w", "x", "y", "z"]]]


def test_groups_that_exclude_each_other_are_as_long_as_their_sum() -> None:
    ledger = [group(name, parallel_group=("ledger",)) for name in "ab"]
    plan = [phase("parallel", *ledger, "c", "d")]
    shards = all_shards(plan, dict.fromkeys("ab", 5.0) | dict.fromkeys("cd", 6.0), 2)
    assert [names(each) for each in shards] == [[["a", "b"]], [["c", "d"]]]


def test_jobs_do_not_help_a_sequential_phase() -> None:
    plan = [phase("parallel", "g"), phase("stories", *"xyz", sequential=True)]
    shards = all_shards(plan, {"g": 8.0} | dict.fromkeys("xyz", 4.0), 2)
    assert [names(each) for each in shards] == [[["g"], ["z"]], [["x", "y"]]]


def test_swaps_mend_what_dealing_left_uneven() -> None:
    """Longest first deals 3 + 2 + 2 against 3 + 2. No move helps, one swap does."""
    seconds = {"a": 3.0, "b": 3.0, "c": 2.0, "d": 2.0, "e": 2.0}
    shards = all_shards([phase("parallel", *seconds)], seconds, 2, jobs=1)
    assert [sum(seconds[name] for name in names(each)[0]) for each in shards] == [6.0, 6.0]


def test_swaps_bring_together_what_can_run_side_by_side() -> None:
    """One shard has both groups of the first phase, the other both of the second: dealing puts one of each in both."""
    plan = [phase("one", "a", "b"), phase("two", "x", "y")]
    shards = all_shards(plan, {"a": 10.0, "b": 10.0, "x": 9.0, "y": 9.0}, 2)
    assert sorted(map(names, shards)) == [[["a", "b"]], [["x", "y"]]]


# --- what binds


def bound(*groups: Group) -> list[list[str]]:
    return bindings(groups)


def test_dependencies_bind_in_both_directions_and_through_others() -> None:
    a, b = group("a"), group("b", depends_on=(Dependency(group="a", after=After.ANY),))
    c = group("c", depends_on=(Dependency(group="b"),))
    assert bound(c, group("x"), a, b) == [["c", "a", "b"], ["x"]]


def test_dependencies_bind_across_phases_but_not_to_the_core() -> None:
    on_core = Dependency(group="setup")
    early = [group("a", depends_on=(on_core,)), group("b", depends_on=(on_core,))]
    plan = [CORE, phase("parallel", *early), phase("complex", group("z", depends_on=(Dependency(group="b"),)), "y")]
    places = place_of(all_shards(plan, dict.fromkeys("abyz", 1.0), 3))
    assert places["z"] == places["b"]
    assert len({min(places[name]) for name in "aby"}) == 3


def test_parallel_groups_bind() -> None:
    groups = [
        group("a", parallel_group=("x",)),
        group("b", parallel_group=("x", "y")),
        group("c", parallel_group=("y",)),
    ]
    assert bound(*groups, group("d", parallel_group=("z",))) == [["a", "b", "c"], ["d"]]


@pytest.mark.parametrize(
    ("modes", "expected"),
    [
        ([LockMode.SHARED, LockMode.SHARED, LockMode.SHARED], [["g0"], ["g1"], ["g2"]]),
        ([LockMode.SHARED, LockMode.EXCLUSIVE, LockMode.SHARED], [["g0", "g1", "g2"]]),
        ([5, 5, 5], [["g0"], ["g1"], ["g2"]]),
    ],
    ids=["shared", "one exclusive", "counted"],
)
def test_locks_bind_if_anyone_holds_them_alone(modes: list[LockMode | int], expected: list[list[str]]) -> None:
    assert bound(*(group(f"g{place}", needs={"thing": mode}) for place, mode in enumerate(modes))) == expected


# --- whatever the plan


@st.composite
def plans(draw: st.DrawFn) -> list[Phase]:
    phases, earlier = [], list[str]()
    for number in range(draw(st.integers(1, 4))):
        groups = []
        for _ in range(draw(st.integers(1, 7))):
            name = f"g{len(earlier)}"
            wanted = draw(st.lists(st.sampled_from(earlier), unique=True, max_size=1)) if earlier else []
            needs = {"settings": draw(st.sampled_from(LockMode))} if draw(st.integers(0, 4)) == 0 else {}
            groups.append(
                group(
                    name,
                    depends_on=tuple(Dependency(group=each) for each in wanted) if draw(st.booleans()) else (),
                    parallel_group=("ledger",) if draw(st.integers(0, 5)) == 0 else (),
                    needs=needs | ({"api": 2} if draw(st.booleans()) else {}),
                    slots=draw(st.sampled_from([1, 1, 1, 2, 9])),
                )
            )
            earlier.append(name)
        phases.append(phase(f"p{number}", *groups, sequential=draw(st.booleans())))
    return phases


def durations(phases: Sequence[Phase], draw: st.DataObject) -> dict[str, float]:
    known = [name for name in itertools.chain(*names(phases)) if draw.draw(st.integers(0, 9))]
    return {name: draw.draw(st.sampled_from([0.1, 0.5, 1.0, 3.3, 20.0])) for name in known}


counts = st.integers(1, 6)


@given(phases=plans(), count=counts, jobs=st.integers(1, 8), data=st.data())
def test_shards_are_a_partition_that_keeps_what_is_bound(
    phases: list[Phase], count: int, jobs: int, data: st.DataObject
) -> None:
    shards = all_shards(phases, durations(phases, data), count, jobs)
    core = list(itertools.takewhile(lambda each: each.sequential, phases))
    repeated = {group.name for each in core for group in each.groups}
    places = place_of(shards)
    for group in (group for each in phases for group in each.groups):
        assert len(places[group.name]) == (count if group.name in repeated else 1)
        for need in group.depends_on:
            assert places[group.name] <= places[need.group]
    rest = [group for each in phases[len(core) :] for group in each.groups]
    ledger = [places[each.name] for each in rest if each.parallel_group]
    assert all(place == ledger[0] for place in ledger)
    settings_ = [each for each in rest if "settings" in each.needs]
    if any(each.needs["settings"] is LockMode.EXCLUSIVE for each in settings_):
        assert len({frozenset(places[each.name]) for each in settings_}) == 1


@given(phases=plans(), count=counts, data=st.data())
def test_each_shard_is_a_piece_of_the_plan_in_its_order(phases: list[Phase], count: int, data: st.DataObject) -> None:
    for mine in all_shards(phases, durations(phases, data), count):
        theirs = {each.name: each for each in phases}
        assert [each.name for each in mine] == [each.name for each in phases if each.name in {m.name for m in mine}]
        for each in mine:
            assert each.groups
            kept = tuple(group for group in theirs[each.name].groups if group in each.groups)
            assert each == msgspec.structs.replace(theirs[each.name], groups=kept)


@given(phases=plans(), count=counts, data=st.data(), seed=st.integers())
def test_the_order_of_a_dictionary_changes_nothing(
    phases: list[Phase], count: int, data: st.DataObject, seed: int
) -> None:
    seconds = durations(phases, data)
    mixed = list(seconds.items())
    random.Random(seed).shuffle(mixed)
    assert all_shards(phases, seconds, count) == all_shards(phases, dict(mixed), count)


@given(lasts=st.lists(st.integers(1, 1000), min_size=1, max_size=40), count=st.integers(1, 8), jobs=st.integers(1, 4))
def test_no_shard_is_longer_than_its_part_and_one_group(lasts: list[int], count: int, jobs: int) -> None:
    """R. L. Graham's bound for dealing out in any order; no group can be shorter than itself."""
    seconds = {f"g{place}": float(each) for place, each in enumerate(lasts)}
    shards = all_shards([phase("all", *seconds)], seconds, count, jobs)
    part = sum(lasts) / (count * jobs)
    for each in shards:
        mine = [seconds[name] for name in itertools.chain(*names(each))]
        assert max([sum(mine) / jobs, *mine]) <= max(max(lasts), part + max(lasts) / jobs) + 1e-6


@settings(max_examples=60)
@given(lasts=st.lists(st.integers(1, 50), min_size=2, max_size=7), count=st.integers(2, 3))
def test_the_longest_shard_is_at_most_four_thirds_of_the_best(lasts: list[int], count: int) -> None:
    """Graham's bound for dealing out longest first; every possible deal is tried for the best."""
    seconds = {f"g{place}": float(each) for place, each in enumerate(lasts)}
    shards = all_shards([phase("all", *seconds)], seconds, count, jobs=1)
    longest = max(sum(seconds[name] for name in itertools.chain(*names(each))) for each in shards)
    best = min(
        max(sum(last for last, mine in zip(lasts, deal, strict=True) if mine == place) for place in range(count))
        for deal in itertools.product(range(count), repeat=len(lasts))
    )
    assert longest <= best * 4 / 3


def test_a_large_plan_is_dealt_out_evenly() -> None:
    seconds = {f"g{place}": 1.0 + place % 17 for place in range(2000)}
    shards = all_shards([phase("all", *seconds)], seconds, 10, jobs=1)
    parts = [sum(seconds[name] for name in itertools.chain(*names(each))) for each in shards]
    assert max(parts) - min(parts) <= 1.0
