"""What is known of the tests of one attempt. Whoever learns something says it here, and it becomes an event at once.

Protocol: `start` and `finish` in any order and number; `finish` alone is a test of which only the end was told. `close`
when nothing more can come. It must not judge what a result means for the group.
"""

from collections.abc import Callable

import msgspec

from harness import clock
from harness.events import TestFinished, TestStarted, Warned
from harness.model import TestResult, TestStatus

Tell = Callable[[TestStarted | TestFinished | Warned], None]


class KnownTests:
    """The tests of one attempt. Hands each event on as it comes."""

    __test__ = False

    def __init__(
        self, group: str, attempt: int, notify: Tell, part: str = "", mask: Callable[[str], str] = str
    ) -> None:
        """`mask` is for those who cut a text short: half a secret would not be known for one afterwards."""
        self.mask = mask
        self._group = group
        self._part = part
        self._attempt = attempt
        self._notify = notify
        self._running: dict[str, tuple[float, float]] = {}  # id -> when it began, what the clock had stood by then
        self.finished = 0
        self.failed: list[str] = []  # ids of those that failed or had an error, in order
        self.why_none = ""  # what the report says itself about having no tests

    @property
    def running(self) -> list[str]:
        """The tests that have started and not finished."""
        return list(self._running)

    def start(self, test: str) -> None:
        self._running[test] = clock.now(), clock.stood()
        self._notify(TestStarted(group=self._group, part=self._part, attempt=self._attempt, test=test))

    def finish(self, result: TestResult) -> None:
        _, stood = self._running.pop(result.id, (0.0, clock.stood()))
        if paused := clock.stood() - stood:  # whoever measured it does not know of pauses
            result = msgspec.structs.replace(result, duration=max(0.0, result.duration - paused))
        self.finished += 1
        if result.status in (TestStatus.FAILED, TestStatus.ERROR):
            self.failed.append(result.id)
        self._notify(TestFinished(group=self._group, part=self._part, attempt=self._attempt, result=result))

    def close(self, reason: str) -> None:
        """The process is gone: what still ran ends as an error, for `reason`, so that reports account for it."""
        for test, (started, _) in list(self._running.items()):
            del self._running[test]
            duration = clock.now() - started
            self.finish(TestResult(id=test, status=TestStatus.ERROR, duration=duration, message=reason))

    def warn(self, message: str) -> None:
        self._notify(Warned(message=f"{self._group}: {message}"))
