"""A splittable group as all reporters show it: one group, whose files ran side by side."""

import json
from typing import Any
from xml.etree import ElementTree

import pytest

from harness.events import LeaseEnded, LeaseMade
from harness.model import Group
from harness.reporters.base import Detail
from harness.reporters.console import Console
from harness.reporters.github import GitHub
from harness.reporters.junit import JUnit
from harness.reporters.live import Live
from harness.reporters.report_json import JsonReport
from harness.reporters.status import StatusFiles
from harness.reporters.trace import Trace
from harness.verify import parse_status

SEARCH = Group(name="search", phase="p", tests=("a.py", "b.py", "c.py"), splittable=True, retries=1)


@pytest.fixture
def parts(history: Any, make_phase: Any) -> Any:
    """Plays the run to some reporters: b fails and is tried again, while a and c pass."""

    def play(*reporters: Any, **changes: object) -> Any:
        history.play_to(*reporters, **changes)
        history.start(make_phase("p", SEARCH, "other"))
        history.phase("p", 0.0)
        history.attempt("search", 1.0, part="b.py", slot=0)
        history.attempt("search", 1.0, part="a.py", slot=1)
        history.test("search", 2.0, "b.py::test_x", part="b.py")
        history.test("search", 2.5, "a.py::test_x", part="a.py")
        history.test("search", 3.0, "b.py::test_y", "failed", "assert 0", part="b.py")
        history.attempt_ends("search", 4.0, "failed", 3.0, "1 of 2 tests failed: test_y", part="b.py")
        history.retries("search", 4.0, 2, part="b.py")
        history.attempt_ends("search", 4.5, "passed", 3.5, part="a.py")
        history.attempt("search", 4.5, part="c.py", slot=1)
        history.attempt("search", 5.0, 2, part="b.py", slot=0)
        history.test("search", 5.5, "c.py::test_x", part="c.py")
        history.test("search", 6.0, "b.py::test_y", part="b.py")
        history.attempt_ends("search", 6.0, "passed", 1.0, number=2, part="b.py")
        history.attempt_ends("search", 7.0, "passed", 2.5, part="c.py")
        history.ends("search", 7.0, "flaky", 10.0, "b.py: passed on attempt 2", attempts=2)
        history.ends("other", 7.0, "skipped", reason="why not", attempts=0)
        history.finish(8.0)
        return history

    return play


def test_the_console_tells_of_the_group_and_of_files_that_are_tried_again(parts: Any) -> None:
    said = parts(Console).said
    lines = said[said.index("\np\n") :].partition("\n\nSummary")[0].splitlines()[2:]
    assert lines == [
        "00:01.0  ▸ started     search",
        "00:03.0  ✗ test        search     0.50 s  b.py::test_y",
        "                       assert 0",
        "00:04.0  ↻ failed      search/b.py      3.0 s  1 of 2 tests failed: test_y, tries again in 1.0 s",
        "00:05.0  ↻ retry       search/b.py  attempt 2 of 2",
        "00:07.0  ≈ flaky       search     10.0 s  b.py: passed on attempt 2",
        "00:07.0  – skipped     other              why not",
    ]


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("a.py: exit code 3; b.py: 1 of 1 test failed: test_y", "1 of 1 test failed; a.py: exit code 3\n"),
        ("a.py: 1 of 1 test failed: test_y; b.py: exit code 3", "1 of 1 test failed; b.py: exit code 3"),
        ("b.py: 1 of 1 test failed: test_y", "1 of 1 test failed\n"),
    ],
)
def test_the_summary_tells_of_a_file_that_failed_without_a_failed_test(
    history: Any, make_phase: Any, reason: str, said: str
) -> None:
    history.play_to(Console)
    history.start(make_phase("p", SEARCH))
    history.attempt("search", 1.0, part="b.py")
    history.test("search", 2.0, "b.py::test_y", "failed", "assert 0", part="b.py")
    history.attempt_ends("search", 2.0, "failed", 1.0, part="b.py")
    history.ends("search", 2.0, "failed", 3.0, reason)
    history.finish(3.0, 1)
    assert f"✗ search failed: {said}" in history.said


