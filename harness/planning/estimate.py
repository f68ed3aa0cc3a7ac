"""How long each group will take, by what it took before (SPEC.md, section 7).

An estimate is the median of the last five passing runs: robust against one slow morning, and quick to follow a change.
A group that nobody has timed yet counts as the 75th percentile of those that somebody has, since starting a long group
late costs more than starting a short one early.

A part of a splittable group takes what the tests of its file took, and an even share of what the group took besides
them, which is the start of its processes. Of a file without known tests it is an even share of all.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.model import Group, Plan, part_name
from harness.planning.search import file_of

WINDOW = 5  # runs
UNTIMED = 1.0  # seconds; where nothing at all is known, all groups are the same


@dataclass(frozen=True)
class Estimates:
    """Seconds for every group, and for the parts of splittable ones; and which of them are guesses."""

    seconds: dict[str, float]
    unknown: frozenset[str]

    @property
    def anything_known(self) -> bool:
        return len(self.unknown) < len(self.seconds)


def estimate(groups: Iterable[str], past: Mapping[str, Sequence[float]]) -> Estimates:
    """`past` has the seconds of each group's passing runs, the newest first; others than `groups` are ignored."""
    groups = list(groups)
    known = {name: statistics.median(past[name][:WINDOW]) for name in groups if past.get(name)}
    guess = _percentile_75(list(known.values())) if known else UNTIMED
    return Estimates({name: known.get(name, guess) for name in groups}, frozenset(groups) - known.keys())


def estimate_plan(
    plan: Plan, past: Mapping[str, Sequence[float]], tests: Mapping[str, Mapping[str, float]]
) -> Estimates:
    """Of all groups of the plan, and of the parts of splittable ones. Also of those that take no part in a run: a guess
    about one must be the same in every run. `tests` has the seconds of each splittable group's tests, by their ids."""
    of_groups = estimate([group.name for group in plan.groups], past)
    seconds, unknown = of_groups.seconds, set(of_groups.unknown)
    for group in plan.groups:
        if group.splittable:
            parts = _parts(plan, group, seconds[group.name], tests.get(group.name, {}))
            seconds |= parts
            unknown |= parts.keys() if group.name in unknown else set()
    return Estimates(seconds, frozenset(unknown))


def splittable(plan: Plan) -> list[str]:
    """The groups whose tests' seconds an estimate needs."""
    return [group.name for group in plan.groups if group.splittable]


def _parts(plan: Plan, group: Group, all_of_it: float, tests: Mapping[str, float]) -> dict[str, float]:
    known: defaultdict[str, float] = defaultdict(float)
    for test, seconds in tests.items():
        known[test.partition("::")[0]] += seconds
    in_tests: defaultdict[str, float] = defaultdict(float)
    for name, seconds in known.items():
        in_tests[file_of(plan, group, name)] += seconds
    in_tests.pop("", None)  # of files that it has no more
    besides = max(0.0, all_of_it - sum(in_tests.values())) / len(group.files)
    even = all_of_it / len(group.files)
    return {part_name(group.name, file): in_tests[file] + besides if file in in_tests else even for file in group.files}


def _percentile_75(values: list[float]) -> float:
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=4, method="inclusive")[2]
