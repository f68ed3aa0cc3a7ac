"""A run foretold: which groups take part, when each runs on the virtual clock, and the least time that they could take.

Everything passes at the first attempt, and takes what the history expects. What is not the groups'
own time, the services' start and the end of the run, is added as it was before.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from harness.model import After, Group, Phase
from harness.scheduling.bound import Bound, lower_bound
from harness.scheduling.order import in_dependency_order
from harness.scheduling.simulate import Simulated, simulate


@dataclass(frozen=True)
class Prediction:
    """With so many jobs. Seconds, all of them."""

    jobs: int
    simulated: Simulated  # from the start of the first phase
    bound: Bound

    @property
    def makespan(self) -> float:
        """Of the whole run, services included where their time is known."""
        return self.bound.apart + self.simulated.makespan

    @property
    def over_bound(self) -> float:
        """1.0: no order of the groups could be faster."""
        return self.makespan / self.bound.seconds if self.bound.seconds else 1.0


def predict(
    phases: Sequence[Phase],
    durations: Mapping[str, float],
    *,
    jobs: int,
    resources: Mapping[str, int],
    apart: float,
    cached: Collection[str] = (),
) -> Prediction:
    """`phases` as `taking_part` leaves them; `durations` has the seconds of every group, of `cached` ones none. `apart`
    is as in Bound."""
    bound = lower_bound(phases, durations, jobs=jobs, resources=resources, apart=apart)
    return Prediction(jobs, simulate(phases, durations, jobs=jobs, resources=resources, cached=cached), bound)


def taking_part(phases: Sequence[Phase], off: Collection[str]) -> tuple[Phase, ...]:
    """The phases with the groups that would run: without those that are `off`, and what needs the success of these.

    Dependencies on groups that do not run are left out, so that they count as met.
    """
    planned = {group.name for phase in phases for group in phase.groups}
    running: set[str] = set()
    for group in in_dependency_order(group for phase in phases if phase.name not in off for group in phase.groups):
        needs = {need.group for need in group.depends_on if need.after is After.SUCCESS}
        if needs & planned <= running:
            running.add(group.name)
    left = (
        msgspec.structs.replace(
            phase, groups=tuple(_cut(group, running) for group in phase.groups if group.name in running)
        )
        for phase in phases
        if phase.name not in off
    )
    return tuple(phase for phase in left if phase.groups)


def _cut(group: Group, running: Collection[str]) -> Group:
    return msgspec.structs.replace(group, depends_on=tuple(need for need in group.depends_on if need.group in running))
