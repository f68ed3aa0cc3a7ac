"""How long a group will take, by what it took before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.planning.estimate import UNTIMED, estimate


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
