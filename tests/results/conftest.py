"""What a reader makes of a report."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from harness.events import TestFinished, TestStarted, Warned
from harness.model import TestResult, TestStatus
from harness.results import READERS, KnownTests, Sink


@dataclass
class Reading:
    """All that came of one report."""

    events: list[TestStarted | TestFinished | Warned] = field(default_factory=list)
    problem: str = ""

    def __post_init__(self) -> None:
        self.tests = KnownTests("search", 1, self.events.append)

    @property
    def results(self) -> list[TestResult]:
        return [event.result for event in self.events if isinstance(event, TestFinished)]

    @property
    def statuses(self) -> dict[str, str]:
        """By id, in order. No id comes twice."""
        statuses = {result.id: result.status.value for result in self.results}
        assert len(statuses) == len(self.results)
        return statuses

    @property
    def is_good(self) -> bool:
        """Whether the group would pass, had its command ended with 0."""
        return bool(self.results) and not (self.problem or self.tests.failed or self.tests.running)

    def of(self, test: str) -> TestResult:
        return next(result for result in self.results if result.id == test)


Read = Callable[..., Reading]


def read_report(form: str, data: bytes | str, *, piece: int = 0, file: str = "") -> Reading:
    """Feed `data` to the reader of that format, `piece` bytes at a time."""
    reading = Reading()
    reader = READERS[form](Sink(reading.tests, file=file))
    data = data.encode() if isinstance(data, str) else data
    step = piece or len(data) or 1
    for begin in range(0, len(data), step):
        reader.feed(data[begin : begin + step])
    reading.problem = reader.close()
    for result in reading.results:
        assert result.status in TestStatus
        assert "\n" not in result.message
        assert result.duration >= 0
    return reading


@pytest.fixture(name="read", scope="session")
def _read() -> Read:
    return read_report
