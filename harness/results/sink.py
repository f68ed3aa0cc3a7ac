"""What a reader is, and whom it tells.

A reader is fed the bytes of one report in pieces of any size, and tells its Sink of each test as soon as it can. It
never raises. `close` says what is wrong with the report as a whole, in words that follow the report's name ("has no
plan"); empty: nothing, and every test that it promised has been told.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from harness.model import TestResult, TestStatus
from harness.results.known import KnownTests
from harness.results.text import Excerpt, message_of, name_of, span_of


class Reader(Protocol):
    """Knows one format. Made with the Sink that it tells."""

    def feed(self, data: bytes) -> None: ...

    def close(self) -> str:
        """The report is over. What is wrong with it; empty: it is whole."""
        ...


def _standing_still() -> float:
    return 0.0


@dataclass(frozen=True, slots=True)
class Sink:
    """Takes what readers tell, and hands it to the tests of the attempt: every id once, every text bounded."""

    tests: KnownTests
    file: str = ""  # the report's file, where there may be others beside it
    clock: Callable[[], float] = _standing_still  # of a report that is read when all is over, arrival means nothing
    taken: dict[str, int] = field(default_factory=dict)  # id -> the number that its next namesake gets

    def start(self, name: str) -> str:
        """A test has begun. Returns the id under which `finish` must tell its end."""
        test = self._unique(name)
        self.tests.start(test)
        return test

    def finish(self, test: str, status: TestStatus, seconds: float, message: str = "", details: str = "") -> None:
        """The end of a test that `start` told."""
        self.tests.finish(
            TestResult(
                id=test,
                status=status,
                duration=span_of(seconds),
                message=message_of(self.tests.mask(message)),
                details=str(Excerpt(self.tests.mask(details))),
            )
        )

    def add(self, name: str, status: TestStatus, seconds: float, message: str = "", details: str = "") -> None:
        """A test of which only the end is told."""
        self.finish(self._unique(name), status, seconds, message, details)

    def _unique(self, name: str) -> str:
        """The name, or `NAME (2)` for the second of that name: reruns and quarantine know a test by its id."""
        name = name_of(name) or "(no name)"
        test, number = name, self.taken.get(name, 1)
        while test in self.taken:
            number += 1
            test = f"{name} ({number})"
        self.taken[name] = number
        self.taken.setdefault(test, 1)
        return test
