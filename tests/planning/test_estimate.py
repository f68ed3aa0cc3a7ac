"""How long a group will take, by what it took before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model import Group, Phase, Plan
from harness.planning.estimate import UNTIMED, estimate, estimate_plan, splittable


def test_the_median_of_the_last_five() -> None:
    found = estimate(["a"], {"a": [1.0, 2.0, 90.0, 3.0, 4.0, 1000.0, 1000.0]})
    assert found.seconds == {"a": 3.0}
    assert found.unknown == frozenset()


def test_fewer_than_five_will_do() -> None:
    assert estimate(["a", "b"], {"a": [2.0], "b": [2.0, 4.0]}).seconds == {"a": 2.0, "b": 3.0}


def test_an_unknown_group_counts_as_the_75th_percentile_of_the_known() -> None:
    found = estimate(["a", "b", "c", "d", "e", "new"], {"a": [1], "b": [2], "c": [3], "d": [4], "e": [5], "new": []})
    assert found.seconds["new"] == 4.0
    assert found.unknown == {"new"}


def test_with_one_known_group_all_take_as_long() -> None:
    assert estimate(["a", "b"], {"a": [7.0]}).seconds == {"a": 7.0, "b": 7.0}


def test_where_nothing_is_known_all_are_the_same() -> None:
    found = estimate(["a", "b"], {"gone": [9.0]})
    assert found.seconds == {"a": UNTIMED, "b": UNTIMED}
    assert found.unknown == {"a", "b"}
    assert not found.anything_known


def test_something_is_known() -> None:
    assert estimate(["a", "b"], {"a": [1.0]}).anything_known


@given(
    st.lists(st.sampled_from("abcdefgh"), unique=True),
    st.dictionaries(st.sampled_from("abcdefghxyz"), st.lists(st.floats(0, 1e6), max_size=8)),
)
def test_every_group_has_one_within_what_was_seen(groups: list[str], past: dict[str, list[float]]) -> None:
    found = estimate(groups, past)
    assert list(found.seconds) == groups
    assert found.unknown == {name for name in groups if not past.get(name)}
    seen = [value for name in groups for value in past.get(name, [])[:5]]
    for name in groups:
        own = past.get(name, [])[:5] or seen or [UNTIMED]
        assert min(own) <= found.seconds[name] <= max(own) or found.seconds[name] == pytest.approx(max(own))


def plan_of(*groups: Group) -> Plan:
    return Plan(project="/p", test_root="tests", phases=(Phase(name="p", groups=groups),))


SPLIT = Group(name="s", phase="p", tests=("a.py", "sub/b.py", "c.py::test_x"), splittable=True)
WHOLE = Group(name="w", phase="p", tests=("a.py", "b.py"))


def test_a_part_takes_what_its_tests_took_and_an_even_share_of_the_rest() -> None:
    tests = {"a.py::test_1": 1.0, "a.py::TestA::test_2": 2.0, "sub/b.py::test_x[a::b]": 4.0, "c.py::test_x": 0.5}
    found = estimate_plan(plan_of(SPLIT, WHOLE), {"s": [10.5], "w": [7.0]}, {"s": tests})
    assert found.seconds == {"s": 10.5, "w": 7.0, "s/a.py": 4.0, "s/sub/b.py": 5.0, "s/c.py": 1.5}
    assert found.unknown == frozenset()


def test_a_file_without_known_tests_takes_an_even_share() -> None:
    found = estimate_plan(plan_of(SPLIT), {"s": [9.0]}, {"s": {"a.py::test_1": 6.0, "gone.py::test_1": 100.0}})
    assert found.seconds == {"s": 9.0, "s/a.py": 7.0, "s/sub/b.py": 3.0, "s/c.py": 3.0}


def test_the_tests_of_a_group_may_have_taken_longer_than_it_usually_does() -> None:
    tests = {"a.py::test_1": 6.0, "sub/b.py::test_1": 6.0, "c.py::test_x": 6.0}
    assert estimate_plan(plan_of(SPLIT), {"s": [9.0]}, {"s": tests}).seconds["s/a.py"] == 6.0


def test_pytest_may_name_the_files_from_above_the_test_root() -> None:
    tests = {"tests/a.py::test_1": 3.0, "p/tests/sub/b.py::test_1": 6.0, "other/c.py::test_x": 100.0}
    found = estimate_plan(plan_of(SPLIT), {"s": [9.0]}, {"s": tests})
    assert (found.seconds["s/a.py"], found.seconds["s/sub/b.py"], found.seconds["s/c.py"]) == (3.0, 6.0, 3.0)


def test_the_parts_of_an_unknown_group_are_guesses_too() -> None:
    found = estimate_plan(plan_of(SPLIT, WHOLE), {"w": [6.0]}, {})
    assert found.seconds == {"s": 6.0, "w": 6.0, "s/a.py": 2.0, "s/sub/b.py": 2.0, "s/c.py": 2.0}
    assert found.unknown == {"s", "s/a.py", "s/sub/b.py", "s/c.py"}
    assert not estimate_plan(plan_of(SPLIT), {}, {}).anything_known


def test_whose_tests_must_be_known() -> None:
    assert splittable(plan_of(SPLIT, WHOLE)) == ["s"]
