"""The timeline: what is on which track, and when."""

import json
from typing import Any

from harness.events import PhaseFinished, RunPaused, RunResumed
from harness.reporters.trace import Trace


def spans(history: Any) -> list[tuple[str, str, float, float]]:
    """Name, track, begin and end in seconds, of every span."""
    events = json.loads(history.files.trace.read_text())["traceEvents"]
    tracks = {event["tid"]: event["args"]["name"] for event in events if event["ph"] == "M"}
    return [(e["name"], tracks[e["tid"]], e["ts"] / 1e6, (e["ts"] + e["dur"]) / 1e6) for e in events if e["ph"] == "X"]


def test_every_attempt_and_test_is_a_span_on_its_slot(history: Any, make_phase: Any) -> None:
    history.play_to(Trace)
    history.start(make_phase("p", "a"))
    history.service("db", 1.0, 5432, 0.75)
    history.phase("p", 1.0)
    history.attempt("a", 1.0)
    history.test("a", 2.5, "t.py::one")  # each takes half a second
    history.test("a", 3.0, "t.py::two", "failed")
    history.attempt_ends("a", 3.5, "failed", 2.5)
    history.attempt("a", 3.5, number=2)
    history.ends("a", 4.0, "flaky", 3.0, attempts=2)
    history.emit(PhaseFinished(phase="p"), 4.0)
    history.finish(4.0)
    assert spans(history) == [
        ("db starts", "services", 0.25, 1.0),
        ("t.py::one", "slot 0", 2.0, 2.5),
        ("t.py::two", "slot 0", 2.5, 3.0),
        ("a", "slot 0", 1.0, 3.5),
        ("a", "slot 0", 3.5, 4.0),
        ("p", "phases", 1.0, 4.0),
    ]


def test_tests_that_overlap_get_tracks_of_their_own(history: Any, make_phase: Any) -> None:
    history.play_to(Trace)
    history.start(make_phase("p", "a"))
    history.attempt("a", 1.0)
    history.test("a", 2.0, "t.py::one")
    history.test("a", 2.25, "t.py::two")
    history.test("a", 2.75, "t.py::three")
    history.ends("a", 3.0, "passed", 2.0)
    history.finish(3.0)
    assert [(name, track) for name, track, _, _ in spans(history)][:3] == [
        ("t.py::one", "slot 0"),
        ("t.py::two", "slot 0, worker 2"),
        ("t.py::three", "slot 0"),
    ]


def test_what_a_group_waited_for_is_told_with_its_first_attempt(history: Any, make_phase: Any) -> None:
    history.play_to(Trace)
    history.start(make_phase("p", "a", "b"))
    history.attempt("a", 1.0)
    history.attempt_ends("a", 2.0, "failed", 1.0)
    history.attempt("a", 2.0, number=2)
    history.ends("a", 3.0, "flaky", 2.0, attempts=2, waited={"slots": 1.0})
    history.ends("b", 3.0, "not_run", attempts=0, waited={"slots": 3.0})
    history.finish(3.0)
    assert history.warnings == []
    told = [event["args"] for event in json.loads(history.files.trace.read_text())["traceEvents"] if event["ph"] == "X"]
    assert [args.get("waited") for args in told] == [{"slots": 1.0}, None]


def test_a_pause_is_an_instant(history: Any, make_phase: Any) -> None:
    history.play_to(Trace)
    history.start(make_phase("p", "a"))
    history.attempt("a", 1.0)
    history.emit(RunPaused(), 1.5)
    history.emit(RunResumed(seconds=5.04), 1.5)
    history.ends("a", 2.0, "passed", 1.0)
    history.finish(2.0)
    events = json.loads(history.files.trace.read_text())["traceEvents"]
    assert [(e["name"], e["ts"]) for e in events if e["ph"] == "i"] == [("paused for 5.0 s", 1_500_000)]
    assert spans(history) == [("a", "slot 0", 1.0, 2.0)]
