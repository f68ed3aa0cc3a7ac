"""Reads JUnit XML, of any dialect: pytest, surefire, jest, gtest, CTest, go-junit-report and what imitates them.

The root is `testsuites` or `testsuite`, suites may be nested, and a test's id is CLASSNAME::NAME. Surefire's
`rerunFailure` and `flakyFailure` are attempts of a test that has another, final result, and are left out; pytest's
`<skipped type="pytest.xfail">` is `xfailed`. A failure that stands in a suite, outside its tests, is one of the suite.

The document is streamed: no more than one test of it is in memory. It may come from anybody, so a document type (and
with it every entity) is refused, and so is nesting that no report has.
"""

import re
from collections.abc import Callable
from typing import Any

from harness.model import TestStatus
from harness.results.sink import Sink
from harness.results.text import visible

_DEEPEST = 100  # elements
_ROOTS = ("testsuites", "testsuite")
# By the names of junitparser's classes, the worst first.
_STATUSES = {"Failure": TestStatus.FAILED, "Error": TestStatus.ERROR, "Skipped": TestStatus.SKIPPED}
_WORST_FIRST = tuple(_STATUSES)
# What some dialects write into the `status` or `result` of a test that has no element to say it.
_FAILED_WORDS = frozenset({"fail", "failed", "failure", "error"})
_SKIPPED_WORDS = frozenset({"notrun", "disabled", "suppressed", "skip", "skipped"})
_COUNT = re.compile(r"[0-9]{1,12}")


class _Refused(Exception):
    """The document is well-formed, but not one that is read."""


class JunitReader:
    """A Reader of one JUnit XML document."""

    def __init__(self, sink: Sink) -> None:
        from xml.etree.ElementTree import XMLParser

        self._document = _Document(sink)
        self._parser = XMLParser(target=self._document)
        self._problem = ""

    def feed(self, data: bytes) -> None:
        if not self._problem:
            self._problem = _problem_of(self._parser.feed, data)

    def close(self) -> str:
        return self._problem or _problem_of(self._parser.close) or self._document.problem


def _problem_of(step: Callable[..., object], *arguments: bytes) -> str:
    """Do one step of the parser's; what it finds wrong."""
    try:
        step(*arguments)
    except _Refused as error:
        return str(error)
    # ParseError is a SyntaxError; an encoding that is unknown or unfit raises one of the others.
    except (SyntaxError, ValueError, LookupError) as error:
        return f"is not whole JUnit XML ({visible(str(error))}): did its writer break off?"
    return ""


class _Document:
    """Target of the XML parser: puts each test together as an element, and tells it when it ends."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._depth = 0
        self._builder: Any = None  # of the test (or of the suite's failure) that is being read
        self._built_from = 0  # the depth at which that one stands
        self._suites: list[str] = []  # names of the elements around
        self._promised = self._promised_failures = False
        self._told = self._told_failures = False

    @property
    def problem(self) -> str:
        """Where the counts in the heads of the suites contradict what is in them."""
        if self._promised_failures and not self._told_failures:
            return "counts failures, but shows none"
        if self._promised and not self._told:
            return "counts tests, but shows none"
        return ""

    def doctype(self, *_: object) -> None:
        raise _Refused("has a DOCTYPE, which is refused: write it without")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        from xml.etree.ElementTree import TreeBuilder

        tag = _local(tag)
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _Refused(f"is nested deeper than {_DEEPEST} elements, as no JUnit XML is")
        if self._depth == 1 and tag not in _ROOTS:
            raise _Refused(f"is not JUnit XML: its root is <{visible(tag[:60])}>")
        if not self._builder and self._depth > 1 and tag in ("testcase", "failure", "error"):
            self._builder, self._built_from = TreeBuilder(), self._depth
            if tag != "testcase":
                suite = next((name for name in reversed(self._suites) if name), "(suite)")
                self._builder.start("testcase", {"name": suite})
        if self._builder:
            self._builder.start(tag, attributes)
        else:
            self._suites.append(attributes.get("name", ""))
            self._promised |= _count(attributes, "tests") > 0
            self._promised_failures |= _count(attributes, "failures") + _count(attributes, "errors") > 0

    def data(self, text: str) -> None:
        if self._builder:
            self._builder.data(text)

    def end(self, tag: str) -> None:
        if self._builder:
            self._builder.end(_local(tag))
            if self._depth == self._built_from:
                if _local(tag) != "testcase":
                    self._builder.end("testcase")
                element, self._builder = self._builder.close(), None
                self._tell(element)
        else:
            self._suites.pop()
        self._depth -= 1

    def close(self) -> None:
        """Called by the parser at the end of the document."""

    def _tell(self, element: Any) -> None:
        from junitparser import TestCase

        case: Any = TestCase.fromelem(element)  # type: ignore[no-untyped-call]
        name = "::".join(part for part in (case.classname, case.name) if part)
        status, message, details = _verdict(case, element.attrib)
        self._told = True
        self._told_failures |= status in (TestStatus.FAILED, TestStatus.ERROR)
        self._sink.add(name, status, _seconds(case), message, details)


def _verdict(case: Any, attributes: dict[str, str]) -> tuple[TestStatus, str, str]:
    """How a test ended, with message and details."""
    results = sorted(case.result, key=lambda result: _WORST_FIRST.index(type(result).__name__))
    if not results:
        words = {attributes.get("status", "").lower(), attributes.get("result", "").lower()}
        if words & _FAILED_WORDS:
            return TestStatus.FAILED, "", ""
        return (TestStatus.SKIPPED if words & _SKIPPED_WORDS else TestStatus.PASSED), "", ""
    worst = results[0]
    status = _STATUSES[type(worst).__name__]
    message = worst.message or worst.text or worst.type or ""
    if status is TestStatus.SKIPPED:
        return (TestStatus.XFAILED if worst.type == "pytest.xfail" else status), message, ""
    texts = [result.text or result.message or "" for result in results]
    texts += [text for text in (case.system_out, case.system_err) if text]
    return status, message, "\n".join(text.strip("\n") for text in texts)


def _seconds(case: Any) -> float:
    try:
        return float(case.time or 0.0)
    except ValueError:
        return 0.0


def _count(attributes: dict[str, str], name: str) -> int:
    text = attributes.get(name, "").replace(",", "").strip()
    return int(text) if _COUNT.fullmatch(text) else 0


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
