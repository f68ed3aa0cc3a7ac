"""What groups compete for, all of it as counts: job slots, counted resources, locks, parallel groups, and what isolated
environments use up.

A lock is a count of EVERYONE: a sharer takes one, an exclusive holder takes all. A parallel group is a lock that is
always exclusive. With everything a count, one rule decides: a demand fits when no resource would go below zero.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from harness.model import Group, LockMode

Demand = tuple[tuple[str, int], ...]
"""What one group takes, sorted by resource: `(("lock:settings", 1), ("slots", 2))`."""

SLOTS = "slots"
SEQUENTIAL = "sequential"
EVERYONE = 1_000_000  # more sharers than there can be slots


def demand_of(group: Group, *, jobs: int, sequential: bool, shared: Mapping[str, str] = MappingProxyType({})) -> Demand:
    """Everything that `group` needs at once. A group wider than the run's `jobs` takes them all and so runs alone.

    `shared` names, for an isolation entry, what it uses up, where several entries use up the same.
    """
    demand = {SLOTS: min(max(group.slots, group.workers), jobs)}
    for name in group.parallel_group:
        demand[f"parallel_group:{name}"] = EVERYONE
    for name, need in group.needs.items():
        if need is LockMode.SHARED:
            demand[f"lock:{name}"] = 1
        elif need is LockMode.EXCLUSIVE:
            demand[f"lock:{name}"] = EVERYONE
        else:
            demand[f"count:{name}"] = need
    for entry, units in group.holds.items():
        resource = environment(shared.get(entry, entry))
        demand[resource] = demand.get(resource, 0) + units
    if sequential:
        demand[SEQUENTIAL] = 1
    return tuple(sorted(demand.items()))


def environment(entry: str) -> str:
    """The resource that the leases of an entry of [isolation.NAME] use up. How much there is, is known once they can be
    made; until then there is enough."""
    return f"environment:{entry}"


class Pool:
    """How much of each resource is free."""

    def __init__(self, jobs: int, counts: Mapping[str, int]) -> None:
        self._free = {SLOTS: jobs, SEQUENTIAL: 1} | {f"count:{name}": n for name, n in counts.items()}
        self._bounds: dict[str, int] = {}

    def bound(self, resource: str, count: int) -> None:
        """There is only so much of it, and perhaps more later: whoever needs more may have it while nobody else holds
        any. Before anybody does."""
        self._free[resource] = self._bounds[resource] = count

    def lacking(self, demand: Demand) -> str | None:
        """The first resource that `demand` cannot have now, or None when it fits."""
        for resource, amount in demand:
            if amount > self.left(resource):
                return resource
        return None

    def left(self, resource: str) -> int:
        free = self._free.setdefault(resource, EVERYONE)
        return EVERYONE if self._bounds.get(resource) == free else free

    def take(self, demand: Demand) -> None:
        for resource, amount in demand:
            self._free[resource] -= amount

    def give(self, demand: Demand) -> Iterable[str]:
        """Returns the resources of which there is more now."""
        for resource, amount in demand:
            self._free[resource] += amount
        return (resource for resource, _ in demand)