def test_the_last_line_tells_of_a_flaky_file_that_failed_the_run(history: Any, make_phase: Any) -> None:
    history.play_to(Console)
    history.start(make_phase("p", SEARCH))
    for number, status in enumerate(("failed", "passed"), 1):
        history.attempt("search", float(number), number, part="a.py")
        history.attempt_ends("search", number + 0.5, status, 0.5, "x", number=number, part="a.py")
    history.ends("search", 3.0, "failed", 3.0, "b.py: x; a.py: passed on attempt 2", quarantined="known")
    history.finish(3.0, 1)
    assert history.said.rstrip().endswith(
        '✗ files of 1 group were flaky, and [run] flaky = "fail", 1 failed in quarantine (exit code 1)'
    )


def test_the_summary_shows_the_end_of_what_a_failed_file_wrote(history: Any, make_phase: Any) -> None:
    history.play_to(Console, lambda context: GitHub(context, token=lambda: "token"))
    history.start(make_phase("p", SEARCH))
    for file in SEARCH.tests:
        block = f"=== search/{file} · attempt 1 · now · slot 0 · $ pytest {file}\nthe end of {file}\n"
        history.attempt("search", 1.0, part=file, log=block.encode())
        status = {"a.py": "no_tests", "b.py": "failed", "c.py": "passed"}[file]
        history.attempt_ends("search", 2.0, status, 1.0, part=file)
    history.ends("search", 2.0, "failed", 3.0, "b.py: exit code 2")
    history.finish(3.0, 1)
    summary = history.said.partition("\nSummary")[2]
    assert "│ the end of b.py" in summary
    assert "the end of a.py" not in history.said
    assert "the end of c.py" not in history.said
    assert "::group::search: the end of" in history.said


def test_the_report_has_one_suite_with_the_tests_of_all_files_in_the_order_of_the_plan(parts: Any) -> None:
    report = json.loads(parts(JsonReport).files.report.read_text())
    suite = report["suites"][0]
    assert [test["id"] for test in suite["test_results"]] == ["a.py::test_x", "b.py::test_y", "c.py::test_x"]
    assert (suite["attempts"], suite["duration"], suite["end_time"] - suite["start_time"]) == (2, 10.0, 6.0)
    assert report["summary"]["total"] == 2
    assert report["summary"]["sequential_time"] == 10.0
    assert report["summary"]["lower_bound"] == 4.0, "the longest file, not the group"


def test_junit_has_one_suite(parts: Any) -> None:
    suites = list(ElementTree.parse(parts(JUnit).files.junit).getroot())
    assert [suite.get("name") for suite in suites] == ["search", "other"]
    assert [case.get("classname") for case in suites[0].findall("testcase")] == ["a", "b", "c"]


def test_the_trace_shows_each_file_on_its_slot(parts: Any, history: Any) -> None:
    parts(Trace)
    events = json.loads(history.files.trace.read_text())["traceEvents"]
    tracks = {event["tid"]: event["args"]["name"] for event in events if event["ph"] == "M"}
    spans = [(e["name"], tracks[e["tid"]], e["ts"] / 1e6) for e in events if e["ph"] == "X"]
    assert [span for span in spans if "::" not in span[0]] == [
        ("search/b.py", "slot 0", 1.0),
        ("search/a.py", "slot 1", 1.0),
        ("search/b.py", "slot 0", 5.0),
        ("search/c.py", "slot 1", 4.5),
    ]
    assert [span for span in spans if "::" in span[0]] == [
        ("b.py::test_x", "slot 0", 1.5),
        ("a.py::test_x", "slot 1", 2.0),
        ("b.py::test_y", "slot 0", 2.5),
        ("c.py::test_x", "slot 1", 5.0),
        ("b.py::test_y", "slot 0", 5.5),
    ]


