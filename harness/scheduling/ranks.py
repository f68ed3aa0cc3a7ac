"""Which group should start first: the one after whose start the most is still to come (SPEC.md, section 7).

A rank is in seconds: from the start of a group to the end of what cannot be over before it is, as far as the estimates
go. List scheduling (R. L. Graham, "Bounds on multiprocessing timing anomalies", 1969) starts the highest rank first of
what may start. Four rules make the rank, each worth its place in `benchmarks/makespan.py`:

- **Chain**: what depends on a group comes after it (T. C. Hu, "Parallel sequencing and assembly line problems", 1961).
- **Lock**: groups that exclude one another are a chain too. It is ordered by what still comes after each of them, the
  longest such tail first: the rule of the latest finish time, the best of those compared by R. Kolisch, "Serial and
  parallel resource-constrained project scheduling methods revisited", 1996, and exact for one lock (J. R. Jackson,
  "Scheduling a production line to minimize maximum tardiness", 1955). Sharers wait only for those that hold it alone.
- **Count**: groups that take more than half of a counted resource exclude one another, as if it were a lock.
- **Width**: a group of several slots counts the narrower work as still to come, since narrower groups can fill what it
  leaves free and it cannot fill what they leave.

Nothing here decides whether a group may start. A bad estimate makes a run longer and never wrong.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from harness.model import After, Group, Phase
from harness.scheduling.order import dependants_of, in_dependency_order
from harness.scheduling.resources import EVERYONE, SLOTS, Demand, demand_of

UNKNOWN = 1.0  # seconds of a group without an estimate


def ranks(
    phases: Sequence[Phase], estimates: Mapping[str, float], *, jobs: int, resources: Mapping[str, int]
) -> dict[str, float]:
    """Seconds still to come from the start of each group, within its own phase. `resources` are the counted ones.

    A group without an estimate counts as UNKNOWN. O((n + e) log n) for n groups with e dependencies and needs.
    """
    found: dict[str, float] = {}
    for phase in phases:
        own = {group.name: estimates.get(group.name, UNKNOWN) for group in phase.groups}
        found |= _ranks(phase.groups, own, jobs, resources)
    return found


def _ranks(
    groups: Sequence[Group], own: Mapping[str, float], jobs: int, resources: Mapping[str, int]
) -> dict[str, float]:
    dependants = dependants_of(groups)
    demands = {group.name: demand_of(group, jobs=jobs, sequential=False) for group in groups}
    narrower = _narrower_work(demands, own, jobs)
    capacities = {f"count:{name}": count for name, count in resources.items()}
    found: dict[str, float] = {}
    alone: defaultdict[str, float] = defaultdict(float)  # the highest rank of those that need a resource for themselves
    anyone: defaultdict[str, float] = defaultdict(float)  # … of all that need some of it
    for group in _by_tail(groups, own, dependants):
        after = max((found[other.name] for other, _ in dependants[group.name]), default=0.0)
        holds = []
        for resource, amount in demands[group.name]:
            if resource == SLOTS:
                after = max(after, narrower[amount])
            else:
                exclusive = 2 * amount > capacities.get(resource, EVERYONE)
                after = max(after, (anyone if exclusive else alone)[resource])
                holds.append((resource, exclusive))
        rank = found[group.name] = own[group.name] + after
        for resource, exclusive in holds:
            anyone[resource] = max(anyone[resource], rank)
            if exclusive:
                alone[resource] = rank
    return found


def _by_tail(
    groups: Sequence[Group], own: Mapping[str, float], dependants: Mapping[str, Sequence[tuple[Group, After]]]
) -> list[Group]:
    """The groups by what depends on them, the shortest tail first, and so each after all that depend on it.

    Of equal tails the shorter group comes first, of equal groups the later in the plan. Links are counted besides
    seconds, since a dependant may take none.
    """
    tails: dict[str, tuple[float, int]] = {}  # the longest chain of dependants: its seconds, and the most links
    backwards = in_dependency_order(groups)[::-1]
    for group in backwards:
        seconds, links = 0.0, 0
        for other, _ in dependants[group.name]:
            below = tails[other.name]
            seconds, links = max(seconds, own[other.name] + below[0]), max(links, below[1] + 1)
        tails[group.name] = (seconds, links)
    return sorted(backwards, key=lambda group: (tails[group.name], own[group.name]))


def _narrower_work(demands: Mapping[str, Demand], own: Mapping[str, float], jobs: int) -> dict[int, float]:
    """For each width in slots the seconds that all narrower groups take together on all jobs."""
    work: defaultdict[int, float] = defaultdict(float)
    for name, demand in demands.items():
        width = dict(demand)[SLOTS]
        work[width] += own[name] * width / jobs
    narrower, total = {}, 0.0
    for width in sorted(work):
        narrower[width] = total
        total += work[width]
    return narrower
