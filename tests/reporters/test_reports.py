"""The journal, report.json and junit.xml."""

import json
import tracemalloc
from typing import Any
from xml.etree import ElementTree

import pytest
from junitparser import JUnitXml

from harness.events import RunFinished, encode
from harness.model import Status
from harness.record import replay
from harness.reporters.journal import Journal
from harness.reporters.junit import JUnit
from harness.reporters.report_json import JsonReport
from harness.reporters.status import StatusFiles
from harness.verify import SUMMANDS, verify


def test_the_journal_has_every_event_at_once_and_in_order(history: Any, play_mixed_run: Any, monkeypatch: Any) -> None:
    history.play_to(Journal)
    written = []
    handle = history.reporters.handle

    def check(stamped: Any) -> Any:
        warnings = handle(stamped)
        written.append(history.files.events.read_bytes().endswith(encode(stamped) + b"\n"))
        return warnings

    monkeypatch.setattr(history.reporters, "handle", check)
    play_mixed_run(history)
    assert all(written)
    assert len(written) == len(history.events) > 30
    assert history.files.events.read_bytes().splitlines() == [encode(event) for event in history.events]
    with history.files.events.open("rb") as lines:
        assert replay(lines).groups == history.record.groups
    assert history.files.events.stat().st_mode & 0o777 == 0o600


def test_the_report_has_the_promised_shape(history: Any, play_mixed_run: Any) -> None:
    play_mixed_run(history.play_to(JsonReport))
    report = json.loads(history.files.report.read_text())
    assert history.files.report.read_bytes() == history.files.test_report.read_bytes()
    financial = report["suites"][4]
    assert financial == {
        "name": "financial",
        "description": "",
        "category": "",
        "phase": "parallel",
        "status": "failed",
        "start_time": 1735787047.0,
        "end_time": 1735787051.5,
        "duration": 4.5,
        "return_code": 1,
        "error_message": "exit code 1",
        "log_file": "logs/financial_20250102_030405.log",
        "attempts": 1,
        "reason": "exit code 1",
        "cpu_seconds": 0.0,
        "peak_memory": 0,
        "leaked": False,
        "contaminates": [],
        "waited": {},
        "quarantined": "",
        "cached_from": "",
        "tests": {"total": 2, "passed": 1, "failed": 1, "error": 0, "skipped": 0, "xfailed": 0, "xpassed": 0},
        "test_results": [
            {
                "id": "test_pay.py::test_deposit",
                "status": "passed",
                "duration": 0.5,
                "message": "",
                "details": "",
                "cpu_seconds": None,
                "memory_growth": None,
            },
            {
                "id": "test_pay.py::test_refund",
                "status": "failed",
                "duration": 0.5,
                "message": "assert 409 == 200",
                "details": "test_pay.py:7: AssertionError\n",
                "cpu_seconds": None,
                "memory_growth": None,
            },
        ],
    }
    scenarios = report["suites"][5]
    told = {key: scenarios[key] for key in ("start_time", "end_time", "return_code", "error_message", "log_file")}
    assert told == {
        "start_time": None, "end_time": None, "return_code": None, "error_message": "financial failed",
        "log_file": None,
    }  # fmt: skip
    assert report["suites"][2]["error_message"] is None  # flaky
    assert {key: report[key] for key in report if key != "suites"} == {
        "timestamp": "2025-01-02T03:04:05.000+00:00",
        "duration": 8.0,
        "summary": {
            "total": 7,
            "passed": 3,
            "cached": 0,
            "failed": 2,
            "quarantined": 0,
            "skipped": 2,
            "interrupted": 0,
            "not_run": 0,
            "statuses": {
                "passed": 2, "failed": 1, "flaky": 1, "timed_out": 1, "killed": 0, "error": 0, "no_tests": 0,
                "skipped": 2, "cached": 0, "interrupted": 0, "not_run": 0, "lost": 0,
            },
            "run_id": "20250102_030405",
            "environment": "local",
            "commit": "",
            "dirty": False,
            "shard": "",
            "seed": 0,
            "jobs": 4,
            "paused": 0.0,
            "exit_code": 1,
            "stopped_by": "",
            "sequential_time": 17.5,
            "speedup": 2.1875,
            "lower_bound": 7.0,
            "predicted": None,
        },
        "services": [
            {
                "name": "postgres",
                "port": 5555,
                "ready_after": 0.4,
                "error_message": None,
                "log_file": "logs/run_20250102_030405/service-postgres.log",
            }
        ],
        "warnings": [],
    }  # fmt: skip


