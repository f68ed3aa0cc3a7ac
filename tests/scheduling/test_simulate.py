"""The virtual clock: spans are what the real dispatcher would do."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from harness.model import Group, Phase
from harness.scheduling.simulate import Simulated, Span, simulate

Make = Callable[..., Group]
MakePhase = Callable[..., Phase]


def test_phases_follow_one_another_and_slots_are_used_again(phase: MakePhase) -> None:
    phases = (phase("p", "a", "b", "c"), phase("q", "d"))
    done = simulate(phases, {"a": 3, "b": 1, "c": 1, "d": 2}, jobs=2, resources={})
    assert done == Simulated(5, (Span("a", 0, 0, 3), Span("b", 1, 0, 1), Span("c", 1, 1, 2), Span("d", 0, 3, 5)))


def test_what_the_scheduler_believes_is_not_what_happens(phase: MakePhase) -> None:
    durations, wrong = {"a": 1, "b": 1, "c": 2}, {"a": 9, "b": 9, "c": 1}
    phases = (phase("p", "a", "b", "c"),)
    assert simulate(phases, durations, jobs=2, resources={}).makespan == 2
    assert simulate(phases, durations, jobs=2, resources={}, estimates=wrong).makespan == 3


def test_what_is_off_or_cached_takes_no_time(phase: MakePhase, group: Make) -> None:
    phases = (phase("p", "a", group("b", after=("a",))), phase("q", "c"))
    durations = {"a": 5.0, "b": 1.0, "c": 7.0}
    done = simulate(phases, durations, jobs=2, resources={}, off=("q",), cached=("a",))
    assert done == Simulated(1, (Span("b", 0, 0, 1),))


def test_nothing_to_do_takes_no_time(phase: MakePhase) -> None:
    assert simulate((phase("p", "a"),), {"a": 0}, jobs=1, resources={}) == Simulated(0, (Span("a", 0, 0, 0),))


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=30), st.integers(1, 8))
def test_independent_groups_keep_within_grahams_bound(seconds: list[float], jobs: int) -> None:
    """No list schedule is worse than (2 − 1/m) times the best (R. L. Graham, 1966); longest first, than 4/3."""
    groups = tuple(Group(name=f"g{place}", phase="p", command="true") for place in range(len(seconds)))
    durations = {group.name: took for group, took in zip(groups, seconds, strict=True)}
    done = simulate((Phase(name="p", groups=groups),), durations, jobs=jobs, resources={})
    assert {span.group for span in done.spans} == durations.keys()
    assert [span.start for span in done.spans] == sorted(span.start for span in done.spans)
    assert done.makespan <= sum(seconds) / jobs + (1 - 1 / jobs) * max(seconds) + 1e-6
    for span in done.spans:
        assert span.end == span.start + durations[span.group]
        assert not [
            other
            for other in done.spans
            if other.slot == span.slot and other != span and span.start < other.end and other.start < span.end
        ]
