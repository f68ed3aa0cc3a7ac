"""What would make a run shorter, and by how much: each change is made to the plan, and the run is simulated again.

    what_ifs(phases, durations, …)     the changes that save a notable amount of time, the best first
    fewer_jobs(phases, durations, …)   the fewest jobs that are as good as those given

Nothing here is estimated by a formula: `saves` is the difference of two simulations. Which changes are tried is a
guess, and a cheap one: only what the simulated run waited for can matter (critical.py), and of that the longest.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import msgspec

from harness.model import Dependency, Group, LockMode, Phase
from harness.scheduling.critical import Link, critical_links
from harness.scheduling.simulate import Simulated, simulate

NOTABLE_SHARE = 0.005  # of the makespan: below this a change is not worth a line
NOTABLE_SECONDS = 0.1
AS_GOOD = 0.01  # of the makespan: a loss below this is none
LOOKED_AT = 12  # of each kind of change; each costs a simulation


@dataclass(frozen=True)
class Suite:
    """All that a simulation needs, so that a change is a function from one to another."""

    phases: tuple[Phase, ...]
    durations: Mapping[str, float]  # seconds
    jobs: int
    resources: Mapping[str, int]

    def simulated(self) -> Simulated:
        return simulate(self.phases, self.durations, jobs=self.jobs, resources=self.resources)

    def with_groups(self, change: Callable[[Group], Group]) -> "Suite":
        """The suite with every group replaced by what `change` makes of it."""
        phases = tuple(msgspec.structs.replace(phase, groups=tuple(map(change, phase.groups))) for phase in self.phases)
        return replace(self, phases=phases)


@dataclass(frozen=True)
class Split:
    """The group in two, each with half of its test files and half of its time, both needing what it needs."""

    group: str

    @property
    def second(self) -> str:
        """The name of the second half; the first keeps the group's. No plan can name a group so."""
        return f"{self.group}\0"

    def apply(self, suite: Suite) -> Suite:
        half = suite.durations[self.group] / 2
        durations = {**suite.durations, self.group: half, self.second: half}
        phases = tuple(
            msgspec.structs.replace(phase, groups=tuple(part for group in phase.groups for part in self._parts(group)))
            for phase in suite.phases
        )
        return replace(suite, phases=phases, durations=durations)

    def _parts(self, group: Group) -> tuple[Group, ...]:
        if group.name == self.group:
            middle = len(group.tests) // 2
            first = msgspec.structs.replace(group, tests=group.tests[:middle])
            return first, msgspec.structs.replace(group, name=self.second, tests=group.tests[middle:])
        also = [
            Dependency(group=self.second, after=need.after) for need in group.depends_on if need.group == self.group
        ]
        return (msgspec.structs.replace(group, depends_on=(*group.depends_on, *also)),)


@dataclass(frozen=True)
class Drop:
    """`group` no longer waits for `dependency`. Of splittable groups, no part for any part."""

    group: str
    dependency: str

    def apply(self, suite: Suite) -> Suite:
        dropped = {group.name for phase in suite.phases for group in phase.groups if group.whole == self.dependency}

        def without(group: Group) -> Group:
            if group.whole != self.group:
                return group
            kept = tuple(need for need in group.depends_on if need.group not in dropped)
            return msgspec.structs.replace(group, depends_on=kept)

        return suite.with_groups(without)


@dataclass(frozen=True)
class Widen:
    """More of a counted resource: `count` instead of what the plan says."""

    resource: str
    count: int

    def apply(self, suite: Suite) -> Suite:
        return replace(suite, resources={**suite.resources, self.resource: self.count})


@dataclass(frozen=True)
class Unlock:
    """`groups` no longer exclude others by a lock, which they then share, or by a parallel group, which they leave."""

    name: str
    groups: tuple[str, ...]
    parallel_group: bool

    def apply(self, suite: Suite) -> Suite:
        return suite.with_groups(self._unlocked)

    def _unlocked(self, group: Group) -> Group:
        if group.name not in self.groups:
            return group
        if self.parallel_group:
            left = tuple(name for name in group.parallel_group if name != self.name)
            return msgspec.structs.replace(group, parallel_group=left)
        return msgspec.structs.replace(group, needs={**group.needs, self.name: LockMode.SHARED})


@dataclass(frozen=True)
class Jobs:
    """So many groups at a time."""

    count: int

    def apply(self, suite: Suite) -> Suite:
        return replace(suite, jobs=self.count)


Change = Split | Drop | Widen | Unlock | Jobs


@dataclass(frozen=True)
class WhatIf:
    """One change, the makespan with it, and how much less that is (both in seconds)."""

    change: Change
    saves: float
    makespan: float


