"""How long the smallest run takes: one group of `true` from ./exec.sh of a checkout that is set up.

Beside it what no such run can do without: a bash that becomes a Python.
"""

import shlex
import sys
import tempfile
from pathlib import Path

from benchmarks import projects, tools
from benchmarks.measure import Comparison, Result, Side, in_turn, result, silent

ROUNDS = 21


def measure() -> Result:
    with tempfile.TemporaryDirectory() as directory:
        project = Path(directory)
        projects.write_plan(project, {"g": 'command = ["true"]'})
        (project / "exec.sh").symlink_to(tools.ROOT / "exec.sh")
        ours = Side(
            "./exec.sh local test",
            ["./exec.sh", "local", "test"],
            project,
            ROUNDS,
            proof=lambda _: projects.passed(project) == (1, 0),
            prepare=lambda: projects.forget_logs(project),
        )
        python = shlex.quote(sys.executable)
        least = Side("bash, python -c pass", ["bash", "-c", f"{python} -c pass"], project, ROUNDS, silent)
        measured = in_turn([ours, least])
    return result(
        "startup",
        "One group of `true` from ./exec.sh",
        measured,
        [
            Comparison("the whole run", ours.name, "wall", at_most=0.3),
            Comparison(f"the run / {least.name}", ours.name, "wall", least.name),
        ],
        tools.versions("bash"),
    )
