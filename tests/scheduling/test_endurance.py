"""Hours of runs on the virtual clock, in which everything goes wrong that can: no run is stuck, and no rule is broken.

Attempts fail, time out, are killed and lost; outcomes come twice, or after the executor has given the attempt up;
signals come, before the run as well, services die, the disk is full, time is up, and the machine sleeps. The judge
objects at once.
"""

import signal
from collections import Counter
from random import Random

import pytest
from hypothesis import Phase as Stage
from hypothesis import given, settings
from hypothesis import strategies as st
from judge import BAD, SUPPLIES, Judge, plans

from harness.model import Phase, Quarantine, Status
from harness.scheduling.messages import (
    Begin,
    Input,
    JournalLost,
    ServiceDown,
    SignalCame,
    StartupFailed,
    TimeUp,
)

HOUR = 3600.0
DURATIONS = [0.0, 0.5, 5.0, 60.0, 300.0, 900.0]  # seconds
DISTURBANCES: list[Input] = [
    SignalCame(signal.SIGINT),
    SignalCame(signal.SIGTERM),
    SignalCame(signal.SIGHUP),
    ServiceDown("db", "died"),
    ServiceDown("web", "died"),
    TimeUp("out of time"),
    JournalLost("no space left"),
]
MOST_INPUTS = 2000  # of one run; a plan has 24 groups at most, of four files with three attempts each


def run(phases: list[Phase], jobs: int, random: Random) -> Judge:
    """A run to its end, disturbed now and then, or never, or all the time."""
    names = [group.name for phase in phases for group in phase.groups]
    some = [random.sample(names, min(len(names), random.choice([0, 0, 2]))) for _ in range(2)]
    judge = Judge(
        phases,
        jobs,
        random.choice,
        max_failures=random.choice([0, 0, 0, 1, 3]),
        cached=dict.fromkeys(some[0], "20260101_000000"),
        quarantine=[Quarantine(group=name, reason="it", expires="2026-12-31") for name in some[1]],
        estimates={name: random.choice(DURATIONS) for name in random.sample(names, len(names) // 2)},
        off={random.choice(phases).name: "it is off"} if random.random() < 0.1 else {},
        shuffle=random.random() < 0.2,
        seed=random.randrange(1, 1000),
    )
    judge.quiet, judge.misdelivers, judge.durations = False, random.random() < 0.5, DURATIONS
    judge.endings = [Status.PASSED] * random.choice([5, 50, 500]) + BAD
    rarely = random.choice([3, 10, 40, 10**9])
    first = [SignalCame(signal.SIGTERM)] if random.random() < 0.02 else []
    for given_first in [*first, random.choice([*[Begin(SUPPLIES)] * 30, StartupFailed("no port")])]:
        if not judge.stopped:
            judge.give(given_first)
    for _ in range(MOST_INPUTS):
        if judge.stopped:
            return judge
        if random.randrange(rarely) == 0:
            judge.give(random.choice(DISTURBANCES))
        elif random.randrange(50) == 0:
            judge.clock += random.choice(DURATIONS)  # all that is due comes late
        else:
            judge.give(judge.next_input())
    raise AssertionError(f"not over after {MOST_INPUTS} inputs")


def endure(runs: int) -> tuple[float, Counter[object]]:
    """The seconds that so many runs took by their own clock, and what was seen in them."""
    clock, seen = 0.0, Counter[object]()

    # No shrinking: what fails among so many takes minutes to be made small; test_properties.py is for that.
    @settings(max_examples=runs, database=None, derandomize=True, phases=[Stage.generate])
    @given(plans(), st.integers(1, 5), st.integers(0, 2**32))
    def hold(phases: list[Phase], jobs: int, seed: int) -> None:
        nonlocal clock
        judge = run(phases, jobs, Random(seed))
        clock += judge.clock
        seen.update(judge.ended.values())
        seen.update(type(given) for given in judge.given)
        seen[judge.dispatcher.exit_code] += 1

    hold()
    return clock, seen


ENDINGS = {*BAD, Status.PASSED, Status.FLAKY, Status.SKIPPED, Status.CACHED, Status.INTERRUPTED, Status.NOT_RUN}


def test_some_hours() -> None:
    clock, seen = endure(runs=150)
    assert clock > 4 * HOUR
    assert seen.keys() >= ENDINGS
    assert {0, 1, 3, 130} <= seen.keys()


@pytest.mark.slow
def test_very_many_hours(capsys: pytest.CaptureFixture[str]) -> None:
    clock, seen = endure(runs=10_000)
    assert clock > 1000 * HOUR
    with capsys.disabled():
        print(f"\n{clock / HOUR:.0f} h of simulated runs:", {str(key): count for key, count in seen.items()})
