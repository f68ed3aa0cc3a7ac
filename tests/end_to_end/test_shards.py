"""A suite on several machines, each a run of its own here, and what merging them makes of it."""

import json

import pytest
from projects import Harness, Ran

from harness.events import RunStarted
from harness.files import all_runs

SUITE = """
    [run]
    max_parallel_jobs = 2

    [resources]
    api = 4

    [[phases]]
    name = "core"
    sequential = true

    [[phases.groups]]
    name = "core"
    command = "echo core on $MACHINE; exit ${CORE_CODE:-0}"

    [[phases]]
    name = "parallel"

    [[phases.groups]]
    name = "build"
    command = "true"

    [[phases.groups]]
    name = "pages"
    tests = "test_pages.py"
    needs = { api = 3 }

    [[phases.groups]]
    name = "billing"
    command = "exit ${BILLING_CODE:-0}"

    [[phases]]
    name = "complex"

    [[phases.groups]]
    name = "ship"
    command = "true"
    depends_on = "build"

    [[phases]]
    name = "stress"
    when = "RUN_STRESS_TESTS"

    [[phases.groups]]
    name = "stress"
    command = "true"
"""
GROUPS = ["core", "build", "pages", "billing", "ship", "stress"]
COUNT = 3


@pytest.fixture
def suite(harness: Harness) -> Harness:
    """The project on the machine that merges, and in m1, m2 … on those that run the shards."""
    for place in ("", *(f"m{index}/" for index in range(1, COUNT + 1))):
        harness.write(f"{place}harness.toml", SUITE)
        harness.write(f"{place}test_pages.py", "def test_title():\n    pass\n\ndef test_footer():\n    pass\n")
    return harness


def run_shards(harness: Harness, failing: int = 0) -> list[Ran]:
    """All of them at once; on machine `failing` the core fails."""
    processes = []
    for index in range(1, COUNT + 1):
        words = ["--project", f"m{index}", "test", "--parallel", "--shard", f"{index}/{COUNT}"]
        env = {"MACHINE": f"machine {index}", "CORE_CODE": "1" if index == failing else "0"}
        processes.append(harness.start(*words, env=env))
    done = [harness.finish(process) for process in processes]
    return [
        Ran(ran.code, ran.stdout, ran.stderr, harness.directory / f"m{index}/logs") for index, ran in enumerate(done, 1)
    ]


def test_three_shards_and_their_merger(suite: Harness) -> None:
    shards = run_shards(suite)
    assert [ran.code for ran in shards] == [0] * COUNT, shards
    ran_by = {name: [place for place, ran in enumerate(shards, 1) if name in ran.statuses] for name in GROUPS}
    assert ran_by.pop("core") == [1, 2, 3]
    assert all(len(places) == 1 for places in ran_by.values())
    assert ran_by["ship"] == ran_by["build"]

    merged = suite.run("merge", "m1/logs", "m2", "m3")
    assert merged.code == 0, merged.stderr
    assert merged.statuses == dict.fromkeys(GROUPS, "passed") | {"stress": "skipped"}
    assert merged.log("core") == shards[0].log("core")
    assert merged.log("pages") == shards[ran_by["pages"][0] - 1].log("pages")
    tests = {case["name"]: case["tests"]["total"] for case in merged.report["suites"]}
    assert tests["pages"] == 2
    assert 0 < merged.report["summary"]["lower_bound"] <= merged.report["duration"]
    started = merged.events[0].data
    assert isinstance(started, RunStarted)
    assert (started.jobs, started.resources, started.shard) == (2 * COUNT, {"api": 4 * COUNT}, "")
    assert json.loads((suite.directory / "logs/test-report.json").read_text()) == merged.report


def test_a_core_that_fails_on_one_machine(suite: Harness) -> None:
    shards = run_shards(suite, failing=2)
    assert [ran.code for ran in shards] == [0, 1, 0], shards
    merged = suite.run("merge", "m1", "m2", "m3")
    assert merged.code == 1
    assert merged.statuses["core"] == "failed"
    assert "core on machine 2" in merged.log("core")
    told = shards[1].statuses
    assert {name: merged.statuses[name] for name in told} == told
    assert "passed" not in told.values()
    assert len(merged.statuses) == len(GROUPS)


def test_a_shard_that_never_came(suite: Harness) -> None:
    run_shards(suite)
    merged = suite.run("merge", "m1", "m3")
    assert merged.code == 3
    assert "shard 2/3 is missing: its job did not finish or its logs were not uploaded" in merged.stderr
    assert all_runs(suite.directory / "logs") == []
