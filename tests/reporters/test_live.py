"""The live display, on a terminal that pyte plays."""

import io
import threading
import time
from collections.abc import Callable
from typing import Any

import pyte
import pytest

from harness.events import RunPaused, RunResumed
from harness.reporters.console import Console
from harness.reporters.live import Live, Snapshot
from harness.reporters.text import unpainted

COLUMNS = 120


class Terminal(io.StringIO):
    """A stream that shows what is written to it."""

    def __init__(self, height: int) -> None:
        super().__init__()
        self.screen = pyte.HistoryScreen(COLUMNS, height, history=1000)
        self._pyte = pyte.Stream(self.screen)
        self._lock = threading.Lock()
        self.written = ""

    def write(self, text: str) -> int:
        with self._lock:
            self.written += text
            self._pyte.feed(text.replace("\n", "\r\n"))
        return len(text)

    @property
    def lines(self) -> list[str]:
        """What has been shown, from the first line on, also what has scrolled away."""
        with self._lock:
            gone = ["".join(row[x].data for x in range(COLUMNS)) for row in self.screen.history.top]
            return "\n".join(line.rstrip() for line in [*gone, *self.screen.display]).rstrip().split("\n")

    def wait_for(self, condition: Callable[[list[str]], bool]) -> None:
        deadline = time.monotonic() + 30
        while not condition(self.lines):
            assert time.monotonic() < deadline, "\n".join(self.lines)
            threading.Event().wait(0.01)


@pytest.fixture(params=[24, 100])
def terminal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    monkeypatch.setenv("LINES", str(request.param))
    monkeypatch.setenv("TERM", "xterm-256color")
    return Terminal(request.param)


def test_the_display_stands_under_the_lines_and_is_gone_at_the_end(
    history: Any, play_mixed_run: Any, terminal: Terminal
) -> None:
    plain = io.StringIO()
    uncoloured = Console(history.context(stream=plain))
    history.play_to(Live, lambda _: uncoloured, stream=terminal, colour=True)
    emit = history.emit
    watched = []

    def shows_progress(lines: list[str]) -> bool:
        rows = [row.split()[:2] for row in lines[2:]]
        return (
            lines[0] == ""
            and lines[1].startswith("━━━─────────────────────  1 of 7 groups  3.")
            and rows == [["▸", group] for group in ("basic", "search", "slow", "financial")]
        )

    def emit_and_watch(event: Any, at: float | None = None) -> None:
        emit(event, at)
        if history.now == 3.0:  # in the middle: the transcript so far, then the bar and what runs
            above = plain.getvalue().rstrip().split("\n")
            terminal.wait_for(lambda lines: lines[:-6] == above and shows_progress(lines[-6:]))
            watched.append(history.now)

    history.emit = emit_and_watch
    play_mixed_run(history)
    assert watched
    assert history.warnings == []
    assert terminal.lines == plain.getvalue().rstrip().split("\n")
    assert not terminal.screen.cursor.hidden
    assert "\x1b[?25l" not in terminal.written  # the cursor is never hidden, so nothing can leave it so


def test_closing_in_mid_run_leaves_a_clean_terminal(history: Any, make_phase: Any, terminal: Terminal) -> None:
    history.play_to(Live, stream=terminal)
    history.start(make_phase("p", "a"))
    history.attempt("a", 0.0)
    terminal.wait_for(lambda lines: any("0 of 1 groups" in line for line in lines))
    history.reporters.close()
    assert terminal.lines[-1] == "00:00.0  ▸ started     a"
    assert not [thread for thread in threading.enumerate() if thread.name == "live"]


def test_while_the_run_is_paused_nothing_is_drawn(history: Any, make_phase: Any, terminal: Terminal) -> None:
    """Somebody else has the terminal then: what is written meanwhile stays, and the display comes back under it."""
    history.play_to(Live, stream=terminal)
    history.start(make_phase("p", "a"))
    history.attempt("a", 1.0)
    terminal.wait_for(lambda lines: lines[-1].startswith("  ▸ a "))
    history.emit(RunPaused(), 2.0)
    assert terminal.lines[-1].startswith("00:02.0  ■ paused")
    assert not [thread for thread in threading.enumerate() if thread.name == "live"]
    terminal.write("$ date\n")
    history.emit(RunResumed(seconds=7.0), 2.0)
    terminal.wait_for(lambda lines: lines[-1].startswith("  ▸ a "))
    paused, typed, resumed = [line for line in terminal.lines if line][-5:-2]
    assert paused.endswith("■ paused      all groups stand still, services go on; `fg` resumes")
    assert typed == "$ date"
    assert resumed.endswith("▸ resumed     after 7.0 s")
    history.reporters.close()


