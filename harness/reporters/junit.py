"""junit.xml: what CI servers read. A suite for each group; a case for each of its tests, or one for a command.

A group that did not succeed shows as not having succeeded, whatever its tests say: where no failed test accounts for
its status (a timeout, a kill, no tests, a command), a case named after its status does. What an XML parser would choke
on is left out.

A failure in quarantine is a skipped case, and so is a group that was cached: neither is red. The one says in its output
what happened, the other in its message from which run it is.
"""

import re
from typing import ClassVar
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from harness.events import RunFinished, Stamped
from harness.files import write_atomically
from harness.model import GroupResult, Status, TestResult, TestStatus
from harness.record import FAILED_TESTS, GroupRecord, RunRecord
from harness.reporters.base import Context, Quiet, iso_time
from harness.reporters.text import without_escapes

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

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


def build(record: RunRecord) -> bytes:
    """The whole document."""
    root = Element("testsuites", name="harness", time=_seconds(record.makespan))
    for group in record.groups.values():
        if group.result:
            _suite(root, group, group.result, record.started.run_id if record.started else "")
    for kind in ("tests", "failures", "errors", "skipped"):
        root.set(kind, str(sum(int(suite.get(kind, "0")) for suite in root)))
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _suite(root: Element, record: GroupRecord, result: GroupResult, run_id: str) -> None:
    suite = SubElement(root, "testsuite", name=_valid(record.group.name), time=_seconds(result.duration))
    if result.started_at is not None:
        suite.set("timestamp", iso_time(result.started_at))
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
    listed = SubElement(suite, "properties")
    for name, value in properties.items():
        if value:
            SubElement(listed, "property", name=name, value=_valid(value))
    for test in record.tests:
        _test_case(suite, test, result.quarantined)
    _group_case(suite, record, result)
    for kind, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(kind, str(len(suite.findall(f"testcase/{element}"))))
    suite.set("tests", str(len(suite.findall("testcase"))))


def _test_case(suite: Element, test: TestResult, excuse: str) -> None:
    classname, name = _split(test.id)
    case = SubElement(suite, "testcase", classname=classname, name=name, time=_seconds(test.duration))
    if test.status in FAILED_TESTS and excuse:
        _excuse(case, excuse, "\n".join(filter(None, (test.status.value, test.message, test.details))))
    elif test.status in TEST_VERDICTS:
        verdict = SubElement(case, TEST_VERDICTS[test.status], message=_valid(test.message))
        verdict.set("type", test.status.value)
        verdict.text = _valid(test.details)


def _group_case(suite: Element, record: GroupRecord, result: GroupResult) -> None:
    accounted = bool(record.failed_tests) if result.status is Status.FAILED else bool(record.tests)
    if accounted and (result.status.succeeded or result.status is Status.FAILED):
        return
    name = result.status.value if result.status in VERDICTS else record.group.name
    case = SubElement(suite, "testcase", classname=_valid(record.group.name), name=_valid(name))
    case.set("time", _seconds(0.0 if record.tests else result.duration))
    if result.quarantined:
        _excuse(case, result.quarantined, result.reason)
    elif result.status in VERDICTS:
        verdict = SubElement(case, VERDICTS[result.status], message=_valid(result.reason or result.status))
        verdict.set("type", result.status.value)


def _excuse(case: Element, excuse: str, output: str) -> None:
    """A failure that does not count: it shows as skipped, and still says what happened."""
    SubElement(case, "skipped", message=_valid(f"quarantined: {excuse}"), type="quarantined")
    SubElement(case, "system-out").text = _valid(output)


def _split(test: str) -> tuple[str, str]:
    """pytest's `tests/test_a.py::TestB::test_c[x::y]` as its own JUnit has it: `tests.test_a.TestB`, `test_c[x::y]`."""
    head, bracket, parameters = test.partition("[")
    place, separator, name = head.rpartition("::")
    if not separator:
        return "", _valid(test)
    classname = place.replace(".py::", ".").removesuffix(".py").replace("/", ".").replace("::", ".")
    return _valid(classname), _valid(name + bracket + parameters)


def _valid(text: str) -> str:
    return _NOT_XML.sub("", without_escapes(text))


def _seconds(duration: float) -> str:
    return f"{duration:.3f}"
