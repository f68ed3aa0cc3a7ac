"""Which groups and tests fail together: a cause that they share is worth more than each of them alone.

Two items are joined where they failed on at least two commits in common and on at least half of those on which either
failed (the Jaccard index of their failing commits); what is joined to the same item is one cluster (union-find).
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations

from harness.model import Noun

Item = tuple[str, str]  # a group and a test of it; the group as a whole where the test is empty
Commits = frozenset[str]

COMMON = 2  # commits on which both failed
LIKENESS = 0.5


class Cluster(Noun, frozen=True):
    """Items that fail together. `error` is the hash of an error that all of them had; empty: there is none."""

    members: tuple[Item, ...]
    commits: int  # on which all of them failed
    error: str


def clusters(items: Mapping[Item, tuple[Commits, frozenset[str]]]) -> tuple[Cluster, ...]:
    """The clusters of two and more, the largest first. An item comes with its failing commits and its errors.

    A group is never joined to its own tests, and has no part where one of them failed each time that it did.
    """
    # What failed on exactly the same commits, as after a bad change, is compared once and not item by item.
    alike: defaultdict[Commits, list[Item]] = defaultdict(list)
    for item in sorted(_speaking(items)):
        alike[items[item][0]].append(item)
    parent = {commits: commits for commits in alike}
    for one, other in _similar(list(alike)):
        if any(not _own(a, b) for a in alike[one] for b in alike[other]):
            parent[_root(parent, one)] = _root(parent, other)
    members: defaultdict[Commits, list[Item]] = defaultdict(list)
    for commits, same in alike.items():
        members[_root(parent, commits)] += same
    found = [_cluster(sorted(group), items) for group in members.values() if len(group) > 1]
    return tuple(sorted(found, key=lambda cluster: (-len(cluster.members), cluster.members)))


def _speaking(items: Mapping[Item, tuple[Commits, frozenset[str]]]) -> list[Item]:
    """The items that failed often enough to be compared, without the groups for which their tests speak."""
    of_tests: defaultdict[str, set[str]] = defaultdict(set)
    for (group, test), (commits, _) in items.items():
        if test:
            of_tests[group] |= commits
    return [
        (group, test)
        for (group, test), (commits, _) in items.items()
        if len(commits) >= COMMON and (test or not commits <= of_tests[group])
    ]


def _similar(sets: Sequence[Commits]) -> list[tuple[Commits, Commits]]:
    """The pairs that have enough in common. Only pairs that share a commit are looked at.

    Of sets of two and more one common commit is at most a third, so two are in common where half of all is.
    """
    holders: defaultdict[str, list[int]] = defaultdict(list)
    for place, commits in enumerate(sets):
        for commit in commits:
            holders[commit].append(place)
    common = Counter(pair for places in holders.values() for pair in combinations(places, 2))
    return [
        (sets[a], sets[b])
        for (a, b), count in common.items()
        if count >= LIKENESS * (len(sets[a]) + len(sets[b]) - count)
    ]


def _own(a: Item, b: Item) -> bool:
    """Whether one is a group and the other a test of it."""
    return a[0] == b[0] and (not a[1]) != (not b[1])


def _root(parent: dict[Commits, Commits], commits: Commits) -> Commits:
    while parent[commits] != commits:
        parent[commits] = parent[parent[commits]]  # halves the way for the next one
        commits = parent[commits]
    return commits


def _cluster(members: list[Item], items: Mapping[Item, tuple[Commits, frozenset[str]]]) -> Cluster:
    commits = frozenset.intersection(*(items[member][0] for member in members))
    errors = frozenset.intersection(*(items[member][1] for member in members))
    return Cluster(members=tuple(members), commits=len(commits), error=min(errors, default=""))
