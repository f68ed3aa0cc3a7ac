"""What is said of a run while it goes on: each event as lines of text, in order.

Protocol: a Transcript is handed events and live output, and says whole lines to whoever it was made for: the console,
the live display, the main log. They say the same because it is the same class. Text is painted as text.py defines.

It must not depend on where its lines go: no width, no terminal, no encoding.
"""

from collections import Counter
from collections.abc import Callable

from harness.events import (
    AttemptFinished,
    AttemptSpawned,
    AttemptStarted,
    GroupFinished,
    PhaseStarted,
    RetryScheduled,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    ServiceFailed,
    ServiceReady,
    SignalReceived,
    Stamped,
    TestFinished,
    TestStarted,
    Warned,
)
from harness.model import Phase, part_name
from harness.record import FAILED_TESTS
from harness.reporters.base import Context, Detail
from harness.reporters.summary import LISTED_TESTS, glyph_of, log_tail, marks, summary, why
from harness.reporters.text import (
    BOLD,
    CYAN,
    DIM,
    GREEN,
    RED,
    YELLOW,
    clean,
    paint,
    plural,
    printable,
    seconds,
)

WIDEST_NAME = 32
COMMIT = 12  # characters of it that are shown
UNFINISHED_LINE = 8 * 1024  # bytes after which output without a newline is shown all the same
PREFIX_COLOURS = (CYAN, "35", "34", YELLOW, GREEN, "36;1", "35;1", "34;1")

Say = Callable[[list[str]], None]


class Transcript:
    """Says one run to one listener."""

    def __init__(self, context: Context, say: Say) -> None:
        self._context = context
        self._record = context.record
        self._say = say
        self._partial: dict[str, bytearray] = {}  # of each group, the line that it has not ended yet
        self._prefixes: dict[str, str] = {}  # of each group, what its output stands behind
        self._width = 0
        self._after_gap = False

    def handle(self, stamped: Stamped) -> None:
        if isinstance(stamped.data, AttemptFinished):
            self._end_line(stamped.data.outcome.name)
        elif isinstance(stamped.data, RunFinished):
            self.close()
        lines = self._lines(stamped)
        if lines:
            self._say(lines)
            self._after_gap = not lines[-1]

    def output(self, group: str, data: bytes) -> None:
        """Live output: whole lines, each behind the name of its group or part, so that those of two never mix."""
        if self._context.detail is not Detail.VERBOSE:
            return
        partial = self._partial.setdefault(group, bytearray())
        partial += data
        ended = partial.rfind(b"\n") + 1
        if not ended and len(partial) > UNFINISHED_LINE:
            ended = len(partial)
        if ended:
            text = bytes(partial[:ended]).decode("utf-8", "replace")
            del partial[:ended]
            self._say([self._prefixed(group, line) for line in text.removesuffix("\n").split("\n")])

    def close(self) -> None:
        """Say what was held back of lines that nothing ended."""
        for group in list(self._partial):
            self._end_line(group)

    def _end_line(self, group: str) -> None:
        partial = self._partial.pop(group, None)
        if partial:
            self._say([self._prefixed(group, partial.decode("utf-8", "replace"))])

    def _prefixed(self, group: str, line: str) -> str:
        return f"{self._prefixes.get(group) or self._prefix(group)} {clean(line)}".rstrip()

    def _measure(self) -> None:
        self._width = min(WIDEST_NAME, max((len(printable(name)) for name in self._record.groups), default=0))
        if self._context.detail is Detail.VERBOSE:
            for name in self._record.groups:
                self._prefix(name)

    def _prefix(self, name: str) -> str:
        """Of a group, or of a part that prints something."""
        colour = PREFIX_COLOURS[len(self._prefixes) % len(PREFIX_COLOURS)]
        self._prefixes[name] = paint(f"{self._named(name)} │", colour)
        return self._prefixes[name]

    def _lines(self, stamped: Stamped) -> list[str]:
        quiet = self._context.detail is Detail.COMPACT
        match stamped.data:
            case AttemptSpawned() | AttemptFinished() | TestStarted():  # most of all there are
                return []
            case RunStarted() as event:
                self._measure()
                return _announcement(event, self._context)
            case PhaseStarted() as event if not quiet:
                title = paint(printable(event.phase), BOLD)
                return [title] if self._after_gap else ["", title]
            case ServiceReady() as event if not quiet:
                return [_said(stamped, GREEN, "✓", "service", self._service(event))]
            case ServiceFailed() as event:
                return self._service_failed(stamped, event)
            case AttemptStarted() as event if not quiet and (event.attempt > 1 or self._is_first(event)):
                return [self._attempt_started(stamped, event)]
            case RetryScheduled() as event if not quiet:
                return [self._retry_scheduled(stamped, event)]
            case TestFinished() as event if event.result.status in FAILED_TESTS:
                return self._test_failed(stamped, event)
            case GroupFinished() as event if event.result.status.is_failure or not quiet:
                return self._group_finished(stamped, event)
            case SignalReceived() as event:
                return [_said(stamped, YELLOW, "■", printable(event.signal), printable(event.response))]
            case RunPaused():
                return [_said(stamped, YELLOW, "■", "paused", "all groups stand still, services go on; `fg` resumes")]
            case RunResumed() as event:
                return [_said(stamped, YELLOW, "▸", "resumed", f"after {seconds(event.seconds)}")]
            case Warned() as event:
                return [_said(stamped, YELLOW, "■", "warning", printable(event.message))]
            case RunFinished():
                return summary(self._context)
        return []

    def _service(self, event: ServiceReady) -> str:
        port = self._record.services[event.service].port
        where = f" on port {port}" if port else ""
        return f"{printable(event.service)} ready in {seconds(event.seconds)}{where}"

    def _service_failed(self, stamped: Stamped, event: ServiceFailed) -> list[str]:
        line = _said(stamped, RED, "✗", "service", f"{printable(event.service)} failed: {printable(event.reason)}")
        return [line, *log_tail(self._context, event.log)]

    def _named(self, group: str) -> str:
        return f"{printable(group):<{self._width}}"

    def _is_first(self, event: AttemptStarted) -> bool:
        """Whether its group starts with it: of all parts, that of the first is told."""
        return len(self._record.groups[event.group].parts) == 1

    def _attempt_started(self, stamped: Stamped, event: AttemptStarted) -> str:
        if event.attempt == 1:
            return _said(stamped, DIM, "▸", "started", printable(event.group))
        told = f"attempt {event.attempt} of {self._record.groups[event.group].group.retries + 1}"
        name = part_name(event.group, event.part)
        return _said(stamped, YELLOW, "↻", "retry", f"{self._named(name)}  {told}")

    def _retry_scheduled(self, stamped: Stamped, event: RetryScheduled) -> str:
        before = self._record.groups[event.group].attempts[-1]
        when = "once nothing else runs" if event.alone else f"in {seconds(event.delay)}"
        told = ", ".join(filter(None, (printable(before.reason), f"tries again {when}")))
        name = part_name(event.group, event.part)
        line = f"{self._named(name)}  {seconds(before.duration):>9}  {told}"
        return _said(stamped, YELLOW, "↻", before.status.value, line)

    def _test_failed(self, stamped: Stamped, event: TestFinished) -> list[str]:
        failed = len(self._record.groups[event.group].failed_tests)
        if failed > LISTED_TESTS:
            return []
        test = event.result
        told = f"{self._named(event.group)}  {seconds(test.duration):>9}  {printable(test.id)}"
        lines = [_said(stamped, RED, "✗", "test", told)]
        if test.message:
            lines.append(_below(paint(printable(test.message), DIM)))
        if failed == LISTED_TESTS:
            lines.append(_below(paint("more failures of this group are in its log", DIM)))
        return lines

    def _group_finished(self, stamped: Stamped, event: GroupFinished) -> list[str]:
        result = event.result
        record = self._record.groups[result.group]
        took = seconds(result.duration) if result.attempts else ""
        told = ", ".join(filter(None, (why(record), *marks(result))))
        glyph, colour = glyph_of(result)
        line = f"{self._named(result.group)}  {took:>9}  {told}".rstrip()
        lines = [_said(stamped, colour, glyph, result.status.value, line)]
        if result.status.is_failure and record.log:
            lines.append(_below(f"{paint('log', DIM)} {self._context.shown(record.log)}"))
        return lines


