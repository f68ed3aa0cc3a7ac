"""What the history says of groups and tests that pass and fail without a change of the code. docs/flaky.md explains it.

Protocol: `flakiness(runs, groups, tests)` takes everything that the history keeps, and answers with a `Report`.

The unit of evidence is a commit. Runs of one commit ran the same code, and so did runs with changes that are not
committed or outside git with themselves alone: each of these is a unit of its own, and "commit" includes it. However
often a thing flipped on a commit, that is one flip: what is counted is how many commits show it, not how many attempts.

It must not decide anything: it names no thing flaky that was not seen to pass and to fail on one commit.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from statistics import median

from harness.model import Noun, Status, TestStatus
from harness.past import PastGroup, PastRun, PastTest
from harness.statistics.beta import beta_quantile
from harness.statistics.clusters import Cluster, Item, clusters

HALF_LIFE = 14 * 24 * 3600.0  # seconds before the newest run, after which evidence counts half
PRIOR = 0.5  # both parameters of Jeffreys' prior for a proportion, Beta(1/2, 1/2)
CREDIBLE = 0.9  # how likely the rate is inside the interval
WIDEST = 0.5  # an interval wider than this says nothing of use; that of fewer than three commits always is
_OLDEST = 1000.0  # half-lives; from a clock that stands at 1970 come more, whose weight would be zero

# What is in neither set is no verdict on the code: it was stopped or skipped, it could not be started or lost its
# service (error), or there was nothing to try.
_PASSES = frozenset({Status.PASSED, Status.FLAKY})
_FAILS = frozenset({Status.FAILED, Status.TIMED_OUT, Status.KILLED, Status.FLAKY})
# An expected failure is what was expected: it fails nothing, and neither does its absence.
_TEST_PASSES = frozenset({TestStatus.PASSED, TestStatus.XFAILED, TestStatus.XPASSED})
_TEST_FAILS = frozenset({TestStatus.FAILED, TestStatus.ERROR})


class Verdict(StrEnum):
    """What the evidence says of a thing that has failed."""

    FLAKY = "flaky"  # it passed and failed on one commit
    FAILING = "failing"  # on the newest commit it only failed: broken or flaky, nobody can tell
    UNKNOWN = "unknown"  # it came and went with the commits, and there are too few of them
    STEADY = "steady"  # it came and went with the commits, as what is broken and mended does


class Flakiness(Noun, frozen=True):
    """One group, or one test of a group, that has failed at least once."""

    group: str
    test: str  # empty: the group as a whole
    verdict: Verdict
    known: bool  # whether the evidence is enough to speak of a rate
    rate: float  # mean of the posterior: the share of commits that show it pass and fail
    low: float  # the rate is between these with probability CREDIBLE
    high: float
    flips: int  # commits on which it passed and failed
    commits: int  # on which it passed: the flips, and those with passes only
    failing: int  # commits on which it only failed, which are no evidence of either
    weight: float  # of `commits`, after the decay
    fails_now: bool  # its newest commit is one of `failing`
    explained: bool  # a group, and at each of its flips a test of it flipped too
    cost: float  # seconds of attempts that failed although the same code passes, in all runs
    cost_per_run: float  # seconds; the newer runs weigh more, as for the rate
    last_flip: float | None  # wall time
    errors: dict[str, int]  # hash of the error -> how often

    @property
    def item(self) -> Item:
        return self.group, self.test

    @property
    def commits_to_halve(self) -> int:
        """About how many more commits would make the interval half as wide.

        The deviation of Beta(a, b) with mean m is sqrt(m (1 - m) / (a + b + 1)); half of it needs four times the
        denominator, if the mean stays.
        """
        return math.ceil(3 * (self.weight + 2 * PRIOR + 1))


class Report(Noun, frozen=True):
    """All that has ever failed, what costs most first, and on how much evidence that rests."""

    items: tuple[Flakiness, ...]
    clusters: tuple[Cluster, ...]
    runs: int
    commits: int
    loose: int  # of the commits: runs with uncommitted changes or outside git
    groups: int
    tests: int

    def of(self, verdict: Verdict) -> tuple[Flakiness, ...]:
        return tuple(item for item in self.items if item.verdict is verdict)

    @property
    def not_yet_known(self) -> tuple[Flakiness, ...]:
        """What may be flaky, or is at a rate that cannot be told yet."""
        return tuple(i for i in self.items if not i.known and i.verdict in (Verdict.FLAKY, Verdict.UNKNOWN))


@dataclass(slots=True)
class _Seen:
    """One item in the history. `passed` and `failed` are commits, each with the newest time at which it did so."""

    passed: dict[str, float] = field(default_factory=dict)
    failed: dict[str, float] = field(default_factory=dict)
    runs: set[str] = field(default_factory=set)
    cost: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))  # run -> seconds
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def flips(self) -> set[str]:
        return self.passed.keys() & self.failed.keys()

    def add(self, run: PastRun, *, passes: bool, fails: bool, error: str = "") -> None:
        commit = unit_of(run)
        self.runs.add(run.key)
        for happened, times in ((passes, self.passed), (fails, self.failed)):
            if happened:
                times[commit] = max(run.started_at, times.get(commit, run.started_at))
        if error:
            self.errors[error] += 1


def unit_of(run: PastRun) -> str:
    """What stands for what the run tried: the commit and the environment, or the run where these do not say it all."""
    return f"run {run.key}" if run.dirty or not run.commit else f"{run.commit} {run.environment}"


def flakiness(runs: Iterable[PastRun], groups: Iterable[PastGroup], tests: Iterable[PastTest]) -> Report:
    """Judges everything that the history keeps, in any order."""
    past = {run.key: run for run in runs}
    # The runs were read first: what another harness has recorded since is left for the next time.
    known_groups = [group for group in groups if group.run in past]
    # When a service dies the tests fail, and say nothing of themselves.
    unfit = {(group.run, group.group) for group in known_groups if group.status is Status.ERROR}
    # Without a name a test of a command cannot be told from its group.
    known_tests = [test for test in tests if test.run in past and test.test and (test.run, test.group) not in unfit]
    seen = _gather(past, known_groups, known_tests)
    _charge_groups(seen, past, known_groups)
    _charge_tests(seen, past, known_groups, known_tests)
    units = {unit_of(run) for run in past.values()}
    return Report(
        items=_judged(seen, past),
        # What never passed fails together with everything.
        clusters=clusters({i: (frozenset(one.failed), frozenset(one.errors)) for i, one in seen.items() if one.passed}),
        runs=len(past),
        commits=len(units),
        loose=len({unit_of(run) for run in past.values() if run.dirty or not run.commit}),
        groups=len({group.group for group in known_groups}),
        tests=len({(test.group, test.test) for test in known_tests}),
    )


def _gather(past: Mapping[str, PastRun], groups: Sequence[PastGroup], tests: Sequence[PastTest]) -> dict[Item, _Seen]:
    """What was seen of each item that has ever failed."""
    seen: dict[Item, _Seen] = {(group.group, ""): _Seen() for group in groups if _is_failure(group)}
    seen |= {(test.group, test.test): _Seen() for test in tests if test.status in _TEST_FAILS}
    for group in groups:
        if not group.partial and (one := seen.get((group.group, ""))) and group.status in _PASSES | _FAILS:
            passes, fails = group.status in _PASSES, group.status in _FAILS
            one.add(past[group.run], passes=passes, fails=fails, error=group.error if fails else "")
    # Some runners give several tests one name. Where one of these fails and another passes, that is no flip.
    failed = {(test.run, test.group, test.attempt, test.test) for test in tests if test.status in _TEST_FAILS}
    for test in tests:
        one = seen.get((test.group, test.test))
        if one is None:
            continue
        if test.status in _TEST_FAILS:
            one.add(past[test.run], passes=False, fails=True, error=test.error)
        elif test.status in _TEST_PASSES and (test.run, test.group, test.attempt, test.test) not in failed:
            one.add(past[test.run], passes=True, fails=False)
    return seen


def _is_failure(group: PastGroup) -> bool:
    return group.status in _FAILS and not group.partial


def _charge_groups(seen: Mapping[Item, _Seen], past: Mapping[str, PastRun], groups: Sequence[PastGroup]) -> None:
    """To each group the time of its attempts that failed although the same code passes."""
    lost = _lost(groups)
    for group in groups:
        if _is_failure(group):
            one = seen[group.group, ""]
            if unit_of(past[group.run]) in one.flips:
                one.cost[group.run] += lost(group)


def _charge_tests(
    seen: Mapping[Item, _Seen], past: Mapping[str, PastRun], groups: Sequence[PastGroup], tests: Sequence[PastTest]
) -> None:
    """To each test its share of the attempts that failed through it and through other flaky ones.

    An attempt in which a test failed that is not known to pass on that commit costs them nothing: it would have failed
    without them.
    """
    lost = _lost(groups)
    attempts: defaultdict[tuple[str, str, int], set[str]] = defaultdict(set)
    for test in tests:
        if test.status in _TEST_FAILS:
            attempts[test.run, test.group, test.attempt].add(test.test)
    group_of = {(group.run, group.group): group for group in groups}
    for (run, name, _), failed in attempts.items():
        group = group_of.get((run, name))
        ones = [seen[name, test] for test in failed]
        if group is None or group.status not in _FAILS or any(unit_of(past[run]) not in one.flips for one in ones):
            continue
        share = lost(group) / _failed_attempts(group) / len(ones)
        for one in ones:
            one.cost[run] += share


def _lost(groups: Sequence[PastGroup]) -> Callable[[PastGroup], float]:
    """A function that says how many seconds the failed attempts of a group took in a run.

    Of a group that passed in the end, they are what it took longer than usual; where it has never passed at once, or
    ran in part only, its attempts are taken to be equally long.
    """
    at_once: defaultdict[str, list[float]] = defaultdict(list)
    for group in groups:
        if group.status is Status.PASSED and not group.partial:
            at_once[group.group].append(group.duration)
    usual = {name: median(durations) for name, durations in at_once.items()}

    def lost(group: PastGroup) -> float:
        if group.status is not Status.FLAKY:
            return group.duration
        if group.partial or group.group not in usual:
            return group.duration * _failed_attempts(group) / (_failed_attempts(group) + 1)
        return max(0.0, group.duration - usual[group.group])

    return lost


def _failed_attempts(group: PastGroup) -> int:
    return max(1, group.attempts - (group.status is Status.FLAKY))


def _judged(seen: Mapping[Item, _Seen], past: Mapping[str, PastRun]) -> tuple[Flakiness, ...]:
    newest = max((run.started_at for run in past.values()), default=0.0)

    def weight(time: float) -> float:
        return math.exp2(-min((newest - time) / HALF_LIFE, _OLDEST))

    tests_flipped: defaultdict[str, set[str]] = defaultdict(set)
    for (group, test), one in seen.items():
        if test:
            tests_flipped[group] |= one.flips
    items = []
    for (group, test), one in seen.items():
        if one.failed:
            weights = {run: weight(past[run].started_at) for run in one.runs}
            charged = math.fsum(weights[run] * seconds for run, seconds in one.cost.items())
            cost = charged / math.fsum(weights.values())
            explained = not test and bool(one.flips) and one.flips <= tests_flipped[group]
            items.append(_judge((group, test), one, weight, cost, explained))
    return tuple(sorted(items, key=lambda item: (-item.cost_per_run, -item.rate, item.item)))


def _judge(item: Item, one: _Seen, weight: Callable[[float], float], cost: float, explained: bool) -> Flakiness:
    time = {unit: max(one.passed.get(unit, 0.0), one.failed.get(unit, 0.0)) for unit in one.passed | one.failed}
    flipped = math.fsum(weight(time[unit]) for unit in one.flips)
    clean = math.fsum(weight(time[unit]) for unit in one.passed.keys() - one.failed.keys())
    low, high = _interval(PRIOR + flipped, PRIOR + clean)
    known = high - low <= WIDEST
    fails_now = max(time, key=lambda unit: time[unit]) not in one.passed
    if one.flips:
        verdict = Verdict.FLAKY
    elif fails_now:
        verdict = Verdict.FAILING
    else:
        verdict = Verdict.STEADY if known else Verdict.UNKNOWN
    return Flakiness(
        group=item[0],
        test=item[1],
        verdict=verdict,
        known=known,
        rate=(PRIOR + flipped) / (2 * PRIOR + flipped + clean),
        low=low,
        high=high,
        flips=len(one.flips),
        commits=len(one.passed),
        failing=len(one.failed.keys() - one.passed.keys()),
        weight=flipped + clean,
        fails_now=fails_now,
        explained=explained,
        cost=math.fsum(one.cost.values()),
        cost_per_run=cost,
        last_flip=max((one.failed[unit] for unit in one.flips), default=None),
        errors=dict(sorted(one.errors.items(), key=lambda error: (-error[1], error[0]))),
    )


@lru_cache(maxsize=4096)  # what one commit broke has the same evidence
def _interval(a: float, b: float) -> tuple[float, float]:
    tail = (1 - CREDIBLE) / 2
    return beta_quantile(tail, a, b), beta_quantile(1 - tail, a, b)
