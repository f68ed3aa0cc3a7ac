"""`flaky`: what passes and fails without a change of the code, by what it costs; and entries for [[quarantine]].

Reads the history and judges nothing itself (statistics/flaky.py does). It writes nothing: whoever wants an entry in
the plan pastes it there.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import click

from harness.cli.door import Door, caution, out, pass_door
from harness.errors import PlanError, UsageError
from harness.model import Plan, Quarantine
from harness.reporters.text import BOLD, DIM, json_text, paint, plural, printable, seconds

if TYPE_CHECKING:
    from harness.statistics.clusters import Cluster, Item
    from harness.statistics.flaky import Flakiness, Report

WORTH = 0.05  # a rate that is likely above this is worth a quarantine
QUARANTINE_DAYS = 14
SHORT = 5  # rows and names of what is only mentioned
# What no name in a plan can have: planning/types.py refuses the controls, and TOML the halves of surrogate pairs.
UNNAMEABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

EXAMPLES = """\b
Examples:
  ./exec.sh local flaky                       what to mend first
  ./exec.sh local flaky --suggest             entries for harness.toml
  ./exec.sh local flaky --format json
"""


@click.command("flaky", epilog=EXAMPLES)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="Rows to show.")
@click.option("--suggest", is_flag=True, help="Print [[quarantine]] entries to paste into harness.toml.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@pass_door
def flaky(door: Door, limit: int, suggest: bool, form: str) -> int:
    """Rank the groups and tests that pass and fail on the same code, by what they cost."""
    if suggest and form == "json":
        raise UsageError("--suggest prints TOML", "leave out --suggest or --format json")
    if suggest:
        # A wrong plan ends this: what is in quarantine already must be known.
        report, _ = read(door)
        click.echo(suggestions(report, door.plan, date.today()), nl=False)
        return 0
    report, messages = read(door)
    if form == "json":
        click.echo(as_json(report, messages))
        return 0
    try:
        plan: Plan | None = door.plan
    except PlanError:  # as on the day on which a quarantine has expired, when this page is wanted
        plan = None
    out().write(page(report, messages, plan, limit))
    return 0


def read(door: Door) -> tuple["Report", dict[str, str]]:
    """The judgement on all that the history keeps, and a message for each hash of an error.

    Raises UsageError where there is no run in it yet.
    """
    from harness.cli.history import nothing_yet
    from harness.history import HISTORY_FILE, History
    from harness.statistics.flaky import flakiness

    path = door.project / HISTORY_FILE
    if not path.exists():
        raise nothing_yet(door.project)
    with closing(History.open(path)) as history:
        report = flakiness(history.runs(sys.maxsize), history.all_groups(), history.all_tests())
        messages = history.examples()
        caution(history.warnings)
    if not report.runs:
        raise nothing_yet(door.project)
    return report, messages


def as_json(report: "Report", messages: Mapping[str, str]) -> str:
    """For machines: everything, whatever the limit. An error is a hash, and `messages` has its text."""
    import msgspec

    hashes = {error for item in report.items for error in item.errors}
    texts = {error: message for error, message in messages.items() if error in hashes}
    return json_text(msgspec.to_builtins(report) | {"messages": texts})


def page(report: "Report", messages: Mapping[str, str], plan: Plan | None, limit: int) -> list[str]:
    """The lines to show. `plan` is None where harness.toml is wrong: nothing is then said of it."""
    from harness.statistics.flaky import Verdict

    lines = ranking(report.of(Verdict.FLAKY), plan, limit)
    for title, rows in (
        ("Failing together", [_cluster(cluster, messages) for cluster in report.clusters]),
        (
            "Failing, broken or flaky: a pass on the same commit would say flaky",
            [_failing(item) for item in report.of(Verdict.FAILING)],
        ),
        ("Not yet known", [_unknown(item) for item in report.not_yet_known]),
    ):
        if rows:
            lines += ["", paint(title, BOLD), *(f"  {row}" for row in _some(rows))]
    return [*lines, "", *_evidence(report)]


def ranking(items: Sequence["Flakiness"], plan: Plan | None, limit: int) -> list[str]:
    """The table, what costs most first."""
    from tabulate import tabulate

    if not items:
        return [paint("Nothing flaky: nothing has passed and failed on the same commit.", BOLD)]
    rows = [
        (
            rank,
            seconds(item.cost_per_run),
            rate(item),
            f"{item.flips}/{item.commits}",
            _day(item.last_flip),
            _name(item.item) + paint(_remarks(item, plan), DIM),
        )
        for rank, item in enumerate(items[:limit], 1)
    ]
    headers = ["#", "cost a run", "flaky on", "commits", "last", "name"]
    table = tabulate(rows, headers, tablefmt="plain", disable_numparse=True)
    lines = [paint("Flaky: passed and failed on the same commit", BOLD), ""]
    lines += [f"  {line.rstrip()}" for line in table.splitlines()]
    if len(items) > limit:
        lines.append(f"  … and {len(items) - limit} more: --limit {len(items)}")
    return lines


def rate(item: "Flakiness") -> str:
    """`12 % (4–31 %)`: the rate, and between what it lies in nine cases of ten."""
    return f"{100 * item.rate:.0f} % ({100 * item.low:.0f}–{100 * item.high:.0f} %)"


def _name(item: "Item") -> str:
    group, test = item
    return f"{printable(test)} ({printable(group)})" if test else printable(group)


def _day(moment: float | None) -> str:
    return "" if moment is None else datetime.fromtimestamp(moment).date().isoformat()


def _remarks(item: "Flakiness", plan: Plan | None) -> str:
    remarks = ["through its tests"] if item.explained else []
    remarks += ["fails now"] if item.fails_now else []
    if plan:
        entry = _quarantine_of(item.item, plan)
        remarks += [f"in quarantine until {entry.expires}"] if entry else []
        remarks += [] if item.group in _planned(plan) else ["not in the plan any more"]
    return "".join(f", {remark}" for remark in remarks)


def _planned(plan: Plan) -> set[str]:
    return {group.name for group in plan.groups}


def _quarantine_of(item: "Item", plan: Plan) -> Quarantine | None:
    group, test = item
    return next((e for e in plan.quarantine if e.group == group or (test and e.test == test)), None)


def _cluster(cluster: "Cluster", messages: Mapping[str, str]) -> str:
    names = [_name(member) for member in cluster.members]
    rest = f" and {len(names) - SHORT} more" if len(names) > SHORT else ""
    error = f", all with: {printable(messages.get(cluster.error, cluster.error))}" if cluster.error else ""
    return f"{', '.join(names[:SHORT])}{rest}: all on {plural(cluster.commits, 'commit')}{error}"


def _failing(item: "Flakiness") -> str:
    passed = f"passed on {plural(item.commits, 'other')}" if item.commits else "never seen to pass"
    return f"{_name(item.item)}: failed on {plural(item.failing, 'commit')}, {passed}"


def _unknown(item: "Flakiness") -> str:
    if item.flips:
        seen = f"passed and failed on {item.flips} of {plural(item.commits, 'commit')}"
    else:
        seen = f"failed on {plural(item.failing, 'commit')}, passed on {plural(item.commits, 'other')}"
    return f"{_name(item.item)}: {seen}, so {rate(item)}; about {item.commits_to_halve} more would halve that interval"


def _some(rows: Sequence[str]) -> list[str]:
    rest = len(rows) - 2 * SHORT
    return [*rows[: 2 * SHORT], f"… and {rest} more: --format json"] if rest > 0 else list(rows)


def _evidence(report: "Report") -> list[str]:
    """What all of it rests on, so that nobody takes little evidence for much."""
    counts = [plural(report.runs, "run"), plural(report.groups, "group"), plural(report.tests, "test")]
    lines = [f"From {plural(report.commits, 'commit')}: {', '.join(counts)}. What is 14 days older counts half."]
    if report.loose:
        lines.append(f"{report.loose} of the commits are single runs, with uncommitted changes or outside git.")
    return [paint(line, DIM) for line in lines]


def suggestions(report: "Report", plan: Plan, today: date) -> str:
    """TOML to paste into the plan: an entry for each item that is likely flaky on more than 5 % of the commits.

    Left out are what is in quarantine already, groups that the plan does not have, and groups whose tests account for
    all of their flips. An id that several groups have is listed once: an entry holds for all of them.
    """
    from harness.statistics.flaky import Verdict

    planned = _planned(plan)
    entries: dict[Item, str] = {}
    for item in report.of(Verdict.FLAKY):
        wanted = item.low > WORTH and item.group in planned and not item.explained
        if wanted and not _quarantine_of(item.item, plan):
            key = ("", item.test) if item.test else item.item
            entries.setdefault(key, _entry(item, today + timedelta(days=QUARANTINE_DAYS)))
    text = "\n".join(entries.values())
    return _encodable(text or f"# Nothing to put in quarantine: nothing new is likely flaky on over {WORTH:.0%}.\n")


def _entry(item: "Flakiness", expires: date) -> str:
    kind, name = ("test", item.test) if item.test else ("group", item.group)
    if UNNAMEABLE.search(name):
        return f"# No entry can name the {kind} {toml_string(name)}: it has a character that no plan may hold.\n"
    reason = f"flaky: {item.flips} of {plural(item.commits, 'commit')}, {rate(item)}"
    fields = {kind: name, "reason": reason, "expires": expires.isoformat()}
    return "[[quarantine]]\n" + "".join(f"{key} = {toml_string(value)}\n" for key, value in fields.items())


def toml_string(text: str) -> str:
    """A basic string of TOML in which nothing acts on a terminal, nor on GitHub's runner."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("##", r"#\u0023")
    return '"' + "".join(char if char.isprintable() else _unicode_escape(char) for char in escaped) + '"'


def _unicode_escape(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def _encodable(text: str) -> str:
    """For a stdout that lacks some of the characters: they become escapes, which mean the same in a string."""
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return re.sub(r"[^\x00-\x7f]", lambda match: _unicode_escape(match[0]), text)
    return text
