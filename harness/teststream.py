"""The tests of one attempt, as its process reports them: bytes of the side pipe in, test events out.

The protocol, one JSON object a line, written by harness/pytest_plugin:

    {"event": "begin"}                                    the session has begun
    {"event": "start", "id": ID}
    {"event": "finish", "id": ID, "status": STATUS, "duration": SECONDS, "message": LINE, "details": TEXT,
     "cpu_seconds": SECONDS, "memory_growth": BYTES}      the last two are null where nobody could measure them
    {"event": "end"}                                      the session is over; without it, the process died before

STATUS is one of TestStatus. A `finish` without a `start` is a file that could not be collected. The other end is in the
hands of whatever the tests do, so nothing is believed: what is no such line is dropped, with one warning, and no line
may be longer than 1 MiB.
"""

from typing import Annotated

import msgspec

from harness.model import TestResult, TestStatus
from harness.results.known import KnownTests
from harness.results.lines import Lines
from harness.results.text import Excerpt, message_of, span_of

# Whole, because tests are run again by it: longer ones are no tests that pytest could be asked for.
_Id = Annotated[str, msgspec.Meta(max_length=20_000)]


class _Message(msgspec.Struct, tag_field="event", tag=lambda name: name.strip("_").lower()):
    pass


class _Begin(_Message):
    pass


class _Start(_Message):
    id: _Id


class _Finish(_Message):
    id: _Id
    status: TestStatus
    duration: float
    message: str = ""
    details: str = ""
    cpu_seconds: float | None = None
    memory_growth: Annotated[int, msgspec.Meta(ge=0, lt=2**62)] | None = None


class _End(_Message):
    pass


_decoder = msgspec.json.Decoder(_Begin | _Start | _Finish | _End)


class TestStream:
    """Tells `tests` what comes down the pipe of one attempt."""

    __test__ = False

    def __init__(self, tests: KnownTests) -> None:
        self._tests = tests
        self._lines = Lines()
        self._warned = False
        self._began = self._ended = False

    def feed(self, data: bytes) -> None:
        for line, is_cut in self._lines.feed(data):
            self._take(line, is_cut)

    def close(self) -> str:
        """The process is gone. What is missing, for people; empty: the session is over, or none began."""
        return "" if self._began == self._ended else "its tests were not over"

    def _take(self, line: bytes, is_cut: bool) -> None:
        if is_cut:
            self._warn("a line of more than 1 MiB")
        elif line:
            try:
                message = _decoder.decode(line)
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                shown = self._tests.mask(line.decode(errors="backslashreplace"))
                self._warn(f"{shown[:80]!r}: {error}")
            else:
                self._receive(message)

    def _receive(self, message: _Begin | _Start | _Finish | _End) -> None:
        match message:
            case _Begin():
                self._began = True
            case _Start(id=test):
                self._tests.start(test)
            case _Finish():
                self._tests.finish(
                    TestResult(
                        id=message.id,
                        status=message.status,
                        duration=span_of(message.duration),
                        message=message_of(message.message),
                        details=str(Excerpt(message.details)),
                        cpu_seconds=None if message.cpu_seconds is None else span_of(message.cpu_seconds),
                        memory_growth=message.memory_growth,
                    )
                )
            case _End():
                self._ended = True

    def _warn(self, what: str) -> None:
        if not self._warned:
            self._warned = True
            self._tests.warn(f"not a test event, dropped (and any more like it): {what}")
