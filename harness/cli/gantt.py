"""A simulated run as text: a line a group, or where that would be too long a line a slot, over one axis of time.

A bar is at least one character wide, so that what is short is seen. Nothing here is coloured, and no line is wider than
asked for, unless that is narrower than a name, a bar and a time can be.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.model import Phase
from harness.reporters.text import printable, seconds
from harness.scheduling.simulate import Simulated, Span

MOST_LINES = 40  # of groups; a screen, and still a picture
LONGEST_NAME = 24
NARROWEST = 16  # characters of the axis
TIME_WIDTH = 12  # "59 min 59 s" is 11 wide
TICK_WIDTH = 13  # characters from one tick to the next, at the least
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200)
DAY = 86400  # longer steps are a multiple of it
BARS = "█▓"  # neighbours on a slot look different
BORDER = "│"  # where a phase begins


@dataclass(frozen=True)
class _Axis:
    """From seconds to columns."""

    makespan: float
    width: int

    def column(self, moment: float) -> int:
        """The character in which it lies; the makespan lies behind the last."""
        return int(moment / self.makespan * self.width)

    def bar(self, span: Span) -> tuple[int, int]:
        """Where it is drawn: from one column up to, and without, another."""
        start = min(self.width - 1, self.column(span.start))
        return start, max(start + 1, self.column(span.end))


def gantt(phases: Sequence[Phase], simulated: Simulated, width: int) -> list[str]:
    """`width` in characters. Empty where nothing takes any time."""
    if not simulated.makespan:
        return []
    by_slot = len(simulated.spans) > MOST_LINES
    rows = _slots(simulated) if by_slot else [(printable(span.group), [span]) for span in simulated.spans]
    names = min(LONGEST_NAME, max(len(name) for name, _ in rows))
    axis = _Axis(simulated.makespan, max(NARROWEST, width - names - TIME_WIDTH - 2))
    begins = _begins(phases, simulated.spans)
    lines = [f"{'':{names}} {_marked(begins, axis)}"]
    for name, spans in rows:
        note = _busy(spans, simulated.makespan) if by_slot else seconds(spans[0].end - spans[0].start)
        lines.append(f"{_cut(name, names):{names}} {_row(spans, begins, axis)} {note:>{TIME_WIDTH}}")
    lines.append(f"{'':{names}} {_ticks(axis)}")
    if by_slot and any(max(group.slots, group.workers) > 1 for phase in phases for group in phase.groups):
        lines.append("A group that takes several slots is drawn on the first of them.")
    return [line.rstrip() for line in lines]


def _slots(simulated: Simulated) -> list[tuple[str, list[Span]]]:
    slots = sorted({span.slot for span in simulated.spans})
    return [(f"slot {slot}", [span for span in simulated.spans if span.slot == slot]) for slot in slots]


def _begins(phases: Sequence[Phase], spans: Sequence[Span]) -> list[tuple[str, float]]:
    """Every phase with the moment when its first group starts."""
    starts = {span.group: span.start for span in reversed(spans)}
    return [(printable(phase.name), min(starts[group.name] for group in phase.groups)) for phase in phases]


def _row(spans: Sequence[Span], begins: Sequence[tuple[str, float]], axis: _Axis) -> str:
    cells = [" "] * axis.width
    for _, moment in begins[1:]:
        cells[min(axis.width - 1, axis.column(moment))] = BORDER
    for number, span in enumerate(spans):
        start, end = axis.bar(span)
        cells[start:end] = BARS[number % len(BARS)] * (end - start)
    return "".join(cells)


def _marked(begins: Sequence[tuple[str, float]], axis: _Axis) -> str:
    """The names of the phases where they begin, each cut where the next one does."""
    columns = [axis.column(moment) for _, moment in begins]
    line = ""
    for (name, _), column, following in zip(begins, columns, [*columns[1:], axis.width], strict=True):
        if following > column:
            border = BORDER if column else ""
            line += _cut(border + name, following - column).ljust(following - column)
    return line


def _ticks(axis: _Axis) -> str:
    least = axis.makespan / axis.width * TICK_WIDTH
    step = next((step for step in STEPS if step >= least), math.ceil(least / DAY) * DAY)
    line = ""
    for number in range(int(axis.makespan / step) + 1):
        moment = number * step
        column = axis.column(moment)
        label = f"{moment:g} s" if moment < 60 else seconds(moment)
        if column >= len(line) and column + len(label) <= axis.width + TIME_WIDTH:
            line = line.ljust(column) + label
    return line


def _busy(spans: Sequence[Span], makespan: float) -> str:
    return f"{sum(span.end - span.start for span in spans) / makespan:.0%} busy"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(0, width - 1)]}…"[:width]
