"""What goes into the history and what comes out of it."""

import sqlite3
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from past_runs import EPOCH, Ended, make_record, overwrite_pages

from harness.errors import UsageError
from harness.history import History
from harness.history.fold import error_hash, fold
from harness.history.schema import TABLES
from harness.model import Status
from harness.past import SlowTest

MANY = 1000


def rows_of_all_tables(path: Path) -> dict[str, int]:
    with sqlite3.connect(path) as connection:
        counts = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}
    connection.close()
    return counts


def test_what_was_recorded_comes_back(past: History) -> None:
    attempts = [{"t1": "failed: got 404", "t2": "xfailed"}, {"t1": "passed", "t2": "skipped"}]
    more = {"cpu_seconds": 0.5, "peak_memory": 2**40, "waited": {"slots": 2.0}}
    record = make_record(
        1,
        {"a": Ended("flaky", 3.0, attempts, more=more), "b": Ended("failed", partial=True), "c": "not_run"},
        predicted=3.5,
        dirty=True,
        shard="1/2",
    )
    key = past.record(record, keep=MANY)
    rows = fold(record)
    assert rows.run.key == key
    assert past.runs(MANY) == [rows.run]
    assert past.all_groups() == rows.groups
    assert past.all_tests() == sorted(rows.tests, key=lambda test: test.attempt)
    assert past.groups("a", MANY) == [rows.groups[0]]
    assert past.group_names() == ["a", "b"]
    assert past.failed_groups(MANY) == {key: ["b"]}
    assert past.examples() == {error_hash("got 404"): "got 404", error_hash("failed"): "failed"}
    assert past.warnings == []


def test_a_run_is_kept_once(past: History) -> None:
    record = make_record(1, {"a": Ended(attempts=[{"t": "passed"}])})
    assert past.record(record, keep=MANY) == past.record(record, keep=MANY)
    assert (len(past.runs(MANY)), len(past.all_groups()), len(past.all_tests())) == (1, 1, 1)


def test_it_outlives_the_process(path: Path) -> None:
    first = History.open(path)
    first.record(make_record(1, {"a": "passed"}), keep=MANY)
    first.close()
    assert [run.run_id for run in History.open(path).runs(MANY)] == ["20250101_000001"]


def test_an_empty_history(past: History) -> None:
    assert past.runs(MANY) == past.all_groups() == past.all_tests() == past.groups("a", MANY) == []
    assert past.durations("local", ["a"]) == past.latest("local") == past.fingerprints() == {}
    assert past.failed_groups(MANY) == {}
    assert past.apart("local") is None
    assert past.slowest_tests("a", MANY) == []


def test_the_newest_come_first_and_the_oldest_are_forgotten(past: History, path: Path) -> None:
    for number in (3, 1, 2, 5, 4):
        tests = {f"only in {number}": f"failed: only{'x' * number}", "always": "passed"}
        groups = {
            f"g{number}": Ended("failed", attempts=[tests]),
            "slow": Ended("timed_out", reason=f"slow{'x' * number}"),
            "late": "not_run",
        }
        past.record(make_record(number, groups), keep=3)
    assert [run.run_id[-1] for run in past.runs(MANY)] == ["5", "4", "3"]
    assert [run.run_id[-1] for run in past.runs(2)] == ["5", "4"]
    assert past.group_names() == ["g3", "g4", "g5", "slow"]
    assert set(past.examples().values()) == {f"{why}{'x' * number}" for why in ("only", "slow") for number in (3, 4, 5)}
    past.close()
    counts = rows_of_all_tables(path)
    assert counts == {
        "runs": 3, "group_runs": 6, "unrun": 3, "test_names": 6, "test_runs": 6, "errors": 6, "fingerprints": 0,
    }  # fmt: skip


def test_the_run_of_a_clock_that_was_put_back_is_not_forgotten_at_once(past: History) -> None:
    for number in (5, 6, 1):
        past.record(make_record(number, {"a": "passed"}), keep=2)
    assert [run.run_id[-1] for run in past.runs(MANY)] == ["6", "5", "1"]


def test_fingerprints_outlive_their_runs(past: History) -> None:
    past.store_fingerprint("a", "d1", {"x": "1"}, "run1", 1.0)
    past.store_fingerprint("a", "d2", {"x": "2", "ü": "3"}, "run2", 2.0)
    for number in range(3):
        past.record(make_record(number, {"a": "failed"}), keep=1)
    stored = past.fingerprints()["a"]
    assert (stored.digest, stored.parts, stored.run, stored.at) == ("d2", {"x": "2", "ü": "3"}, "run2", 2.0)


