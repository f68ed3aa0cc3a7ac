"""Forty small files of sleeping tests, each in a process of its own, beside the ways there are to run them with pytest.

`xargs pytest` gives each file a process too. Plain pytest and pytest-xdist do not: with them files share an
interpreter, and what one leaves behind the next one finds. All sides use one interpreter with the same plugins, and
start from nothing but compiled files and a warm disk cache. Beside them stands what bare forks of a loaded pytest cost,
and what the sleeping alone takes: nothing can be faster than that, nor any ratio less.
"""

import tempfile
from pathlib import Path

from benchmarks import projects, tools
from benchmarks.measure import Comparison, Result, in_turn, result

FILES, TESTS = 40, 3
SLEEPS = 0.010, 0.050  # seconds of a test, from to
JOBS = (2, 4)
ROUNDS = 4


def measure() -> Result:
    python, tests = tools.python(), FILES * TESTS
    sides, comparisons = [], []
    with tempfile.TemporaryDirectory() as directory:
        project = Path(directory)
        seconds = projects.sleeps(FILES, TESTS, *SLEEPS)
        asleep = sum(map(sum, seconds))
        projects.write_tests(project, seconds, python=python)
        plain = projects.pytest(project, python=python, tests=tests, rounds=ROUNDS)
        for jobs in JOBS:
            ours = projects.harness(
                project, groups=FILES, tests=tests, jobs=jobs, rounds=ROUNDS, name=f"harness --jobs {jobs}"
            )
            xargs = projects.xargs_pytest(project, python=python, files=FILES, tests=TESTS, rounds=ROUNDS, jobs=jobs)
            forks = projects.bare_forks(project, python=python, files=FILES, tests=TESTS, rounds=ROUNDS, jobs=jobs)
            xdist = [
                projects.pytest(project, python=python, tests=tests, rounds=ROUNDS, workers=jobs, dist=dist)
                for dist in ("loadfile", "worksteal")
            ]
            sides += [ours, xargs, *xdist, forks]
            comparisons += [
                Comparison(f"{ours.name} / {xargs.name}, CPU", ours.name, "cpu", xargs.name, at_most=1 / 8),
                Comparison(f"{forks.name} / {xargs.name}, CPU", forks.name, "cpu", xargs.name),
                Comparison(f"{forks.name} / {xdist[0].name}", forks.name, "wall", xdist[0].name),
                *(
                    Comparison(
                        f"{ours.name} / {other.name}",
                        ours.name,
                        "wall",
                        other.name,
                        at_most=0.5 if other in xdist and jobs == 4 else None,
                    )
                    for other in (xargs, *xdist, plain)
                ),
            ]
        measured = in_turn([*sides, plain])
    for jobs in JOBS:
        least = f"the sleeping alone, {jobs} at a time"
        measured[least] = [{"wall": asleep / jobs}] * ROUNDS
        xdist_name = f"pytest -n {jobs} --dist loadfile"
        comparisons.append(Comparison(f"{least} / {xdist_name}", least, "wall", xdist_name))
    return result(
        "pytest_files",
        f"{FILES} files of {TESTS} tests that sleep {SLEEPS[0] * 1000:.0f} to {SLEEPS[1] * 1000:.0f} ms",
        measured,
        comparisons,
        tools.versions("xargs") | tools.package_versions(*tools.TEST_PACKAGES),
    )
