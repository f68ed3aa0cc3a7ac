"""Whole runs that learn from those before them."""

import json

from projects import Harness

from harness.events import AttemptStarted, RunStarted

PLAN = """
    [run]
    history_runs = 2

    [[phases]]
    name = "p"

    [[phases.groups]]
    name = "a"
    command = "true"

    [[phases.groups]]
    name = "b"
    command = "true"

    [[phases.groups]]
    name = "long"
    command = "sleep 0.3"
"""


def test_the_longest_group_starts_first_once_it_is_known(harness: Harness) -> None:
    harness.plan(PLAN)
    orders, predictions = [], []
    for _ in range(3):
        ran = harness.run("test", "--parallel", "--jobs", "2")
        assert ran.code == 0
        orders.append([event.data.group for event in ran.events if isinstance(event.data, AttemptStarted)])
        predictions += [event.data.predicted for event in ran.events if isinstance(event.data, RunStarted)]
    assert [order[0] for order in orders] == ["a", "long", "long"]
    assert predictions[0] is None
    assert all(seconds and seconds >= 0.3 for seconds in predictions[1:])
    kept = json.loads(harness.run("history", "--format", "json").stdout)
    assert len(kept["runs"]) == 2


def test_what_a_run_stands_for_is_in_its_events(harness: Harness) -> None:
    from harness.process import run_tool

    harness.plan(PLAN)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for words in (["init", "-q"], ["add", "harness.toml"], ["commit", "-qm", "plan"]):
        run_tool([*git, *words], directory=harness.directory, timeout=60)
    commit = run_tool([*git, "rev-parse", "HEAD"], directory=harness.directory, timeout=60).strip()
    (clean,) = (event.data for event in harness.run("test").events if isinstance(event.data, RunStarted))
    assert (clean.commit, clean.dirty) == (commit, False)
    harness.plan(PLAN + "\n# a word\n")
    (dirty,) = (event.data for event in harness.run("test").events if isinstance(event.data, RunStarted))
    assert (dirty.commit, dirty.dirty) == (commit, True)
    assert dirty.host
    assert dirty.cores >= 1
