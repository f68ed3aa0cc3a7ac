"""`flaky`: whole pages compared, and entries that the plan takes."""

import json
import re
import sys
import tomllib
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli import flaky as command
from harness.cli.door import Door
from harness.cli.flaky import flaky, page, suggestions, toml_string
from harness.errors import PlanError, UsageError
from harness.history import HISTORY_FILE, History
from harness.model import Group, Phase, Plan, Quarantine
from harness.planning.load import load_plan
from harness.reporters.text import unpainted
from harness.statistics.clusters import Cluster
from harness.statistics.flaky import Flakiness, Report, Verdict

TODAY = date(2026, 1, 31)
NOON = 1_760_000_000.0  # 2025-10-09, everywhere on earth


def an_item(group: str, test: str = "", verdict: Verdict = Verdict.FLAKY, **more: object) -> Flakiness:
    fields = {
        "known": True,
        "rate": 0.12,
        "low": 0.06,
        "high": 0.31,
        "flips": 3,
        "commits": 12,
        "failing": 0,
        "weight": 12.0,
        "fails_now": False,
        "explained": False,
        "cost": 27.6,
        "cost_per_run": 2.3,
        "last_flip": NOON,
        "errors": {},
    }
    return Flakiness(group=group, test=test, verdict=verdict, **(fields | more))  # type: ignore[arg-type]


def a_report(*items: Flakiness, clusters: tuple[Cluster, ...] = (), loose: int = 0) -> Report:
    return Report(items=items, clusters=clusters, runs=14, commits=12, loose=loose, groups=5, tests=1)


def a_plan(*groups: str, quarantine: tuple[Quarantine, ...] = ()) -> Plan:
    of_phase = tuple(Group(name=name, phase="p", command="true") for name in groups)
    return Plan(project="/p", phases=(Phase(name="p", groups=of_phase),), quarantine=quarantine)


def shown(report: Report, plan: Plan | None = None, limit: int = 20, **messages: str) -> str:
    return "".join(f"{unpainted(line)}\n" for line in page(report, messages, plan, limit))


PAGE = """\
Flaky: passed and failed on the same commit

  #    cost a run    flaky on         commits    last        name
  1    41.0 s        83 % (43–100 %)  2/2        2025-10-09  search, through its tests, fails now
  2    2.3 s         12 % (6–31 %)    3/12       2025-10-09  test_a.py::test_x (money), in quarantine until 2026-02-01
  3    0.10 s        12 % (6–31 %)    3/12       2025-10-09  gone, not in the plan any more
  … and 1 more: --limit 4

Failing together
  search, test_a.py::test_x (money): all on 3 commits, all with: connection refused
  a, b, c, d, e and 1 more: all on 2 commits

Failing, broken or flaky: a pass on the same commit would say flaky
  core: failed on 1 commit, never seen to pass
  withdrawals: failed on 2 commits, passed on 9 others

Not yet known
  search: passed and failed on 2 of 2 commits, so 83 % (43–100 %); about 12 more would halve that interval
  new: failed on 1 commit, passed on 2 others, so 12 % (6–31 %); about 12 more would halve that interval

From 12 commits: 14 runs, 5 groups, 1 test. What is 14 days older counts half.
2 of the commits are single runs, with uncommitted changes or outside git.
"""


def test_the_page() -> None:
    little = {"known": False, "weight": 2.0}
    report = a_report(
        an_item(
            "search", rate=0.83, low=0.43, high=1.0, flips=2, commits=2, cost_per_run=41.0, explained=True,
            fails_now=True, **little,
        ),
        an_item("money", "test_a.py::test_x"),
        an_item("gone", cost_per_run=0.1),
        an_item("cheap", cost_per_run=0.01),
        an_item("core", verdict=Verdict.FAILING, flips=0, commits=0, failing=1),
        an_item("withdrawals", verdict=Verdict.FAILING, flips=0, commits=9, failing=2),
        an_item("new", verdict=Verdict.UNKNOWN, flips=0, commits=2, failing=1, **little),
        an_item("mended", verdict=Verdict.STEADY, flips=0, failing=1),
        clusters=(
            Cluster(members=(("search", ""), ("money", "test_a.py::test_x")), commits=3, error="e1"),
            Cluster(members=tuple((name, "") for name in "abcdef"), commits=2, error=""),
        ),
        loose=2,
    )  # fmt: skip
    entry = Quarantine(test="test_a.py::test_x", reason="r", expires="2026-02-01")
    plan = a_plan("search", "money", "cheap", quarantine=(entry,))
    assert shown(report, plan, 3, e1="connection refused") == PAGE


NOTHING = """\
Nothing flaky: nothing has passed and failed on the same commit.

From 12 commits: 14 runs, 5 groups, 1 test. What is 14 days older counts half.
"""


