"""How long each group will take, by what it took before (SPEC.md, section 7).

An estimate is the median of the last five passing runs: robust against one slow morning, and quick to follow a change.
A group that nobody has timed yet counts as the 75th percentile of those that somebody has, since starting a long group
late costs more than starting a short one early.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

WINDOW = 5  # runs
UNTIMED = 1.0  # seconds; where nothing at all is known, all groups are the same


@dataclass(frozen=True)
class Estimates:
    """Seconds for every group, and which of them are guesses."""

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


def _percentile_75(values: list[float]) -> float:
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=4, method="inclusive")[2]
