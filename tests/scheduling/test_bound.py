"""The lower bound: what binds by small literal plans, and that no run is ever faster."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model import Dependency, Group, LockMode, Phase
from harness.scheduling.bound import Binding, Bound, Term, lower_bound
from harness.scheduling.simulate import simulate

Make = Callable[..., Group]
MakePhase = Callable[..., Phase]

RESOURCES = {"api": 3, "mail": 2}


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[Phase], dict[str, float], int]:
    phases, names = [], list[str]()
    for number in range(draw(st.integers(1, 3))):
        groups = []
        for _ in range(draw(st.integers(1, 9))):
            before = draw(st.lists(st.sampled_from(names), unique=True, max_size=2)) if names else []
            needs: dict[str, int | LockMode] = {
                name: draw(st.integers(1, count)) for name, count in RESOURCES.items() if draw(st.booleans())
            }
            if draw(st.booleans()):
                needs["settings"] = draw(st.sampled_from(LockMode))
            groups.append(
                Group(
                    name=f"g{len(names)}",
                    phase=f"p{number}",
                    command="true",
                    depends_on=tuple(Dependency(group=name) for name in before),
                    parallel_group=tuple(draw(st.lists(st.sampled_from(["ledger", "docker"]), unique=True))),
                    needs=needs,
                    slots=draw(st.sampled_from([1, 1, 1, 2, 9])),
                    workers=draw(st.sampled_from([0, 0, 3])),
                )
            )
            names.append(groups[-1].name)
        phases.append(Phase(name=f"p{number}", sequential=draw(st.booleans()), groups=tuple(groups)))
    return phases, {name: draw(st.floats(0, 100)) for name in names}, draw(st.integers(1, 6))


@given(runs())
def test_no_run_is_faster_than_its_bound(run: tuple[list[Phase], dict[str, float], int]) -> None:
    phases, durations, jobs = run
    bound = lower_bound(phases, durations, jobs=jobs, resources=RESOURCES).seconds
    assert simulate(phases, durations, jobs=jobs, resources=RESOURCES).makespan >= bound * (1 - 1e-9)


@given(runs())
def test_more_jobs_never_raise_it(run: tuple[list[Phase], dict[str, float], int]) -> None:
    phases, durations, jobs = run
    now, more = (lower_bound(phases, durations, jobs=n, resources=RESOURCES).seconds for n in (jobs, 2 * jobs))
    widened = any(max(group.slots, group.workers) > jobs for phase in phases for group in phase.groups)
    assert more <= now * (1 + 1e-9) or widened  # a group wider than the jobs takes them all, however many


def term(
    *groups: Group | str, make: MakePhase, jobs: int = 2, resources: dict[str, int] | None = None, **durations: float
) -> Term:
    (found,) = lower_bound((make("p", *groups),), durations, jobs=jobs, resources=resources or {}).terms
    return found


def test_the_work_over_the_jobs(phase: MakePhase) -> None:
    assert term("a", "b", "c", make=phase, a=4, b=4, c=4) == Term("p", Binding.WORK, 6)


def test_a_wide_group_is_as_much_work_as_it_takes_slots(phase: MakePhase, group: Make) -> None:
    wide = group("a", slots=2)
    assert term(wide, "b", "c", make=phase, a=4, b=2, c=2) == Term("p", Binding.WORK, 6)
    wider_than_the_run = group("a", workers=8, tests=())
    assert term(wider_than_the_run, "b", make=phase, a=4, b=2) == Term("p", Binding.WORK, 5)


def test_the_longest_chain_in_its_order(phase: MakePhase, group: Make) -> None:
    chain = (group("c", after=("b",)), group("b", any_of=("a",)), "a", "d")
    assert term(*chain, make=phase, jobs=4, a=1, b=2, c=3, d=5) == Term("p", Binding.CHAIN, 6, ("a", "b", "c"))


def test_a_dependency_on_an_earlier_phase_lengthens_no_chain(phase: MakePhase, group: Make) -> None:
    phases = (phase("p", "a"), phase("q", group("b", after=("a",)), "c"))
    bound = lower_bound(phases, {"a": 3, "b": 4, "c": 1}, jobs=4, resources={})
    assert bound.terms[1] == Term("q", Binding.CHAIN, 4, ("b",))
    assert bound.seconds == 7


@pytest.mark.parametrize(
    ("needs", "seconds"),
    [
        ([{"api": 2}, {"api": 2}, {"api": 4}], 8),  # (2 + 2 + 4) × 4 s over 4
        ([{"api": 3}, {"api": 3}, {"api": 2}], 12),  # no two of them fit
        ([{"api": 3}, {"api": 3}, {"api": 1}], 8),  # the last fits beside either
        ([{"x": LockMode.EXCLUSIVE}, {"x": LockMode.EXCLUSIVE}, {}], 8),
        ([{"x": LockMode.EXCLUSIVE}, {"x": LockMode.SHARED}, {"x": LockMode.SHARED}], 8),  # sharers side by side
    ],
)
def test_the_heaviest_resource(phase: MakePhase, group: Make, needs: list[dict[str, object]], seconds: float) -> None:
    groups = [group(name, needs=need) for name, need in zip("abc", needs, strict=True)]
    found = term(*groups, make=phase, jobs=9, resources={"api": 4}, a=4, b=4, c=4)
    assert found == Term("p", Binding.RESOURCE, seconds, (next(iter(needs[0])),))


def test_a_parallel_group_and_a_lock_of_one_name_are_two_things(phase: MakePhase, group: Make) -> None:
    groups = (group("a", parallel_group=("x",)), group("b", needs={"x": LockMode.EXCLUSIVE}))
    assert term(*groups, make=phase, a=4, b=4).seconds == 4


def test_one_at_a_time_is_the_sum(phase: MakePhase) -> None:
    sequential = phase("p", "a", "b", sequential=True)
    bound = lower_bound((sequential,), {"a": 1, "b": 2}, jobs=4, resources={}, apart=0.5)
    assert bound == Bound(0.5, (Term("p", Binding.SEQUENTIAL, 3),))
    assert bound.seconds == 3.5
    assert term("a", "b", make=phase, jobs=1, a=1, b=2) == Term("p", Binding.SEQUENTIAL, 3)


def test_a_group_without_a_duration_takes_none(phase: MakePhase) -> None:
    assert term("a", "b", make=phase, a=3) == Term("p", Binding.CHAIN, 3, ("a",))
