"""How good the schedule is: makespan over the lower bound, on 400 made-up suites, beside other ways to order groups.

Everything runs on the virtual clock of scheduling/simulate.py. The bound is that of scheduling/bound.py on the true
durations, which no scheduler knows: each has the estimates of suites.py, off by 10–30 %, and in the second half of the
table those of three quarters of the groups only. The orders of the plan, of chance and of the estimates alone run
through the same engine as ours, ageing included; pytest-split and pytest-xdist as peers.py says.
"""

import random
import statistics
from collections.abc import Callable, Mapping, Sequence

import msgspec
from tabulate import tabulate

from benchmarks import peers
from benchmarks.suites import Suite, small
from harness.planning.estimate import estimate
from harness.scheduling.bound import lower_bound
from harness.scheduling.simulate import simulate

SUITES = 400

Believed = Mapping[str, float]
Scheduler = Callable[[Suite, Believed], float]
"""A suite and the seconds of those groups that have a history -> the makespan."""


def harness(suite: Suite, believed: Believed) -> float:
    return simulate(
        suite.phases,
        suite.durations,
        jobs=suite.jobs,
        resources=suite.resources,
        estimates=_estimates(suite, believed),
    ).makespan


def longest_first(suite: Suite, believed: Believed) -> float:
    seconds = _estimates(suite, believed)
    return _in_order(suite, sorted(suite.names, key=lambda name: -seconds[name]))


def file_order(suite: Suite, _: Believed) -> float:
    return _in_order(suite, suite.names)


def random_order(suite: Suite, _: Believed) -> float:
    names = list(suite.names)
    random.Random(len(names)).shuffle(names)
    return _in_order(suite, names)


def loadfile(suite: Suite, _: Believed) -> float:
    return peers.loadfile(suite)


SCHEDULERS: dict[str, Scheduler] = {
    "harness": harness,
    "longest group first": longest_first,
    "file order": file_order,
    "random order": random_order,
    "pytest-xdist loadfile": loadfile,
    "pytest-split least_duration": peers.least_duration,
    "pytest-split chunks": peers.chunks,
}


def measure() -> str:
    suites = [small(seed) for seed in range(SUITES)]
    headers = ["", "mean", "median", "95 %", "worst", "¼ unknown: mean", "median", "95 %", "worst"]
    rows = []
    for name, scheduler in SCHEDULERS.items():
        known, partly = [], []
        for suite in suites:
            known.append(over_bound(suite, scheduler(suite, suite.estimates)))
            partly.append(over_bound(suite, scheduler(suite, suite.believed_partly)))
        rows.append([name, *_figures(known), *_figures(partly)])
    title = f"makespan over lower bound, {SUITES} suites of 20–100 groups on 4–8 jobs, estimates off by 10–30 %"
    return f"{title}\n\n{tabulate(rows, headers, disable_numparse=True, colalign=('left', *['right'] * 8))}\n"


def over_bound(suite: Suite, makespan: float) -> float:
    return makespan / lower_bound(suite.phases, suite.durations, jobs=suite.jobs, resources=suite.resources).seconds


def _figures(ratios: Sequence[float]) -> list[str]:
    figures = (statistics.mean(ratios), statistics.median(ratios), statistics.quantiles(ratios, n=20)[-1], max(ratios))
    return [f"{figure:.3f}" for figure in figures]


def _estimates(suite: Suite, believed: Believed) -> dict[str, float]:
    return estimate(suite.names, {name: [seconds] for name, seconds in believed.items()}).seconds


def _in_order(suite: Suite, names: Sequence[str]) -> float:
    """Each as soon as it may start, the first of these names before the next: without ranks, ties keep the order."""
    groups = {group.name: group for group in suite.groups}
    phase = msgspec.structs.replace(suite.phases[0], groups=tuple(groups[name] for name in names))
    nothing = dict.fromkeys(names, 0.0)
    return simulate((phase,), suite.durations, jobs=suite.jobs, resources=suite.resources, estimates=nothing).makespan
