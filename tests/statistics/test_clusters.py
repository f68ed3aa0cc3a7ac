"""What fails together, by literal sets of commits."""

from hypothesis import given
from hypothesis import strategies as st

from harness.statistics.clusters import Cluster, Item, clusters


def found(items: dict[Item, str]) -> list[tuple[Item, ...]]:
    """Commits are letters."""
    return [cluster.members for cluster in clusters({i: (frozenset(c), frozenset()) for i, c in items.items()})]


A, B, C = ("a", ""), ("b", ""), ("c", "")


def test_two_commits_in_common_and_half_of_all() -> None:
    assert found({A: "xy", B: "xy"}) == [(A, B)]
    assert found({A: "xy", B: "xyzw"}) == [(A, B)]
    assert found({A: "xy", B: "xyzwv"}) == []
    assert found({A: "xyz", B: "yzw"}) == [(A, B)]
    assert found({A: "x", B: "x"}) == []
    assert found({A: "xy", B: "yz"}) == []


def test_just_under_half_is_too_little() -> None:
    commits = "".join(map(chr, range(0x100, 0x100 + 100)))
    assert found({A: commits, B: commits[:50]}) == [(A, B)]
    assert found({A: commits, B: commits[:49]}) == []


def test_what_is_joined_to_the_same_is_one_cluster() -> None:
    assert found({A: "pqrs", B: "rstu", C: "pqrstu"}) == [(A, B, C)]
    assert found({A: "pqrs", B: "rstu"}) == []


def test_tests_of_one_group_and_of_several() -> None:
    one, two, other = ("g", "t1"), ("g", "t2"), ("h", "t3")
    assert found({one: "xy", two: "xy", other: "xy"}) == [(one, two, other)]


def test_a_group_and_its_own_tests_are_no_cluster() -> None:
    group, one, two = ("g", ""), ("g", "t1"), ("g", "t2")
    assert found({group: "xy", one: "xy"}) == []
    assert found({group: "xyz", one: "xy"}) == []
    assert found({group: "xyz", one: "xy", two: "xy"}) == [(one, two)]
    assert found({group: "xyz", one: "xy", A: "xyz"}) == [(A, group, one)]


def test_a_group_has_no_part_where_its_tests_speak_for_it() -> None:
    group, one, two = ("g", ""), ("g", "t1"), ("g", "t2")
    assert found({group: "xyzw", one: "xy", two: "zw", A: "xyzw"}) == [(A, one, two)]
    assert found({group: "xyzwv", one: "xy", A: "xyzw"}) == [(A, group, one)]


def test_error_and_commits_that_all_have() -> None:
    items = {
        A: (frozenset("xyz"), frozenset({"e2", "e1", "e0"})),
        B: (frozenset("xyzw"), frozenset({"e1", "e2"})),
    }
    assert clusters(items) == (Cluster(members=(A, B), commits=3, error="e1"),)
    assert clusters(items | {C: (frozenset("xyz"), frozenset())})[0].error == ""


def test_the_largest_comes_first() -> None:
    assert found({A: "xy", B: "xy", ("d", ""): "uvw", ("e", ""): "uvw", C: "uvw"}) == [
        (C, ("d", ""), ("e", "")),
        (A, B),
    ]


def test_what_one_change_broke_is_compared_once() -> None:
    """A hundred thousand tests would make five thousand million pairs."""
    many = {("g", f"test_{number}"): "xy" for number in range(100_000)}
    assert len(found(many)[0]) == 100_000


ITEMS = st.dictionaries(
    st.tuples(st.sampled_from("ghi"), st.sampled_from(["", "t1", "t2", "t3"])), st.frozensets(st.sampled_from("uvwxyz"))
)


@given(ITEMS)
def test_clusters_are_the_connected_parts(items: dict[Item, frozenset[str]]) -> None:
    """Against the definition, pair by pair."""
    of_tests = {g: frozenset().union(*(c for (h, t), c in items.items() if h == g and t)) for g, _ in items}
    taking_part = {i: c for i, c in items.items() if len(c) >= 2 and (i[1] or not c <= of_tests[i[0]])}

    def linked(a: Item, b: Item) -> bool:
        own = a[0] == b[0] and bool(a[1]) != bool(b[1])
        common, both = taking_part[a] & taking_part[b], taking_part[a] | taking_part[b]
        return not own and len(common) >= 2 and len(common) / len(both) >= 0.5

    parts = []
    left = set(taking_part)
    while left:
        part, edge = set(), {min(left)}
        while edge:
            part |= edge
            edge = {b for b in left - part if any(linked(a, b) for a in edge)}
        left -= part
        if len(part) > 1:
            parts.append(tuple(sorted(part)))
    assert sorted(found({i: "".join(c) for i, c in items.items()})) == sorted(parts)
