"""Reads TAP, the Test Anything Protocol, versions 12 to 14 (testanything.org).

A test's id is its description; without one, `test N`. A subtest stands four spaces further in, before the line of the
test to which it belongs; its tests are told with that line, as PARENT > TEST, and the parent is told too. `not ok` with
`# TODO` is `xfailed`, `ok` with it `xpassed`; what has `# SKIP` is `skipped`; both hold for all within a subtest.

A test's duration is what its YAML block (`duration_ms`) or its line (`# time=12ms`) says; otherwise, of TAP that is
being printed, the time since the line before; of a file, nothing. Its result is told when the line after it comes,
because its diagnostics follow it.

TAP is whole when every test that its plan promises has come, no number twice, and it did not bail out. Any other line
is ordinary output.
"""

import re
from dataclasses import dataclass, field

from harness.model import TestStatus
from harness.results.lines import Lines
from harness.results.sink import Sink
from harness.results.text import Excerpt, name_of

_INDENT = 4  # spaces of a subtest
_DEEPEST = 16  # subtests

# No repetition here has a neighbour that matches the same, so a line of 1 MiB takes no longer than its length.
_POINT = re.compile(r"(not +)?ok(?=\s|$)(?:\s+([0-9]{1,9})(?=\s|$))?(?:\s+-(?=\s|$))?(.*)", re.DOTALL)
_PLAN = re.compile(r"1\.\.([0-9]{1,9})\s*(?:#(.*))?", re.DOTALL)
_DIRECTIVE = re.compile(r"(?<!\S)#\s*(skip|todo)\S*(.*)", re.DOTALL | re.IGNORECASE)
_TIME = re.compile(r"(?<!\S)#\s*time=([0-9]{1,12}(?:\.[0-9]{1,12})?)(ms|s)\s*$")
_DURATION = re.compile(r"duration_ms:\s*['\"]?([0-9]{1,12}(?:\.[0-9]{1,12})?)")
_MESSAGE = re.compile(r"(?:message|error):\s*(.*)", re.DOTALL)
_BLOCK_SCALAR = re.compile(r"[|>][+-]?\s*")
_ESCAPED = re.compile(r"\\([\\#])")
_FAILED = (TestStatus.FAILED, TestStatus.XFAILED)


@dataclass(slots=True)
class _Told:
    """A test whose line has come."""

    name: str
    status: TestStatus
    seconds: float
    message: str
    details: Excerpt = field(default_factory=Excerpt)
    in_yaml: int | None = None  # while its YAML block is being read: how far in that stands
    had_yaml: bool = False
    message_follows: bool = False  # the YAML said that it stands on the next line


@dataclass(slots=True)
class _Level:
    """One TAP document: the whole, or a subtest."""

    since: float  # when its last line came
    plan: int | None = None
    why_none: str = ""  # the comment of a plan of none
    numbers: set[int] = field(default_factory=set)
    problem: str = ""
    tests: list[_Told] = field(default_factory=list)  # of a subtest: they are told with the line of their parent

    def problem_at_end(self) -> str:
        if self.problem:
            return self.problem
        if self.plan is None:
            return "has no plan (1..N): did its writer break off?"
        if len(self.numbers) != self.plan:
            return f"promises {self.plan} tests, and has {len(self.numbers)}"
        if self.numbers and max(self.numbers) > self.plan:
            return f"has a test {max(self.numbers)}, beyond its plan 1..{self.plan}"
        return ""


