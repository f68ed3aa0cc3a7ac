"""Which groups may start now, and in what order. Pure: no clock, no process, no thread.

The protocol, as dispatch.py and the simulator drive it:

    schedule.open(phase)            the groups of a phase become candidates
    schedule.start()                starts all that fit, best first, and says on which slot
    schedule.end(name, succeeded)   gives back what a group held; says which groups can never start now

A group takes all that it needs at once when it starts, so that waiting holds nothing and deadlock is impossible. Among
what may start, the group with the longest remaining chain goes first (list scheduling by critical path: R. L. Graham,
"Bounds on multiprocessing timing anomalies", 1969); ties and sequential phases keep the order of the plan.

Candidates wait in lanes: all groups that demand exactly the same share one. A lane either fits or not, whichever of its
groups comes first, so one check speaks for thousands. A lane that does not fit is parked at the first resource that it
lacks and is looked at again when some of that is given back. So nothing idles while something could start, and a start
or an end costs O(log n) for n groups as long as the kinds of demand are few.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.model import After, Group, Phase
from harness.scheduling.resources import Demand, Pool, demand_of


class Placement(NamedTuple):
    group: Group
    slot: int  # the lowest of those that it takes


class Doomed(NamedTuple):
    """A group that can never start, because `cause`, on whose success it depends, did not succeed."""

    group: Group
    cause: str


class _Candidate(NamedTuple):
    """Sorts as it should start: the longest chain first, then in the order of the plan."""

    rank: float
    place: int
    name: str


@dataclass(eq=False, slots=True)
class _Lane:
    demand: Demand
    waiting: list[_Candidate] = field(default_factory=list)  # a heap
    parked: bool = False


class Schedule:
    """The candidates of a run and what they hold. Mutable, and owned by one thread."""

    def __init__(
        self,
        phases: Sequence[Phase],
        *,
        jobs: int,
        resources: Mapping[str, int],
        estimates: Mapping[str, float] | None = None,
    ) -> None:
        """`estimates` maps a group to its expected seconds; a group without one counts as one second."""
        self._jobs = jobs
        self._pool = Pool(jobs, resources)
        self._free_slots = list(range(jobs))
        self._lanes: dict[Demand, _Lane] = {}
        self._open: list[
            tuple[_Candidate, Demand]
        ] = []  # a heap of lanes by their first candidate; may hold stale ones
        self._parked: dict[str, list[_Lane]] = {}
        self._held: dict[str, tuple[Demand, list[int]]] = {}
        self._groups = {group.name: group for phase in phases for group in phase.groups}
        self._places = {name: place for place, name in enumerate(self._groups)}
        self._ended: set[str] = set()
        self._unmet = {name: len(group.depends_on) for name, group in self._groups.items()}
        self._dependants = _dependants(self._groups.values())
        self._ranks = _ranks(phases, self._dependants, estimates or {})
        self._opened: dict[str, Phase] = {}

    def open(self, phase: Phase) -> None:
        """Makes the groups of `phase` candidates, as soon as what they depend on has ended."""
        self._opened[phase.name] = phase
        for group in phase.groups:
            if not self._unmet[group.name]:
                self._offer(group)

    def start(self) -> list[Placement]:
        """Starts every candidate that fits, best first. Afterwards no candidate is left that could start."""
        placements = []
        while (lane := self._next_lane()) is not None:
            lacking = self._pool.lacking(lane.demand)
            if lacking is not None:
                lane.parked = True
                self._parked.setdefault(lacking, []).append(lane)
                continue
            placements.append(self._place(lane))
            self._reopen(lane)
        return placements

    def end(self, name: str, *, succeeded: bool) -> list[Doomed]:
        """Records that a group has ended, whether or not it ever started, and frees what it held."""
        self._ended.add(name)
        self._release(name)
        doomed = []
        for dependant, after in self._dependants[name]:
            if dependant.name in self._ended:
                continue
            self._unmet[dependant.name] -= 1
            if after is After.SUCCESS and not succeeded:
                doomed.append(Doomed(dependant, name))
            elif not self._unmet[dependant.name] and dependant.phase in self._opened:
                self._offer(dependant)
        return doomed

    def _offer(self, group: Group) -> None:
        phase = self._opened[group.phase]
        demand = demand_of(group, jobs=self._jobs, sequential=phase.sequential)
        lane = self._lanes.setdefault(demand, _Lane(demand))
        rank = 0.0 if phase.sequential else self._ranks[group.name]
        candidate = _Candidate(-rank, self._places[group.name], group.name)
        heapq.heappush(lane.waiting, candidate)
        if not lane.parked and lane.waiting[0] is candidate:
            heapq.heappush(self._open, (candidate, demand))

    def _next_lane(self) -> _Lane | None:
        """The open lane with the best candidate, taken off the heap; None when no lane is open."""
        while self._open:
            candidate, demand = heapq.heappop(self._open)
            lane = self._lanes[demand]
            if lane.parked or not lane.waiting or lane.waiting[0] is not candidate:
                continue  # stale: the lane was parked, or a better candidate came
            if candidate.name in self._ended:
                heapq.heappop(lane.waiting)
                self._reopen(lane)
                continue
            return lane
        return None

    def _place(self, lane: _Lane) -> Placement:
        name = heapq.heappop(lane.waiting).name
        self._pool.take(lane.demand)
        taken = [heapq.heappop(self._free_slots) for _ in range(dict(lane.demand)["slots"])]
        self._held[name] = (lane.demand, taken)
        return Placement(self._groups[name], taken[0])

    def _release(self, name: str) -> None:
        if name not in self._held:
            return
        demand, taken = self._held.pop(name)
        for slot in taken:
            heapq.heappush(self._free_slots, slot)
        for resource in self._pool.give(demand):
            for lane in self._parked.pop(resource, ()):
                lane.parked = False
                self._reopen(lane)

    def _reopen(self, lane: _Lane) -> None:
        if lane.waiting:
            heapq.heappush(self._open, (lane.waiting[0], lane.demand))


def _dependants(groups: Iterable[Group]) -> dict[str, list[tuple[Group, After]]]:
    groups = list(groups)
    dependants: dict[str, list[tuple[Group, After]]] = {group.name: [] for group in groups}
    for group in groups:
        for dependency in group.depends_on:
            dependants[dependency.group].append((group, dependency.after))
    return dependants


def _ranks(
    phases: Sequence[Phase],
    dependants: Mapping[str, list[tuple[Group, After]]],
    estimates: Mapping[str, float],
) -> dict[str, float]:
    """Seconds from the start of each group to the end of the longest chain that waits on it in its own phase."""
    ranks: dict[str, float] = {}
    for group in reversed(in_dependency_order(group for phase in phases for group in phase.groups)):
        waiting = (ranks[other.name] for other, _ in dependants[group.name] if other.phase == group.phase)
        ranks[group.name] = estimates.get(group.name, 1.0) + max(waiting, default=0.0)
    return ranks


def in_dependency_order(groups: Iterable[Group]) -> list[Group]:
    """Every group after those it depends on (A. B. Kahn, "Topological sorting of large networks", 1962).

    Groups of a cycle are left out: planning/load.py refuses them before they come here.
    """
    groups = list(groups)
    unmet = {group.name: len(group.depends_on) for group in groups}
    dependants = _dependants(groups)
    ordered = [group for group in groups if not unmet[group.name]]
    for group in ordered:  # grows while it is read
        for dependant, _ in dependants[group.name]:
            unmet[dependant.name] -= 1
            if not unmet[dependant.name]:
                ordered.append(dependant)
    return ordered
