"""junit.xml: what CI servers read. A suite for each group; a case for each of its tests, or one for a command.

A group that did not succeed shows as not having succeeded, whatever its tests say: where no failed test accounts for
its status (a timeout, a kill, no tests, a command), a case named after its status does. What an XML parser would choke
on is left out.

A failure in quarantine is a skipped case, and so is a group that was cached: neither is red. The one says in its output
what happened, the other in its message from which run it is.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import ClassVar

from harness.events import RunFinished, Stamped
from harness.files import write_atomically
from harness.model import GroupResult, Status, TestResult, TestStatus
from harness.record import FAILED_TESTS, GroupRecord, RunRecord
from harness.reporters.base import Context, Quiet, iso_time
from harness.reporters.text import without_escapes

_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

# A parser would read a carriage return as a new line, and in an attribute a new line or a tab as a blank.
_IN_TEXT = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}
_IN_ATTRIBUTES = str.maketrans(_IN_TEXT | {'"': "&quot;", "\n": "&#10;", "\t": "&#09;"})

# What becomes of a status that no failed test accounts for.
VERDICTS = {
    Status.FAILED: "failure",
    Status.TIMED_OUT: "error",
    Status.KILLED: "error",
    Status.ERROR: "error",
    Status.NO_TESTS: "error",
    Status.LOST: "error",
    Status.INTERRUPTED: "error",
    Status.SKIPPED: "skipped",
    Status.NOT_RUN: "skipped",
    Status.CACHED: "skipped",
}
# How a suite counts its verdicts.
COUNTED = {"failures": "failure", "errors": "error", "skipped": "skipped"}
TEST_VERDICTS = {
    TestStatus.FAILED: "failure",
    TestStatus.ERROR: "error",
    TestStatus.SKIPPED: "skipped",
    TestStatus.XFAILED: "skipped",
}


class JUnit(Quiet):
    name: ClassVar[str] = "JUnit report"
    durable: ClassVar[bool] = True

    def __init__(self, context: Context) -> None:
        self._files = context.files
        self._record = context.record

    def handle(self, stamped: Stamped) -> None:
        if isinstance(stamped.data, RunFinished):
            write_atomically(self._files.junit, build(self._record))


def build(record: RunRecord) -> bytearray:
    """The whole document. As text, suite by suite: a tree of 10,000 groups fills the memory."""
    run_id = record.started.run_id if record.started else ""
    totals: Counter[str] = Counter()
    document = bytearray()
    for group in record.groups.values():
        if group.result:
            document += _suite(group, group.result, run_id, totals).encode()
    attributes = {"name": "harness", "time": _seconds(record.makespan)}
    attributes |= {kind: str(totals[kind]) for kind in ("tests", "failures", "errors", "skipped")}
    # What comes first is known last.
    opened, _, closed = _element(0, "testsuites", attributes, "\0" if document else "").partition("\0")
    document[:0] = f"<?xml version='1.0' encoding='utf-8'?>\n{opened}".encode()
    document += closed.encode()
    return document


def _suite(record: GroupRecord, result: GroupResult, run_id: str, totals: Counter[str]) -> str:
    cases = [_test_case(test, result.quarantined) for test in record.tests]
    cases += _group_case(record, result)
    counts = Counter(verdict for verdict, _ in cases)
    attributes = {"name": record.group.name, "time": _seconds(result.duration)}
    if result.started_at is not None:
        attributes["timestamp"] = iso_time(result.started_at)
    numbers = {kind: counts[verdict] for kind, verdict in COUNTED.items()} | {"tests": len(cases)}
    totals.update(numbers)
    properties = {
        "run_id": run_id,
        "phase": record.group.phase,
        "category": record.group.category,
        "status": result.status.value,
        "attempts": str(result.attempts),
        "quarantined": result.quarantined,
        "contaminates": "; ".join(result.contaminates),
        "cached_from": result.cached_from,
        "log": record.log,
    }
    listed = "".join(
        f'      <property name="{name}" value="{_attribute(value)}" />\n' for name, value in properties.items() if value
    )
    inside = _element(2, "properties", {}, listed) + "".join(case for _, case in cases)
    return _element(1, "testsuite", attributes | {kind: str(number) for kind, number in numbers.items()}, inside)


def _test_case(test: TestResult, excuse: str) -> tuple[str, str]:
    """Its verdict, empty for a pass, and the case."""
    classname, name = _split(test.id)
    attributes = {"classname": classname, "name": name, "time": _seconds(test.duration)}
    if test.status in FAILED_TESTS and excuse:
        output = "\n".join(filter(None, (test.status.value, test.message, test.details)))
        return "skipped", _element(2, "testcase", attributes, _excuse(excuse, output))
    verdict = TEST_VERDICTS.get(test.status, "")
    told = {"message": test.message, "type": test.status.value}
    return verdict, _element(
        2, "testcase", attributes, _element(3, verdict, told, text=test.details) if verdict else ""
    )


def _group_case(record: GroupRecord, result: GroupResult) -> list[tuple[str, str]]:
    """As `_test_case`; none where the tests account for the group's status."""
    accounted = bool(record.failed_tests) if result.status is Status.FAILED else bool(record.tests)
    if accounted and (result.status.succeeded or result.status is Status.FAILED):
        return []
    name = result.status.value if result.status in VERDICTS else record.group.name
    duration = 0.0 if record.tests else result.duration
    attributes = {"classname": record.group.name, "name": name, "time": _seconds(duration)}
    if result.quarantined:
        return [("skipped", _element(2, "testcase", attributes, _excuse(result.quarantined, result.reason)))]
    verdict = VERDICTS.get(result.status, "")
    told = {"message": result.reason or result.status, "type": result.status.value}
    return [(verdict, _element(2, "testcase", attributes, _element(3, verdict, told) if verdict else ""))]


