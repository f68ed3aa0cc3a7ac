"""One group that prints 2 GB, beside the same command with its output in a file, on the same file system.

What a side wrote is removed and the disk brought to rest before the next one runs; neither is measured.
"""

import os
import sys
import tempfile
from pathlib import Path

from benchmarks import projects, tools
from benchmarks.measure import Comparison, Result, Side, in_turn, result

SIZE = 2_000_000_000  # bytes
ROUNDS = 5
LIMIT = 'log_limit = "unlimited"'

PRINT = f"""
import os
lines = b"%099d\\n" % 7 * 640
left = {SIZE}
while left:
    left -= os.write(1, lines[:left])
"""


def measure() -> Result:
    with tempfile.TemporaryDirectory() as directory:
        project = Path(directory)
        (project / "flood.py").write_text(PRINT)
        projects.write_plan(project, {"flood": f'command = ["{sys.executable}", "flood.py"]'}, run=LIMIT)

        def prepare() -> None:
            projects.forget_logs(project)
            (project / "out").unlink(missing_ok=True)
            os.sync()

        def in_log(_printed: str) -> bool:
            (log,) = (project / "logs").glob("flood_*.log")
            return projects.passed(project) == (1, 0) and log.stat().st_size >= SIZE

        words = [sys.executable, "-I", "-m", "harness", "test", "--compact"]
        ours = Side("harness", words, project, ROUNDS, in_log, prepare=prepare)
        theirs = Side(
            "cmd > file",
            ["bash", "-c", f"{sys.executable} flood.py > out"],
            project,
            ROUNDS,
            proof=lambda _: (project / "out").stat().st_size == SIZE,
            prepare=prepare,
        )
        measured = in_turn([ours, theirs])
    return result(
        "flood",
        f"A group that prints {SIZE / 1e9:.0f} GB",
        measured,
        [
            Comparison("speed of the harness / of cmd > file", theirs.name, "wall", ours.name, at_least=0.5),
            Comparison("CPU of the harness / of cmd > file", ours.name, "cpu", theirs.name),
            Comparison("memory of the harness", ours.name, "memory", at_most=80e6),
        ],
        tools.versions("bash"),
        shown=("wall", "cpu", "memory"),
    )
