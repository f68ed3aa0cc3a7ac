"""The plan as a picture, without a run: a tree for people, Mermaid and Graphviz for documents, JSON for machines.

Whatever a name holds, it stays a label: each of the languages has its own way to say quotes, brackets and the like.
"""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import msgspec

from harness.cli.listing import dependencies, phase_line
from harness.model import After, Group, LockMode, Phase, Plan
from harness.planning.estimate import Estimates
from harness.reporters.text import BOLD, DIM, json_text, paint, plural, printable, seconds

# All but letters, digits and what means nothing between quotes; a dot or a sign before a space may begin a list.
_MERMAID_SPECIAL = re.compile(r"[^\w /.,:=()+-]|[.+-](?=\s|$)")

Tree = tuple[str, Sequence["Tree"]]  # a line, and what hangs from it


def tree(plan: Plan) -> list[str]:
    """The phases in order, each as a tree of groups."""
    lines = []
    for number, phase in enumerate(plan.phases, 1):
        lines += ["", paint(f"{number}. {phase_line(phase)}", BOLD)]
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
        lines.append(f"after {dependencies(group.depends_on)}")
    if group.parallel_group:
        lines.append(f"never beside another of {_names(group.parallel_group)}")
    if group.needs:
        lines.append(f"needs {', '.join(_need(name, need) for name, need in group.needs.items())}")
    if group.slots != 1:
        lines.append(f"takes {group.slots} slots")
    if group.workers:
        lines.append(f"{plural(group.workers, 'worker')}, {group.dist}")
    if group.splittable:
        lines.append("its files by themselves, side by side")
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
    return [f"$ {printable(command, None)}"]


def _drawn(trees: Sequence[Tree], indent: str = "") -> list[str]:
    lines = []
    for place, (line, below) in enumerate(trees, 1):
        last = place == len(trees)
        lines.append(f"{indent}{'└── ' if last else '├── '}{line}")
        lines += _drawn(below, indent + ("    " if last else "│   "))
    return lines


def mermaid(plan: Plan) -> list[str]:
    """A flowchart: a subgraph a phase, in order; an arrow from a group to what waits for it, dotted for after=any."""
    ids = _ids(plan)
    lines = ["flowchart LR"]
    phases = _phases(plan)
    for number, phase in phases.items():
        lines.append(f'  subgraph p{number}["{_mermaid(phase_line(phase))}"]')
        lines += [f'    {ids[group.name]}["{_mermaid(group.name)}"]' for group in phase.groups]
        lines.append("  end")
    lines += [f"  p{number} ==> p{following}" for number, following in pairwise(phases)]
    arrows = {After.SUCCESS: "-->", After.ANY: "-.->"}
    lines += [f"  {ids[source]} {arrows[after]} {ids[target]}" for source, target, after in _edges(plan)]
    return lines


def dot(plan: Plan) -> list[str]:
    """The same for Graphviz: a cluster a phase."""
    ids = _ids(plan)
    lines = ["digraph plan {", "  rankdir=LR; compound=true; node [shape=box];"]
    phases = _phases(plan)
    for number, phase in phases.items():
        lines += [f"  subgraph cluster_{number} {{", f"    label={_dot(phase_line(phase))};"]
        lines += [f"    {ids[group.name]} [label={_dot(group.name)}];" for group in phase.groups]
        lines.append("  }")
    for number, following in pairwise(phases):
        ends = f"{ids[phases[number].groups[-1].name]} -> {ids[phases[following].groups[0].name]}"
        lines.append(f"  {ends} [style=bold, ltail=cluster_{number}, lhead=cluster_{following}];")
    style = {After.SUCCESS: "", After.ANY: " [style=dotted]"}
    lines += [f"  {ids[source]} -> {ids[target]}{style[after]};" for source, target, after in _edges(plan)]
    return [*lines, "}"]


def as_json(plan: Plan, estimates: Estimates) -> str:
    """Groups with all their keys, edges from a group to what waits for it, and how long each is expected to take."""
    content = {
        "project": plan.project,
        "jobs": plan.max_parallel_jobs,
        "resources": plan.resources,
        "phases": [{"name": phase.name, "sequential": phase.sequential, "when": phase.when} for phase in plan.phases],
        "groups": msgspec.to_builtins(plan.groups),
        "edges": [{"from": source, "to": target, "after": after} for source, target, after in _edges(plan)],
        "estimates": {
            name: {"seconds": seconds, "guess": name in estimates.unknown}
            for name, seconds in estimates.seconds.items()
        },
    }
    return json_text(content)


def _phases(plan: Plan) -> dict[int, Phase]:
    """By their numbers; one without groups has no place in a picture."""
    return {number: phase for number, phase in enumerate(plan.phases, 1) if phase.groups}


def _ids(plan: Plan) -> Mapping[str, str]:
    """Names that need no quotes anywhere."""
    return {group.name: f"g{number}" for number, group in enumerate(plan.groups, 1)}


def _edges(plan: Plan) -> Iterable[tuple[str, str, After]]:
    return ((need.group, group.name, need.after) for group in plan.groups for need in group.depends_on)


def _mermaid(label: str) -> str:
    return _MERMAID_SPECIAL.sub(lambda match: f"#{ord(match[0])};", printable(label))


def _dot(label: str) -> str:
    quoted = printable(label).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'