endings = st.tuples(st.sampled_from([status.value for status in Status]), st.booleans())


@given(st.lists(st.dictionaries(st.sampled_from("abc"), endings), max_size=20))
def test_durations_are_those_of_the_last_five_whole_passes(histories: list[dict[str, tuple[str, bool]]]) -> None:
    expected: defaultdict[str, list[float]] = defaultdict(list)
    with TemporaryDirectory() as directory, closing(History.open(Path(directory, "history"))) as past:
        for number, groups in enumerate(histories):
            ended = {name: Ended(status, 1.0 + number, partial=partial) for name, (status, partial) in groups.items()}
            past.record(make_record(number, ended), keep=MANY)
            for name, (status, partial) in groups.items():
                if status == "passed" and not partial:
                    expected[name].insert(0, 1.0 + number)
        assert past.durations("local", "abcd") == {name: seconds[:5] for name, seconds in expected.items()}
        assert past.durations("local", "b").keys() == expected.keys() & "b"


def test_durations_are_also_of_groups_that_the_newest_runs_tell_little_of(past: History) -> None:
    for number in range(1, 13):
        seconds = float(number)
        groups = {"always": Ended(duration=seconds), "flaky": Ended("passed" if number % 2 else "failed", seconds)}
        if number < 8:
            groups |= {"once": Ended(duration=seconds)}
        past.record(make_record(number, groups), keep=MANY)
        past.record(make_record(50 + number, {"once": Ended(duration=100.0)}, environment="staging"), keep=MANY)
    wanted = ["always", "flaky", "once", "never"]
    assert past.durations("local", wanted) == {
        "always": [12.0, 11.0, 10.0, 9.0, 8.0],
        "flaky": [11.0, 9.0, 7.0, 5.0, 3.0],
        "once": [7.0, 6.0, 5.0, 4.0, 3.0],
    }
    assert past.durations("staging", wanted) == {"once": [100.0] * 5}


def test_the_durations_of_tests_are_medians_of_the_last_five_whole_passes(past: History) -> None:
    def passed(number: int, seconds: float, *, test: str = "x", **more: object) -> None:
        record = make_record(number, {"a": Ended(attempts=[{test: "passed"}], **more), "b": Ended()})
        part = record.groups["a"].part("")
        part.tests = [replace(each, duration=seconds) for each in part.tests]
        past.record(record, keep=MANY)

    for number, seconds in enumerate([100.0, 1.0, 4.0, 2.0, 9.0, 3.0]):
        passed(number, seconds)
    passed(7, 50.0, partial=True)
    failed = make_record(8, {"a": Ended("failed", attempts=[{"x": "failed"}])})
    past.record(failed, keep=MANY)
    assert past.test_durations("local", ["a", "b", "new"]) == {"a": {"x": 3.0}, "b": {}, "new": {}}
    assert past.test_durations("staging", ["a"]) == {"a": {}}
    passed(9, 7.0, test="y")
    assert past.test_durations("local", ["a"]) == {"a": {"x": 3.5, "y": 7.0}}


def test_the_time_apart_is_that_of_whole_runs_that_passed(past: History) -> None:
    past.record(make_record(0, {"a": "passed"}, services=50.0, duration=90.0), keep=MANY)  # too long ago
    for number, services in enumerate([1.0, 2.0, 3.0, 4.0, 9.0], 1):
        past.record(make_record(number, {"a": "passed"}, services=services, duration=services + 1.5), keep=MANY)
    past.record(make_record(6, {"a": "failed"}, services=70.0), keep=MANY)
    past.record(make_record(7, {"a": Ended(partial=True)}, services=70.0), keep=MANY)
    past.record(make_record(8, {"a": "passed"}, services=70.0, shard="1/2"), keep=MANY)
    assert past.apart("local") == (3.0, 0.5)