class TapReader:
    """A Reader of one TAP stream."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._lines = Lines()
        self._levels = [_Level(sink.clock())]  # the whole document, and the subtests that are open, outermost first
        self._last: _Told | None = None  # its diagnostics may still come
        self._last_depth = 0
        self._problem = ""
        self._is_tap = False

    def feed(self, data: bytes) -> None:
        for line, _ in self._lines.feed(data):
            self._take(line)

    def close(self) -> str:
        self._take(self._lines.rest()[0])
        self._settle()
        if len(self._levels) > 1:
            orphans, _ = self._leave(0)
            self._note("breaks off in a subtest")
            for told in orphans:
                self._tell(told)
        whole = self._levels[0]
        if not self._is_tap:
            return "has no TAP in it"
        if whole.plan == 0 and not whole.numbers:
            self._sink.tests.why_none = name_of(whole.why_none)
        return self._problem or whole.problem_at_end()

    def _take(self, data: bytes) -> None:
        line = data.decode(errors="replace").rstrip().removeprefix("\ufeff")
        content = line.lstrip(" ")
        indent = len(line) - len(content)
        if self._last and self._last.in_yaml is not None and self._take_yaml(self._last, content, indent):
            return
        depth, beside = divmod(indent, _INDENT)
        if content == "---" and self._last and indent == self._last_depth * _INDENT + 2:
            self._last.in_yaml, self._last.had_yaml = indent, True
        elif content.startswith("#"):
            self._take_comment(content)
        elif not beside and depth <= _DEEPEST:
            self._take_tap(content, depth)

    def _take_yaml(self, told: _Told, content: str, indent: int) -> bool:
        """A line while a YAML block is open. False: it ends the block without belonging to it."""
        if content and indent < (told.in_yaml or 0):
            told.in_yaml = None
            return False
        if content == "...":
            told.in_yaml = None
            return True
        told.details.add(" " * (indent - (told.in_yaml or 0)) + content + "\n")
        if told.message_follows and not told.message:
            told.message = content
        elif indent != told.in_yaml:  # within another value
            return True
        elif match := _DURATION.match(content):
            told.seconds = float(match[1]) / 1000
        elif not told.message and (match := _MESSAGE.match(content)):
            told.message_follows = bool(_BLOCK_SCALAR.fullmatch(match[1]))
            told.message = "" if told.message_follows else _unquoted(match[1])
        return True

    def _take_comment(self, content: str) -> None:
        text = content.lstrip("#")
        if text.lstrip().startswith("Subtest"):
            self._settle()
        elif self._last and not self._last.had_yaml:
            self._last.message = self._last.message or text.strip()
            self._last.details.add(text.removeprefix(" ") + "\n")

    def _take_tap(self, content: str, depth: int) -> None:
        if match := _POINT.fullmatch(content):
            self._settle()
            self._enter(depth)
            self._take_point(depth, failed=bool(match[1]), number=match[2], text=match[3])
        elif match := _PLAN.fullmatch(content):
            self._settle()
            self._enter(depth)
            level = self._levels[depth]
            if level.plan is not None:
                level.problem = level.problem or "has two plans: write each program's TAP to a file of its own"
            level.plan, level.why_none = int(match[1]), _reason(match[2] or "")
        elif content.startswith("Bail out!"):
            self._is_tap = True
            self._note(f"bails out: {name_of(content.removeprefix('Bail out!')) or 'it does not say why'}")
        elif content.startswith("TAP version "):
            self._is_tap = True

    def _take_point(self, depth: int, *, failed: bool, number: str | None, text: str) -> None:
        level = self._levels[depth]
        position = int(number) if number else len(level.numbers) + 1
        if position in level.numbers:
            level.problem = level.problem or f"has test number {position} twice"
        level.numbers.add(position)
        now = self._sink.clock()
        seconds, level.since = now - level.since, now
        if time := _TIME.search(text):
            seconds = float(time[1]) / (1000 if time[2] == "ms" else 1)
            text = text[: time.start()]
        status, message = TestStatus.FAILED if failed else TestStatus.PASSED, ""
        if directive := _DIRECTIVE.search(text):
            text, message = text[: directive.start()], directive[2].strip()
            todo = TestStatus.XFAILED if failed else TestStatus.XPASSED
            status = TestStatus.SKIPPED if directive[1].lower() == "skip" else todo
        name = name_of(_ESCAPED.sub(r"\1", text)) or f"test {position}"
        told = _Told(name, status, seconds, _ESCAPED.sub(r"\1", message))
        children, problem = self._leave(depth)
        if problem and status in (TestStatus.PASSED, TestStatus.XPASSED):
            self._note(f"has a subtest, {name}, that {problem}")
        self._last, self._last_depth = told, depth
        for child in children:
            _adopt(told, child)
            self._put(child)

    def _enter(self, depth: int) -> None:
        self._is_tap = True
        while len(self._levels) <= depth:
            self._levels.append(_Level(self._levels[-1].since))

    def _leave(self, depth: int) -> tuple[list[_Told], str]:
        """Close the subtests deeper than `depth`: their tests, in order, and what is wrong with the outermost."""
        tests: list[_Told] = []
        problem = ""
        while len(self._levels) > depth + 1:
            level = self._levels.pop()
            tests = level.tests + tests
            problem = level.problem_at_end()
        return tests, problem

    def _settle(self) -> None:
        """Nothing more can come for the last test."""
        told, self._last = self._last, None
        if told:
            self._put(told)

    def _put(self, told: _Told) -> None:
        """Tell a test that stands as deep as the last one, or keep it for its parent."""
        if self._last_depth:
            self._levels[self._last_depth].tests.append(told)
        else:
            self._tell(told)

    def _tell(self, told: _Told) -> None:
        name = f"{self._sink.file}::{told.name}" if self._sink.file else told.name
        details = str(told.details) if told.status in _FAILED else ""
        message = "" if told.status is TestStatus.PASSED else told.message
        self._sink.add(name, told.status, told.seconds, message, details)

    def _note(self, problem: str) -> None:
        self._problem = self._problem or problem


def _adopt(parent: _Told, child: _Told) -> None:
    child.name = f"{parent.name} > {child.name}"
    if parent.status is TestStatus.SKIPPED or (parent.status is TestStatus.XFAILED and child.status in _FAILED):
        child.status = parent.status


def _reason(comment: str) -> str:
    """Why there are no tests: the comment of a plan, without the SKIP that may stand before it."""
    match = _DIRECTIVE.fullmatch("#" + comment)
    return match[2] if match else comment


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
