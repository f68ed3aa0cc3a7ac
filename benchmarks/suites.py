"""Made-up suites for the benchmarks of the scheduler: seeded, so that a figure can be had again.

Nothing here knows how the scheduler works, and no suite is left out because it is hard. Plan order is a topological
order, as people write plans: what a group depends on stands above it.
"""

import math
import random
from dataclasses import dataclass

import msgspec

from harness.model import Dependency, Group, LockMode, Phase

PHASE = "parallel"
MEDIAN = 20.0  # seconds of a group
SPREAD = 1.0  # the standard deviation of the logarithm of its seconds: 1 in 40 takes over seven times the median
DEEPEST = 3  # groups of a chain


@dataclass(frozen=True)
class Suite:
    """One phase of groups, how long they really take, and what the history says about that."""

    phases: tuple[Phase, ...]
    jobs: int
    resources: dict[str, int]
    durations: dict[str, float]
    estimates: dict[str, float]  # the durations as a history would know them: off by some per cent
    untimed: frozenset[str]  # a quarter of the groups, for the runs in which they have no history
    tests: dict[str, int]  # how many tests each group has

    @property
    def groups(self) -> tuple[Group, ...]:
        return self.phases[0].groups

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of the plan."""
        return tuple(self.durations)

    @property
    def believed_partly(self) -> dict[str, float]:
        """The estimates of the groups that have a history where not all have one."""
        return {name: seconds for name, seconds in self.estimates.items() if name not in self.untimed}


def small(seed: int) -> Suite:
    """20–100 groups on 4–8 jobs: estimates off by 10–30 %, and some of everything that groups can compete for.

    10–20 % of the groups depend on another one, at most DEEPEST in a chain; one or two parallel groups of 2–5 members;
    one lock with up to two exclusive holders and up to five sharers; one counted resource that a tenth wants; and up to
    three groups of two slots.
    """
    dice = random.Random(seed)
    jobs, noise = dice.randint(4, 8), dice.uniform(0.1, 0.3)
    names = [f"g{number:03}" for number in range(dice.randint(20, 100))]
    durations = {name: dice.lognormvariate(math.log(MEDIAN), SPREAD) for name in names}
    groups = {name: Group(name=name, phase=PHASE, command="true") for name in names}
    capacity = dice.randint(3, 6)
    _chain(groups, dice, share=dice.uniform(0.1, 0.2))
    for number in range(dice.randint(1, 2)):
        for name in dice.sample(names, dice.randint(2, 5)):
            groups[name] = _with(groups[name], parallel_group=(*groups[name].parallel_group, f"pair{number}"))
    holders = dice.sample(names, dice.randint(2, 7))
    exclusive = dice.randint(1, 2)
    for place, name in enumerate(holders):
        mode = LockMode.EXCLUSIVE if place < exclusive else LockMode.SHARED
        groups[name] = _with(groups[name], needs={**groups[name].needs, "settings": mode})
    for name in dice.sample(names, len(names) // 10):
        groups[name] = _with(groups[name], needs={**groups[name].needs, "api": dice.randint(1, capacity)})
    for name in dice.sample(names, dice.randint(0, 3)):
        groups[name] = _with(groups[name], slots=2)
    return _suite(groups, jobs, {"api": capacity}, durations, dice, noise=noise)


def large(count: int, jobs: int, seed: int = 0) -> Suite:
    """`count` groups for the cost of the scheduler: 10 % depend on another one, and what they compete for grows with
    them in use, not in kinds: 50 parallel groups, 20 locks (nine sharers to an exclusive holder), 5 counted resources.

    A twentieth is in a parallel group, a twentieth uses a lock, a tenth wants some of a counted resource, a fiftieth
    is two slots wide.
    """
    dice = random.Random(seed)
    names = [f"g{number:06}" for number in range(count)]
    durations = {name: dice.lognormvariate(math.log(MEDIAN), SPREAD) for name in names}
    groups = {name: Group(name=name, phase=PHASE, command="true") for name in names}
    resources = {f"count{number}": 100 for number in range(5)}
    _chain(groups, dice, share=0.1)
    for name in dice.sample(names, count // 20):
        groups[name] = _with(groups[name], parallel_group=(f"pair{dice.randrange(50)}",))
    for name in dice.sample(names, count // 20):
        mode = LockMode.EXCLUSIVE if dice.random() < 0.1 else LockMode.SHARED
        groups[name] = _with(groups[name], needs={f"lock{dice.randrange(20)}": mode})
    for name in dice.sample(names, count // 10):
        needs = {**groups[name].needs, dice.choice(list(resources)): dice.choice((1, 1, 2, 5, 10))}
        groups[name] = _with(groups[name], needs=needs)
    for name in dice.sample(names, count // 50):
        groups[name] = _with(groups[name], slots=2)
    return _suite(groups, jobs, resources, durations, dice, noise=0.2)


def _suite(
    groups: dict[str, Group],
    jobs: int,
    resources: dict[str, int],
    durations: dict[str, float],
    dice: random.Random,
    *,
    noise: float,
) -> Suite:
    names = list(groups)
    return Suite(
        phases=(Phase(name=PHASE, groups=tuple(groups.values())),),
        jobs=jobs,
        resources=resources,
        durations=durations,
        estimates={name: seconds * math.exp(dice.gauss(0.0, noise)) for name, seconds in durations.items()},
        untimed=frozenset(dice.sample(names, len(names) // 4)),
        tests={name: max(1, round(seconds / dice.lognormvariate(0.7, 0.6))) for name, seconds in durations.items()},
    )


def _with(group: Group, **changes: object) -> Group:
    return msgspec.structs.replace(group, **changes)


def _chain(groups: dict[str, Group], dice: random.Random, *, share: float) -> None:
    """Lets a share of the groups depend on one that stands above them."""
    names = list(groups)
    depth = dict.fromkeys(names, 1)
    for place in sorted(dice.sample(range(1, len(names)), round(len(names) * share))):
        other = dice.choice(names[:place])
        if depth[other] < DEEPEST:
            depth[names[place]] = depth[other] + 1
            groups[names[place]] = _with(groups[names[place]], depends_on=(Dependency(group=other),))
