"""`cache`: what would be cached, what would run, and why; whole outputs compared."""

import json
import os
from pathlib import Path

import pytest

from harness.cli.cache import cache
from harness.cli.door import Door
from harness.errors import UsageError
from harness.fingerprint import Fingerprints, store_passes, take
from harness.history import HISTORY_FILE, History
from harness.model import GroupResult, Status

PLAN = r"""
[[phases]]
name = "only"

[[phases.groups]]
name = "search"
command = "true"
inputs = ["src/search.txt"]

[[phases.groups]]
name = "financial"
command = "true"
inputs = ["src/*.txt"]

[[phases.groups]]
name = "metrics"
command = "true"

[[phases.groups]]
name = "steady"
command = "true"
inputs = ["steady"]
"""


@pytest.fixture
def ran(project: Path) -> Path:
    """A project in whose history all groups but `metrics` passed, and in which one file was edited since."""
    (project / "harness.toml").write_text(PLAN)
    (project / "src").mkdir()
    for name in ("src/search.txt", "src/money.txt", "steady"):
        (project / name).touch()
    plan = Door.at(project, "local").plan
    fingerprints = Fingerprints(plan, "local", os.environ, {})
    history = History.open(project / HISTORY_FILE)
    results = [GroupResult(group=name, status=Status.PASSED) for name in ("search", "financial", "steady")]
    history.withdraw(["search", "financial", "steady"], "20250101_120000", 1.0)
    store_passes(history, results, take(fingerprints, plan.groups), fingerprints, run_id="20250101_120000", at=1.0)
    history.close()
    (project / "src/money.txt").write_text("more")
    return project


@pytest.mark.usefixtures("ran")
def test_all_groups(call) -> None:
    assert call(cache).output == (
        "cached  search     unchanged since run 20250101_120000\n"
        "runs    financial  src/money.txt changed\n"
        "runs    metrics    names no inputs, so nobody knows what it depends on\n"
        "cached  steady     unchanged since run 20250101_120000\n"
        "\n"
        "2 of 4 groups would be cached\n"
    )


@pytest.mark.usefixtures("ran")
def test_groups_by_name_come_in_the_order_of_the_plan(call) -> None:
    assert call(cache, "financial", "search").output == (
        "cached  search     unchanged since run 20250101_120000\n"
        "runs    financial  src/money.txt changed\n"
        "\n"
        "1 of 2 groups would be cached\n"
    )


@pytest.mark.usefixtures("ran")
def test_json(call) -> None:
    assert json.loads(call(cache, "search", "financial", "--format", "json").output) == {
        "groups": [
            {"group": "search", "cached": True, "why": "unchanged since run 20250101_120000"},
            {"group": "financial", "cached": False, "why": "src/money.txt changed"},
        ]
    }


def test_the_environment_and_the_variables_are_those_of_a_run(call, ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (ran / ".env").write_text("LEVEL=debug\n")
    assert "variable LEVEL changed" in call(cache, "steady").output
    (ran / ".env").unlink()
    monkeypatch.setenv("LEVEL", "debug")
    assert call(cache, "steady").output.startswith("cached")


def test_without_a_history_nothing_is_cached_and_none_is_made(call, ran: Path) -> None:
    for path in (ran / ".harness").iterdir():
        path.unlink()
    result = call(cache)
    assert result.output.endswith("\n0 of 4 groups would be cached\n")
    assert result.output.startswith("runs  search     has not passed since its inputs were named\n")
    assert list((ran / ".harness").iterdir()) == []


def test_a_damaged_history_is_told_and_costs_only_the_cache(call, ran: Path) -> None:
    for path in (ran / ".harness").iterdir():
        path.write_bytes(b"garbage" * 1000)
    result = call(cache, "search")
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: ")
    assert result.stdout.endswith("0 of 1 group would be cached\n")


@pytest.mark.usefixtures("ran")
def test_unknown_group_is_refused_with_a_suggestion(call) -> None:
    with pytest.raises(UsageError, match='there is no group "serach"') as caught:
        call(cache, "serach")
    assert caught.value.cure == 'did you mean "search"?'


def test_what_is_named_by_others_cannot_act_on_the_terminal(call, ran: Path) -> None:
    (ran / "src/\x1b]0;owned.txt").touch()
    output = call(cache, "financial").output
    assert "\x1b" not in output
    assert r"\x1b]0;owned.txt" in output
