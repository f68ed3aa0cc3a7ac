"""The console on a terminal: the transcript, and under it a display of what runs that redraws itself.

Protocol: lines are printed above the display and stay; the display is gone whenever this is closed, before the summary,
and while the run is paused. The cursor is never hidden, so there is nothing that a killed harness could leave behind.
A thread paints: a few times a second it prints the lines that came meanwhile and repaints the display from a snapshot
that the events' thread replaces as a whole; it never sees the record, and a slow terminal never holds up the run. When
painting fails the display is dropped, no line is lost, and plain lines go on.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from harness import threads
from harness.clock import now as of_the_run
from harness.errors import InfrastructureError
from harness.events import (
    AttemptStarted,
    GroupFinished,
    RetryScheduled,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    Stamped,
)
from harness.model import part_name
from harness.reporters.base import Context
from harness.reporters.text import DIM, GREEN, RED, YELLOW, Sink, paint, printable, seconds
from harness.reporters.transcript import WIDEST_NAME, Transcript

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

REFRESH = 0.15  # seconds
BAR = 24  # columns
MOST_ROWS = 10  # groups that are listed


@dataclass(frozen=True)
class Snapshot:
    """All that the display shows. Times are of the clock that it was made with."""

    began: float = 0.0
    total: int = 0
    ended: int = 0
    failed: int = 0
    running: tuple[tuple[str, str, float], ...] = ()  # group or part, its current test, since when
    resting: tuple[tuple[str, float | None], ...] = ()  # the same, when it tries again; None: once nothing else runs


class Live:
    """Takes the console's place where it is a terminal."""

    name: ClassVar[str] = "live display"
    durable: ClassVar[bool] = False

    def __init__(self, context: Context, clock: Callable[[], float] = of_the_run) -> None:
        self._context = context
        self._clock = clock
        self._sink = Sink(context.stream, colour=context.colour)
        self._transcript = Transcript(context, self._say)
        self._snapshot = Snapshot()
        self._failed = 0  # groups, without those in quarantine
        self._resting: dict[str, float | None] = {}  # between two attempts, until so long after the run began
        self._painter: threading.Thread | None = None
        self._waiting: deque[str] = deque()  # lines for the painter to print
        self._closing = threading.Event()

    def handle(self, stamped: Stamped) -> None:
        if isinstance(stamped.data, RunPaused | RunFinished):
            self._drop_display()
        self._transcript.handle(stamped)
        self._snapshot = self._taken(stamped)
        if isinstance(stamped.data, RunStarted | RunResumed):
            self._show_display()

    def output(self, group: str, data: bytes) -> None:
        self._transcript.output(group, data)

    def close(self) -> None:
        self._drop_display()
        self._transcript.close()

    def _taken(self, stamped: Stamped) -> Snapshot:
        match stamped.data:
            case RetryScheduled() as event:
                due = None if event.alone else stamped.elapsed + event.delay
                self._resting[part_name(event.group, event.part)] = due
            case AttemptStarted() as event:
                self._resting.pop(part_name(event.group, event.part), None)
            case GroupFinished(result=result):
                for part in self._context.record.groups[result.group].parts:
                    self._resting.pop(part_name(result.group, part), None)
                self._failed += result.counts_as_failure
        record = self._context.record
        began = self._clock() - stamped.elapsed
        return Snapshot(
            began=began,
            total=len(record.groups),
            ended=record.statuses.total(),
            failed=self._failed,
            running=tuple(
                (name, part.current_test, began + (part.running_since or 0.0)) for name, part in record.running.items()
            ),
            resting=tuple((group, due if due is None else began + due) for group, due in self._resting.items()),
        )

    def _say(self, lines: list[str]) -> None:
        if self._painter is not None and not self._painter.is_alive():
            self._drop_display()
        if self._painter is not None:
            self._waiting.extend(lines)
        else:
            self._sink.write(lines)

    def _show_display(self) -> None:
        from rich.console import Console

        class SteadyConsole(Console):
            def show_cursor(self, show: bool = True) -> bool:
                return False

        console = SteadyConsole(
            file=self._context.stream,
            force_terminal=True,
            color_system="standard" if self._context.colour else None,
            highlight=False,
            markup=False,
            emoji=False,
        )
        self._closing.clear()
        # Without a thread there is no display; lines are all the more important then.
        with contextlib.suppress(InfrastructureError):
            self._painter = threads.start(self._paint, console, name="live")

    def _drop_display(self) -> None:
        """Take the display away and print what still waits. Raises OSError where the stream is gone."""
        painter, self._painter = self._painter, None
        if painter is None:
            return
        self._closing.set()
        painter.join()
        self._print_waiting()

    def _paint(self, console: "Console") -> None:
        from rich.live import Live as Display

        options: dict[str, Any] = {"console": console, "auto_refresh": False, "transient": True}
        options |= {"redirect_stdout": False, "redirect_stderr": False, "get_renderable": self._rendered}
        try:
            while not self._closing.is_set():
                # One display for each batch of lines: to let rich print above it costs twenty times as much a line.
                with Display(**options) as display:
                    display.refresh()
                    while not self._closing.wait(REFRESH) and not self._waiting:
                        display.refresh()
                self._print_waiting()
        except Exception:  # a thread's traceback must not reach the console; the next line finds the painter gone
            pass

    def _print_waiting(self) -> None:
        lines = list(self._waiting)
        if lines:
            self._sink.write(lines)
        for _ in lines:
            self._waiting.popleft()

    def _rendered(self) -> "RenderableType":
        from rich.console import Group
        from rich.text import Text

        rows = self.rows(self._snapshot, self._clock())
        return Group(*(Text.from_ansi(self._sink.render(row), no_wrap=True, overflow="ellipsis") for row in rows))

    @staticmethod
    def rows(snapshot: Snapshot, now: float) -> list[str]:
        """The display as lines: the bar, then the groups that run, the longest first, and those that try again."""
        filled = BAR * snapshot.ended // snapshot.total if snapshot.total else BAR
        bar = paint("━" * filled, RED if snapshot.failed else GREEN) + paint("─" * (BAR - filled), DIM)
        failed = f"  {paint(f'{snapshot.failed} failed', RED)}" if snapshot.failed else ""
        head = f"{bar}  {snapshot.ended} of {snapshot.total} groups{failed}  {seconds(now - snapshot.began)}"
        running = sorted(snapshot.running, key=lambda row: row[2])
        names = [*(name for name, _, _ in running), *(name for name, _ in snapshot.resting)]
        width = min(WIDEST_NAME, max((len(printable(name)) for name in names), default=0))
        rows = [
            f"  {paint('▸', YELLOW)} {printable(name):<{width}}  {seconds(now - since):>12}  "
            + paint(printable(test), DIM)
            for name, test, since in running
        ]
        for name, due in snapshot.resting:
            when = "once nothing else runs" if due is None else f"in {seconds(max(0.0, due - now))}"
            rows.append(f"  {paint('↻', YELLOW)} {printable(name):<{width}}  {paint(f'tries again {when}', DIM)}")
        more = len(rows) - MOST_ROWS
        return ["", head, *rows[:MOST_ROWS], *([f"    and {more} more"] if more > 0 else [])]
