"""`cache`: which groups would be `cached` in a run now, which would run, and why.

Looks at the files, the variables and the history, as a run would, and changes none of them.
"""

import os

import click

from harness.cli.door import Door, caution, out, pass_door
from harness.config.dotenv import read_env_files
from harness.errors import UsageError
from harness.fingerprint import Fingerprints, Verdict, explain
from harness.history import HISTORY_FILE, History
from harness.past import StoredFingerprint
from harness.planning.problems import did_you_mean
from harness.reporters.text import DIM, GREEN, YELLOW, json_text, paint, plural, printable
from harness.values import quoted

EXAMPLES = """\b
Examples:
  ./exec.sh local cache             what would run now, and why
  ./exec.sh local cache financial   the same of one group
  ./exec.sh local test --no-cache   runs it all, whatever this says"""


@click.command("cache", epilog=EXAMPLES)
@click.argument("groups", nargs=-1, metavar="[GROUP]...")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@pass_door
def cache(door: Door, groups: tuple[str, ...], form: str) -> int:
    """Explain for each GROUP, or for all, whether it would be cached or run."""
    known = [group.name for group in door.plan.groups]
    for name in groups:
        if name not in known:
            raise UsageError(f"there is no group {quoted(name)}", did_you_mean(name, known))
    verdicts = {name: verdict for name, verdict in _verdicts(door).items() if not groups or name in groups}
    if form == "json":
        entries = [{"group": name, "cached": said.cached, "why": said.why} for name, said in verdicts.items()]
        click.echo(json_text({"groups": entries}))
    else:
        out().write(_table(verdicts))
    return 0


def _verdicts(door: Door) -> dict[str, Verdict]:
    """Of all groups, in the order of the plan."""
    dotenv = read_env_files(door.project, door.plan.env_files)
    fingerprints = Fingerprints(door.plan, door.environment, os.environ, dotenv)
    stored = _stored(door)
    return {group.name: explain(stored.get(group.name), fingerprints.of(group.name)) for group in door.plan.groups}


def _stored(door: Door) -> dict[str, StoredFingerprint]:
    """What the history knows; nothing where there is none yet, which is then not made."""
    path = door.project / HISTORY_FILE
    if not path.exists():
        return {}
    history = History.open(path)
    try:
        return history.fingerprints()
    finally:
        history.close()
        caution(history.warnings)


def _table(verdicts: dict[str, Verdict]) -> list[str]:
    from tabulate import tabulate

    rows = [
        (
            paint("cached", GREEN) if verdict.cached else paint("runs", YELLOW),
            printable(name),
            paint(printable(verdict.why), DIM),
        )
        for name, verdict in verdicts.items()
    ]
    lines = [line.rstrip() for line in tabulate(rows, tablefmt="plain", disable_numparse=True).splitlines()]
    cached = sum(verdict.cached for verdict in verdicts.values())
    return [*lines, "", f"{cached} of {plural(len(verdicts), 'group')} would be cached"]