def test_the_environments_of_a_file_are_on_its_slot(history: Any, make_phase: Any) -> None:
    history.play_to(Trace)
    history.start(make_phase("p", SEARCH))
    history.attempt("search", 1.0, part="a.py", slot=3)
    lease: dict[str, Any] = {"token": "t", "entry": "db", "group": "search", "part": "a.py", "seconds": 0.5}
    history.emit(LeaseMade(kind="tmpdir", attempt=1, details={}, **lease), 2.0)
    history.emit(LeaseEnded(ending="released", **lease), 3.0)
    history.attempt_ends("search", 3.0, "passed", 2.0, part="a.py")
    history.finish(4.0)
    events = json.loads(history.files.trace.read_text())["traceEvents"]
    tracks = {event["tid"]: event["args"]["name"] for event in events if event["ph"] == "M"}
    assert {tracks[event["tid"]] for event in events if event["ph"] == "X"} == {"slot 3"}


def test_the_status_file_is_the_groups_and_names_a_process_that_lives(history: Any, make_phase: Any) -> None:
    history.play_to(StatusFiles)
    history.start(make_phase("p", SEARCH))

    def status() -> tuple[str, str | None, str]:
        values = parse_status(history.files.status("search").read_text())
        return values["STATUS"], values.get("PID"), values["ATTEMPTS"]

    history.attempt("search", 1.0, part="a.py", slot=0)
    history.attempt("search", 1.0, part="b.py", slot=1)
    assert status() == ("running", "4711", "1")
    history.attempt_ends("search", 2.0, "passed", 1.0, part="a.py")
    assert status() == ("running", "4712", "1")
    history.attempt_ends("search", 3.0, "failed", 2.0, part="b.py")
    history.retries("search", 3.0, 2, part="b.py")
    assert status() == ("running", None, "1")
    history.attempt("search", 4.0, 2, part="b.py", slot=1)
    assert status() == ("running", "4712", "2")
    history.attempt_ends("search", 5.0, "passed", 1.0, number=2, part="b.py")
    history.ends("search", 5.0, "flaky", 4.0, attempts=2)
    assert status() == ("flaky", None, "2")
    assert [path.name for path in history.files.log_dir.glob(".*_status_*")] == [history.files.status("search").name]


def test_the_live_display_has_a_row_for_each_file_that_runs_or_rests(history: Any, make_phase: Any) -> None:
    live = Live(history.context(), clock=lambda: history.now)
    history.play_to(lambda _: live)
    live._show_display = lambda: None  # type: ignore[method-assign]
    history.start(make_phase("p", SEARCH, "other"))
    history.attempt("search", 1.0, part="a.py", slot=0)
    history.attempt("search", 1.0, part="b.py", slot=1)
    history.test("search", 2.0, "a.py::test_x", part="a.py")
    history.attempt_ends("search", 3.0, "failed", 2.0, part="b.py")
    history.retries("search", 3.0, 2, delay=5.0, part="b.py")
    snapshot = live._snapshot
    assert (snapshot.ended, snapshot.total) == (0, 2)
    assert snapshot.running == (("search/a.py", "", 1.0),)
    assert snapshot.resting == (("search/b.py", 8.0),)
    history.attempt_ends("search", 4.0, "interrupted", 3.0, part="a.py")
    history.ends("search", 4.0, "interrupted", 5.0)
    assert live._snapshot.resting == live._snapshot.running == ()


def test_verbose_output_never_mixes_the_lines_of_two_files(history: Any, make_phase: Any) -> None:
    history.play_to(Console, detail=Detail.VERBOSE)
    history.start(make_phase("p", SEARCH))
    before = len(history.said)
    history.output("search/a.py", b"one\ntw")
    history.output("search/b.py", b"three\nfo")
    history.output("search/a.py", b"o\n")
    history.attempt_ends("search", 1.0, "passed", 1.0, part="b.py")
    assert history.said[before:].splitlines() == [
        "search/a.py │ one",
        "search/b.py │ three",
        "search/a.py │ two",
        "search/b.py │ fo",
    ]
