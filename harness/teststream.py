"""The tests of one attempt, as its process reports them: bytes of the side pipe in, test events out.

The protocol, one JSON object a line, written by harness/pytest_plugin:

    {"event": "begin"}                                    the session has begun
    {"event": "start", "id": ID}
    {"event": "finish", "id": ID, "status": STATUS, "duration": SECONDS, "message": LINE, "details": TEXT}
    {"event": "end"}                                      the session is over; without it, the process died before

STATUS is one of TestStatus. A `finish` without a `start` is a file that could not be collected. The other end is in the
hands of whatever the tests do, so nothing is believed: what is no such line is dropped, with one warning, and no line
may be longer than 1 MiB.
"""

import time
from collections.abc import Callable

import msgspec

from harness.events import TestFinished, TestStarted, Warned
from harness.model import TestResult, TestStatus

_LONGEST_LINE = 1024 * 1024


class _Message(msgspec.Struct, tag_field="event", tag=lambda name: name.strip("_").lower()):
    pass


class _Begin(_Message):
    pass


class _Start(_Message):
    id: str


class _Finish(_Message):
    id: str
    status: TestStatus
    duration: float
    message: str = ""
    details: str = ""


class _End(_Message):
    pass


_decoder = msgspec.json.Decoder(_Begin | _Start | _Finish | _End)


class TestStream:
    """What is known of the tests of one attempt. Hands each event on as it comes."""

    __test__ = False

    def __init__(self, group: str, attempt: int, notify: Callable[[TestStarted | TestFinished | Warned], None]) -> None:
        self._group = group
        self._attempt = attempt
        self._notify = notify
        self._line = bytearray()
        self._overlong = False
        self._warned = False
        self._began = self._ended = False
        self._running: dict[str, float] = {}  # id -> monotonic start
        self.finished = 0
        self.failed: list[str] = []  # ids of those that failed or had an error, in order

    @property
    def running(self) -> list[str]:
        """The tests that have started and not finished."""
        return list(self._running)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing: every test has finished, and so has the session, if one began."""
        return not self._running and self._began == self._ended

    def feed(self, data: bytes) -> None:
        first, *others = data.split(b"\n")
        self._append(first)
        for piece in others:
            self._take_line()
            self._append(piece)

    def close(self, reason: str) -> None:
        """The process is gone: what still ran ends as an error, for `reason`, so that reports account for it."""
        for test, started in list(self._running.items()):
            duration = time.monotonic() - started
            self._finish(_Finish(id=test, status=TestStatus.ERROR, duration=duration, message=reason))

    def _append(self, piece: bytes) -> None:
        if len(self._line) + len(piece) > _LONGEST_LINE:
            self._overlong = True
        elif not self._overlong:
            self._line += piece

    def _take_line(self) -> None:
        line, overlong = bytes(self._line), self._overlong
        self._line.clear()
        self._overlong = False
        if overlong:
            self._warn("a line of more than 1 MiB")
        elif line:
            try:
                message = _decoder.decode(line)
            except (msgspec.MsgspecError, ValueError) as error:
                self._warn(f"{line[:80]!r}: {error}")
            else:
                self._receive(message)

    def _receive(self, message: _Begin | _Start | _Finish | _End) -> None:
        match message:
            case _Begin():
                self._began = True
            case _Start(id=test):
                self._running[test] = time.monotonic()
                self._notify(TestStarted(group=self._group, attempt=self._attempt, test=test))
            case _Finish():
                self._finish(message)
            case _End():
                self._ended = True

    def _finish(self, message: _Finish) -> None:
        self._running.pop(message.id, None)
        self.finished += 1
        if message.status in (TestStatus.FAILED, TestStatus.ERROR):
            self.failed.append(message.id)
        result = TestResult(
            id=message.id,
            status=message.status,
            duration=message.duration,
            message=message.message,
            details=message.details,
        )
        self._notify(TestFinished(group=self._group, attempt=self._attempt, result=result))

    def _warn(self, what: str) -> None:
        if not self._warned:
            self._warned = True
            self._notify(Warned(message=f"{self._group}: not a test event, dropped (and any more like it): {what}"))
