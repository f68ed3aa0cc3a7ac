"""`history`: whole outputs compared, at a fixed time."""

import io
import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import click
import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from past_runs import EPOCH, Ended, make_record

from harness.cli.history import age, comparable, history, show, sparkline, table
from harness.errors import UsageError
from harness.history import HISTORY_FILE, History
from harness.past import PastRun
from harness.record import RunRecord
from harness.reporters.text import unpainted

Call = Callable[..., Result]
MANY = 1000


@pytest.fixture
def remember(project: Path) -> Callable[..., None]:
    def recorded(*records: RunRecord, file: str = HISTORY_FILE) -> None:
        with closing(History.open(project / file)) as past:
            for record in records:
                past.record(record, keep=MANY)

    return recorded


def past_run(number: int, **more: object) -> PastRun:
    values: dict[str, object] = {
        "key": str(number), "run_id": f"run{number}", "started_at": EPOCH + number, "commit": "c0ffee00cafe",
        "dirty": False, "host": "here", "cores": 2, "jobs": 4, "seed": 0, "shard": "", "environment": "local",
        "duration": 10.0, "exit_code": 0, "stopped_by": "", "sequential_time": 30.0, "lower_bound": 8.0,
        "predicted": None, "services_seconds": 1.0, "wind_down": 0.0, "groups": 3, "failed": 0,
    }  # fmt: skip
    return PastRun(**{**values, **more})  # type: ignore[arg-type]


# The runs


def test_table() -> None:
    runs = [
        past_run(9),
        past_run(8, dirty=True, exit_code=1, duration=75.0, failed=5),
        past_run(0, commit="", exit_code=130, stopped_by="SIGINT", lower_bound=0.0, jobs=16, sequential_time=0.0),
    ]
    lines = table(runs, {"8": ["search", "core\x1b[2J", "users", "tags", "ratings"]}, now=EPOCH + 7209)
    assert [unpainted(line) for line in lines] == [
        "   when  run    commit       jobs    groups  failed                                   "
        "    time    speedup    × bound          exit",
        "-------  -----  ---------  ------  --------  -------------------------------------  --"
        "--------  ---------  ---------  ------------",
        "2 h ago  run9   c0ffee00        4         3                                           "
        "  10.0 s        3.0       1.25             0",
        "2 h ago  run8   c0ffee00*       4         3  search, core\\x1b[2J, users and 2 more  1 "
        "min 15 s        0.4       9.38             1",
        "2 h ago  run0                  16         3                                           "
        "  10.0 s        0.0             130 (SIGINT)",
    ]


def test_shards_and_hosts_have_columns_where_there_are_several() -> None:
    alone = unpainted(table([past_run(1)], {}, now=EPOCH)[0]).split()
    lines = table([past_run(1, shard="1/2"), past_run(2, host="there")], {}, now=EPOCH)
    assert unpainted(lines[0]).split() == [*alone[:2], "host", *alone[2:4], "shard", *alone[4:]]
    assert [line.split("run")[1].split()[1] for line in lines[2:]] == ["here", "there"]


def test_comparable_runs_passed_and_are_like_the_newest_that_did() -> None:
    runs = [
        past_run(9, exit_code=1, jobs=2),
        past_run(8),
        past_run(7, jobs=8),
        past_run(6, groups=4),
        past_run(5, environment="staging"),
        past_run(4, shard="1/2"),
        past_run(3, exit_code=1),
        past_run(2),
    ]
    assert [run.run_id for run in comparable(runs)] == ["run2", "run8"]
    assert comparable([past_run(1, exit_code=1)]) == []


def test_command_shows_the_last_runs_and_their_development(call: Call, remember: Callable[..., None]) -> None:
    remember(*(make_record(number, {"a": "passed"}, duration=10.0 + number) for number in range(8)))
    remember(make_record(8, {"a": "failed"}))
    lines = call(history, "--limit", "3").output.splitlines()
    assert [line.split()[3] for line in lines[2:5]] == ["20250101_000008", "20250101_000007", "20250101_000006"]
    assert lines[5:] == [
        "",
        "8 runs like the newest that passed (1 group, 4 at a time):",
        "  ▁▂▃▄▅▆▇█  +1.0 s a run over 8 runs",
    ]


