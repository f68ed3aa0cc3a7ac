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
wait may be overtaken OVERTAKEN_AT_MOST times for each job; then what it needs is kept for it, as it comes back.
"""

import heapq
import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.model import After, Group, Phase
from harness.scheduling.ranks import ranks
from harness.scheduling.resources import SLOTS, Demand, Pool, demand_of, environment

OVERTAKEN_AT_MOST = 2  # times the jobs
NO_SLOT = -1
NOTHING = 1e-9  # seconds that are none, but for rounding


class Placement(NamedTuple):
    group: Group
    slot: int  # the lowest of those that it takes
    waited: dict[str, float]  # since its phase began: "dependency" or a resource -> seconds


@dataclass(eq=False, slots=True)
class _Member:
    """One group of the run, and how it stands."""

    group: Group
    place: int  # in the plan
    unmet: int  # dependencies that have not ended
    rank: float = 0.0  # the higher, the sooner
    dependants: Sequence[tuple["_Member", After]] = ()
    ended: bool = False
    dependency: float = 0.0  # seconds from the start of its phase until what it depends on had ended
    offered: float = 0.0  # when that was
    parked_before: Mapping[str, float] | None = None  # for how long its lane was, when it joined that; None: not at all
    demand: Demand = ()  # what it holds
    slots: Sequence[int] = ()  # … of these

    def waited(self, parked_for: Mapping[str, float], now: float) -> dict[str, float]:
        """Its waits until `now`, by what it waited for, when its lane has been parked so long."""
        before = self.parked_before or {}
        waits = {resource: seconds - before.get(resource, 0.0) for resource, seconds in parked_for.items()}
        # While a retry runs alone, nobody asks what could start: it has all the slots.
        rest = now - self.offered - sum(waits.values())
        if rest > NOTHING:
            waits[SLOTS] = waits.get(SLOTS, 0.0) + rest
        return {what: seconds for what, seconds in (("dependency", self.dependency), *waits.items()) if seconds > 0}


_Candidate = tuple[float, int]
"""Minus its rank and its place: sorts as it should start, the highest rank first, then in the order of the plan. A bare
tuple of numbers, because there is one for each group and the garbage collector then leaves them alone."""


class _Entry(NamedTuple):
    """A lane in a heap, under the candidate that was its first when it was put there."""

    candidate: _Candidate
    lane: "_Lane"


@dataclass(eq=False, slots=True)
class _Lane:
    demand: Demand
    waiting: list[_Candidate] = field(default_factory=list)  # a heap
    overtaken: int = 0  # how often, since its first candidate is what it is
    lacking: str = ""  # the resource at which it is parked; empty: it is not
    parked_at: float = 0.0
    parked_for: dict[str, float] = field(default_factory=dict)  # resource -> seconds, over and done

    @property
    def entry(self) -> _Entry:
        return _Entry(self.waiting[0], self)

    def parked_until(self, now: float) -> dict[str, float]:
        """How long it has been parked, by resource."""
        if not self.lacking:
            return self.parked_for
        return self.parked_for | {self.lacking: self.parked_for.get(self.lacking, 0.0) + now - self.parked_at}

    def is_first(self, candidate: _Candidate) -> bool:
        return bool(self.waiting) and self.waiting[0] is candidate


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
        self._shared: dict[str, str] = {}  # isolation entry -> the name of what it uses up
        self._costless = frozenset(costless)
        groups = [group for phase in phases for group in phase.groups]
        self._members = {group.name: _Member(group, n, len(group.depends_on)) for n, group in enumerate(groups)}
        self._in_place = list(self._members.values())
        dependants: defaultdict[str, list[tuple[_Member, After]]] = defaultdict(list)
        for member in self._in_place:
            for need in member.group.depends_on:
                dependants[need.group].append((member, need.after))
        for name, waiting in dependants.items():
            self._members[name].dependants = waiting
        if shuffle is not None:
            draw = random.Random(shuffle)
            for member in self._in_place:
                member.rank = draw.random()
        elif jobs > 1:  # with one job any order takes as long, so people may have the one that they wrote
            for name, rank in ranks(phases, estimates or {}, jobs=jobs, resources=resources).items():
                self._members[name].rank = rank
        self._opened: dict[str, tuple[Phase, float]] = {}
        self._lanes: dict[Demand, _Lane] = {}
        # Heaps of lanes by their first candidate. An entry is stale once the lane has another one, or is elsewhere.
        self._open: list[_Entry] = []
        self._parked: dict[str, dict[int, list[_Entry]]] = {}  # by the resource that they lack, and how much they need
        self._waiting: list[_Entry] = []  # all that are parked
        self._stirred: set[str] = set()  # resources given back since the lanes parked there were refused
        self._kept: _Lane | None = None  # the lane for whose first candidate all that it needs is kept

    def bound(self, entries: Collection[str], name: str, count: int) -> None:
        """There is only so much of what the environments of these isolation entries use up. Before the first start."""
        self._shared |= dict.fromkeys(entries, name)
        self._pool.bound(environment(name), count)

    def open(self, phase: Phase, now: float) -> None:
        """Makes the groups of `phase` candidates, as soon as what they depend on has ended."""
        self._opened[phase.name] = (phase, now)
        for group in phase.groups:
            member = self._members[group.name]
            if not member.unmet:
                self._offer(member, now)

    def start(self, now: float) -> list[Placement]:
        """Starts every candidate that fits, best first; ends early after a costless one. When it returns none, no
        candidate is left that could start, but for those that would take what is kept for another."""
        placements: list[Placement] = []
        refused: list[_Lane] = []
        while (lane := self._next_lane(now)) is not None:
            lacking = self._lacking(lane)
            if lacking is None:
                kept = self._kept
                placements.append(self._place(lane, now))
                if kept is not self._kept:  # those that were refused for its sake may start after all
                    self._park_all(refused)
                    refused = []
                if not lane.demand:
                    break  # it is as good as over, and what waits for it may come before all others
            else:
                lane.lacking, lane.parked_at = lacking, now
                heapq.heappush(self._waiting, lane.entry)
                refused.append(lane)
        else:
            self._stirred.clear()
        # Only now: parked at once, a lane that was refused would be looked at again and again.
        self._park_all(refused)
        return placements

    def end(self, name: str, now: float, *, succeeded: bool) -> list[Group]:
        """Records that a group has ended, whether or not it ever started, and frees what it held.

        Returns the groups that can never start now, because they depend on its success.
        """
        member = self._members[name]
        member.ended = True
        self._release(member)
        if self._kept is not None and self._first(self._kept) is member:
            self._keep_no_longer()
        doomed = []
        for dependant, after in member.dependants:
            if dependant.ended:
                continue
            dependant.unmet -= 1
            if after is After.SUCCESS and not succeeded:
                doomed.append(dependant.group)
            elif not dependant.unmet and dependant.group.phase in self._opened:
                self._offer(dependant, now)
        return doomed

    def release(self, name: str) -> None:
        """Frees what a group holds that has not ended."""
        self._release(self._members[name])

    def _release(self, member: _Member) -> None:
        if member.demand:
            for slot in member.slots:
                heapq.heappush(self._free_slots, slot)
            self._stirred.update(self._pool.give(member.demand))
            member.demand = member.slots = ()

    # --- lanes

    def _offer(self, member: _Member, now: float) -> None:
        phase, opened = self._opened[member.group.phase]
        demand = demand_of(member.group, jobs=self._jobs, sequential=phase.sequential, shared=self._shared)
        if member.group.name in self._costless:
            demand = ()
        lane = self._lanes.get(demand)
        if lane is None:
            lane = self._lanes[demand] = _Lane(demand)
        member.dependency, member.offered = now - opened, now
        member.parked_before = lane.parked_until(now)
        candidate = (0.0 if phase.sequential else -member.rank, member.place)
        heapq.heappush(lane.waiting, candidate)
        if lane.is_first(candidate):
            self._file(lane)

    def _file(self, lane: _Lane) -> None:
        """Puts a lane that has a new first candidate into the heaps where it belongs."""
        lane.overtaken = 0
        if lane.lacking:
            self._park(lane)
            heapq.heappush(self._waiting, lane.entry)
        else:
            heapq.heappush(self._open, lane.entry)

    def _park_all(self, lanes: Iterable[_Lane]) -> None:
        for lane in lanes:
            self._park(lane)

    def _park(self, lane: _Lane) -> None:
        """Those that need the same amount share a heap, so that one which needs too much is not even looked at."""
        amount = dict(lane.demand)[lane.lacking]
        heapq.heappush(self._parked.setdefault(lane.lacking, {}).setdefault(amount, []), lane.entry)

    def _next_lane(self, now: float) -> _Lane | None:
        """The lane with the best candidate of those that might start, neither open nor parked any more; None: there is
        no such lane."""
        best = self._open if self._cleaned(self._open, "") else None
        for resource in self._stirred:
            left = self._pool.left(resource)
            for amount, heap in self._parked.get(resource, {}).items():
                if amount <= left and self._cleaned(heap, resource) and (best is None or heap[0] < best[0]):
                    best = heap
        if best is None:
            return None
        lane = heapq.heappop(best).lane
        if lane.lacking:
            lane.parked_for, lane.lacking = lane.parked_until(now), ""
        return lane

    def _cleaned(self, heap: list[_Entry], lacking: str) -> bool:
        """Whether the heap has a lane that is parked at `lacking`, or open; it comes first, stale entries are gone."""
        while heap:
            candidate, lane = heap[0]
            if lane.lacking == lacking and lane.is_first(candidate) and not self._first(lane).ended:
                return True
            heapq.heappop(heap)
            self._drop_ended(lane)
        return False

    def _first(self, lane: _Lane) -> _Member:
        return self._in_place[lane.waiting[0][1]]

    def _drop_ended(self, lane: _Lane) -> None:
        """Takes away candidates that ended without a start: what they depend on failed, or their service died."""
        dropped = False
        while lane.waiting and self._first(lane).ended:
            heapq.heappop(lane.waiting)
            dropped = True
        if dropped and lane.waiting:
            self._file(lane)
        elif dropped:
            lane.lacking = ""  # or the next who joins it would be parked where nobody looks

    def _lacking(self, lane: _Lane) -> str | None:
        """What keeps the lane from starting: a resource of which too little is free, or that is kept for another."""
        lacking = self._pool.lacking(lane.demand)
        if lacking is None and self._kept is not None and self._kept is not lane:
            kept = self._kept
            # Its slots only when nothing else is lacking: they would stand idle while it waits for a lock.
            names = {resource for resource, _ in kept.demand if resource != SLOTS or kept.lacking == SLOTS}
            return next((resource for resource, _ in lane.demand if resource in names), None)
        return lacking

    def _place(self, lane: _Lane, now: float) -> Placement:
        """Starts the first candidate of a lane that fits."""
        member = self._first(lane)
        candidate = heapq.heappop(lane.waiting)
        self._pool.take(lane.demand)
        member.demand = lane.demand
        member.slots = [heapq.heappop(self._free_slots) for _ in range(dict(lane.demand).get(SLOTS, 0))]
        if lane is self._kept:
            self._keep_no_longer()
        elif member.slots:
            self._note_overtaking(candidate)
        waited = member.waited(lane.parked_until(now), now)
        self._drop_ended(lane)
        if lane.waiting:
            self._file(lane)
        return Placement(member.group, member.slots[0] if member.slots else NO_SLOT, waited)

    # --- ageing

    def _note_overtaking(self, started: _Candidate) -> None:
        """Counts it against the best candidate that waits, and once it is enough keeps for that one what it needs."""
        while self._waiting:
            best, lane = self._waiting[0]
            if lane.lacking and lane.is_first(best) and not self._first(lane).ended:
                break
            heapq.heappop(self._waiting)  # stale
            self._drop_ended(lane)
        else:
            return
        if best < started and self._kept is None:
            lane.overtaken += 1
            if lane.overtaken >= OVERTAKEN_AT_MOST * self._jobs:
                self._kept = lane

    def _keep_no_longer(self) -> None:
        """Others may have what was kept: they are looked at again."""
        if self._kept is not None:
            self._stirred.update(resource for resource, _ in self._kept.demand)
            self._kept = None
