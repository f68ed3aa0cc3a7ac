"""From the record of a run to the rows that are kept of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from past_runs import EPOCH, Ended, make_record

from harness.history.fold import error_hash, fold, run_key
from harness.model import Phase, Status, TestStatus
from harness.past import PastGroup, PastRun, PastTest
from harness.record import PartRecord, RunRecord


def test_a_run() -> None:
    record = make_record(
        1,
        {"a": Ended(duration=4.0), "b": Ended("failed", 2.5), "c": "skipped"},
        duration=9.0,
        dirty=True,
        shard="2/4",
        predicted=8.5,
    )
    rows = fold(record)
    assert rows.run == PastRun(
        key=run_key("20250101_000001", "here", 7, EPOCH + 3600),
        run_id="20250101_000001",
        started_at=EPOCH + 3600,
        commit="c0ffee",
        dirty=True,
        host="here",
        cores=2,
        jobs=4,
        seed=3,
        shard="2/4",
        environment="local",
        duration=9.0,
        exit_code=1,
        stopped_by="",
        sequential_time=6.5,
        lower_bound=6.0,
        predicted=8.5,
        services_seconds=2.0,
        wind_down=9.0 - 3.0,  # the latest verdict came one second after the services, of the skipped group
        groups=2,
        failed=1,
    )


def test_a_group() -> None:
    more = {"cpu_seconds": 1.5, "peak_memory": 2**40, "waited": {"slots": 1.0, "lock:x": 0.5}, "quarantined": "later"}
    rows = fold(make_record(1, {"a": Ended("failed", 3.0, partial=True, reason="exit code 1", more=more)}))
    assert rows.groups == [
        PastGroup(
            run=rows.run.key,
            group="a",
            started_at=EPOCH,
            duration=3.0,
            slot=1,
            status=Status.FAILED,
            attempts=1,
            cpu_seconds=1.5,
            peak_memory=2**40,
            partial=True,
            quarantined=True,
            waited=1.5,
            error=error_hash("exit code 1"),
        )
    ]
    assert rows.run.failed == 0, "a failure in quarantine does not count"
    assert rows.examples == {error_hash("exit code 1"): "exit code 1"}


def test_the_tests_of_every_attempt() -> None:
    attempts = [{"t1": "passed", "t2": "failed: got 404"}, {}, {"t1": "passed", "t2": "passed"}]
    rows = fold(make_record(1, {"a": Ended("flaky", attempts=attempts)}))
    assert [(test.attempt, test.test, test.status.value, test.error) for test in rows.tests] == [
        (1, "t1", "passed", ""),
        (1, "t2", "failed", error_hash("got 500")),
        (3, "t1", "passed", ""),
        (3, "t2", "passed", ""),
    ]
    assert rows.groups[0].error == error_hash("got 404"), "a group that was flaky did fail once"


@pytest.mark.parametrize(
    ("ending", "error"),
    [
        (Ended("passed"), ""),
        (Ended("interrupted", reason="stopped by SIGINT"), ""),
        (Ended("timed_out", reason="no end within 5 s"), error_hash("no end within 60 s")),
        (Ended("failed", attempts=[{"t": "failed: no"}], reason="1 of 1 test failed"), error_hash("no")),
        (Ended("failed", attempts=[{"t": "failed: old"}, {"t": "error: new"}]), error_hash("new")),
        (Ended("lost"), error_hash("lost")),
    ],
)
def test_why_a_group_failed(ending: Ended, error: str) -> None:
    assert fold(make_record(1, {"a": ending})).groups[0].error == error


@pytest.mark.parametrize("status", ["skipped", "not_run", "cached"])
def test_what_did_not_run_has_no_row(status: str) -> None:
    rows = fold(make_record(1, {"a": status, "b": "passed"}))
    assert [group.group for group in rows.groups] == ["b"]
    assert rows.run.groups == 1
    assert rows.unrun == ([] if status == "cached" else [("a", Status(status))])


def test_a_phase_that_is_off_left_nothing_undone() -> None:
    assert fold(make_record(1, {"a": "skipped"}, off={"p": "RUN_STRESS_TESTS is not true"})).unrun == []


def test_a_part_that_did_not_run_says_nothing_of_the_whole() -> None:
    assert fold(make_record(1, {"a": Ended("not_run", partial=True)})).unrun == []


@pytest.mark.parametrize(
    ("ending", "complete"),
    [
        (Ended("passed"), True),
        (Ended("flaky", attempts=[{}, {}]), True),
        (Ended("failed", attempts=[{"t": "failed"}]), True),
        (Ended("failed", attempts=[{"t": "passed"}]), False),
        (Ended("failed", attempts=[{"t": "failed"}], all_known=False), False),
        (Ended("timed_out", attempts=[{"t": "failed"}]), False),
        (Ended("interrupted"), False),
        (Ended("no_tests"), False),
    ],
)
def test_whether_a_group_got_to_the_end_of_its_tests(ending: Ended, complete: bool) -> None:
    assert fold(make_record(1, {"a": ending})).complete == ({"a"} if complete else set())


def test_whether_a_group_whose_files_ran_one_by_one_got_to_the_end_of_all() -> None:
    record = make_record(1, {"a": Ended("failed", attempts=[{"t": "failed"}])})
    a = record.groups["a"]
    a.group = replace(a.group, tests=("a.py", "b.py", "c.py"), splittable=True)
    (failed,) = a.attempts
    passed, none = replace(failed, status=Status.PASSED, failed_tests=()), replace(failed, status=Status.NO_TESTS)
    ends = {"a.py": [failed], "b.py": [failed, passed], "c.py": [none]}
    a.parts = {file: PartRecord(attempts=attempts) for file, attempts in ends.items()}
    assert fold(record).complete == {"a"}
    a.parts["b.py"].attempts[-1] = replace(failed, failed_tests=())  # it broke down
    assert fold(record).complete == set()
    del a.parts["b.py"]
    assert fold(record).complete == set(), "one file did not run"


def test_the_attempts_of_each_file_are_counted_by_themselves() -> None:
    record = make_record(1, {"a": Ended("flaky", attempts=[{"t": "failed"}, {"t": "passed"}])})
    tests = record.groups["a"].parts.pop("")
    other = make_record(1, {"a": Ended(attempts=[{"u": "passed"}])}).groups["a"].parts[""]
    record.groups["a"].parts = {"a.py": tests, "b.py": other}
    assert [(row.test, row.attempt, row.status.value) for row in fold(record).tests] == [
        ("t", 1, "failed"),
        ("t", 2, "passed"),
        ("u", 1, "passed"),
    ]


@pytest.mark.parametrize(
    ("groups", "more", "whole"),
    [
        ({"a": "passed"}, {}, True),
        ({"a": "passed", "b": "cached"}, {}, False),
        ({"a": "passed", "b": Ended(partial=True)}, {}, False),
        ({"a": "passed"}, {"shard": "1/2"}, False),
        ({"a": "passed"}, {"deselected": 1}, False),
    ],
)
def test_whether_a_run_was_whole(groups: dict[str, Ended | str], more: dict[str, object], whole: bool) -> None:
    assert fold(make_record(1, groups, **more)).whole is whole


def test_two_tests_of_one_name_are_one_that_failed_if_either_did() -> None:
    record = make_record(1, {"a": Ended("failed", attempts=[{"t": "failed: x"}])})
    again = make_record(1, {"a": Ended(attempts=[{"t": "passed"}])}).groups["a"].tests
    failed = list(record.groups["a"].tests)
    for tests in (failed + again, again + failed):
        record.groups["a"].part("").tests = tests
        rows = fold(record)
        assert rows.tests == [
            PastTest(
                run=rows.run.key,
                group="a",
                attempt=1,
                test="t",
                status=TestStatus.FAILED,
                duration=1.0,
                error=error_hash("x"),
            )
        ]


@pytest.mark.parametrize(
    ("figures", "together"),
    [
        ([(1.5, 1000), (0.25, 24)], (1.75, 1024)),
        ([(1.5, 1000), (None, None)], (1.5, 1000)),
        ([(None, None)] * 2, (None,) * 2),
    ],
)
def test_what_two_tests_of_one_name_used_adds_up(
    figures: list[tuple[float | None, int | None]], together: tuple[float | None, int | None]
) -> None:
    for each in (figures, figures[::-1]):
        record = make_record(1, {"a": Ended(attempts=[{"t": "passed"}])})
        (test,) = record.groups["a"].tests
        record.groups["a"].part("").tests = [
            replace(test, cpu_seconds=cpu, memory_growth=memory) for cpu, memory in each
        ]
        assert [(row.cpu_seconds, row.memory_growth) for row in fold(record).tests] == [together]


def test_only_a_run_that_has_ended() -> None:
    with pytest.raises(ValueError, match="has ended"):
        fold(RunRecord())


def test_a_run_without_an_event_of_a_group() -> None:
    rows = fold(make_record(1, {}, phases=(Phase(name="p"),)))
    assert (rows.run.groups, rows.run.wind_down, rows.groups, rows.tests) == (0, 0.0, [], [])


def test_runs_of_two_machines_at_once_have_two_keys() -> None:
    keys = {run_key("r", host, pid, at) for host in ("a", "b") for pid in (1, 2) for at in (1.0, 2.0)}
    assert len(keys) == 8


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("assert 409 == 200", "assert 500 == 200"),
        ("took 1.5e-3 s", "took 12 s"),
        ("<Client object at 0x7f3a9c>", "<Client object at 0xdeadbeef00>"),
        ("no org 3f2b8c1e-0a4d-4e5f-9b6a-7c8d9e0f1a2b", "no org AAAAAAAA-0a4d-4e5f-9b6a-7c8d9e0f1a2b"),
        ("trace 4bf92f3577b34da6 failed", "trace 00f067aa0ba902b7 failed"),
        ("id '12' is gone", 'id "345" is gone'),
        ("two  words\nhere", "two words here"),
        ("tenant org_17_x", "tenant org_4_x"),
    ],
)
def test_errors_that_are_alike(one: str, other: str) -> None:
    assert error_hash(one) == error_hash(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("KeyError: 'name'", "KeyError: 'price'"),
        ("deadbeef is a word without digits", "cafebabe is a word without digits"),
        ("", "x"),
        ("expected 'abc'", "expected abc"),
    ],
)
def test_errors_that_are_not(one: str, other: str) -> None:
    assert error_hash(one) != error_hash(other)


@given(st.text(alphabet=st.characters(exclude_categories=["Nd"])), st.integers(0, 10**12), st.integers(0, 10**12))
def test_numbers_never_tell_errors_apart(text: str, one: int, other: int) -> None:
    assert error_hash(f"{text} {one} of") == error_hash(f"{text} {other} of")
