"""Which groups each of several machines runs: `--shard 2/4` (SPEC.md, section 7; docs/shards.md for users).

Protocol: every machine calls `shard` with the same phases, seconds, count and jobs, and with an index of its own.
Together they then run every group once, but for the core, which each of them runs. They do not speak with one another,
so the answer must follow from the arguments alone: nothing here may ask the machine or the order of a dictionary.

What must share a machine is joined into clusters first. These are dealt out longest first, each to the shard that then
takes least (R. L. Graham, "Bounds on multiprocessing timing anomalies", 1969), and at last moved and swapped for as
long as that makes the longest shard shorter.
"""

import heapq
import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

import msgspec

from harness.model import Group, LockMode, Phase, part_name

TRIES = 20_000  # moves and swaps that are looked at, at the most: a fifth of a second
CHANGES = 200  # that are made, at the most: each means to weigh all the shards anew
MICROSECONDS = 1_000_000  # whole numbers add up to the same in any order, which floats do not


def shard(
    phases: Sequence[Phase], seconds: Mapping[str, float], index: int, count: int, *, jobs: int
) -> tuple[Phase, ...]:
    """What shard `index` (from 1) of `count` runs, in the order of the plan; phases with no group left are left out.

    The leading sequential phases are the core, which is in every shard. `seconds` are the predicted durations, of
    groups and parts; a group without any takes none, as it is with those of a phase that is off. A splittable group
    stays whole. `jobs` is how many groups a machine runs at a time, by the plan: the same for all.
    """
    core = tuple(itertools.takewhile(lambda phase: phase.sequential, phases))
    dealt = phases[len(core) :]
    clusters = _clusters(dealt, seconds, jobs)
    yardstick = _Yardstick(tuple(1 if phase.sequential else jobs for phase in dealt))
    mine = {name for cluster in _deal(clusters, count, yardstick)[index - 1] for name in cluster.groups}
    kept = (
        msgspec.structs.replace(phase, groups=tuple(group for group in phase.groups if group.name in mine))
        for phase in dealt
    )
    return core + tuple(phase for phase in kept if phase.groups)


# --- what binds groups together


def bindings(groups: Sequence[Group]) -> list[list[str]]:
    """The groups by what must share a machine, each list and all of them in the order of `groups`.

    Bound are a group and what it depends on, the groups of one parallel group, and those of one lock if any of them
    holds it exclusively. Counted resources bind nothing: a count holds on each machine.
    """
    parent = {group.name: group.name for group in groups}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for first, second in _ties(groups):
        if second in parent:
            parent[root(second)] = root(first)
    bound: dict[str, list[str]] = {}
    for group in groups:
        bound.setdefault(root(group.name), []).append(group.name)
    return list(bound.values())


def _ties(groups: Sequence[Group]) -> Iterator[tuple[str, str]]:
    """Pairs of groups that must share a machine. The second may be no group of these: a dependency on the core."""
    exclusive = {lock for group in groups for lock, need in group.needs.items() if need is LockMode.EXCLUSIVE}
    first: dict[tuple[str, str], str] = {}
    for group in groups:
        for dependency in group.depends_on:
            yield group.name, dependency.group
        things = [("parallel group", name) for name in group.parallel_group]
        things += [("lock", name) for name in group.needs if name in exclusive]
        for thing in things:
            yield group.name, first.setdefault(thing, group.name)


# --- how long things take


@dataclass(frozen=True)
class _Load:
    """What some groups ask of a machine, in microseconds, phase by phase."""

    work: tuple[int, ...]  # durations times slots
    alone: tuple[int, ...]  # the least that they take, however many jobs there are

    def __add__(self, other: "_Load") -> "_Load":
        """Of clusters, which wait for nothing in one another."""
        return _Load(
            tuple(mine + theirs for mine, theirs in zip(self.work, other.work, strict=True)),
            tuple(map(max, self.alone, other.alone)),
        )


@dataclass(frozen=True)
class _Cluster:
    groups: tuple[str, ...]
    load: _Load


@dataclass(frozen=True)
class _Yardstick:
    """Tells a load's time: phase by phase the work over the jobs, or what takes longer than that by itself."""

    jobs: tuple[int, ...]  # by phase

    def time(self, load: _Load) -> float:
        """Microseconds."""
        return sum(max(work / jobs, alone) for work, alone, jobs in zip(load.work, load.alone, self.jobs, strict=True))


def _clusters(phases: Sequence[Phase], seconds: Mapping[str, float], jobs: int) -> list[_Cluster]:
    """In the order of the plan."""
    lasts = {
        group.name: round(seconds.get(group.name, 0.0) * MICROSECONDS) for phase in phases for group in phase.groups
    }
    alone = [
        _alone(phase.groups, lasts if phase.sequential else _least(phase.groups, lasts, seconds)) for phase in phases
    ]
    slots = [
        {group.name: 1 if phase.sequential else min(max(group.slots, group.workers), jobs) for group in phase.groups}
        for phase in phases
    ]
    made = []
    for names in bindings([group for phase in phases for group in phase.groups]):
        work = tuple(sum(lasts[name] * taken.get(name, 0) for name in names) for taken in slots)
        least = tuple(max(least.get(name, 0) for name in names) for least in alone)
        made.append(_Cluster(tuple(names), _Load(work, least)))
    return made