def what_ifs(
    phases: Sequence[Phase], durations: Mapping[str, float], *, jobs: int, resources: Mapping[str, int]
) -> list[WhatIf]:
    """The changes that save at least 0.5 % and 0.1 s, the best first; each by itself, they do not add up.

    `durations` has the seconds of every group.
    """
    suite = Suite(tuple(phases), durations, jobs, resources)
    now = suite.simulated()
    notable = max(NOTABLE_SHARE * now.makespan, NOTABLE_SECONDS)
    tried = (_what_if(suite, now.makespan, change) for change in _changes(suite, now, notable))
    return sorted((found for found in tried if found.saves >= notable), key=lambda found: -found.saves)


def fewer_jobs(
    phases: Sequence[Phase], durations: Mapping[str, float], *, jobs: int, resources: Mapping[str, int]
) -> WhatIf | None:
    """The fewest jobs found that make the run less than 1 % longer; None where every job is needed.

    Found by bisection, though a job more can make a run longer (Graham's anomalies): what is returned was simulated.
    """
    suite = Suite(tuple(phases), durations, jobs, resources)
    now = suite.simulated().makespan
    best, too_few = None, 0
    count = jobs - 1  # most often one job less is too few already
    while count > too_few:
        tried = _what_if(suite, now, Jobs(count))
        if -tried.saves < AS_GOOD * now:
            best, jobs = tried, count
        else:
            too_few = count
        count = (too_few + jobs) // 2
    return best


def _what_if(suite: Suite, now: float, change: Change) -> WhatIf:
    makespan = change.apply(suite).simulated().makespan
    return WhatIf(change, now - makespan, makespan)


def _changes(suite: Suite, now: Simulated, notable: float) -> Iterator[Change]:
    """What is worth a simulation, each once."""
    links = sorted(critical_links(suite.phases, now.spans), key=lambda link: -suite.durations[link.group.name])
    if suite.jobs > 1:  # one job at a time runs everything in a row, whatever it needs
        yield from islice(_splits(links, suite.durations, notable), LOOKED_AT)
        whole = {group.name: group.whole for phase in suite.phases for group in phase.groups}
        drops = (Drop(link.group.whole, whole[dependency]) for link in links for dependency in link.waited_for)
        yield from islice(dict.fromkeys(drops), LOOKED_AT)
        waited_for = dict.fromkeys(resource for link in links for resource in link.held_before)
        for resource in islice(waited_for, LOOKED_AT):
            yield from _releases(suite, resource, links, now.makespan)
    yield from map(Jobs, dict.fromkeys((suite.jobs + 1, suite.jobs * 2)))


def _splits(links: Iterable[Link], durations: Mapping[str, float], notable: float) -> Iterator[Split]:
    for link in links:
        if len(link.group.tests) > 1 and not link.group.part_of and durations[link.group.name] / 2 >= notable:
            yield Split(link.group.name)


def _releases(suite: Suite, resource: str, links: Iterable[Link], now: float) -> Iterator[Change]:
    """More of a resource, or fewer that need it alone. `resource` is as resources.py names it."""
    kind, _, name = resource.partition(":")
    if kind == "count":
        yield from _widenings(suite, name, now)
        return
    parallel_group = kind == "parallel_group"
    groups = [group for phase in suite.phases if not phase.sequential for group in phase.groups]
    holders = [group.name for group in groups if _excludes(group, name, parallel_group)]
    if holders:
        yield Unlock(name, tuple(holders), parallel_group)
    if len(holders) > 2:
        critical = (link.group.name for link in links if link.group.name in holders)
        yield from (Unlock(name, (group,), parallel_group) for group in islice(critical, LOOKED_AT // 3))


def _excludes(group: Group, name: str, parallel_group: bool) -> bool:
    return name in group.parallel_group if parallel_group else group.needs.get(name) is LockMode.EXCLUSIVE


def _widenings(suite: Suite, name: str, now: float) -> Iterator[Widen]:
    """One more of it, and as many as still make a notable difference."""
    has = suite.resources[name]
    enough = max(_all_at_once(phase, name, suite.jobs) for phase in suite.phases)
    if enough <= has:
        return
    best = _what_if(suite, now, Widen(name, enough)).makespan
    least, count = has, enough
    while count - least > 1:
        middle = (least + count) // 2
        if _what_if(suite, now, Widen(name, middle)).makespan <= best + NOTABLE_SHARE * now:
            count = middle
        else:
            least = middle
    yield from (Widen(name, count) for count in dict.fromkeys((has + 1, count)))


def _all_at_once(phase: Phase, name: str, jobs: int) -> int:
    """More than this is never in use: the largest demands, as many as there are jobs."""
    amounts = [need for group in phase.groups if isinstance(need := group.needs.get(name, 0), int)]
    return sum(sorted(amounts, reverse=True)[:jobs])
