"""Which runs are the shards of one suite: what is refused, and what is passed over."""

from collections.abc import Sequence

import msgspec
import pytest

from harness.errors import InfrastructureError
from harness.events import Stamped, Warned
from harness.merging import ShardRun, choose

from .conftest import ALL, CORE, Writer, first, merged, phase, record, second


def refused(*runs: ShardRun) -> InfrastructureError:
    with pytest.raises(InfrastructureError) as caught:
        choose(runs)
    assert caught.value.exit_code == 3
    assert caught.value.cure
    return caught.value


def test_a_missing_shard() -> None:
    error = refused(second().run())
    assert error.message == "shard 1/2 is missing: its job did not finish or its logs were not uploaded"


def test_several_missing_shards() -> None:
    lone = Writer(3, count=4).start(CORE, phase("p", "a"))
    assert refused(lone.run()).message == (
        "shards 1/4, 2/4, 4/4 are missing: their jobs did not finish or their logs were not uploaded"
    )


def test_the_same_shard_twice() -> None:
    error = refused(first().run("/one"), first().run("/two"), second().run())
    assert error.message == ("two runs claim to be shard 1/2: /one/run_20250102_030401 and /two/run_20250102_030401")


def test_an_older_run_of_the_shard_in_the_same_directory_is_passed_over() -> None:
    older = Writer(1, late=-100).start(CORE, phase("p", "a"), run_id="20250101_000000").finish(1, code=1)
    chosen, warnings = choose([first().run("/one"), older.run("/one"), second().run()])
    assert [run.started.run_id for run in chosen] == ["20250102_030401", "20250102_030402"]
    assert warnings == ("shard 1/2: took /one/run_20250102_030401, not the older run 20250101_000000 beside it",)
    assert record(merged(first().run("/one"), older.run("/one"), second().run())).warnings == list(warnings)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"shard": "2/3"}, "number of shards"),
        ({"environment": "staging"}, "environment"),
        ({"commit": "def"}, "commit"),
        ({"all_groups": ALL[:-1]}, "plan, or the selection of groups,"),
    ],
)
def test_shards_of_different_runs(change: dict[str, object], what: str) -> None:
    other = second()
    start = other.events[0]
    other.events[0] = msgspec.structs.replace(start, data=msgspec.structs.replace(start.data, **change))
    error = refused(first().run(), other.run())
    assert f"are not of one run, their {what} differs: /here/1/run_20250102_030401 and /here/2/" in error.message


@pytest.mark.parametrize(
    ("ones", "twos", "problem"),
    [
        (("a", "b"), ("b", "c"), "b: in two shards"),
        (("a",), ("b",), "c: in no shard"),
        (("a", "b"), ("c", "d"), "d: in a shard, but not of this run"),
    ],
)
def test_groups_that_do_not_add_up(ones: Sequence[str], twos: Sequence[str], problem: str) -> None:
    plan = ("core", "a", "b", "c")
    one = Writer(1).start(CORE, phase("p", *ones), all_groups=plan)
    two = Writer(2).start(CORE, phase("p", *twos), all_groups=plan)
    error = refused(one.run(), two.run())
    assert error.message == f"the shards do not add up to the whole:\n{problem}"
    assert "the same history file" in error.cure


def test_a_whole_run_is_no_shard() -> None:
    whole = Writer(1).start(CORE, shard="", all_groups=()).finish(1)
    assert refused(whole.run("/logs")).message == "/logs/run_20250102_030401 is no shard but a whole run"


def test_nothing_at_all() -> None:
    assert refused().message == "there is no run in these directories"


def test_whole_runs_beside_shards_are_passed_over() -> None:
    whole = Writer(1).start(CORE, shard="", all_groups=()).finish(1)
    assert len(choose([whole.run("/logs"), first().run(), second().run()])[0]) == 2


@pytest.mark.parametrize("events", [[], [Stamped(1, 0.0, 0.0, Warned(message="x"))]], ids=["none", "no start"])
def test_what_is_no_run(events: list[Stamped]) -> None:
    with pytest.raises(ValueError, match="does not begin with the start"):
        ShardRun.of(events, "/logs")