def test_the_summary_always_adds_up(history: Any, make_phase: Any) -> None:
    history.play_to(JsonReport)
    history.start(make_phase("p", *(status.value for status in Status)))
    for status in Status:
        excuse = "known" if status is Status.KILLED else ""
        history.ends(status.value, 1.0, status.value, attempts=0, quarantined=excuse)
    history.finish(1.0, 1)
    summary = json.loads(history.files.report.read_text())["summary"]
    parts = [summary[kind] for kind in SUMMANDS]
    assert parts == [2, 1, 5, 1, 1, 1, 1]
    assert sum(parts) == summary["total"] == sum(summary["statuses"].values())


def test_nothing_is_reported_before_the_run_has_finished(history: Any, make_phase: Any) -> None:
    history.play_to(JsonReport, JUnit)
    history.start(make_phase("p", "a"))
    history.ends("a", 1.0, "passed", 1.0)
    history.reporters.close()
    assert not history.files.report.exists()
    assert not history.files.junit.exists()
    history.emit(RunFinished(exit_code=0, duration=1.0))
    assert history.files.report.exists()
    assert history.files.junit.exists()


def test_junit_has_a_suite_for_each_group_and_a_case_for_each_test(history: Any, play_mixed_run: Any) -> None:
    play_mixed_run(history.play_to(JUnit))
    suites = list(JUnitXml.fromfile(str(history.files.junit)))
    counts = {suite.name: (suite.tests, suite.failures, suite.errors, suite.skipped) for suite in suites}
    assert counts == {
        "core": (1, 0, 0, 0),
        "basic": (1, 0, 0, 0),
        "search": (1, 0, 0, 0),
        "slow": (1, 0, 1, 0),
        "financial": (2, 1, 0, 0),
        "scenarios": (1, 0, 0, 1),
        "mass": (1, 0, 0, 1),
    }
    root = ElementTree.parse(history.files.junit).getroot()
    totals = [root.get(kind) for kind in ("tests", "failures", "errors", "skipped", "time")]
    assert totals == ["8", "1", "1", "2", "8.000"]
    assert ElementTree.tostring(root[4], encoding="unicode").strip() == (
        '<testsuite name="financial" time="4.500" timestamp="2025-01-02T03:04:07.000+00:00" failures="1" errors="0" '
        'skipped="0" tests="2">\n'
        "    <properties>\n"
        '      <property name="run_id" value="20250102_030405" />\n'
        '      <property name="phase" value="parallel" />\n'
        '      <property name="status" value="failed" />\n'
        '      <property name="attempts" value="1" />\n'
        f'      <property name="log" value="{history.files.group_log("financial")}" />\n'
        "    </properties>\n"
        '    <testcase classname="test_pay" name="test_deposit" time="0.500" />\n'
        '    <testcase classname="test_pay" name="test_refund" time="0.500">\n'
        '      <failure message="assert 409 == 200" type="failed">test_pay.py:7: AssertionError\n</failure>\n'
        "    </testcase>\n"
        "  </testsuite>"
    )


@pytest.mark.parametrize(
    ("status", "test", "expected"),
    [
        ("passed", None, []),
        ("passed", "passed", []),
        ("failed", None, ["failed failure"]),
        ("failed", "failed", ["test_x failure"]),
        ("timed_out", "failed", ["test_x failure", "timed_out error"]),
        ("timed_out", "passed", ["timed_out error"]),
        ("no_tests", None, ["no_tests error"]),
        ("interrupted", "passed", ["interrupted error"]),
        ("not_run", None, ["not_run skipped"]),
        ("cached", None, ["cached skipped"]),
        ("passed", "xfailed", ["test_x skipped"]),
        ("failed", "error", ["test_x error"]),
    ],
)
def test_junit_is_red_exactly_where_the_group_is(
    history: Any, make_phase: Any, status: str, test: str | None, expected: list[str]
) -> None:
    history.play_to(JUnit)
    history.start(make_phase("p", "a"))
    history.attempt("a", 0.0)
    if test:
        history.test("a", 0.5, "t.py::test_x", test)
    history.ends("a", 1.0, status, 1.0)
    history.finish(1.0)
    cases = ElementTree.parse(history.files.junit).getroot()[0].findall("testcase")
    found = [f"{case.get('name')} {child.tag}" for case in cases for child in case]
    assert found == expected


