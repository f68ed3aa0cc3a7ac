"""What the harness itself costs: 1,000 groups of `true`, two at a time, every log, status, event and report written.

Beside it `xargs -P2 -n1 true`, which starts the same processes and does nothing else. The harness's own time a group is
the difference of the two, start-up and final check included.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tabulate import tabulate

GROUPS = 1_000
ROUNDS = 7


def measure() -> str:
    with tempfile.TemporaryDirectory() as directory:
        project = Path(directory)
        groups = "".join(f'[[phases.groups]]\nname = "g{n}"\ncommand = ["true"]\n' for n in range(GROUPS))
        (project / "harness.toml").write_text(f'[[phases]]\nname = "p"\n{groups}')
        harness = [sys.executable, "-I", "-m", "harness", "test", "--parallel", "--jobs", "2", "--compact"]
        xargs = ["bash", "-c", f"seq {GROUPS} | xargs -P2 -n1 true"]
        for command in (harness, xargs):
            _seconds(command, project)  # not counted: caches get warm
        rounds = [(_seconds(harness, project), _seconds(xargs, project)) for _ in range(ROUNDS)]
    own = [(ours - theirs) / GROUPS * 1000 for ours, theirs in rounds]
    rows = [
        ["harness", f"{statistics.median(ours for ours, _ in rounds):.2f} s"],
        ["xargs -P2", f"{statistics.median(theirs for _, theirs in rounds):.2f} s"],
        ["ratio", f"{statistics.median(ours / theirs for ours, theirs in rounds):.2f} ×"],
        ["own time a group", f"{statistics.median(own):.2f} ms ({min(own):.2f} to {max(own):.2f})"],
    ]
    title = f"{GROUPS} groups of `true`, 2 at a time, medians of {ROUNDS} rounds"
    return f"{title}\n\n{tabulate(rows, disable_numparse=True)}\n"


def _seconds(command: list[str], directory: Path) -> float:
    clean = {name: value for name, value in os.environ.items() if name not in ("CI", "GITHUB_ACTIONS")}
    began = time.perf_counter()
    subprocess.run(command, cwd=directory, env=clean, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began