def test_the_slowest_tests(past: History) -> None:
    for number, slow in enumerate([1.0, 3.0, 2.0]):
        record = make_record(number, {"a": Ended(attempts=[{"x": "passed", "y": "passed", "z": "skipped"}])})
        tests = record.groups["a"].tests
        used = {"cpu_seconds": slow / 2, "memory_growth": 1000 * number}
        record.groups["a"].part("").tests = [replace(tests[0], duration=slow, **used), *tests[1:]]
        past.record(record, keep=MANY)
    past.record(make_record(9, {"b": Ended(attempts=[{"x": "passed"}])}), keep=MANY)
    assert [test.cpu_seconds for test in past.all_tests() if test.test == "x" and test.group == "a"] == [0.5, 1.5, 1.0]
    x = SlowTest(test="x", seconds=2.0, runs=3, cpu_seconds=1.0, memory_growth=1000)
    y = SlowTest(test="y", seconds=0.5, runs=3, cpu_seconds=None, memory_growth=None)
    assert past.slowest_tests("a", MANY) == [x, y]
    assert past.slowest_tests("a", 1) == [x]


def test_of_a_test_that_was_tried_again_the_last_attempt_counts(past: History) -> None:
    record = make_record(1, {"a": Ended("flaky", attempts=[{"x": "failed"}, {"x": "passed"}])})
    first = record.groups["a"].part("").earlier_tests[0]
    first[0] = replace(first[0], duration=99.0)
    past.record(record, keep=MANY)
    assert [(test.seconds, test.runs) for test in past.slowest_tests("a", MANY)] == [(0.5, 1)]


def test_tests_that_are_gone_are_not_among_the_slowest(past: History) -> None:
    past.record(make_record(0, {"a": Ended(attempts=[{"gone": "passed"}])}), keep=MANY)
    for number in range(1, 21):
        past.record(make_record(number, {"a": Ended(attempts=[{"here": "passed"}])}), keep=MANY)
    assert [test.test for test in past.slowest_tests("a", MANY)] == ["here"]


def test_failed_groups_are_those_of_the_newest_runs_in_order(past: History) -> None:
    quarantined = Ended("failed", more={"quarantined": "later"})
    late = Ended("killed", more={"started_at": EPOCH + 9})
    old = past.record(make_record(1, {"a": "failed"}), keep=MANY)
    new = past.record(make_record(2, {"z": late, "a": "timed_out", "q": quarantined, "f": "flaky"}), keep=MANY)
    assert past.failed_groups(1) == {new: ["a", "z"]}
    assert past.failed_groups(2) == {old: ["a"], new: ["a", "z"]}


def test_a_run_that_began_since_has_the_last_word(past: History) -> None:
    past.withdraw(["a", "b"], "r1", 1.0)
    assert {name: kept.digest for name, kept in past.fingerprints().items()} == {"a": "", "b": ""}
    past.withdraw(["b"], "r2", 2.0)
    for group in "ab":
        past.store_pass(group, "passed", {"x": "1"}, "r1", 3.0)
    kept = past.fingerprints()
    assert (kept["a"].digest, kept["a"].run, kept["a"].parts) == ("passed", "r1", {"x": "1"})
    assert (kept["b"].digest, kept["b"].run) == ("", "r2")


def test_environments_are_apart(past: History) -> None:
    past.record(make_record(1, {"a": Ended(duration=5.0)}, services=3.0), keep=MANY)
    past.record(make_record(2, {"a": Ended("failed", duration=1.0)}, environment="staging"), keep=MANY)
    assert (past.durations("local", "a"), past.durations("staging", "a")) == ({"a": [5.0]}, {})
    assert past.apart("staging") is None
    assert past.apart("local") is not None
    assert [past.latest(name)["a"].status.value for name in ("local", "staging")] == ["passed", "failed"]
    assert past.latest("nowhere") == {}


# Another machine's


def test_absorbing_adds_what_is_new(open_history: Callable[..., History], tmp_path: Path) -> None:
    ours, theirs = open_history("ours"), open_history("theirs")
    common = make_record(1, {"a": Ended("failed", attempts=[{"t": "failed: common"}])})
    mine = make_record(2, {"a": Ended(attempts=[{"t": "passed", "mine": "passed"}])})
    new = make_record(3, {"b": Ended("failed", attempts=[{"t": "failed: x"}, {"t": "failed: y"}]), "c": "not_run"})
    ours.record(mine, keep=MANY)
    ours.record(common, keep=MANY)
    theirs.record(make_record(0, {}), keep=MANY)  # so that the ids differ
    theirs.record(new, keep=MANY)
    theirs.record(common, keep=MANY)
    theirs.close()
    assert ours.absorb(tmp_path / ".harness/theirs") == 2
    assert ours.absorb(tmp_path / ".harness/theirs") == 0
    together = open_history("together")
    for record in (make_record(0, {}), common, mine, new):
        together.record(record, keep=MANY)
    assert ours.runs(MANY) == together.runs(MANY)
    assert ours.all_groups() == together.all_groups()
    assert sorted(ours.all_tests(), key=repr) == sorted(together.all_tests(), key=repr)
    assert ours.latest("local") == together.latest("local")
    assert ours.examples() == together.examples()


