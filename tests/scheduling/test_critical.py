"""What a simulated run waited for."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from harness.model import Dependency, Group, LockMode, Phase
from harness.scheduling.critical import Link, critical_links
from harness.scheduling.simulate import simulate

Make = Callable[..., Group]
MakePhase = Callable[..., Phase]


def links(*phases: Phase, jobs: int = 2, resources: dict[str, int] | None = None, **durations: float) -> list[Link]:
    spans = simulate(phases, durations, jobs=jobs, resources=resources or {}).spans
    return critical_links(phases, spans)


def names(found: list[Link]) -> list[str]:
    return [link.group.name for link in found]


def test_the_walk_goes_from_the_end_to_the_beginning(phase: MakePhase, group: Make) -> None:
    chain = phase("p", "a", group("b", after=("a",)), group("c", after=("b",)), "aside")
    found = links(chain, a=2, b=2, c=2, aside=1)
    assert [(link.group.name, link.waited_for) for link in found] == [("c", ("b",)), ("b", ("a",)), ("a", ())]


def test_a_slot_is_waited_for_like_anything_else(phase: MakePhase) -> None:
    found = links(phase("p", "a", "b", "c"), a=2, b=3, c=2)
    assert names(found) == ["c", "a"]
    assert (found[0].waited_for, found[0].held_before) == ((), ())


def test_what_two_groups_need_is_named(phase: MakePhase, group: Make) -> None:
    lock, api, ledger = {"x": LockMode.EXCLUSIVE}, {"api": 2}, ("ledger",)
    for fields, name in (
        ({"needs": lock}, "lock:x"),
        ({"needs": api}, "count:api"),
        ({"parallel_group": ledger}, "parallel_group:ledger"),
    ):
        pair = phase("p", group("a", **fields), group("b", **fields))
        assert links(pair, resources={"api": 3}, a=2, b=1)[0].held_before == (name,)


def test_every_phase_has_its_own_and_a_sequential_one_has_none(phase: MakePhase) -> None:
    phases = (phase("p", "a", "b", sequential=True), phase("q", "c", "d"), phase("r", "e"))
    assert names(links(*phases, a=1, b=1, c=2, d=1, e=1)) == ["c", "e"]


# Every group takes some time: what ends as it starts could be its own cause.
@given(st.lists(st.floats(0.001, 10), min_size=1, max_size=25), st.integers(1, 5), st.data())
def test_critical_groups_fill_the_whole_phase(seconds: list[float], jobs: int, data: st.DataObject) -> None:
    """At every moment of a phase something critical runs: else the phase could have ended earlier without a reason."""
    groups: list[Group] = []
    for place in range(len(seconds)):
        before = data.draw(st.lists(st.sampled_from(groups), max_size=1)) if groups else []
        needs = tuple(Dependency(group=other.name) for other in before)
        held = data.draw(st.sampled_from([(), ("ledger",)]))
        groups.append(Group(name=f"g{place}", phase="p", command="true", depends_on=needs, parallel_group=held))
    phase = Phase(name="p", groups=tuple(groups))
    durations = {group.name: took for group, took in zip(groups, seconds, strict=True)}
    done = simulate((phase,), durations, jobs=jobs, resources={})
    critical = set(names(critical_links((phase,), done.spans)))
    assert len(critical) == len(critical_links((phase,), done.spans))
    reached = 0.0
    for span in done.spans:
        if span.group in critical:
            assert span.start <= reached
            reached = max(reached, span.end)
    assert reached == done.makespan
