"""The picture of a simulated run: whole pictures compared, and what must hold for all of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli.gantt import BARS, MOST_LINES, TIME_WIDTH, gantt
from harness.model import Group, Phase
from harness.scheduling.simulate import Simulated, Span, simulate


def phase(name: str, *groups: str, **fields: object) -> Phase:
    return Phase(name=name, groups=tuple(Group(name=g, phase=name, command="true", **fields) for g in groups))  # type: ignore[arg-type]


def drawn(*phases: Phase, width: int = 56, jobs: int = 2, **durations: float) -> list[str]:
    return gantt(phases, simulate(phases, durations, jobs=jobs, resources={}), width)


def test_a_line_a_group_in_the_order_of_their_starts() -> None:
    assert drawn(phase("first", "core"), phase("second", "short", "longest"), core=10, short=10, longest=30) == [
        "        first   │second",
        "core    ████████│                                 10.0 s",
        "longest         ███████████████████████████       30.0 s",
        "short           █████████                         10.0 s",
        "        0 s          15 s         30 s",
    ]


def test_names_are_inert() -> None:
    lines = drawn(phase("p\x1b[2J", "a\u202eb", "::c"), **{"a\u202eb": 10, "::c": 5})
    assert lines[0].strip() == "p\\x1b[2J"
    assert [line.split()[0] for line in lines[1:3]] == ["a\\u202eb", ":"]


def test_many_groups_are_a_line_a_slot() -> None:
    groups = [f"g{number}" for number in range(MOST_LINES + 1)]
    lines = drawn(phase("p", *groups), jobs=2, width=60, **dict.fromkeys(groups, 1.0))
    assert [line.split()[:2] for line in lines[1:3]] == [["slot", "0"], ["slot", "1"]]
    assert [line[-9:] for line in lines[1:3]] == ["100% busy", " 95% busy"]
    assert all(bar in lines[1] for bar in BARS)
    assert len(drawn(phase("p", *groups[:-1]), **dict.fromkeys(groups, 1.0))) == MOST_LINES + 2


def test_where_slots_are_drawn_wide_groups_are_explained() -> None:
    groups = [f"g{number}" for number in range(MOST_LINES + 1)]
    said = "A group that takes several slots is drawn on the first of them."
    durations = dict.fromkeys(groups, 1.0)
    assert drawn(phase("p", *groups, slots=2), **durations)[-1] == said
    assert said not in drawn(phase("p", *groups), **durations)
    assert said not in drawn(phase("p", "a", slots=2), a=1.0)


@pytest.mark.parametrize(
    ("makespan", "ticks"),
    [
        (0.16, "0 s 0.05 s 0.1 s 0.15 s"),
        (10, "0 s 5 s 10 s"),
        (200, "0 s 1 min 00 s 2 min 00 s 3 min 00 s"),
        (7200, "0 s 1 h 00 min 2 h 00 min"),
        (2_000_000, "0 s 168 h 00 min 336 h 00 min 504 h 00 min"),
    ],
)
def test_the_axis_has_ticks_at_round_times(makespan: float, ticks: str) -> None:
    assert drawn(phase("p", "a"), width=60, a=makespan)[-1].split() == ticks.split()


def test_a_long_name_is_cut_and_a_wild_one_is_harmless() -> None:
    lines = drawn(phase("p", "n" * 60, "\x1b[31mred"), **{"n" * 60: 2, "\x1b[31mred": 1})
    assert lines[1].startswith("n" * 23 + "… ")
    assert lines[2].startswith(r"\x1b[31mred ")


def test_what_takes_no_time_has_no_picture() -> None:
    assert drawn(phase("p", "a"), a=0) == []


def test_what_is_short_is_seen() -> None:
    lines = drawn(phase("p", "blink", "long"), blink=0.001, long=1000)
    assert lines[2].startswith("blink █ ")


def test_what_takes_no_time_at_the_end_is_drawn_within_the_axis() -> None:
    lines = drawn(phase("p", "a"), phase("q", "z"), width=40, a=9, z=0)
    assert [len(line) for line in lines[1:3]] == [40, 40]
    assert lines[2][2:27].strip() == "█"


@given(
    st.lists(st.lists(st.floats(0, 1e5), min_size=1, max_size=30), min_size=1, max_size=5),
    st.integers(1, 6),
    st.integers(10, 200),
)
def test_no_line_is_wider_than_asked_and_every_bar_is_there(seconds: list[list[float]], jobs: int, width: int) -> None:
    phases, durations = [], {}
    for number, of_phase in enumerate(seconds):
        names = [f"p{number}g{place}" for place in range(len(of_phase))]
        phases.append(phase(f"phase {number}", *names))
        durations |= dict(zip(names, of_phase, strict=True))
    done = simulate(phases, durations, jobs=jobs, resources={})
    lines = gantt(phases, done, width)
    if done.makespan:
        rows = lines[1 : len(done.spans) + 1] if len(done.spans) <= MOST_LINES else lines[1 : jobs + 1]
        assert max(map(len, lines)) <= max(width, 8 + 16 + TIME_WIDTH)
        assert all(BARS[0] in row for row in rows if not row.endswith(" 0% busy"))
    else:
        assert lines == []


def test_bars_stand_at_their_time() -> None:
    done = Simulated(100.0, (Span("a", 0, 0, 50), Span("b", 1, 25, 75), Span("c", 0, 50, 100)))
    lines = gantt([phase("p", "a", "b", "c")], done, 1 + 1 + 20 + 1 + TIME_WIDTH)
    assert [line[2:22] for line in lines[1:4]] == [
        "█" * 10 + " " * 10,
        " " * 5 + "█" * 10 + " " * 5,
        " " * 10 + "█" * 10,
    ]
