"""Random plans on a virtual clock, most of them small: what breaks a rule of the judge is made as small as can be."""

import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judge import SUPPLIES, Judge, plans

from harness.model import After, Group, Outcome, Phase, Quarantine, Status
from harness.scheduling.dispatch import Dispatcher
from harness.scheduling.messages import AttemptEnded, Begin, Input, JournalLost, ServiceDown, SignalCame, TimeUp


@settings(max_examples=300)
@given(plans(), st.integers(1, 5), st.data())
def test_every_run_keeps_the_rules(phases: list[Phase], jobs: int, data: st.DataObject) -> None:
    names = [group.name for phase in phases for group in phase.groups]
    some = st.lists(st.sampled_from(names), unique=True, max_size=3)
    judge = Judge(
        phases,
        jobs,
        lambda options: data.draw(st.sampled_from(options)),
        cached=dict.fromkeys(data.draw(some), "20260101_000000"),
        quarantine=[Quarantine(group=name, reason="it", expires="2026-12-31") for name in data.draw(some)],
        shuffle=data.draw(st.booleans()),
        seed=7,
    )
    judge.give(Begin(SUPPLIES))
    while not judge.stopped:
        judge.give(judge.next_input())
    for name, status in judge.ended.items():
        if status is Status.SKIPPED:
            blamed = any(
                d.after is After.SUCCESS and not judge.ended[d.group].succeeded for d in judge.groups[name].depends_on
            )
            ended_early = any(
                phase.sequential and any(judge.ended[group.name].is_failure for group in phase.groups)
                for phase in phases
            )
            assert blamed or ended_early


@settings(max_examples=300)
@given(plans(), st.integers(1, 5), st.integers(0, 3), st.data())
def test_every_run_keeps_the_rules_when_disturbed(
    phases: list[Phase], jobs: int, max_failures: int, data: st.DataObject
) -> None:
    judge = Judge(phases, jobs, lambda options: data.draw(st.sampled_from(options)), max_failures=max_failures)
    judge.misdelivers = True
    judge.quiet = False
    disturbances: list[Input] = [
        SignalCame(signal.SIGINT),
        SignalCame(signal.SIGTERM),
        ServiceDown("db", "died"),
        ServiceDown("web", "died"),
        TimeUp("out of time"),
        JournalLost("no space left"),
    ]
    judge.give(Begin(SUPPLIES))
    while not judge.stopped:
        if data.draw(st.integers(0, 3)) == 3:
            judge.give(data.draw(st.sampled_from(disturbances)))
        elif judge.queue:
            judge.give(judge.next_input())


@pytest.mark.parametrize("status", [s for s in Status if s.is_failure])
def test_a_failure_is_never_exit_code_zero(status: Status) -> None:
    dispatcher = Dispatcher(
        [
            Phase(
                name="p",
                groups=(Group(name="a", phase="p", command="true"), Group(name="b", phase="p", command="true")),
            )
        ],
        jobs=2,
        resources={},
    )
    dispatcher.handle(Begin())
    for name, ending in (("a", status), ("b", Status.PASSED)):
        outcome = Outcome(group=name, attempt=1, status=ending, started_at=0, duration=1)
        dispatcher.handle(AttemptEnded(outcome))
    assert dispatcher.exit_code in (1, 3)