def test_nothing_flaky_says_what_that_rests_on() -> None:
    assert shown(a_report(an_item("mended", verdict=Verdict.STEADY, flips=0))) == NOTHING


def test_of_a_wrong_plan_nothing_is_said() -> None:
    assert "plan" not in shown(a_report(an_item("gone")), None)


def test_what_is_only_mentioned_is_cut_where_it_is_long() -> None:
    failing = (an_item(f"g{number}", verdict=Verdict.FAILING) for number in range(12))
    lines = shown(a_report(*failing)).splitlines()
    assert lines[12:14] == ["  g9: failed on 0 commits, passed on 12 others", "  … and 2 more: --format json"]


def test_a_group_in_quarantine_covers_its_tests() -> None:
    entry = Quarantine(group="a", reason="r", expires="2026-02-01")
    plan = a_plan("a", "b", quarantine=(entry,))
    text = shown(a_report(an_item("a", "t"), an_item("a"), an_item("b", "t")), plan)
    assert text.count("in quarantine until 2026-02-01") == 2


def test_names_and_messages_cannot_act_on_the_terminal() -> None:
    cluster = Cluster(members=(("a", "\x1b[2J"), ("b\n", "")), commits=2, error="e")
    text = "".join(page(a_report(an_item("a", "\x1b]0;x"), clusters=(cluster,)), {"e": "\x1b[1mred"}, None, 9))
    assert "\x1b" not in unpainted(text)
    assert r"\x1b[2J (a), b\n: all on 2 commits, all with: \x1b[1mred" in text


# docs/flaky.md

DOCS = (Path(__file__).parents[2] / "docs/flaky.md").read_text()


def test_the_page_shown_in_the_docs() -> None:
    (example,) = re.findall(r"```text\n(.*?)```", DOCS, re.DOTALL)
    entry = Quarantine(test="test_a.py::test_x", reason="r", expires="2026-02-01")
    report = a_report(an_item("money", "test_a.py::test_x", low=0.04))
    assert shown(report, a_plan("money", quarantine=(entry,))).startswith(example)


def test_the_entry_shown_in_the_docs() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", DOCS, re.DOTALL)
    (shown_entry,) = entries(example)
    item = an_item("money", shown_entry["test"], low=0.04)
    assert command._entry(item, date(2026, 2, 14)) == example


def test_the_docs_name_every_field_of_the_json() -> None:
    (_, told) = DOCS.split("## For programs")
    fields = {*Report.__struct_fields__, *Flakiness.__struct_fields__, *Cluster.__struct_fields__, "messages"}
    assert fields | set(Verdict) == set(re.findall(r"`(\w+)(?:\[\])?`", told))


# Entries for the plan


