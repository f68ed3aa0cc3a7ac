"""The least time in which these groups could have run, and what it is that sets it.

Phase by phase the largest of three: the work over the jobs, the longest chain of dependencies, and the heaviest lock or
resource (R. L. Graham, "Bounds on multiprocessing timing anomalies", 1969, with locks); a sequential phase is its sum.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from harness.model import Group, Phase
from harness.scheduling.order import in_dependency_order
from harness.scheduling.resources import EVERYONE, SLOTS, demand_of


class Binding(StrEnum):
    """What keeps a phase from being any faster."""

    SEQUENTIAL = "sequential"  # its groups run one at a time
    WORK = "work"  # the work over the jobs: more jobs would help
    CHAIN = "chain"  # the longest chain of dependencies, or the longest group
    RESOURCE = "resource"  # what only so many groups may have at a time


@dataclass(frozen=True)
class Term:
    """The bound of one phase. `names` are the groups of the chain in order, or the resource."""

    phase: str
    binding: Binding
    seconds: float
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bound:
    """The bound of a run: what comes before and after the phases, and one term a phase, in their order."""

    apart: float  # seconds in which no group can run: the services' start and end
    terms: tuple[Term, ...]

    @property
    def seconds(self) -> float:
        return self.apart + sum(term.seconds for term in self.terms)


def lower_bound(
    phases: Sequence[Phase],
    durations: Mapping[str, float],
    *,
    jobs: int,
    resources: Mapping[str, int],
    apart: float = 0.0,
) -> Bound:
    """`durations` has the seconds of every group; one without any takes none. `resources` are the counted ones."""
    return Bound(apart, tuple(_term(phase, durations, jobs, resources) for phase in phases))


def _term(phase: Phase, durations: Mapping[str, float], jobs: int, resources: Mapping[str, int]) -> Term:
    if phase.sequential or jobs == 1:
        return Term(phase.name, Binding.SEQUENTIAL, sum(durations.get(group.name, 0.0) for group in phase.groups))
    work = sum(durations.get(group.name, 0.0) * min(max(group.slots, group.workers), jobs) for group in phase.groups)
    chain, along = _longest_chain(phase.groups, durations)
    held, resource = _heaviest_resource(phase.groups, durations, resources)
    return max(
        Term(phase.name, Binding.WORK, work / jobs),
        Term(phase.name, Binding.CHAIN, chain, along),
        Term(phase.name, Binding.RESOURCE, held, (resource,)),
        key=lambda term: term.seconds,
    )


def _longest_chain(groups: Sequence[Group], durations: Mapping[str, float]) -> tuple[float, tuple[str, ...]]:
    """Dependencies on other phases are over before this one begins: they lengthen no chain."""
    inside = {group.name for group in groups}
    chains: dict[str, tuple[float, str]] = {}  # group -> seconds to its end, and the group before it
    for group in in_dependency_order(groups):
        before = [(chains[need.group][0], need.group) for need in group.depends_on if need.group in inside]
        seconds, last = max(before, default=(0.0, ""))
        chains[group.name] = (seconds + durations.get(group.name, 0.0), last)
    if not chains:
        return 0.0, ()
    name = max(chains, key=lambda name: chains[name][0])
    longest = chains[name][0]
    along = []
    while name:
        along.append(name)
        name = chains[name][1]
    return longest, tuple(reversed(along))


def _heaviest_resource(
    groups: Sequence[Group], durations: Mapping[str, float], resources: Mapping[str, int]
) -> tuple[float, str]:
    """How long the most contended parallel group, lock or counted resource is held, at the least."""
    capacities = {f"count:{name}": count for name, count in resources.items()}
    users: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
    for group in groups:
        for resource, amount in demand_of(group, jobs=1, sequential=False):
            if resource != SLOTS:
                users[resource].append((durations.get(group.name, 0.0), amount))
    held = ((_held(those, capacities.get(name, EVERYONE)), name.partition(":")[2]) for name, those in users.items())
    return max(held, default=(0.0, ""), key=lambda item: item[0])


def _held(users: Sequence[tuple[float, int]], capacity: int) -> float:
    """The least time for `users`, seconds and amounts, of a resource of which there is so much.

    For every `least`, up to half of it all: no two that want more than all but `least` can run together, nor any of
    them beside one that wants `least` or more. These have the time that is left to themselves: their work, or the
    longest of them (S. Martello and P. Toth, "Lower bounds and reduction procedures for the bin packing problem", 1990,
    with time for bins). A lock is the plain case: its exclusive holders one after another, and the longest sharer.
    """
    longest = sum(seconds * amount for seconds, amount in users) / capacity
    for least in {amount for _, amount in users if 2 * amount <= capacity} | {capacity / 2}:
        alone = sum(seconds for seconds, amount in users if amount > capacity - least)
        others = [(seconds, amount) for seconds, amount in users if least <= amount <= capacity - least]
        work = sum(seconds * amount for seconds, amount in others) / capacity
        longest = max(longest, alone + max(work, max((seconds for seconds, _ in others), default=0.0)))
    return longest
