"""The words of a prediction: what binds, what would help, what it rests on."""

import msgspec
import pytest

from harness.cli.prediction import Known, compared, predicted
from harness.model import Dependency, Group, LockMode, Phase
from harness.planning.estimate import Estimates, estimate
from harness.reporters.text import unpainted
from harness.scheduling.parts import split

FILES = ("test_a.py", "test_b.py")


def group(name: str, *after: str, **fields: object) -> Group:
    needs = tuple(Dependency(group=other) for other in after)
    return Group(name=name, phase="p", command="true", depends_on=needs, **fields)  # type: ignore[arg-type]


def known(*groups: Group | str, resources: dict[str, int] | None = None, **durations: float) -> Known:
    made = tuple(group(each) if isinstance(each, str) else each for each in groups)
    past = {name: [seconds] for name, seconds in durations.items()}
    estimates = estimate([each.name for each in made], past)
    return Known((Phase(name="p", groups=made),), estimates, (0.0, 0.0), resources or {}, {})


def bound(known: Known, jobs: int = 4) -> str:
    """What binds the only phase."""
    lines = predicted(known, jobs, 80)
    place = next(number for number, line in enumerate(lines) if line.startswith("At least"))
    return lines[place + 1].split("  ")[-1]


def advice(known: Known, jobs: int = 4) -> list[str]:
    lines = predicted(known, jobs, 80)
    place = max(number for number, line in enumerate(lines) if not line)
    return (
        [line.strip() for line in lines[place + 2 :]] if "What would help" in lines[place + 1] else lines[place + 1 :]
    )


def test_what_binds_in_words() -> None:
    exclusive, shared = {"needs": {"x": LockMode.EXCLUSIVE}}, {"needs": {"x": LockMode.SHARED}}
    ledger, api = {"parallel_group": ("ledger",)}, {"needs": {"api": 2}}
    assert bound(known("a", "b", "c", a=4, b=4, c=4), jobs=2) == "the work over 2 jobs"
    assert bound(known("a", "b", a=4, b=1)) == "the longest group, a"
    assert bound(known("a", group("b", "a"), a=4, b=1)) == "the longest chain, a → b"
    assert bound(known(group("a", **exclusive), group("b", **shared), a=4, b=3)) == "the lock x"
    assert bound(known(group("a", **ledger), group("b", **ledger), a=4, b=3)) == "the parallel group ledger"
    assert bound(known(group("a", **api), group("b", **api), resources={"api": 3}, a=4, b=3)) == (
        "the resource api (3)"
    )
    assert bound(known("a", "b", a=4, b=3), jobs=1) == "one group at a time"


def test_the_files_of_a_splittable_group_run_by_themselves_and_it_is_one_estimate() -> None:
    made = split((Phase(name="p", groups=(group("s", tests=FILES, splittable=True), group("new"))),))
    estimates = Estimates({"s": 6.0, "s/test_a.py": 4.0, "s/test_b.py": 2.0, "new": 3.0}, frozenset({"new"}))
    lines = predicted(Known(made, estimates, (0.0, 0.0), {}, {}), 2, 80)
    assert unpainted(lines[0]) == "Predicted with 2 jobs: 5.0 s (services 0.00 s, groups 5.0 s, wind-down 0.00 s)"
    assert lines[1] == "  1 of 2 estimates is a guess (3.0 s, the 75th percentile of the others): new"
    assert [line.split()[0] for line in lines if "█" in line] == ["s/test_a.py", "new", "s/test_b.py"]
    unknown = Estimates(dict.fromkeys(estimates.seconds, 1.0), frozenset({"s", "s/test_a.py", "s/test_b.py"}))
    assert predicted(Known(made, unknown, None, {}, {}), 2, 80)[1].endswith("): s")


def test_a_long_chain_is_told_by_its_ends() -> None:
    names = [f"g{number}" for number in range(12)]
    chain = known(*(group(name, *names[place - 1 : place]) for place, name in enumerate(names)))
    assert bound(chain) == "the longest chain, g0 → g1 → g2 → g3 → g4 → g5 → … → g11 (12 groups)"
    assert compared(chain, 2, 2)[3].endswith("  p: the longest chain, g0 → … → g11 (12 groups)")


