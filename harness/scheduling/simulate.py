"""The same decisions on a virtual clock: what a run would look like if every group took the time that is expected.

The dispatcher is the real one. This module performs its actions: a Start puts the end of the group on a heap, and the
clock jumps from end to end. Everything passes at once and nothing is disturbed, so it says how long a run takes that
goes well.
"""

import heapq
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from harness.model import Group, Outcome, Phase, Status
from harness.scheduling.dispatch import Dispatcher
from harness.scheduling.messages import Action, AttemptEnded, Begin, Start


class Span(msgspec.Struct, frozen=True, gc=False):
    """When a group ran, in seconds since the first phase began."""

    group: str
    slot: int
    start: float
    end: float


class Simulated(NamedTuple):
    makespan: float
    spans: tuple[Span, ...]  # in the order of their starts


def simulate(
    phases: Sequence[Phase],
    durations: Mapping[str, float],
    *,
    jobs: int,
    resources: Mapping[str, int],
    estimates: Mapping[str, float] | None = None,
    off: Collection[str] = (),
    cached: Collection[str] = (),
) -> Simulated:
    """`durations` has the seconds of every group; `estimates` what the scheduler believes, which is the same if not
    given. Groups of phases that are `off` and `cached` ones take no time."""
    dispatcher = Dispatcher(
        phases,
        jobs=jobs,
        resources=resources,
        off=dict.fromkeys(off, "off"),
        cached=dict.fromkeys(cached, "cached"),
        estimates=durations if estimates is None else estimates,
    )
    clock = 0.0
    spans: list[Span] = []
    groups: list[Group] = []  # of the spans
    ends: list[tuple[float, int]] = []  # a heap; the number finds the span

    def perform(actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Start):
                end = clock + durations[action.group.name]
                heapq.heappush(ends, (end, len(spans)))
                spans.append(Span(action.group.name, action.slot, clock, end))
                groups.append(action.group)

    perform(dispatcher.handle(Begin(), clock))
    while ends:
        clock, number = heapq.heappop(ends)
        span, group = spans[number], groups[number]
        outcome = Outcome(
            group=group.whole,
            part=group.part,
            attempt=1,
            status=Status.PASSED,
            started_at=span.start,
            duration=clock - span.start,
        )
        perform(dispatcher.handle(AttemptEnded(outcome), clock))
    return Simulated(clock, tuple(spans))