def entries(text: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = tomllib.loads(text).get("quarantine", [])
    return found


def test_suggestions() -> None:
    report = a_report(an_item("search"), an_item("financial", "test_a.py::test_x[a-1]"))
    assert suggestions(report, a_plan("search", "financial"), TODAY) == """\
[[quarantine]]
group = "search"
reason = "flaky: 3 of 12 commits, 12 % (6–31 %)"
expires = "2026-02-14"

[[quarantine]]
test = "test_a.py::test_x[a-1]"
reason = "flaky: 3 of 12 commits, 12 % (6–31 %)"
expires = "2026-02-14"
"""  # fmt: skip


@pytest.mark.parametrize(
    "item",
    [
        an_item("a", low=0.05),
        an_item("a", verdict=Verdict.FAILING),
        an_item("a", verdict=Verdict.UNKNOWN),
        an_item("gone"),
        an_item("a", explained=True),
        an_item("listed"),
        an_item("listed", "t"),
        an_item("a", "listed too"),
    ],
)
def test_what_is_not_suggested(item: Flakiness) -> None:
    listed = (
        Quarantine(group="listed", reason="r", expires="2026-02-01"),
        Quarantine(test="listed too", reason="r", expires="2026-02-01"),
    )
    text = suggestions(a_report(item), a_plan("a", "listed", quarantine=listed), TODAY)
    assert text == "# Nothing to put in quarantine: nothing new is likely flaky on over 5%.\n"
    assert entries(suggestions(a_report(item, an_item("b")), a_plan("a", "b", "listed", quarantine=listed), TODAY)) == [
        {"group": "b", "reason": "flaky: 3 of 12 commits, 12 % (6–31 %)", "expires": "2026-02-14"}
    ]


def test_an_id_that_two_groups_have_is_listed_once() -> None:
    report = a_report(an_item("a", "t", flips=4), an_item("b", "t"), an_item("t"))
    found = entries(suggestions(report, a_plan("a", "b", "t"), TODAY))
    assert [entry.get("test") or f"group {entry['group']}" for entry in found] == ["t", "group t"]
    assert found[0]["reason"].startswith("flaky: 4 of")


@pytest.mark.parametrize("char", ["\n", "\x00", "\x1b", "\x85", "\u2028", "\ud800"])
def test_what_no_plan_can_name_is_said_in_a_comment(char: str) -> None:
    text = suggestions(a_report(an_item("a", f"t{char}[[quarantine]]")), a_plan("a"), TODAY)
    assert entries(text) == []
    assert text.startswith("# No entry can name the test")
    assert text.count("\n") == 1


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_strings_come_back_and_do_not_act(text: str) -> None:
    written = toml_string(text)
    assert tomllib.loads(f"x = {written}") == {"x": text}
    assert written.isprintable()
    assert "##[" not in written


def test_a_string_for_githubs_runner() -> None:
    assert tomllib.loads(f"x = {toml_string('##[error]')}") == {"x": "##[error]"}
    assert "##[" not in toml_string("##[error]")


def test_the_plan_takes_what_is_suggested(project: Path) -> None:
    plan = load_plan(project, TODAY)
    names = ["a.py::t[\\ \"'-é–\U0001f600]", "= [x]\u202e", "##[error] 'x'"]
    text = suggestions(a_report(an_item("search"), *(an_item("core", name) for name in names)), plan, TODAY)
    with (project / "harness.toml").open("a") as file:
        file.write(text)
    taken = load_plan(project, TODAY).quarantine
    assert [entry.group or entry.test for entry in taken] == ["search", *names]
    assert suggestions(a_report(an_item("search")), load_plan(project, TODAY), TODAY).startswith("# Nothing")


@pytest.mark.usefixtures("capfd")  # a stdout of our own, to reconfigure
def test_a_stdout_without_our_characters_gets_escapes() -> None:
    sys.stdout.reconfigure(encoding="ascii")
    text = suggestions(a_report(an_item("a", "é\U0001f600")), a_plan("a"), TODAY)
    assert text.isascii()
    assert entries(text)[0] == {
        "test": "é\U0001f600",
        "reason": "flaky: 3 of 12 commits, 12 % (6–31 %)",
        "expires": "2026-02-14",
    }


# The command


@pytest.fixture
def past(monkeypatch: pytest.MonkeyPatch) -> None:
    """A history in which `search` and `gone` are flaky."""
    report = a_report(an_item("search", errors={"e1": 2}), an_item("gone"))
    monkeypatch.setattr(command, "read", lambda _: (report, {"e1": "refused", "e2": "of something steady"}))


@pytest.mark.usefixtures("past")
def test_limit(call) -> None:
    assert "gone, not in the plan any more" in call(flaky).output
    assert "… and 1 more: --limit 2" in call(flaky, "--limit", "1").output


@pytest.mark.usefixtures("past")
def test_json_has_everything(call) -> None:
    content = json.loads(call(flaky, "--format", "json", "--limit", "1").output)
    assert [(item["group"], item["verdict"], item["flips"]) for item in content["items"]] == [
        ("search", "flaky", 3),
        ("gone", "flaky", 3),
    ]
    assert content["messages"] == {"e1": "refused"}
    assert content["commits"] == 12


@pytest.mark.usefixtures("past")
def test_suggest_writes_nothing_by_itself(call, project: Path) -> None:
    before = (project / "harness.toml").read_bytes()
    (entry,) = entries(call(flaky, "--suggest").output)
    assert (entry["group"], entry["expires"] > date.today().isoformat()) == ("search", True)
    assert (project / "harness.toml").read_bytes() == before
    assert [path.name for path in project.iterdir()] == ["harness.toml"]


@pytest.mark.usefixtures("past")
def test_a_wrong_plan_costs_the_remarks_but_not_the_page(call, project: Path) -> None:
    with (project / "harness.toml").open("a") as file:
        file.write('[[quarantine]]\ngroup = "search"\nreason = "r"\nexpires = "2026-01-01"\n')
    output = call(flaky).output
    assert "search" in output
    assert "in quarantine" not in output
    with pytest.raises(PlanError, match="expired"):
        call(flaky, "--suggest")


@pytest.mark.usefixtures("past")
def test_suggest_is_toml_only(call) -> None:
    with pytest.raises(UsageError, match="--suggest prints TOML"):
        call(flaky, "--suggest", "--format", "json")


def test_without_a_history(call, project: Path) -> None:
    with pytest.raises(UsageError, match="there is no history of"):
        call(flaky)
    assert not (project / HISTORY_FILE).exists()


def test_an_empty_history(call, project: Path) -> None:
    History.open(project / HISTORY_FILE).close()
    with pytest.raises(UsageError, match="there is no history of"):
        call(flaky)


def test_a_damaged_history_is_told_of(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / HISTORY_FILE).parent.mkdir()
    (project / HISTORY_FILE).write_text("no database, but long enough for the header of one: " * 9)
    with pytest.raises(UsageError, match="there is no history of"):
        command.read(Door.at(project, "local"))
    assert "warning: " in capsys.readouterr().err