@pytest.mark.parametrize(
    ("test", "classname", "name"),
    [
        ("tests/test_a.py::test_b", "tests.test_a", "test_b"),
        ("tests/test_a.py::TestC::test_b[x::y-[z]]", "tests.test_a.TestC", "test_b[x::y-[z]]"),
        ("just a name", None, "just a name"),
    ],
)
def test_junit_names_tests_as_pytest_does(
    history: Any, make_phase: Any, test: str, classname: str | None, name: str
) -> None:
    history.play_to(JUnit)
    history.start(make_phase("p", "a"))
    history.attempt("a", 0.0)
    history.test("a", 0.5, test)
    history.ends("a", 1.0, "passed", 1.0)
    history.finish(1.0)
    case = next(iter(next(iter(JUnitXml.fromfile(str(history.files.junit))))))
    assert (case.classname or None, case.name) == (classname, name)


def test_escape_sequences_are_left_out_of_junit(history: Any, make_phase: Any) -> None:
    history.play_to(JUnit)
    history.start(make_phase("p", "a"))
    history.attempt("a", 0.0)
    told = "\x1b[1;31mE  assert 0\x1b[0m\n\x1b]0;title\x07end"
    history.test("a", 0.5, "t.py::test_\x1b[2Jb", "failed", told, told)
    history.ends("a", 1.0, "failed", 1.0)
    history.finish(1.0, 1)
    [case] = next(iter(JUnitXml.fromfile(str(history.files.junit))))
    assert (case.name, case.result[0].message, case.result[0].text) == ("test_b", *["E  assert 0\nend"] * 2)


def test_junit_keeps_blanks_as_they_are_and_has_nothing_that_xml_cannot_hold(history: Any, make_phase: Any) -> None:
    told = "a\tb\r\nc\rd\n\x00\x0b\ud800\udfff\ufffe\uffff\ue000\ufffd\U0010ffff"
    history.play_to(JUnit)
    history.start(make_phase("p", "a"))
    history.attempt("a", 0.0)
    history.test("a", 0.5, "t.py::test_a", "failed", told, told)
    history.ends("a", 1.0, "failed", 1.0)
    history.finish(1.0, 1)
    [case] = next(iter(JUnitXml.fromfile(str(history.files.junit))))
    kept = "a\tb\r\nc\rd\n\ue000\ufffd\U0010ffff"
    assert (case.result[0].message, case.result[0].text) == (kept, kept)


def test_reports_parse_whatever_a_test_printed(history: Any, make_phase: Any) -> None:
    everything = "".join(map(chr, range(0x300))) + "]]><script>&\ufffe\uffff\U0001f600"
    history.play_to(JUnit, JsonReport)
    history.start(make_phase("p", everything))
    history.attempt(everything, 0.0)
    history.test(everything, 0.5, "t.py::test_" + everything, "failed", everything, everything)
    history.ends(everything, 1.0, "failed", 1.0, everything)
    history.finish(1.0, 1)
    assert history.warnings == []
    [suite] = JUnitXml.fromfile(str(history.files.junit))
    [case] = suite
    assert case.result[0].text.endswith("]]><script>&\U0001f600")
    [suite] = json.loads(history.files.report.read_text())["suites"]
    assert suite["test_results"][0]["details"] == everything


def peak_of(work: Any) -> int:
    """The bytes that `work` held at its most, beyond what was there."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


MANY = [f"group-{number}" for number in range(1000)]


def play_many(history: Any, make_phase: Any) -> None:
    history.start(make_phase("p", *MANY))
    for name in MANY:
        history.attempt(name, 1.0)
        history.ends(name, 2.0, "passed", 1.0)


@pytest.mark.parametrize(("reporter", "file"), [(JsonReport, "report"), (JUnit, "junit")])
def test_the_reports_of_many_groups_fill_no_memory(history: Any, make_phase: Any, reporter: Any, file: str) -> None:
    history.play_to(reporter)
    play_many(history, make_phase)
    peak = peak_of(lambda: history.finish(3.0))
    assert peak < 1.5 * getattr(history.files, file).stat().st_size  # it is there once, and little else


def test_to_check_many_groups_fills_no_memory(history: Any, make_phase: Any) -> None:
    history.play_to(Journal, StatusFiles, JsonReport, JUnit)
    play_many(history, make_phase)
    history.finish(3.0)
    problems: list[str] = []
    # The least of three: what other threads of this process do meanwhile only adds to it.
    peak = min(peak_of(lambda: problems.extend(verify(history.files, history.record))) for _ in range(3))
    assert problems == []
    assert peak < 1.8 * history.files.report.stat().st_size