def test_the_newer_fingerprint_stays(open_history: Callable[..., History], tmp_path: Path) -> None:
    ours, theirs = open_history("ours"), open_history("theirs")
    for history, times in ((ours, {"a": 1.0, "b": 2.0}), (theirs, {"a": 2.0, "b": 1.0, "c": 1.0})):
        for group, at in times.items():
            history.store_fingerprint(group, f"{group}{at}", {}, "r", at)
    theirs.close()
    ours.absorb(tmp_path / ".harness/theirs")
    assert {name: each.digest for name, each in ours.fingerprints().items()} == {"a": "a2.0", "b": "b2.0", "c": "c1.0"}


def test_absorbing_itself_adds_nothing(past: History, path: Path) -> None:
    past.record(make_record(1, {"a": "passed"}), keep=MANY)
    assert past.absorb(path) == 0
    assert (len(past.runs(MANY)), past.warnings) == (1, [])


def test_absorbing_a_history_that_is_open_elsewhere(open_history: Callable[..., History], tmp_path: Path) -> None:
    ours, theirs = open_history("ours"), open_history("theirs")
    theirs.record(make_record(1, {"a": "passed"}), keep=MANY)  # still in its -wal
    assert (tmp_path / ".harness/theirs-wal").stat().st_size
    assert ours.absorb(tmp_path / ".harness/theirs") == 1
    theirs.record(make_record(2, {"a": "passed"}), keep=MANY)
    assert theirs.warnings == []


@pytest.mark.parametrize("content", [None, b"", b"no database", b"SQLite format 3\0" + b"\xff" * 5000])
def test_what_is_no_history_is_refused_and_ours_is_untouched(past: History, tmp_path: Path, content: bytes) -> None:
    other = tmp_path / "other?#%41.sqlite3"
    if content is not None:
        other.write_bytes(content)
    past.record(make_record(1, {"a": "passed"}), keep=MANY)
    with pytest.raises(UsageError, match="is no history that can be read"):
        past.absorb(other)
    assert (len(past.runs(MANY)), past.warnings) == (1, [])
    assert other.exists() == (content is not None)


def test_a_history_with_a_damaged_page_is_refused(
    past: History, open_history: Callable[..., History], tmp_path: Path
) -> None:
    theirs = open_history("theirs")
    theirs.record(make_record(2, {"a": Ended(attempts=[{f"t{n}": "passed" for n in range(500)}])}), keep=MANY)
    theirs.close()
    overwrite_pages(tmp_path / ".harness/theirs")
    past.record(make_record(1, {"a": "passed"}), keep=MANY)
    with pytest.raises(UsageError, match="is no history that can be read"):
        past.absorb(tmp_path / ".harness/theirs")
    assert (len(past.runs(MANY)), past.warnings) == (1, [])


def test_a_history_that_contradicts_itself_is_refused_whole(
    past: History, open_history: Callable[..., History], tmp_path: Path
) -> None:
    theirs = open_history("theirs")
    theirs.record(make_record(2, {"a": "passed"}), keep=MANY)
    theirs.close()
    with sqlite3.connect(tmp_path / ".harness/theirs") as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("CREATE TABLE loose AS SELECT * FROM group_runs")
        connection.execute("DROP TABLE group_runs")
        connection.execute("ALTER TABLE loose RENAME TO group_runs")
        connection.execute("UPDATE group_runs SET status = 'excellent'")
    connection.close()
    past.record(make_record(1, {"a": "passed"}), keep=MANY)
    with pytest.raises(UsageError, match="contradicts itself"):
        past.absorb(tmp_path / ".harness/theirs")
    assert (len(past.runs(MANY)), len(past.all_groups()), past.warnings) == (1, 1, [])
