"""The reporters: they consume events, and nothing else. One Protocol (base.py), one dict of names, one fan-out.

Protocol: the loop makes `Reporters` once, calls `handle` for every event and `output` for live output, and `close` at
the end, all from one thread. What comes back are warnings for it to emit.

Where do I add one? A class in a module here, its name in REPORTERS, and a place in `standard`.
"""

from collections.abc import Callable, Iterable
from operator import methodcaller

from harness.events import Stamped, Warned
from harness.record import RunRecord
from harness.reporters.base import Context, Detail, Reporter
from harness.reporters.console import Console, MainLog
from harness.reporters.github import GitHub
from harness.reporters.journal import Journal
from harness.reporters.junit import JUnit
from harness.reporters.live import Live
from harness.reporters.report_json import JsonReport
from harness.reporters.status import StatusFiles
from harness.reporters.trace import Trace

REPORTERS: dict[str, Callable[[Context], Reporter]] = {
    "journal": Journal,
    "status": StatusFiles,
    "json": JsonReport,
    "junit": JUnit,
    "trace": Trace,
    "mainlog": MainLog,
    "console": Console,
    "live": Live,
    "github": GitHub,
}


def standard(context: Context, *, live: bool, github: bool) -> list[Reporter]:
    """The reporters of a run, in the order in which they hear of an event: the truth first, the eyes last.

    With `live` the console redraws itself, unless the groups' own output is shown, which would flicker.
    """
    eyes = "live" if live and context.detail is not Detail.VERBOSE else "console"
    names = ["journal", "status", "json", "junit", "trace", "mainlog", eyes, *(["github"] if github else [])]
    return [REPORTERS[name](context) for name in names]


class Reporters:
    """All reporters of a run as one. Brings the shared record up to date before any of them hears of an event.

    One for the eyes that fails is detached. A durable one is kept, since what it still can write is worth having, and
    its first failure is remembered in `failures`, for the loop to change the exit code.
    """

    def __init__(self, record: RunRecord, reporters: Iterable[Reporter]) -> None:
        self._record = record
        self._reporters = list(reporters)
        self._failed: set[str] = set()
        self.failures: list[str] = []

    def has_failed(self, name: str) -> bool:
        return name in self._failed

    def handle(self, stamped: Stamped) -> list[Warned]:
        self._record.apply(stamped)
        return self._each(methodcaller("handle", stamped))

    def output(self, group: str, data: bytes) -> list[Warned]:
        return self._each(methodcaller("output", group, data))

    def close(self) -> list[Warned]:
        """Close every reporter, whatever the others do. Only what is durable can still change anything."""
        return self._each(methodcaller("close"))

    def _each(self, do: Callable[[Reporter], None]) -> list[Warned]:
        warnings = []
        for reporter in list(self._reporters):
            try:
                do(reporter)
            except Exception as error:  # whatever a reporter does, the run goes on and the others hear of it
                warnings += self._note(reporter, error)
        return warnings

    def _note(self, reporter: Reporter, error: Exception) -> list[Warned]:
        if not reporter.durable and reporter in self._reporters:
            self._reporters.remove(reporter)
            try:
                reporter.close()
            except Exception:  # it has failed already: this only gives it the chance to tidy up
                pass
        if reporter.name in self._failed:
            return []
        self._failed.add(reporter.name)
        reason = f"{reporter.name} failed: {error or type(error).__name__}"
        if reporter.durable:
            self.failures.append(reason)
        return [Warned(message=reason)]


__all__ = ["REPORTERS", "Context", "Detail", "Reporter", "Reporters", "standard"]
