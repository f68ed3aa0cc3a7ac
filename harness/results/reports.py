"""Which report tells of a job's tests, where it is, and whether it is of this attempt.

`report_of` reads the `results` of a job: `FORMAT`, when the command prints the report, or `FORMAT:PATH`, when it writes
one or more files (PATH may be a glob). Printed ones are read as they come, files when the command has ended.

A file that was there before the attempt and has not changed since is that of another attempt: it is not read. Only
regular files are, and at most 64 MiB of one.
"""

import glob
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from harness import clock
from harness.planning.files import Tree
from harness.results.gotest import GoReader
from harness.results.junit import JunitReader
from harness.results.known import KnownTests
from harness.results.sink import Reader, Sink
from harness.results.tap import TapReader
from harness.results.text import visible

# To add a format, write a Reader (sink.py), name it here and in planning/types.py: Results.
READERS: dict[str, Callable[[Sink], Reader]] = {"junit": JunitReader, "tap": TapReader, "go": GoReader}

_MOST_BYTES = 64 * 1024 * 1024
_READ_SIZE = 64 * 1024
_SHOWN = 2  # files that a reason names

_Identity = tuple[int, int, int]


class Report(Protocol):
    """Made before the command starts."""

    def feed(self, output: bytes) -> None:
        """Something that the command printed."""
        ...

    def close(self) -> str:
        """The command has ended. What is wrong with the report, for people; empty: nothing."""
        ...


def report_of(results: str, directory: str, tests: KnownTests) -> Report:
    """The report that `results` describes. `directory` is where the command runs.

    Raises KeyError for a format that does not exist: the plan was checked before.
    """
    form, _, path = results.partition(":")
    if path:
        return _Files(READERS[form], path, directory, tests)
    return _Printed(READERS[form], tests)


class _Printed:
    """A report among the rest of the command's output."""

    def __init__(self, reader: Callable[[Sink], Reader], tests: KnownTests) -> None:
        self._reader = reader(Sink(tests, clock=clock.now))

    def feed(self, output: bytes) -> None:
        self._reader.feed(output)

    def close(self) -> str:
        problem = self._reader.close()
        return problem and f"its output {problem}"


class _Files:
    """One or more files, read when the command has ended."""

    def __init__(self, reader: Callable[[Sink], Reader], path: str, directory: str, tests: KnownTests) -> None:
        self._reader = reader
        self._path = path
        self._directory = directory
        self._tests = tests
        self._sink = Sink(tests)
        self._before = dict(self._found())

    def feed(self, output: bytes) -> None:
        pass

    def close(self) -> str:
        try:
            found = dict(self._found())
        except ValueError as error:
            return f"{visible(self._path)} cannot be looked for: {error}"
        new = [name for name, identity in found.items() if self._before.get(name) != identity]
        old = [name for name in found if name not in new]
        if not found:
            return f"{visible(self._path)} was not written: mend the command, or `results` in the plan"
        if not new:
            return f"{_some(old)} is left from before, and was not written again"
        if old:
            self._tests.warn(f"left from before, and not read: {_some(old)}")
        problems = [f"{visible(name)} {problem}" for name in new if (problem := self._read(name))]
        more = len(problems) - _SHOWN
        return "; ".join(problems[:_SHOWN]) + (f"; and {more} more like that" if more > 0 else "")

    def _found(self) -> Iterator[tuple[str, _Identity]]:
        """The files that are there now, in order, and what changes when one is written."""
        names = [self._path]
        if glob.has_magic(self._path):
            # glob.glob would follow links that lead upward, for ever.
            names = list(Tree(Path(self._directory), "").glob(self._path))
        for name in sorted(names):
            try:
                status = Path(self._directory, name).stat()
            except (OSError, ValueError):
                continue
            if not stat.S_ISDIR(status.st_mode):
                yield name, (status.st_mtime_ns, status.st_size, status.st_ino)

    def _read(self, name: str) -> str:
        """Tell of the tests in a file; what is wrong with it."""
        reader = self._reader(replace(self._sink, file=visible(name) if name != self._path else ""))
        try:
            # Opening a named pipe would wait for a writer.
            descriptor = os.open(Path(self._directory, name), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return "is not a regular file"
            try:
                size = 0
                while data := file.read(_READ_SIZE):
                    size += len(data)
                    if size > _MOST_BYTES:
                        reader.close()
                        return f"is larger than {_MOST_BYTES >> 20} MiB: write several, and name them by a glob"
                    reader.feed(data)
            except OSError as error:
                return f"cannot be read: {error.strerror}"
        return reader.close()


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(visible(name) for name in names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
