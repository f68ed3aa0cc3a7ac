"""Which groups may start now, and in what order. Pure: no clock, no process, no thread.

The protocol, as dispatch.py and the simulator drive it:

    schedule.open(phase, now)            the groups of a phase become candidates
    schedule.start(now)                  starts all that fit, best first, and says on which slot
    schedule.end(name, now, succeeded)   gives back what a group held; says which groups can never start now

`now` is seconds on whichever clock drives the run; it measures how long groups waited, and decides nothing.

A group takes all that it needs at once when it starts, so that waiting holds nothing and deadlock is impossible. Among
what may start, the group with the longest remaining chain goes first (list scheduling by critical path: R. L. Graham,
"Bounds on multiprocessing timing anomalies", 1969); ties and sequential phases keep the order of the plan.

Candidates wait in lanes: all groups that demand exactly the same share one. A lane either fits or not, whichever of its
groups comes first, so one check speaks for thousands. A lane that does not fit is parked at the first resource that it
lacks. When some of that is given back, the lanes parked there are looked at, best first, until none of it is left. So
nothing idles while something could start, and a start or an end costs O(log n) for n groups.

Ageing: a group that needs much at once could be overtaken for ever by smaller ones that fit. The best of those that
wait may be overtaken OVERTAKEN_AT_MOST times for each job; then what it lacks is kept for it.
"""

import heapq
import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.model import After, Group, Phase
from harness.scheduling.order import dependants_of
from harness.scheduling.ranks import ranks
from harness.scheduling.resources import SLOTS, Demand, Pool, demand_of

OVERTAKEN_AT_MOST = 2  # times the jobs
NO_SLOT = -1


class Placement(NamedTuple):
    group: Group
    slot: int  # the lowest of those that it takes
    waited: dict[str, float]  # since its phase began: "dependency" or a resource -> seconds


class Doomed(NamedTuple):
    """A group that can never start, because `cause`, on whose success it depends, did not succeed."""

    group: Group
    cause: str


class _Candidate(NamedTuple):
    """Sorts as it should start: the longest chain first, then in the order of the plan."""

    rank: float
    place: int
    name: str


class _Entry(NamedTuple):
    """A lane in a heap, under the candidate that was its first when it was put there."""

    candidate: _Candidate
    demand: Demand


@dataclass(eq=False, slots=True)
class _Lane:
    demand: Demand
    waiting: list[_Candidate] = field(default_factory=list)  # a heap
    lacking: str = ""  # the resource at which it is parked; empty: it is not
    parked_at: float = 0.0
    parked_for: dict[str, float] = field(default_factory=dict)  # resource -> seconds, over and done

    @property
    def entry(self) -> _Entry:
        return _Entry(self.waiting[0], self.demand)

    def waited(self, now: float) -> dict[str, float]:
        """How long it has been parked until `now`, by resource."""
        if not self.lacking:
            return self.parked_for
        return self.parked_for | {self.lacking: self.parked_for.get(self.lacking, 0.0) + now - self.parked_at}


@dataclass(frozen=True, slots=True)
class _Offer:
    """A candidate: how long its dependencies took, and how long its lane had been parked when it joined that."""

    dependency: float
    before: Mapping[str, float]

    def until(self, waited: Mapping[str, float]) -> dict[str, float]:
        """Its own waits, by what it waited for, when its lane has been parked so long."""
        since = {resource: seconds - self.before.get(resource, 0.0) for resource, seconds in waited.items()}
        return {what: seconds for what, seconds in (("dependency", self.dependency), *since.items()) if seconds > 0}


