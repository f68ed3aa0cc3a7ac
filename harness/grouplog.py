"""The log of a group, as its attempts write it: a header line, then what its processes print, byte for byte."""

import os
import shlex
import stat
import time

from harness.files import open_private
from harness.model import Job


class GroupLog:
    """A group's log. A problem with it is kept as a message, not raised: it comes in the midst of other work."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1
        self.problem = ""

    def open(self, header: str) -> bool:
        """Open it for appending, and write the header on a line of its own. False: there is a problem."""
        try:
            self._descriptor = open_private(self._path, os.O_RDWR | os.O_APPEND)
        except OSError as error:
            return self._fail(error)
        return self.write_line(header)

    def write_line(self, line: str) -> bool:
        """As `write`, on a line of its own."""
        try:
            start = b"" if self._is_at_line_start() else b"\n"
        except OSError as error:
            return self._fail(error)
        return self.write(start + line.encode(errors="backslashreplace"))

    def write(self, data: bytes) -> bool:
        """Append all of `data`. False: there is a problem, now or since earlier."""
        if self.problem:
            return False
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            return self._fail(error)
        return True

    def close(self) -> None:
        if self._descriptor >= 0:
            try:
                os.close(self._descriptor)
            except OSError as error:  # a network file system reports a full disk only here
                self._fail(error)

    def _is_at_line_start(self) -> bool:
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
            return True
        return os.pread(self._descriptor, 1, status.st_size - 1) == b"\n"

    def _fail(self, error: OSError) -> bool:
        self.problem = self.problem or f"cannot write the log {self._path}: {error.strerror}"
        return False


def header_of(job: Job, started_at: float) -> str:
    """The line under which the output of an attempt stands."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(started_at))
    line = f"=== {job.name} · attempt {job.attempt} · {when} · slot {job.slot} · $ {shlex.join(job.argv)}"
    return f"{on_one_line(line)}\n"


def on_one_line(text: str) -> str:
    """On one line: a command of several must not make a header of several."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