def _clock(elapsed: float) -> str:
    minutes, rest = divmod(int(elapsed * 10) / 10, 60)
    return f"{int(minutes):02}:{rest:04.1f}"


def _said(stamped: Stamped, colour: str, glyph: str, word: str, rest: str) -> str:
    return f"{paint(_clock(stamped.elapsed), DIM)}  {paint(f'{glyph} {word:<11}', colour)} {rest}"


def _below(text: str) -> str:
    """Under the text of the line before."""
    return f"{'':23}{text}"


def _announcement(event: RunStarted, context: Context) -> list[str]:
    """What is about to run."""
    total = sum(len(phase.groups) for phase in event.phases if phase.name not in event.off)
    jobs = f"{event.jobs} at a time" if event.parallel else "one at a time"
    stop = f" · stops after {plural(event.fail_fast, 'failure')}" if event.fail_fast else ""
    shard = f" · shard {printable(event.shard)}" if event.shard else ""
    shuffled = f" · shuffled, seed {event.seed}" if event.shuffled else ""
    about = f" · {printable(event.environment)} · {plural(total, 'group')}, {jobs}{stop}{shard}{shuffled}"
    head = paint(f"Run {event.run_id}", BOLD) + about
    if context.detail is Detail.COMPACT:
        return [head]
    lines = [head, ""]
    width = max((len(printable(phase.name)) for phase in event.phases), default=0)
    for phase in event.phases:
        count = plural(len(phase.groups), "group")
        lines.append(f"  {printable(phase.name):<{width}}  {count:<10}  {_about(phase, event.off)}".rstrip())
    if event.deselected:
        left_out = f"{plural(event.deselected, 'group')} not selected"
        lines.append(f"  {paint(left_out, DIM)}")
    if event.commit:
        changes = " and uncommitted changes" if event.dirty else ""
        lines.append(f"  {paint(f'commit {printable(event.commit)[:COMMIT]}{changes}', DIM)}")
    logs = context.shown(event.log_dir)
    return [*lines, "", f"  {paint('each group logs to', DIM)} {logs}/GROUP_{event.run_id}.log", ""]


def _about(phase: Phase, off: dict[str, str]) -> str:
    if phase.name in off:
        return paint(f"off: {printable(off[phase.name])}", YELLOW)
    categories = Counter(group.category for group in phase.groups)
    told = [f"{printable(name or 'no category')} {count}" for name, count in categories.items()]
    return ", ".join(["one at a time"] * phase.sequential + (told if any(categories) else []))
