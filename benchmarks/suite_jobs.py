"""The bundled suite at 1, 2, 4 and 8 jobs: its makespan beside the least that its own groups would have allowed.

Makespan and lower bound are those of report.json, of the same run: the durations in the bound are as they were with
so many beside one another. The suite runs through ./exec.sh in a copy, with a log directory and a history of its own,
which some runs fill before anything is measured.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks import projects, tools
from benchmarks.measure import Comparison, Figures, Result, Side, in_turn, result, run, said
from benchmarks.organizations import copy_suite

ROUNDS = {1: 1, 2: 2, 4: 2, 8: 2}  # jobs -> rounds
WARMING = 2  # runs with WARMING_JOBS
WARMING_JOBS = 4


def measure() -> Result:
    with tempfile.TemporaryDirectory() as directory:
        project = copy_suite(Path(directory, "suite"), shared=False)
        (project / "exec.sh").symlink_to(tools.ROOT / "exec.sh")
        sides = [_side(project, jobs) for jobs in ROUNDS]
        for _ in range(WARMING):
            run(replace(sides[0], command=_command(WARMING_JOBS)))
        measured = in_turn(sides)
    return result(
        "suite_jobs",
        "The bundled suite",
        measured,
        [
            Comparison(f"{side.name}: makespan / lower bound", side.name, "makespan", side.name, "bound", at_most=1.05)
            for side in sides
        ],
        tools.versions(),
        shown=("wall", "cpu", "makespan", "bound"),
    )


def _command(jobs: int) -> list[str]:
    return ["./exec.sh", "local", "test", "--parallel", "--jobs", str(jobs), "--compact"]


def _side(project: Path, jobs: int) -> Side:
    def figures() -> Figures:
        report = projects.report(project)
        return {"makespan": report["duration"], "bound": report["summary"]["lower_bound"]}

    return Side(
        f"--jobs {jobs}",
        _command(jobs),
        project,
        ROUNDS[jobs],
        proof=said(r"✓ 8 groups passed"),
        prepare=lambda: projects.forget_logs(project),
        more=figures,
        warm=False,
    )
