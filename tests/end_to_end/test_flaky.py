"""A group that fails every second time: what its runs say, and what the history makes of six of them."""

import json
import tomllib

from projects import Harness

PLAN = """
    [run]
    retries = 1
    retry_delay = "0s"

    [[phases]]
    name = "all"

    [[phases.groups]]
    name = "steady"
    command = "true"

    [[phases.groups]]
    name = "moody"
    command = "if [ -e ran ]; then rm ran; else touch ran; echo refused; false; fi"

    [[phases.groups]]
    name = "steady too"
    command = "true"
"""


def test_a_group_that_fails_every_second_time(harness: Harness) -> None:
    harness.plan(PLAN)
    for _ in range(6):
        ran = harness.run("test", "--parallel")
        assert ran.code == 0, ran.stdout
        assert ran.statuses == {"steady": "passed", "moody": "flaky", "steady too": "passed"}

    report = json.loads(harness.run("flaky", "--format", "json").stdout)
    (moody,) = report["items"]
    assert (moody["group"], moody["verdict"], moody["flips"], moody["commits"]) == ("moody", "flaky", 6, 6)
    assert (report["runs"], report["groups"]) == (6, 3)
    page = harness.run("flaky").stdout.splitlines()
    assert page[0] == "Flaky: passed and failed on the same commit"
    assert page[3].split()[0] == "1"
    assert page[3].split()[-1] == "moody"

    suggested = harness.run("flaky", "--suggest").stdout
    (entry,) = tomllib.loads(suggested)["quarantine"]
    assert entry["group"] == "moody"
    with (harness.directory / "harness.toml").open("a") as file:
        file.write(suggested)
    assert f"moody, in quarantine until {entry['expires']}" in harness.run("flaky").stdout
    assert "[[" not in harness.run("flaky", "--suggest").stdout


def test_flaky_can_fail_the_run(harness: Harness) -> None:
    harness.plan(PLAN.replace("[run]", '[run]\n    flaky = "fail"'))
    ran = harness.run("test", "--parallel")
    assert (ran.code, ran.statuses["moody"]) == (1, "flaky")