def _excuse(excuse: str, output: str) -> str:
    """A failure that does not count: it shows as skipped, and still says what happened."""
    skipped = _element(3, "skipped", {"message": f"quarantined: {excuse}", "type": "quarantined"})
    return skipped + _element(3, "system-out", {}, text=output)


def _element(depth: int, name: str, attributes: Mapping[str, str], inside: str = "", *, text: str = "") -> str:
    """An element on lines of its own: `inside` it stand other elements, or the `text`."""
    pad = "  " * depth
    opened = "".join([f' {key}="{_attribute(value)}"' for key, value in attributes.items()])
    if inside:
        return f"{pad}<{name}{opened}>\n{inside}{pad}</{name}>\n"
    if text := _valid(text):
        return f"{pad}<{name}{opened}>{_escaped(text)}</{name}>\n"
    return f"{pad}<{name}{opened} />\n"


def _attribute(text: str) -> str:
    return _valid(text).translate(_IN_ATTRIBUTES)


def _escaped(text: str) -> str:
    for character, escape in _IN_TEXT.items():  # `&` is the first; a table would take longer where it is long
        text = text.replace(character, escape)
    return text


def _split(test: str) -> tuple[str, str]:
    """pytest's `tests/test_a.py::TestB::test_c[x::y]` as its own JUnit has it: `tests.test_a.TestB`, `test_c[x::y]`."""
    head, bracket, parameters = test.partition("[")
    place, separator, name = head.rpartition("::")
    if not separator:
        return "", test
    classname = place.replace(".py::", ".").removesuffix(".py").replace("/", ".").replace("::", ".")
    return classname, name + bracket + parameters


def _valid(text: str) -> str:
    if text.isprintable():  # most are, and it is known much faster than by two patterns
        return text
    return _NOT_XML.sub("", without_escapes(text))


def _seconds(duration: float) -> str:
    return f"{duration:.3f}"