class Schedule:
    """The candidates of a run and what they hold. Mutable, and owned by one thread."""

    def __init__(
        self,
        phases: Sequence[Phase],
        *,
        jobs: int,
        resources: Mapping[str, int],
        estimates: Mapping[str, float] | None = None,
        costless: Collection[str] = (),
        shuffle: int | None = None,
    ) -> None:
        """`estimates` maps a group to its expected seconds; a group without one counts as one second. `costless` groups
        take nothing, not even a slot. `shuffle` is the seed of a random order instead of the best one."""
        self._jobs = jobs
        self._pool = Pool(jobs, resources)
        self._free_slots = list(range(jobs))
        self._costless = frozenset(costless)
        self._groups = {group.name: group for phase in phases for group in phase.groups}
        self._places = {name: place for place, name in enumerate(self._groups)}
        self._ended: set[str] = set()
        self._unmet = {name: len(group.depends_on) for name, group in self._groups.items()}
        self._dependants = dependants_of(self._groups.values())
        if shuffle is not None:
            self._ranks = _shuffled(self._groups, shuffle)
        elif jobs == 1:  # any order takes as long, so people may have the one that they wrote
            self._ranks = dict.fromkeys(self._groups, 0.0)
        else:
            self._ranks = ranks(phases, estimates or {}, jobs=jobs, resources=resources)
        self._opened: dict[str, tuple[Phase, float]] = {}
        self._offers: dict[str, _Offer] = {}
        self._held: dict[str, tuple[Demand, list[int]]] = {}
        self._lanes: dict[Demand, _Lane] = {}
        # Heaps of lanes by their first candidate. An entry is stale once the lane has another one, or is elsewhere.
        self._open: list[_Entry] = []
        self._parked: dict[str, list[_Entry]] = {}  # by the resource that they lack
        self._waiting: list[_Entry] = []  # all that are parked
        self._stirred: set[str] = set()  # resources given back since the lanes parked there were refused
        self._overtaken: dict[str, int] = {}
        self._kept: _Lane | None = None  # the lane for which the resource that it lacks is kept

    def open(self, phase: Phase, now: float) -> None:
        """Makes the groups of `phase` candidates, as soon as what they depend on has ended."""
        self._opened[phase.name] = (phase, now)
        for group in phase.groups:
            if not self._unmet[group.name]:
                self._offer(group, now)

    def start(self, now: float) -> list[Placement]:
        """Starts every candidate that fits, best first; ends early after a costless one. When it returns none, no
        candidate is left that could start, but for those that would take what is kept for another."""
        placements, refused = [], []
        while (lane := self._next_lane(now)) is not None:
            lacking = self._lacking(lane)
            if lacking is None:
                placements.append(self._place(lane, now))
                if lane.waiting:
                    self._file(lane)
                if not lane.demand:
                    break  # it is as good as over, and what waits for it may come before all others
            else:
                lane.lacking, lane.parked_at = lacking, now
                heapq.heappush(self._waiting, lane.entry)
                refused.append(lane)
        else:
            self._stirred.clear()
        # Only now: parked at once, a lane that was refused would be looked at again and again.
        for lane in refused:
            heapq.heappush(self._parked.setdefault(lane.lacking, []), lane.entry)
        return placements

    def end(self, name: str, now: float, *, succeeded: bool) -> list[Doomed]:
        """Records that a group has ended, whether or not it ever started, and frees what it held."""
        self._ended.add(name)
        self.release(name)
        if self._kept is not None and self._kept.waiting[0].name == name:
            self._keep_no_longer()
        doomed = []
        for dependant, after in self._dependants[name]:
            if dependant.name in self._ended:
                continue
            self._unmet[dependant.name] -= 1
            if after is After.SUCCESS and not succeeded:
                doomed.append(Doomed(dependant, name))
            elif not self._unmet[dependant.name] and dependant.phase in self._opened:
                self._offer(dependant, now)
        return doomed

    def release(self, name: str) -> None:
        """Frees what a group held, if it held anything."""
        if name in self._held:
            demand, taken = self._held.pop(name)
            for slot in taken:
                heapq.heappush(self._free_slots, slot)
            self._stirred.update(self._pool.give(demand))

    def _offer(self, group: Group, now: float) -> None:
        phase, opened = self._opened[group.phase]
        demand = demand_of(group, jobs=self._jobs, sequential=phase.sequential)
        if group.name in self._costless:
            demand = ()
        lane = self._lanes.setdefault(demand, _Lane(demand))
        rank = 0.0 if phase.sequential else self._ranks[group.name]
        candidate = _Candidate(-rank, self._places[group.name], group.name)
        self._offers[group.name] = _Offer(now - opened, lane.waited(now))
        heapq.heappush(lane.waiting, candidate)
        if lane.waiting[0] is candidate:
            self._file(lane)

    def _file(self, lane: _Lane) -> None:
        """Puts a lane that has a new first candidate into the heaps where it belongs."""
        if lane.lacking:
            heapq.heappush(self._parked.setdefault(lane.lacking, []), lane.entry)
            heapq.heappush(self._waiting, lane.entry)
        else:
            heapq.heappush(self._open, lane.entry)

    def _next_lane(self, now: float) -> _Lane | None:
        """The lane with the best candidate of those that might start, neither open nor parked any more; None: there is
        no such lane."""
        best: list[_Entry] | None = self._open if self._first_of(self._open, "") else None
        for resource in self._stirred:
            heap = self._parked.get(resource, [])
            if self._pool.left(resource) and self._first_of(heap, resource) and (best is None or heap[0] < best[0]):
                best = heap
        if best is None:
            return None
        lane = self._lanes[heapq.heappop(best).demand]
        lane.parked_for, lane.lacking = lane.waited(now), ""
        return lane

    def _first_of(self, heap: list[_Entry], lacking: str) -> _Lane | None:
        """The first lane of the heap that is parked at `lacking`, or open; None: there is none. Drops stale entries."""
        while heap:
            lane = self._lanes[heap[0].demand]
            self._drop_ended(lane)
            if lane.waiting and lane.waiting[0] is heap[0].candidate and lane.lacking == lacking:
                return lane
            heapq.heappop(heap)
        return None

    def _drop_ended(self, lane: _Lane) -> None:
        """Takes away candidates that ended without a start: what they depend on failed, or their service died."""
        dropped = False
        while lane.waiting and lane.waiting[0].name in self._ended:
            heapq.heappop(lane.waiting)
            dropped = True
        if dropped and lane.waiting:
            self._file(lane)

    def _lacking(self, lane: _Lane) -> str | None:
        """What keeps the lane from starting: a resource of which too little is free, or that is kept for another."""
        lacking = self._pool.lacking(lane.demand)
        if lacking is None and self._kept is not None and self._kept is not lane:
            kept = self._kept.lacking
            return kept if any(resource == kept for resource, _ in lane.demand) else None
        return lacking

    def _place(self, lane: _Lane, now: float) -> Placement:
        candidate = heapq.heappop(lane.waiting)
        self._pool.take(lane.demand)
        taken = [heapq.heappop(self._free_slots) for _ in range(dict(lane.demand).get(SLOTS, 0))]
        self._held[candidate.name] = (lane.demand, taken)
        if lane is self._kept:
            self._keep_no_longer()
        elif taken:
            self._note_overtaking(candidate)
        waited = self._offers.pop(candidate.name).until(lane.waited(now))
        return Placement(self._groups[candidate.name], taken[0] if taken else NO_SLOT, waited)

    def _note_overtaking(self, started: _Candidate) -> None:
        """Counts it against the best candidate that waits, and once it is enough keeps for that one what it lacks."""
        while self._waiting:
            best, demand = self._waiting[0]
            lane = self._lanes[demand]
            self._drop_ended(lane)
            if lane.lacking and lane.waiting and lane.waiting[0] is best:
                break
            heapq.heappop(self._waiting)  # stale
        else:
            return
        if best < started and self._kept is None:
            self._overtaken[best.name] = self._overtaken.get(best.name, 0) + 1
            if self._overtaken[best.name] >= OVERTAKEN_AT_MOST * self._jobs:
                self._kept = lane

    def _keep_no_longer(self) -> None:
        """Others may have what was kept: they are looked at again."""
        if self._kept is not None:
            self._stirred.update(resource for resource, _ in self._kept.demand)
            self._kept = None


def _shuffled(names: Iterable[str], seed: int) -> dict[str, float]:
    draw = random.Random(seed)
    return {name: draw.random() for name in names}