def _least(groups: Sequence[Group], lasts: Mapping[str, int], seconds: Mapping[str, float]) -> dict[str, int]:
    """The time that each takes with all the slots that it could want: of a splittable one, that of its longest part."""
    least = {group.name: lasts[group.name] for group in groups}
    for group in groups:
        parts = [seconds.get(part_name(group.name, file), 0.0) for file in group.files] if group.splittable else []
        if longest := round(max(parts, default=0.0) * MICROSECONDS):
            least[group.name] = min(least[group.name], longest)
    return least


def _alone(groups: Sequence[Group], lasts: Mapping[str, int]) -> dict[str, int]:
    """For every group of a phase, the time of the longest chain that ends in it, or of what it holds with others."""
    inside = {group.name: group for group in groups}
    before = {group.name: [need.group for need in group.depends_on if need.group in inside] for group in groups}
    chains: dict[str, int] = {}
    for name in TopologicalSorter(before).static_order():
        chains[name] = lasts[name] + max((chains[other] for other in before[name]), default=0)
    held: defaultdict[tuple[str, str], int] = defaultdict(int)
    for group in groups:
        for thing in _holds_alone(group):
            held[thing] += lasts[group.name]
    return {group.name: max([chains[group.name], *(held[thing] for thing in _holds_alone(group))]) for group in groups}


def _holds_alone(group: Group) -> list[tuple[str, str]]:
    exclusive = [("lock", name) for name, need in group.needs.items() if need is LockMode.EXCLUSIVE]
    return [*(("parallel group", name) for name in group.parallel_group), *exclusive]


# --- dealing


def _deal(clusters: Sequence[_Cluster], count: int, yardstick: _Yardstick) -> list[list[_Cluster]]:
    nothing = _nothing(yardstick)
    shards: list[list[_Cluster]] = [[] for _ in range(count)]
    loads = [nothing] * count
    # Sorting is stable, so of equal ones the first in the plan comes first.
    for cluster in sorted(clusters, key=lambda cluster: -yardstick.time(cluster.load)):
        with_it = [load + cluster.load for load in loads]
        place = min(
            range(count),
            key=lambda place: (yardstick.time(with_it[place]), sum(with_it[place].work), len(shards[place])),
        )
        shards[place].append(cluster)
        loads[place] = with_it[place]
    tries = TRIES
    for _ in range(CHANGES):
        if not (tries := _shorten(shards, yardstick, tries)):
            break
    return shards


def _shorten(shards: list[list[_Cluster]], yardstick: _Yardstick, tries: int) -> int:
    """Moves a cluster out of the longest shard, or swaps it for another, if that makes the longer of the two shorter.

    Takes the first such change. Returns how many tries are left: 0 where there was none.
    """
    loads = [sum((cluster.load for cluster in clusters), _nothing(yardstick)) for clusters in shards]
    times = [yardstick.time(load) for load in loads]
    longest, *others = sorted(range(len(shards)), key=lambda place: -times[place])
    mine = _without_each(shards[longest], yardstick)
    for other in reversed(others):
        theirs = [(loads[other], None), *zip(_without_each(shards[other], yardstick), shards[other], strict=True)]
        for rest, taken in theirs:
            for without, given in zip(mine, shards[longest], strict=True):
                if not tries:
                    return 0
                tries -= 1
                remaining = without + taken.load if taken else without
                if max(yardstick.time(remaining), yardstick.time(rest + given.load)) < times[longest]:
                    _exchange(shards[longest], shards[other], given, taken)
                    return tries
    return 0


def _exchange(mine: list[_Cluster], theirs: list[_Cluster], given: _Cluster, taken: _Cluster | None) -> None:
    mine.remove(given)
    theirs.append(given)
    if taken is not None:
        theirs.remove(taken)
        mine.append(taken)


def _without_each(clusters: Sequence[_Cluster], yardstick: _Yardstick) -> list[_Load]:
    """The load of all but one of the clusters, for each of them."""
    whole = sum((cluster.load for cluster in clusters), _nothing(yardstick))
    largest = [heapq.nlargest(2, [0, 0, *by_phase]) for by_phase in zip(*(c.load.alone for c in clusters), strict=True)]
    return [
        _Load(
            tuple(all_work - work for all_work, work in zip(whole.work, cluster.load.work, strict=True)),
            tuple(
                second if alone == first else first
                for (first, second), alone in zip(largest, cluster.load.alone, strict=True)
            ),
        )
        for cluster in clusters
    ]


def _nothing(yardstick: _Yardstick) -> _Load:
    none = (0,) * len(yardstick.jobs)
    return _Load(none, none)
