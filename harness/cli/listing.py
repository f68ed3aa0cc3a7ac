"""`list` and `plan`: what there is to run, by category and as a schedule, without running anything.

Must stay instant: it reads the plan, and nothing that a run would need.
"""

import shlex
import sys
from collections.abc import Iterable, Sequence

import click

from harness.cli.door import Door, out, pass_door
from harness.model import After, Dependency, Group, LockMode, Phase, Plan
from harness.reporters.text import BOLD, DIM, paint, plural, printable, seconds

WITHOUT_CATEGORY = "OTHER"
PLAIN = str.maketrans("•├└│─×", "*|`|-x")

Tree = tuple[str, Sequence["Tree"]]  # a line, and what hangs from it


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


@click.command("plan", epilog="\b\nExample:\n  ./exec.sh local plan")
@pass_door
def plan(door: Door) -> int:
    """Show the plan as a tree: phases, groups, what they wait for and share, tests."""
    show(graph(door.plan))
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
        lines.append(f"  {number}. {_phase(phase)}: {names}")
    return lines


def _entry(group: Group) -> list[str]:
    description = f": {printable(group.description)}" if group.description else ""
    lines = [f"  • {printable(group.name)}{description}"]
    if group.depends_on:
        lines.append(f"    {paint('Depends on:', DIM)} {_dependencies(group.depends_on)}")
    return lines


def _dependencies(dependencies: Iterable[Dependency]) -> str:
    ended = {After.SUCCESS: "", After.ANY: " (however it ends)"}
    return ", ".join(f"{printable(dependency.group)}{ended[dependency.after]}" for dependency in dependencies)


def _phase(phase: Phase) -> str:
    remarks = []
    if phase.sequential:
        remarks.append("one at a time, a failure ends the run")
    if phase.when:
        remarks.append(f"only with {printable(phase.when)}=true")
    return printable(phase.name) + (f" ({'; '.join(remarks)})" if remarks else "")


def as_json(plan: Plan) -> str:
    """For machines: every group with all its keys, as the plan or its defaults have them."""
    import json

    import msgspec

    phases = [{"name": phase.name, "sequential": phase.sequential, "when": phase.when} for phase in plan.phases]
    content = {"project": plan.project, "phases": phases, "groups": msgspec.to_builtins(plan.groups)}
    return json.dumps(content, indent=2)


def graph(plan: Plan) -> list[str]:
    """The phases in order, each as a tree of groups."""
    lines = []
    for number, phase in enumerate(plan.phases, 1):
        lines += ["", paint(f"{number}. {_phase(phase)}", BOLD)]
        lines += _drawn([_group(group) for group in phase.groups])
    tests = sum(len(group.tests) for group in plan.groups)
    totals = [plural(len(plan.phases), "phase"), plural(len(plan.groups), "group"), plural(tests, "test file")]
    lines += ["", f"{', '.join(totals)}; at most {plural(plan.max_parallel_jobs, 'group')} at a time"]
    return lines[1:]


def _group(group: Group) -> Tree:
    category = f" {paint(printable(group.category), DIM)}" if group.category else ""
    conditions: list[Tree] = [(paint(condition, DIM), ()) for condition in _conditions(group)]
    return printable(group.name) + category, [*conditions, *((work, ()) for work in _work(group))]


def _conditions(group: Group) -> list[str]:
    """What stands in the way of its start, what it gets, and how long it may take."""
    lines = []
    if group.depends_on:
        lines.append(f"after {_dependencies(group.depends_on)}")
    if group.parallel_group:
        lines.append(f"never beside another of {_names(group.parallel_group)}")
    if group.needs:
        lines.append(f"needs {', '.join(_need(name, need) for name, need in group.needs.items())}")
    if group.slots != 1:
        lines.append(f"takes {group.slots} slots")
    if group.workers:
        lines.append(f"{plural(group.workers, 'worker')}, {group.dist}")
    if group.services:
        lines.append(f"with {_names(group.services)}")
    if group.isolate:
        lines.append(f"its own {_names(group.isolate)}")
    attempts = f", {group.retries + 1} attempts" if group.retries else ""
    lines.append(f"at most {seconds(group.timeout)}{attempts}")
    return lines


def _need(name: str, need: int | LockMode) -> str:
    return f"{printable(name)} {need}" if isinstance(need, LockMode) else f"{need} × {printable(name)}"


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(printable, names))


def _work(group: Group) -> list[str]:
    if group.command is None:
        return [printable(test) for test in group.tests]
    command = group.command if isinstance(group.command, str) else shlex.join(group.command)
    return [f"$ {printable(command)}"]


def _drawn(trees: Sequence[Tree], indent: str = "") -> list[str]:
    lines = []
    for place, (line, below) in enumerate(trees, 1):
        last = place == len(trees)
        lines.append(f"{indent}{'└── ' if last else '├── '}{line}")
        lines += _drawn(below, indent + ("    " if last else "│   "))
    return lines
