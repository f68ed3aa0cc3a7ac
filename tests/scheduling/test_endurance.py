"""Hours of runs on the virtual clock, in which everything goes wrong that can: no run is stuck, and no rule is broken.

Attempts fail, time out, are killed and lost; outcomes come twice, or after the executor has given the attempt up;
signals come, before the run as well, services die, the disk is full, time is up, and the machine sleeps. The judge
objects at once.
"""

import signal
from collections import Counter
from random import Random

import pytest
from judge import BAD, SUPPLIES, Judge, make_plan

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
    judge.quiet, judge.misdelivers, judge.durations = False, random.random() < 0.7, DURATIONS
    judge.endings = [Status.PASSED] * random.choice([30, 60, 500]) + BAD
    rarely = random.choice([10, 40, 10**9, 10**9])
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

    for number in range(runs):
        random = Random(number)
        try:
            judge = run(make_plan(random.choice), random.randint(1, 5), random)
        except BaseException as error:
            error.add_note(f"run {number}")
            raise
        clock += judge.clock
        seen.update(judge.ended.values())
        seen.update(type(given) for given in judge.given)
        seen[judge.dispatcher.exit_code] += 1
    return clock, seen


ENDINGS = {*BAD, Status.PASSED, Status.FLAKY, Status.SKIPPED, Status.CACHED, Status.INTERRUPTED, Status.NOT_RUN}


def test_some_hours() -> None:
    clock, seen = endure(runs=1500)
    assert clock > 100 * HOUR
    assert seen.keys() >= ENDINGS
    assert {0, 1, 3, 130} <= seen.keys()


@pytest.mark.slow
def test_very_many_hours(capsys: pytest.CaptureFixture[str]) -> None:
    clock, seen = endure(runs=50_000)
    assert clock > 5000 * HOUR
    with capsys.disabled():
        print(f"\n{clock / HOUR:.0f} h of simulated runs:", {str(key): count for key, count in seen.items()})
