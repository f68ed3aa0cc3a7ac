from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from harness.planning.cycles import find_cycles


def test_cycles_are_closed_paths() -> None:
    assert find_cycles({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]}) == [["a", "b", "c", "a"]]
    assert find_cycles({"a": ["a", "b"], "b": ["nowhere"]}) == [["a", "a"]]
    assert find_cycles({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}) == []
    assert find_cycles({"a": ["b"], "b": ["a"], "x": ["y"], "y": ["x"]}) == [["a", "b", "a"], ["x", "y", "x"]]


def can_reach(edges: dict[str, list[str]], start: str, end: str) -> bool:
    seen: set[str] = set()
    todo = list(edges[start])
    while todo:
        name = todo.pop()
        if name == end:
            return True
        if name not in seen:
            seen.add(name)
            todo += edges[name]
    return False


NAMES = "abcdef"


@given(st.fixed_dictionaries({name: st.lists(st.sampled_from(NAMES), max_size=4) for name in NAMES}))
def test_a_cycle_is_found_exactly_where_a_name_reaches_itself(edges: dict[str, list[str]]) -> None:
    cycles = find_cycles(edges)
    for cycle in cycles:
        assert cycle[0] == cycle[-1]
        assert all(after in edges[before] for before, after in pairwise(cycle))
    reported = {name for cycle in cycles for name in cycle}
    for name in NAMES:
        if can_reach(edges, name, name):
            assert any(name == other or can_reach(edges, name, other) for other in reported)
        else:
            assert name not in reported
