"""Whether a plan of 10,000 groups costs more a group than one of 1,000, and how much memory the harness has then."""

import tempfile
from pathlib import Path

from benchmarks import projects, tools
from benchmarks.measure import Comparison, Result, in_turn, result

FEW, MANY = 1_000, 10_000
JOBS = 2
ROUNDS = 3


def measure() -> Result:
    sides = []
    with tempfile.TemporaryDirectory() as directory:
        for groups in (FEW, MANY):
            project, name = Path(directory, str(groups)), f"{groups:,} groups"
            projects.write_plan(project, {f"g{n}": 'command = ["true"]' for n in range(groups)})
            sides.append(projects.harness(project, groups=groups, jobs=JOBS, rounds=ROUNDS, name=name, each=True))
        measured = in_turn(sides)
    few, many = (side.name for side in sides)
    return result(
        "many_groups",
        f"{MANY:,} groups of `true` in one plan, {JOBS} at a time",
        measured,
        [
            Comparison(f"memory of the harness, {many}", many, "memory", at_most=80e6),
            Comparison(f"a group of {many} / of {few}, wall", many, "wall a group", few, at_most=1.0),
            Comparison(f"a group of {many} / of {few}, CPU", many, "cpu a group", few, at_most=1.0),
        ],
        tools.versions(),
        shown=("wall", "wall a group", "cpu a group", "memory"),
    )
