"""`list`: what there is to run, by category; and words about a plan that `plan` needs too.

Must stay instant: it reads the plan, and nothing that a run would need.
"""

import sys
from collections.abc import Iterable

import click

from harness.cli.door import Door, out, pass_door
from harness.model import After, Dependency, Group, Phase, Plan
from harness.reporters.text import BOLD, DIM, json_text, paint, printable

WITHOUT_CATEGORY = "OTHER"
PLAIN = str.maketrans("•├└│─×█▓→−", "*|`|-x#=>-")


@click.command("list", epilog="\b\nExamples:\n  ./exec.sh local list\n  ./exec.sh local list --format json")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@pass_door
def list_groups(door: Door, form: str) -> int:
    """List the groups by category, with their dependencies."""
    if form == "json":
        click.echo(as_json(door.plan))
    else:
        show(catalogue(door.plan))
    return 0


def show(lines: list[str]) -> None:
    """Prints them; where the console lacks our glyphs, with plainer ones."""
    try:
        "".join(map(chr, PLAIN)).encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        lines = [line.translate(PLAIN) for line in lines]
    out().write(lines)


def catalogue(plan: Plan) -> list[str]:
    """The groups by category, in the order in which the plan first names a category."""
    lines = [paint("Available Test Suites:", BOLD)]
    categories = dict.fromkeys(group.category for group in plan.groups)
    for category in sorted(categories, key=lambda name: not name):  # those without one come last
        lines += ["", paint(f"{printable(category).upper() or WITHOUT_CATEGORY}:", BOLD)]
        for group in plan.groups:
            if group.category == category:
                lines += _entry(group)
    lines += ["", paint("PHASES:", BOLD)]
    for number, phase in enumerate(plan.phases, 1):
        names = ", ".join(printable(group.name) for group in phase.groups)
        lines.append(f"  {number}. {phase_line(phase)}: {names}")
    return lines


def _entry(group: Group) -> list[str]:
    description = f": {printable(group.description)}" if group.description else ""
    lines = [f"  • {printable(group.name)}{description}"]
    if group.depends_on:
        lines.append(f"    {paint('Depends on:', DIM)} {dependencies(group.depends_on)}")
    return lines


def dependencies(needs: Iterable[Dependency]) -> str:
    """What a group waits for, in words."""
    ended = {After.SUCCESS: "", After.ANY: " (however it ends)"}
    return ", ".join(f"{printable(dependency.group)}{ended[dependency.after]}" for dependency in needs)


def phase_line(phase: Phase) -> str:
    """Its name, and what is special about it."""
    remarks = []
    if phase.sequential:
        remarks.append("one at a time, a failure ends the run")
    if phase.when:
        remarks.append(f"only with {printable(phase.when)}=true")
    return printable(phase.name) + (f" ({'; '.join(remarks)})" if remarks else "")


def as_json(plan: Plan) -> str:
    """For machines: every group with all its keys, as the plan or its defaults have them."""
    import msgspec

    phases = [{"name": phase.name, "sequential": phase.sequential, "when": phase.when} for phase in plan.phases]
    content = {"project": plan.project, "phases": phases, "groups": msgspec.to_builtins(plan.groups)}
    return json_text(content)
