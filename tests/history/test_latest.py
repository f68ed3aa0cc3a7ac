"""How the groups stand: tables of histories, and a slow reference that goes through them one by one."""

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from past_runs import Ended, make_record

from harness.history import History
from harness.model import Status
from harness.past import Latest

MANY = 1000
PASS, FAIL = (
    Ended(attempts=[{"x": "passed", "y": "passed"}]),
    Ended("failed", attempts=[{"x": "failed", "y": "passed"}]),
)


def part(status: str, **tests: str) -> Ended:
    return Ended(status, attempts=[tests], partial=True)


def standing(status: str, *failed: str, whole: bool = True) -> Latest:
    return Latest(status=Status(status), failed_tests=failed, whole=whole)


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([PASS], standing("passed")),
        ([FAIL], standing("failed", "x")),
        ([FAIL, PASS], standing("passed")),
        ([PASS, FAIL], standing("failed", "x")),
        # Runs of a part settle their own tests.
        ([FAIL, part("passed", x="passed")], standing("failed")),
        ([PASS, part("failed", y="error")], standing("passed", "y")),
        ([FAIL, part("failed", y="failed")], standing("failed", "x", "y")),
        ([FAIL, part("failed", y="failed"), PASS], standing("passed")),
        ([FAIL, part("failed", y="failed"), part("passed", x="passed")], standing("failed", "y")),
        # A retry that passed.
        ([Ended("flaky", attempts=[{"x": "failed"}, {"x": "passed"}])], standing("flaky")),
        # A test that is gone from a later run has no outcome any more.
        ([FAIL, Ended("failed", attempts=[{"z": "failed"}])], standing("failed", "z")),
        # What did not get to the end of its tests must run again whole.
        ([Ended("timed_out", attempts=[{"x": "failed"}])], standing("timed_out", "x", whole=False)),
        ([FAIL, Ended("interrupted", attempts=[{"x": "passed"}])], standing("interrupted", whole=False)),
        ([Ended("failed")], standing("failed", whole=False)),
        ([Ended("failed", attempts=[{"x": "failed"}], all_known=False)], standing("failed", "x", whole=False)),
        ([PASS, Ended("not_run")], standing("not_run", whole=False)),
        ([FAIL, Ended("skipped")], standing("skipped", "x", whole=False)),
        ([Ended("not_run"), PASS], standing("passed")),
        # A test that hangs leaves no outcome, so a part that was cut off is not settled either …
        ([PASS, part("timed_out")], standing("passed", whole=False)),
        ([PASS, part("killed", y="passed"), part("passed", y="passed")], standing("passed", whole=False)),
        ([PASS, part("timed_out"), PASS], standing("passed")),
        # … unless it was a person who cut it off, or it did not come to its tests.
        ([FAIL, part("interrupted")], standing("failed", "x")),
        ([FAIL, part("error")], standing("failed", "x")),
        ([FAIL, part("not_run")], standing("failed", "x")),
        # A pass with the same inputs is no run.
        ([FAIL, Ended("cached")], standing("failed", "x")),
        # Never whole.
        ([part("passed", x="passed")], None),
        ([Ended("cached")], None),
    ],
)
def test_histories(past: History, runs: list[Ended], expected: Latest | None) -> None:
    for number, ended in enumerate(runs):
        past.record(make_record(number, {"a": ended}), keep=MANY)
    assert past.latest("local").get("a") == expected


def test_groups_stand_by_themselves(past: History) -> None:
    past.record(make_record(1, {"a": FAIL, "b": PASS}), keep=MANY)
    past.record(make_record(2, {"b": FAIL}), keep=MANY)
    assert past.latest("local") == {"a": standing("failed", "x"), "b": standing("failed", "x")}


def test_a_group_that_was_off_stands_as_before(past: History) -> None:
    past.record(make_record(1, {"a": PASS}), keep=MANY)
    past.record(make_record(2, {"a": "skipped"}, off={"p": "RUN_STRESS_TESTS is not true"}), keep=MANY)
    assert past.latest("local") == {"a": standing("passed")}


def test_the_time_of_a_run_counts_and_not_when_it_was_told_of(past: History) -> None:
    past.record(make_record(2, {"a": PASS}), keep=MANY)
    past.record(make_record(1, {"a": FAIL}), keep=MANY)
    assert past.latest("local") == {"a": standing("passed")}


outcomes = st.sampled_from(["passed", "failed", "error", "skipped"])
tests = st.dictionaries(st.sampled_from("xyz"), outcomes, min_size=1)
cut = st.sampled_from(["passed", "failed", "timed_out", "killed", "interrupted", "error", "not_run", "skipped"])


def ending(tests: dict[str, str], status: str, partial: bool) -> Ended:
    """A group ends as its tests say, unless it was cut off."""
    if status in {"passed", "failed"}:
        status = "failed" if {"failed", "error"} & set(tests.values()) else "passed"
    return Ended(status, attempts=[tests], partial=partial)


@given(st.lists(st.builds(ending, tests, cut, st.booleans()), max_size=8))
def test_the_reference_agrees(runs: list[Ended]) -> None:
    expected = by_the_book(runs)
    with TemporaryDirectory() as directory, closing(History.open(Path(directory, "history"))) as past:
        for number, ended in enumerate(runs):
            past.record(make_record(number, {"a": ended}), keep=MANY)
        found = past.latest("local").get("a")
    assert (found and (found.status.value, set(found.failed_tests), found.whole)) == expected


def by_the_book(runs: list[Ended]) -> tuple[str, set[str], bool] | None:
    full = [index for index, run in enumerate(runs) if not run.partial]
    if not full:
        return None
    ended = [index for index in full if runs[index].status in {"passed", "failed"}]
    since = runs[ended[-1] :] if ended else runs
    last: dict[str, str] = {}
    for run in since:
        if run.status not in {"not_run", "skipped"}:
            last |= run.attempts[0]
    broken_off = any(run.status in {"timed_out", "killed"} for run in runs[full[-1] + 1 :])
    whole = bool(ended) and ended[-1] == full[-1] and not broken_off
    return runs[full[-1]].status, {test for test, status in last.items() if status in {"failed", "error"}}, whole
