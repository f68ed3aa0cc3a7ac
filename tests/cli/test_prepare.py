"""What is known of a run before it starts: prediction, shards, and what they rest on."""

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
from msgspec.structs import replace
from past_runs import Ended, make_record

from harness.cli.door import Door
from harness.cli.prepare import Prepared, prepare
from harness.errors import UsageError
from harness.history import HISTORY_FILE, History

PLAN = """
    [run]
    max_parallel_jobs = {jobs}

    [[services]]
    name = "db"
    command = "true"

    [[phases]]
    name = "p"

    [[phases.groups]]
    name = "long"
    command = "true"
    inputs = "harness.toml"

    [[phases.groups]]
    name = "short"
    tests = "test_it.py"

    [[phases.groups]]
    name = "brief"
    command = "true"
    services = []

    [[phases]]
    name = "asleep"
    when = "AWAKE"

    [[phases.groups]]
    name = "night"
    command = "true"
"""
TOOK = {"long": 6.0, "short": 3.0, "brief": 2.0, "night": 100.0}


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Door]:
    """A project whose groups have taken TOOK, but for those that are `unknown`."""

    def make(*unknown: str, jobs: int = 2) -> Door:
        (tmp_path / "harness.toml").write_text(dedent(PLAN).format(jobs=jobs))
        (tmp_path / "test_it.py").write_text("def test_it(): pass\n")
        known = {name: Ended(duration=seconds) for name, seconds in TOOK.items() if name not in unknown}
        if known:
            history = History.open(tmp_path / HISTORY_FILE)
            # Services take 2 s, and the run goes on for 1 s after the last group.
            history.record(make_record(1, known, duration=max(map(TOOK.get, known)) + 3.0), keep=9)
            history.close()
        return Door(tmp_path)

    return make


def names(prepared: Prepared) -> list[str]:
    return [group.name for phase in prepared.request.phases for group in phase.groups]


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({"parallel": True}, 6.0 + 3.0),
        ({}, 11.0 + 3.0),
        ({"parallel": True, "groups": "short,brief"}, 3.0 + 3.0),
        ({"groups": "brief"}, 2.0),  # which needs no service
        ({"shuffle": "7"}, None),
    ],
)
def test_a_run_is_predicted_from_what_its_groups_took(
    project: Callable[..., Door], given: dict[str, object], seconds: float | None
) -> None:
    predicted = prepare(project(), given).request.predicted
    assert predicted == (seconds if seconds is None else pytest.approx(seconds))


def test_a_cached_group_takes_no_time(project: Callable[..., Door]) -> None:
    door = project()
    first = prepare(door, {})
    taken = first.taken["long"]
    first.history.store_fingerprint("long", taken.digest, taken.parts, "20250101_000001", 1.0)
    again = prepare(door, {})
    assert again.request.cached == {"long": "20250101_000001"}
    assert again.request.predicted == pytest.approx(5.0 + 3.0)
    assert again.request.estimates["long"] == 0.0
    assert prepare(door, {"no_cache": True}).request.cached == {}


@pytest.mark.parametrize("given", [{"keyword": "it"}, {"tests": ["test_it.py::test_it"]}])
def test_parts_of_groups_are_not_predicted(project: Callable[..., Door], given: dict[str, object]) -> None:
    assert prepare(project(), given).request.predicted is None


def test_nothing_is_predicted_from_nothing(project: Callable[..., Door]) -> None:
    assert prepare(project(*TOOK), {}).request.predicted is None


def test_some_groups_may_be_unknown(project: Callable[..., Door]) -> None:
    prepared = prepare(project("brief"), {})
    assert prepared.request.estimates["brief"] == pytest.approx(53.0)  # the 75th percentile of 3, 6 and 100
    assert prepared.request.predicted == pytest.approx(6.0 + 3.0 + 53.0 + 3.0)


def test_the_files_of_a_splittable_group_are_expected_to_run_side_by_side(tmp_path: Path) -> None:
    for name in ("test_a", "test_b", "test_c"):
        (tmp_path / f"{name}.py").write_text("def test_it(): pass\n")
    lines = ['[[phases]]\nname = "p"', '[[phases.groups]]\nname = "s"\ntests = "test_*.py"\nsplittable = true']
    (tmp_path / "harness.toml").write_text("\n".join([*lines, 'inputs = "*.py"']))
    record = make_record(1, {"s": Ended(duration=12.0, attempts=[{"test_a.py::test_it": "passed"}])}, duration=15.0)
    part = record.groups["s"].part("")
    part.tests = [replace(part.tests[0], duration=6.0)]
    history = History.open(tmp_path / HISTORY_FILE)
    history.record(record, keep=9)
    history.close()
    request = prepare(Door(tmp_path), {"parallel": True, "jobs": "2"}).request
    assert request.estimates == {"s": 12.0, "s/test_a.py": 8.0, "s/test_b.py": 4.0, "s/test_c.py": 4.0}
    assert request.predicted == pytest.approx(8.0)
    assert [group.name for phase in request.phases for group in phase.groups] == ["s"]
    first = prepare(Door(tmp_path), {})
    taken = first.taken["s"]
    first.history.store_fingerprint("s", taken.digest, taken.parts, "20250101_000001", 1.0)
    assert prepare(Door(tmp_path), {}).request.predicted == pytest.approx(0.0), "a cached group takes no time"


def shards(door: Door, **given: object) -> list[list[str]]:
    return [names(prepare(door, {**given, "shard": f"{index}/2"})) for index in (1, 2)]


def test_what_sleeps_weighs_nothing_in_a_shard(project: Callable[..., Door]) -> None:
    assert shards(project()) == [["long"], ["short", "brief", "night"]]
    assert shards(project(), phases="p,asleep") == [["night"], ["long", "short", "brief"]]


def test_shards_are_the_same_whatever_the_jobs_of_a_machine(tmp_path: Path) -> None:
    groups = "".join(f'[[phases.groups]]\nname = "{name}"\ncommand = "true"\n' for name in "abcd")
    (tmp_path / "harness.toml").write_text(f'[run]\nmax_parallel_jobs = 1\n[[phases]]\nname = "p"\n{groups}')
    history = History.open(tmp_path / HISTORY_FILE)
    history.record(make_record(1, {"a": Ended(duration=6.0), "b": Ended(duration=5.0)}), keep=9)
    history.record(make_record(2, {"c": Ended(duration=4.0), "d": Ended(duration=3.0)}), keep=9)
    history.close()
    for jobs in ("1", "8"):  # with 8 jobs, [a] and [b, c, d] would be as good
        assert shards(Door(tmp_path), parallel=True, jobs=jobs) == [["a", "d"], ["b", "c"]]


def test_two_groups_that_would_share_their_files_are_refused(project: Callable[..., Door]) -> None:
    door = project()
    plan = door.project / "harness.toml"
    # Both become __-36e1e2e8: the first eight digits of their hashes are the same.
    plan.write_text(plan.read_text().replace('"long"', '"乏侄"').replace('"brief"', '"伀乷"'))
    with pytest.raises(UsageError) as caught:
        prepare(door, {})
    assert caught.value.message == 'the groups "乏侄" and "伀乷" would have one log, __-36e1e2e8_….log'