@pytest.mark.parametrize(
    ("durations", "words"),
    [
        ([10.0], None),
        ([10.0, 11.0], "too few runs for a trend"),
        ([10.0, 10.1, 10.0, 10.1, 10.0], "steady over 5 runs"),
        ([14.0, 13.0, 12.0, 11.0, 10.0], "-1.0 s a run over 5 runs"),
        ([3.005, 3.055, 3.105, 3.155, 3.205], "+50.0 ms a run over 5 runs"),
    ],
)
def test_trend_in_words(call: Call, remember: Callable[..., None], durations: list[float], words: str | None) -> None:
    remember(*(make_record(number, {"a": "passed"}, duration=each) for number, each in enumerate(durations)))
    last = call(history).output.splitlines()[-1]
    assert last.partition("  ")[2].strip().partition("  ")[2] == words if words else last.endswith(" 0")


def test_runs_as_json(call: Call, remember: Callable[..., None]) -> None:
    remember(make_record(1, {"a": Ended(duration=5.0), "b": "failed"}), make_record(2, {"a": "passed"}))
    content = json.loads(call(history, "--format", "json", "--limit", "2").output)
    assert [run["run_id"] for run in content["runs"]] == ["20250101_000002", "20250101_000001"]
    assert content["runs"][1] | {"speedup": 0.6, "failed_groups": ["b"], "commit": "c0ffee"} == content["runs"][1]
    assert content["trend"] is None


# One group


def test_group(call: Call, remember: Callable[..., None]) -> None:
    def figures(number: int) -> dict[str, object]:
        return {"cpu_seconds": 0.5, "peak_memory": (100 + number) * 10**6, "waited": {"slots": 0.25}}

    remember(
        *(
            make_record(n, {"search": Ended(duration=2.0 + n, attempts=[{"t1": "passed"}], more=figures(n))})
            for n in range(5)
        ),
        make_record(5, {"search": Ended("failed", 5.0, [{"t1": "failed: got 404 \x1b[2J"}], more=figures(5))}),
        make_record(6, {"search": Ended("flaky", 5.0, [{"t1": "failed: got 500 \x1b[2J"}, {}], more=figures(6))}),
        make_record(7, {"search": Ended("timed_out", 5.0, [{}], reason="no end within 5 s", more=figures(7))}),
    )
    lines = call(history, "search").output.splitlines()
    digest, other = lines[-2].split()[2], lines[-1].split()[2]
    assert lines == [
        "search: 8 runs, 5 passed, 1 failed, 1 flaky, 1 timed_out",
        "  duration  ▁▃▅▆█",
        "            median 4.0 s, 2.0 s to 6.0 s where it passed",
        "  trend     +1.0 s a run over 5 runs",
        "  CPU       median 0.50 s, 11 % of its time",
        "  memory    median 104 MB, at most 107 MB",
        "  waited    median 0.25 s before it started",
        "",
        "slowest tests (medians)",
        "    0.50 s  t1  7 runs",
        "",
        "errors (alike but for numbers)",
        f"     2 ×  {digest}  got 404 \\x1b[2J",
        f"     1 ×  {other}  no end within 5 s",
    ]


def test_what_a_slow_test_used(call: Call, remember: Callable[..., None]) -> None:
    record = make_record(1, {"search": Ended(attempts=[{"big": "passed", "small": "passed"}])})
    big, small = record.groups["search"].tests
    record.groups["search"].part("").tests = [
        replace(big, cpu_seconds=0.25, memory_growth=64_000_000),
        replace(small, cpu_seconds=0.0, memory_growth=0),
    ]
    remember(record)
    assert call(history, "search").output.splitlines()[-2:] == [
        "    0.50 s  big  1 run, cpu 0.25 s, memory +64 MB",
        "    0.50 s  small  1 run, cpu 0.00 s",
    ]


def test_group_that_never_passed(call: Call, remember: Callable[..., None]) -> None:
    remember(make_record(1, {"search": "killed"}))
    lines = call(history, "search").output.splitlines()
    assert lines[:3] == [
        "search: 1 run, 1 killed",
        "  CPU       median 0.00 s, 0 % of its time",
        "  memory    not known",
    ]


def test_runs_of_some_tests_only_do_not_shorten_its_durations(call: Call, remember: Callable[..., None]) -> None:
    remember(make_record(1, {"search": Ended(duration=9.0)}), make_record(2, {"search": Ended(partial=True)}))
    assert "median 9.0 s, 9.0 s to 9.0 s" in call(history, "search").output


