"""The files of pytest_files with what integration tests import at the top of each: an ORM, arrays, a cloud's client.

All sides use one interpreter with the same plugins, and start cold: no process is kept from one run to the next.
Beside them stands what the imports, once, and the sleeping take: nothing can be faster, nor any ratio less.
"""

import tempfile
from pathlib import Path

from benchmarks import projects, tools
from benchmarks.measure import Comparison, Result, Side, in_turn, result, silent
from benchmarks.pytest_files import FILES, SLEEPS, TESTS

JOBS = 4
ROUNDS = 5
SLOW_ROUNDS = 2  # of a process a file

LEAST = "the imports and the sleeping alone"
IMPORTS = "import boto3.session\nimport numpy\nimport sqlalchemy.orm\n"


def measure() -> Result:
    python, tests = tools.python(), FILES * TESTS
    with tempfile.TemporaryDirectory() as directory:
        project = Path(directory)
        seconds = projects.sleeps(FILES, TESTS, *SLEEPS)
        asleep = sum(map(sum, seconds)) / JOBS
        projects.write_tests(project, seconds, python=python, imports=IMPORTS)
        ours = projects.harness(project, groups=FILES, tests=tests, jobs=JOBS, rounds=ROUNDS)
        xargs = projects.xargs_pytest(project, python=python, files=FILES, tests=TESTS, rounds=SLOW_ROUNDS, jobs=JOBS)
        plain, xdist = (
            projects.pytest(project, python=python, tests=tests, rounds=ROUNDS, workers=workers, dist="loadfile")
            for workers in (0, JOBS)
        )
        imports = Side("the imports alone", [python, "-c", IMPORTS], project, ROUNDS, silent)
        measured = in_turn([ours, xargs, xdist, plain, imports])
    measured[LEAST] = [{"wall": figures["wall"] + asleep} for figures in measured[imports.name]]
    return result(
        "heavy_imports",
        f"{FILES} files of {TESTS} tests that import SQLAlchemy, NumPy and boto3, {JOBS} at a time",
        measured,
        [
            Comparison(f"harness / {xdist.name}", ours.name, "wall", xdist.name, at_most=0.4),
            Comparison(f"harness / {xargs.name}", ours.name, "wall", xargs.name, at_most=1 / 10),
            Comparison(f"harness / {xargs.name}, CPU", ours.name, "cpu", xargs.name),
            Comparison(f"harness / {plain.name}", ours.name, "wall", plain.name),
            Comparison(f"{LEAST} / {xdist.name}", LEAST, "wall", xdist.name),
        ],
        tools.versions("xargs") | tools.package_versions(*tools.TEST_PACKAGES, *tools.HEAVY_PACKAGES),
    )
