"""Splittable groups in parts: which parts there are, and what depends on what."""

import msgspec
from groups import make_group, make_phase, make_splittable

from harness.model import After, Dependency, Group, Phase
from harness.scheduling.parts import parts_of, split


def names(phases: tuple[Phase, ...]) -> list[str]:
    return [group.name for phase in phases for group in phase.groups]


def needs(phases: tuple[Phase, ...]) -> dict[str, list[str]]:
    return {
        group.name: [need.group for need in group.depends_on]
        for phase in phases
        for group in phase.groups
        if group.depends_on
    }


def test_each_file_is_a_part_that_needs_what_its_group_needs() -> None:
    group = make_splittable("search", "a.py", "sub/b.py", slots=2, needs={"api": 1}, retries=3, isolate=("db",))
    first, second = parts_of(group)
    assert first == msgspec.structs.replace(group, name="search/a.py", part_of="search", tests=("a.py",))
    assert second == msgspec.structs.replace(group, name="search/sub/b.py", part_of="search", tests=("sub/b.py",))
    assert [(part.whole, part.part) for part in (first, second)] == [("search", "a.py"), ("search", "sub/b.py")]


def test_the_ids_of_one_file_are_one_part() -> None:
    group = make_splittable("search", "a.py::test_x", "b.py", "a.py::test_y")
    assert [part.tests for part in parts_of(group)] == [("a.py::test_x", "a.py::test_y"), ("b.py",)]


def test_other_groups_and_those_of_one_file_stay_as_they_are() -> None:
    plain = make_group("plain", tests=("a.py", "b.py"))
    small = make_splittable("small", "a.py::test_x", "a.py::test_y")
    assert parts_of(plain) == (plain,)
    assert parts_of(small) == (small,)
    assert (small.whole, small.part) == ("small", "")


def test_parts_stand_in_the_place_of_their_group() -> None:
    phases = (make_phase("p", "first", make_splittable("s", "a", "b"), "last"), make_phase("q", "other"))
    assert names(split(phases)) == ["first", "s/a", "s/b", "last", "other"]
    assert [phase.name for phase in split(phases)] == ["p", "q"]


def test_all_parts_depend_and_all_parts_are_depended_on() -> None:
    chain = make_splittable("t", "c", "d", after=("s",))
    phases = (make_phase("p", "first", make_splittable("s", "a", "b", after=("first",)), chain),)
    phases += (make_phase("q", make_group("last", any_of=("t",))),)
    assert needs(split(phases)) == {
        "s/a": ["first"],
        "s/b": ["first"],
        "t/c": ["s/a", "s/b"],
        "t/d": ["s/a", "s/b"],
        "last": ["t/c", "t/d"],
    }
    (last,) = split(phases)[1].groups
    assert last.depends_on == (
        Dependency(group="t/c", after=After.ANY),
        Dependency(group="t/d", after=After.ANY),
    )


def test_what_is_cached_stays_whole() -> None:
    phases = (make_phase("p", make_splittable("s", "a", "b"), make_group("t", after=("s",))),)
    whole = split(phases, whole={"s"})
    assert names(whole) == ["s", "t"]
    assert needs(whole) == {"t": ["s"]}


def test_a_dependency_on_a_group_that_does_not_run_is_dropped_whole() -> None:
    group: Group = make_splittable("s", "a", "b", after=("gone",))
    assert needs(split((make_phase("p", group),))) == {}


def test_groups_that_nothing_splits_are_not_copied() -> None:
    """10,000 copies would be a tenth of the harness's memory."""
    one = Group(name="one", phase="p", tests=("test_a.py",))
    two = Group(name="two", phase="p", command="true", depends_on=(Dependency(group="one"),))
    (phase,) = split((Phase(name="p", groups=(one, two)),))
    assert [group is mine for group, mine in zip(phase.groups, (one, two), strict=True)] == [True, True]