def test_every_kind_of_change_in_words() -> None:
    ledger, api = {"parallel_group": ("ledger",)}, {"needs": {"api": 2}}
    exclusive, shared = {"needs": {"x": LockMode.EXCLUSIVE}}, {"needs": {"x": LockMode.SHARED}}
    long = msgspec.structs.replace(group("a"), tests=FILES, command=None)
    assert advice(known(long, "b", a=9, b=4)) == [
        "−4.5 s  split a in two",
        "It takes no longer with 2 jobs instead of 4.",
    ]
    assert advice(known("a", group("b", "a"), a=4, b=3), jobs=2)[0] == "−3.0 s  let b start without waiting for a"
    assert advice(known(group("a", **ledger), group("b", **ledger), a=4, b=3), jobs=2)[0] == (
        "−3.0 s  let a and b of the parallel group ledger run side by side"
    )
    three = known(*(group(name, **ledger) for name in "abc"), a=4, b=3, c=3)
    assert "−6.0 s  let the 3 groups of the parallel group ledger run side by side" in advice(three)
    assert "−3.0 s  take c out of the parallel group ledger" in advice(three)
    three = known(*(group(name, **exclusive) for name in "abc"), a=4, b=3, c=3)
    assert "−6.0 s  let the 3 groups that need it alone share the lock x" in advice(three)
    assert advice(known(group("a", **exclusive), group("b", **shared), a=4, b=3), jobs=2)[0] == (
        "−3.0 s  let a share the lock x"
    )
    assert advice(known(group("a", **api), group("b", **api), resources={"api": 3}, a=4, b=3), jobs=2)[0] == (
        "−3.0 s  4 × api instead of 3"
    )
    assert advice(known("a", "b", a=4, b=3), jobs=1) == ["−3.0 s  2 jobs instead of 1"]


def test_at_most_eight_changes_are_shown() -> None:
    long = [msgspec.structs.replace(group(f"g{place}"), tests=FILES, command=None) for place in range(13)]
    durations = {f"g{place}": 5.0 + place for place in range(13)}
    found = predicted(known(*long, **durations), 3, 80)
    assert len([line for line in found if line.lstrip().startswith("−")]) == 8


def test_where_nothing_helps_it_says_so() -> None:
    assert advice(known("a", "b", a=4, b=4), jobs=2) == [
        "No single change would help: no split, no dependency, no lock, no resource, no more jobs."
    ]


def test_a_loss_under_one_percent_is_named() -> None:
    nearly = known("a", "b", "c", a=100, b=99.9, c=0.6)
    assert advice(nearly, jobs=3)[-1] == "It takes 0.50 s longer with 2 jobs instead of 3."


@pytest.mark.parametrize(
    ("durations", "first", "last", "said"),
    [
        ((4, 4, 4, 4), 1, 8, "More than 4 jobs gains nothing (under 1 %)."),
        ((4, 4, 4, 4), 2, 3, "More than 2 jobs gains nothing (under 1 %)."),
        ((4, 4, 4, 4), 1, 4, "More than 4 jobs may gain still: nothing above was looked at."),
        ((4, 4, 4, 4), 2, 2, "More than 2 jobs may gain still: nothing above was looked at."),
        ((100, 0.5, 0.4), 1, 4, "More than 1 job gains nothing (under 1 %)."),
        ((100, 2), 1, 4, "More than 2 jobs gains nothing (under 1 %)."),
    ],
)
def test_from_how_many_jobs_on_more_gain_nothing(
    durations: tuple[float, ...], first: int, last: int, said: str
) -> None:
    by_name = {f"g{place}": seconds for place, seconds in enumerate(durations)}
    assert compared(known(*by_name, **by_name), first, last)[-1] == said


def test_speedup_is_over_one_job_wherever_the_range_begins() -> None:
    assert compared(known("a", "b", a=4, b=4), 2, 2)[1].split()[:6] == ["2", "4.0", "s", "2.00", "4.0", "s"]


def test_many_guesses_are_counted() -> None:
    names = [f"g{place}" for place in range(12)]
    said = next(line for line in predicted(known("a", *names, a=3), 2, 80) if "guess" in line)
    assert said == (
        "  12 of 13 estimates are guesses (3.0 s, the 75th percentile of the others): "
        "g0, g1, g2, g3, g4, g5, g6, g7 and 4 more"
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"depends_on": (Dependency(group="\x1b]0;a\n"),)},
        {"parallel_group": ("\x1b]0;x\n",)},
        {"needs": {"\x1b]0;x\n": LockMode.EXCLUSIVE}},
        {"needs": {"\x1b]0;api\n": 1}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_names_cannot_act_on_the_terminal(fields: dict[str, object]) -> None:
    first = {key: value for key, value in fields.items() if key != "depends_on"}
    groups = tuple(
        Group(name=name, phase="\x1b]0;p\n", tests=FILES, **more)  # type: ignore[arg-type]
        for name, more in (("\x1b]0;a\n", first), ("\x1b]0;b\n", fields))
    )
    estimates = estimate([each.name for each in groups], {"\x1b]0;a\n": [4.0]})
    off = {"q": "phase \x1b]0;q\n is off"}
    made = Known((Phase(name="\x1b]0;p\n", groups=groups),), estimates, None, {"\x1b]0;api\n": 1}, off)
    for lines in (predicted(made, 2, 80), compared(made, 1, 3)):
        assert not [line for line in lines if "\x1b]" in line or "\n" in line]
        assert any(r"\x1b]0;" in line for line in lines)
