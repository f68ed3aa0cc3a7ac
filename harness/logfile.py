"""A log of what processes print: their bytes as they come, but for secrets, and for the middle of what is too much.

Protocol: `open`, then `write` and `write_line` in one thread, then `close`. What goes into the file is told to `show`
as well, but for lines of our own. A problem with the file is kept as a message, not raised: it comes in the midst of
other work, and whoever prints must not be kept waiting. After one the output is still shown.

With a limit, a log that is opened gets so many bytes more at the most: first what is printed first, then, when it is
closed, one line that says how much is left out, and the end, which is kept in memory meanwhile. There the failure is.
"""

import os
import stat
from collections.abc import Callable

from harness.files import open_private
from harness.masking import Secrets, Stream
from harness.values import shown_size

_LONGEST_END = 256 * 1024  # bytes
_MARKER_SIZE = 100  # bytes: no marker is longer


def nobody(_data: object) -> None:
    """Shows nothing."""


Data = bytes | memoryview


class LogFile:
    """One opening of a log, to which it appends."""

    def __init__(
        self, path: str, secrets: Secrets, *, limit: int | None = None, show: Callable[[Data], None] = nobody
    ) -> None:
        """`limit`: bytes; None: there is none. What `show` is told is good until it returns."""
        self._path = path
        self._stream = Stream(secrets)
        self._secrets = secrets
        self._show = show
        self._descriptor = -1
        self._is_at_line_start = True
        self._limit = limit
        self._end_size = min(_LONGEST_END, limit // 2) if limit else 0
        self._room = limit - self._end_size if limit else None  # bytes of the beginning that are still to come
        self._end = bytearray()
        self._left_out = 0
        self._beginning_ends_line = True
        self.problem = ""

    def open(self) -> bool:
        """False: there is a problem."""
        try:
            self._descriptor = open_private(self._path, os.O_RDWR | os.O_APPEND)
            status = os.fstat(self._descriptor)
            if stat.S_ISREG(status.st_mode) and status.st_size:
                self._is_at_line_start = os.pread(self._descriptor, 1, status.st_size - 1) == b"\n"
        except OSError as error:
            return self._fail(error)
        return True

    def write_line(self, line: str) -> bool:
        """A line of our own, without its newline. False: there is a problem."""
        self._take(self._stream.close())
        start = "" if self._is_at_line_start else "\n"
        return self._take(f"{start}{self._secrets.text(line)}\n".encode(errors="backslashreplace"), is_shown=False)

    def write(self, data: Data) -> bool:
        """What was printed. False: there is a problem, now or since earlier."""
        return self._take(data if self._stream.lets_all_through else self._stream.feed(bytes(data)))

    def close(self) -> None:
        self._take(self._stream.close())
        self._write_end()
        if self._descriptor >= 0:
            try:
                os.close(self._descriptor)
            except OSError as error:  # a network file system reports a full disk only here
                self._fail(error)
            self._descriptor = -1

    def _take(self, data: Data, *, is_shown: bool = True) -> bool:
        if not data:
            return not self.problem
        self._is_at_line_start = data[-1:] == b"\n"
        if self._room is not None:
            beginning, rest = data[: self._room], data[self._room :]
            self._room -= len(beginning)
            self._keep(rest)
            data = beginning
        if data:
            self._beginning_ends_line = data[-1:] == b"\n"
        if data and is_shown:
            self._show(data)
        return self._append(data)

    def _keep(self, data: Data) -> None:
        self._end += data
        # Not every time, or short pieces would move all of it for each.
        if len(self._end) > 2 * _LONGEST_END:
            self._cut(self._end_size)

    def _cut(self, size: int) -> None:
        beyond = max(len(self._end) - size, 0)
        self._left_out += beyond
        del self._end[:beyond]

    def _write_end(self) -> None:
        if self._left_out or len(self._end) > self._end_size:
            self._cut(self._end_size - _MARKER_SIZE)
            newline = self._end.find(b"\n", 0, self._end_size // 2)  # to the beginning of a line, if one is near
            self._cut(len(self._end) - newline - 1)
            start = "" if self._beginning_ends_line else "\n"
            told = (
                f"{start}=== {shown_size(self._left_out)} left out here: log_limit is {shown_size(self._limit or 0)}\n"
            )
            self._end[:0] = told.encode()
        end, self._end, self._left_out = bytes(self._end), bytearray(), 0
        if end:
            self._show(end)
            self._append(end)

    def _append(self, data: Data) -> bool:
        if self.problem:
            return False
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            return self._fail(error)
        return True

    def _fail(self, error: OSError) -> bool:
        self.problem = self.problem or f"cannot write the log {self._path}: {error.strerror}"
        return False