def test_group_as_json(call: Call, remember: Callable[..., None]) -> None:
    remember(make_record(1, {"search": Ended("failed", attempts=[{"t": "failed: no"}])}))
    content = json.loads(call(history, "search", "--format", "json").output)
    assert (content["group"], content["trend"]) == ("search", None)
    assert [run["status"] for run in content["runs"]] == ["failed"]
    assert content["slowest_tests"] == [
        {"test": "t", "seconds": 0.5, "runs": 1, "cpu_seconds": None, "memory_growth": None}
    ]
    assert [(error["count"], error["example"]) for error in content["errors"]] == [(1, "no")]


@pytest.mark.parametrize(
    ("name", "message", "cure"),
    [
        ("finacial", 'there is no group "finacial" in the history', 'did you mean "financial"?'),  # of the plan
        ("retried", 'there is no group "retried" in the history', 'did you mean "retired"?'),  # of the history
        ("search", 'the group "search" has not run yet', "harness test --groups search"),
    ],
)
def test_group_without_a_run(call: Call, remember: Callable[..., None], name: str, message: str, cure: str) -> None:
    remember(make_record(1, {"retired": "passed"}))
    with pytest.raises(UsageError) as raised:
        call(history, name)
    assert raised.value.message == message
    assert cure in raised.value.cure


def test_wrong_plan_costs_only_the_suggestion(call: Call, remember: Callable[..., None], project: Path) -> None:
    remember(make_record(1, {"search": "passed"}))
    (project / "harness.toml").write_text("phases = 7")
    assert call(history, "search").output.startswith("search: 1 run")
    with pytest.raises(UsageError, match="there is no group"):
        call(history, "financial")


# The file


def test_no_history(call: Call, project: Path) -> None:
    with pytest.raises(UsageError, match="there is no history of "):
        call(history)
    assert not (project / ".harness").exists(), "looking makes nothing"
    History.open(project / HISTORY_FILE).close()
    with pytest.raises(UsageError, match="there is no history of "):
        call(history)


def test_damage_is_told(
    call: Call, remember: Callable[..., None], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("harness.cli.history.caution", told.extend)
    remember(make_record(1, {"a": "passed"}))
    with sqlite3.connect(project / HISTORY_FILE) as connection:
        connection.execute("ALTER TABLE runs DROP COLUMN wind_down")
    connection.close()
    with pytest.raises(UsageError, match="there is no history"):
        call(history)
    assert ["is set aside as history.sqlite3.damaged-" in warning for warning in told] == [True]


def test_importing_other_histories(call: Call, remember: Callable[..., None]) -> None:
    remember(make_record(1, {"a": "passed"}), make_record(2, {"a": "passed"}), file="one.sqlite3")
    remember(make_record(2, {"a": "passed"}), make_record(3, {"b": "passed"}), file="two.sqlite3")
    result = call(history, "--import", "one.sqlite3", "--import", "two.sqlite3", "--format", "json")
    assert result.stderr == "harness: 2 new runs in one.sqlite3\nharness: 1 new run in two.sqlite3\n"
    assert len(json.loads(result.stdout)["runs"]) == 3
    assert len(json.loads(call(history, "--format", "json").stdout)["runs"]) == 3


def test_importing_what_is_no_history(call: Call) -> None:
    with pytest.raises(UsageError, match=r"harness\.toml is no history that can be read"):
        call(history, "--import", "harness.toml")


@pytest.mark.parametrize("limit", ["0", "-1", "x"])
def test_bad_limit(call: Call, limit: str) -> None:
    with pytest.raises(click.ClickException):
        call(history, "--limit", limit)


# How it looks


def test_console_without_the_glyphs(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", plain)
    show(["▁▂▃▄▅▆▇█ × 2"])
    plain.flush()
    assert plain.buffer.getvalue() == b"_.:-=+*# x 2\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([1.0, 8.0], "▁█"),
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], "▁▂▃▄▅▆▇█"),
        ([100.0, 101.0, 99.0], "██▇"),
        ([0.0, 0.0], "▁▁"),
    ],
)
def test_sparkline(values: list[float], drawn: str) -> None:
    assert sparkline(values) == drawn


@given(st.lists(st.floats(0, 1e9), min_size=1))
def test_a_sparkline_keeps_the_order(values: list[float]) -> None:
    drawn = sparkline(values)
    heights = [glyph for _, glyph in sorted(zip(values, drawn, strict=True))]
    assert heights == sorted(heights)


@pytest.mark.parametrize(
    ("passed", "words"),
    [(-5.0, "0 s"), (119.0, "119 s"), (120.0, "2 min"), (7199.0, "119 min"), (7200.0, "2 h"), (200_000.0, "2 days")],
)
def test_age(passed: float, words: str) -> None:
    assert age(passed) == words