def test_without_a_thread_for_it_there_are_plain_lines(
    history: Any, make_phase: Any, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    history.play_to(Live, stream=terminal)
    history.start(make_phase("p", "a"))
    history.attempt("a", 0.0)
    assert terminal.lines[-1] == "00:00.0  ▸ started     a"
    assert history.warnings == []


@pytest.mark.filterwarnings("error")  # a thread's traceback would be one
def test_when_painting_fails_plain_lines_go_on_and_none_is_lost(
    history: Any, make_phase: Any, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines_wait = threading.Event()

    def fail(*_: object) -> None:
        lines_wait.wait(30)
        raise RuntimeError("no display today")

    monkeypatch.setattr(Live, "rows", fail)
    history.play_to(Live, stream=terminal)
    history.start(make_phase("p", "a"))
    [painter] = [thread for thread in threading.enumerate() if thread.name == "live"]
    history.attempt("a", 0.0)
    lines_wait.set()
    painter.join(30)
    history.ends("a", 1.0, "passed", 1.0)
    history.finish(1.0)
    assert history.warnings == []
    said = [line for line in terminal.lines if line.startswith("00:0")]
    assert said == ["00:00.0  ▸ started     a", "00:01.0  ✓ passed      a      1.0 s"]
    assert terminal.lines[-1] == "✓ 1 group passed"


def test_a_terminal_that_is_gone_is_reported_once(history: Any, make_phase: Any) -> None:
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(5, "Input/output error")

    history.play_to(Live, stream=Gone())
    history.start(make_phase("p", "a"))
    history.attempt("a", 0.0)
    history.ends("a", 1.0, "passed", 1.0)
    history.finish(1.0)
    assert [warning.message for warning in history.warnings] == ["live display failed: [Errno 5] Input/output error"]
    assert history.reporters.failures == []


def test_the_rows() -> None:
    running = tuple((f"group{number}", "test_a\x1b[2J", 90.0 + number) for number in (3, 1, 2))
    rows = Live.rows(Snapshot(began=0.0, total=8, ended=2, failed=1, running=running), 100.0)
    assert list(map(unpainted, rows)) == [
        "",
        "━━━━━━──────────────────  2 of 8 groups  1 failed  1 min 40 s",
        "  ▸ group1         9.0 s  test_a\\x1b[2J",
        "  ▸ group2         8.0 s  test_a\\x1b[2J",
        "  ▸ group3         7.0 s  test_a\\x1b[2J",
    ]


def test_names_in_the_rows_are_inert() -> None:
    name = "a\x1b[2J\u202e\n"
    snapshot = Snapshot(total=2, running=((name, "", 99.0),), resting=((name, None),))
    assert list(map(unpainted, Live.rows(snapshot, 100.0)))[2:] == [
        "  ▸ a\\x1b[2J\\u202e\\n         1.0 s  ",
        "  ↻ a\\x1b[2J\\u202e\\n  tries again once nothing else runs",
    ]


def test_no_more_rows_than_fit() -> None:
    running = tuple((f"g{number}", "", 0.0) for number in range(64))
    rows = Live.rows(Snapshot(total=64, running=running), 1.0)
    assert len(rows) == 13
    assert rows[-1] == "    and 54 more"


def test_a_group_between_two_attempts_is_shown_as_waiting() -> None:
    snapshot = Snapshot(
        total=3, running=(("a", "t", 99.0),), resting=(("later", 101.4), ("alone", None), ("due", 99.0))
    )
    assert list(map(unpainted, Live.rows(snapshot, 100.0)))[2:] == [
        "  ▸ a             1.0 s  t",
        "  ↻ later  tries again in 1.4 s",
        "  ↻ alone  tries again once nothing else runs",
        "  ↻ due    tries again in 0.00 s",
    ]


def test_a_group_waits_from_its_failure_to_its_next_attempt_or_its_end(
    history: Any, make_phase: Any, terminal: Terminal
) -> None:
    history.play_to(Live, stream=terminal)
    history.start(make_phase("p", "a", "b"))
    for group in "ab":
        history.attempt(group, 0.0)
        history.attempt_ends(group, 1.0, "failed", 1.0)
        history.retries(group, 1.0, 2, delay=500.0, alone=group == "b")
    terminal.wait_for(lambda lines: any("↻ a  tries again in 8 min" in line for line in lines))
    terminal.wait_for(lambda lines: any("↻ b  tries again once nothing else runs" in line for line in lines))
    history.attempt("a", 2.0, 2)
    history.ends("b", 2.0, "not_run", attempts=0)
    terminal.wait_for(lambda lines: not any("tries again" in line for line in lines[-3:]))
    assert any("▸ a " in line for line in terminal.lines[-3:])


def test_the_bar_counts_failures_that_decide(history: Any, make_phase: Any, terminal: Terminal) -> None:
    history.play_to(Live, stream=terminal)
    history.start(make_phase("p", "a", "b", "c"))
    history.ends("a", 1.0, "failed", 1.0, quarantined="known")
    terminal.wait_for(lambda lines: lines[-1].rstrip().split("  ")[1:2] == ["1 of 3 groups"])
    assert "failed" not in terminal.lines[-1]
    history.ends("b", 1.0, "failed", 1.0)
    terminal.wait_for(lambda lines: "2 of 3 groups  1 failed" in lines[-1])
