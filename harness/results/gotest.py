"""Reads what `go test -json` prints: one JSON object a line, as `go doc test2json` describes them.

Packages run side by side, so their lines are mixed. A test's id is PACKAGE::TEST, and subtests (`TestA/one`) are tests
of their own beside their parents, which fail with them, as go has it. A package that fails without a failed test (it
does not compile, it panics outside of a test) is one error, whose id is the package's name.

Lines that are no such object are ordinary output: go and the tests print those between.
"""

from dataclasses import dataclass, field

import msgspec

from harness.model import TestStatus
from harness.results.lines import Lines
from harness.results.sink import Sink
from harness.results.text import Excerpt, name_of

_ENDS = {
    "pass": TestStatus.PASSED,
    "bench": TestStatus.PASSED,
    "fail": TestStatus.FAILED,
    "skip": TestStatus.SKIPPED,
}
_FRAMES = ("===", "---", "# ")  # lines by which go says what the events say too


class _Event(msgspec.Struct, rename="pascal"):
    action: str
    package: str = ""
    test: str = ""
    elapsed: float = 0.0
    output: str = ""
    import_path: str = ""  # of what is being built
    failed_build: str = ""  # the import path because of which a package fails


_decoder = msgspec.json.Decoder(_Event)


@dataclass(slots=True)
class _Test:
    id: str
    output: Excerpt = field(default_factory=Excerpt)


@dataclass(slots=True)
class _Package:
    running: dict[str, _Test] = field(default_factory=dict)
    output: Excerpt = field(default_factory=Excerpt)
    failed: bool = False  # whether one of its tests has


class GoReader:
    """A Reader of one stream of `go test -json`."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._lines = Lines()
        self._packages: dict[str, _Package] = {}  # those that have begun and not ended
        self._builds: dict[str, Excerpt] = {}
        self._failed_builds: dict[str, None] = {}
        self._ended = 0  # packages

    def feed(self, data: bytes) -> None:
        for line, _ in self._lines.feed(data):
            self._take(line)

    def close(self) -> str:
        self._take(self._lines.rest()[0])
        if self._packages:
            return f"does not say how package {name_of(next(iter(self._packages))) or '(no name)'} ended"
        if self._failed_builds:
            return f"tells of a failed build: {name_of(next(iter(self._failed_builds)))}"
        return "" if self._ended else "has nothing in it that `go test -json` prints"

    def _take(self, line: bytes) -> None:
        if not line.startswith(b"{"):
            return
        try:
            event = _decoder.decode(line)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return
        match event.action:
            case "start" | "run":
                self._begin(event)
            case "output":
                self._output(event)
            case "pass" | "bench" | "fail" | "skip" if event.test:
                self._end_test(event)
            case "pass" | "fail" | "skip":
                self._end_package(event)
            case "build-output":
                self._builds.setdefault(event.import_path, Excerpt()).add(event.output)
            case "build-fail":
                self._failed_builds[event.import_path] = None

    def _begin(self, event: _Event) -> None:
        package = self._packages.setdefault(event.package, _Package())
        if event.action == "run" and event.test not in package.running:
            package.running[event.test] = _Test(self._sink.start(_id(event)))

    def _output(self, event: _Event) -> None:
        if event.package:
            self._packages.setdefault(event.package, _Package())
        package = self._packages.get(event.package)
        if package:
            test = package.running.get(event.test)
            (test or package).output.add(event.output)

    def _end_test(self, event: _Event) -> None:
        package = self._packages.setdefault(event.package, _Package())
        test = package.running.pop(event.test, None)
        status = _ENDS[event.action]
        package.failed |= status is TestStatus.FAILED
        if test is None:
            self._sink.add(_id(event), status, event.elapsed)
        elif status is TestStatus.PASSED:
            self._sink.finish(test.id, status, event.elapsed)
        else:
            details = str(test.output)
            message = _told(details)
            self._sink.finish(test.id, status, event.elapsed, message, details if status is TestStatus.FAILED else "")

    def _end_package(self, event: _Event) -> None:
        package = self._packages.pop(event.package, None) or _Package()
        self._ended += 1
        for name, test in package.running.items():
            if event.action == "pass" and name.startswith("Benchmark"):  # go tells no end of those that print no log
                self._sink.finish(test.id, TestStatus.PASSED, 0.0)
                continue
            details = str(test.output)
            why = f"no result, though its package ended with `{event.action}`"
            message = ": ".join(filter(None, (why, _told(details))))
            self._sink.finish(test.id, TestStatus.ERROR, 0.0, message, details)
            package.failed = True
        if event.action == "fail" and not package.failed:
            build = self._builds.get(event.failed_build, Excerpt())
            details = f"{build}{package.output}"
            self._sink.add(event.package, TestStatus.ERROR, event.elapsed, _told(details) or "package failed", details)
        self._failed_builds.pop(event.failed_build, None)


def _id(event: _Event) -> str:
    return f"{event.package}::{event.test}" if event.package else event.test


def _told(output: str) -> str:
    """The first line of a test's own output."""
    lines = (line.strip() for line in output[:8192].splitlines())
    return next((line for line in lines if line and not line.startswith(_FRAMES)), "")
