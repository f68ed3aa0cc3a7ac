"""How near a run comes to the shortest possible time: groups of lognormal lengths after five runs of history.

Each sleeps as long as a fixed seed says, so that the lower bound is known: the larger of the work over the jobs and the
longest group. The makespan is the wall time of the whole command, start-up included. A tool that takes groups in the
order of the plan may be lucky with it, so each round has an order of its own, the same for all sides. The history comes
from runs with more jobs, which is quicker and no different: a sleep takes as long beside others. For pytest-xdist each
group is a file of one test.
"""

import math
import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks import projects, tools
from benchmarks.measure import Comparison, Result, Side, in_turn, result, run, said

GROUPS = 60
JOBS = 4
TOTAL = 84.0  # seconds of all groups together
SPREAD = 1.0  # the standard deviation of the logarithm of their seconds
HISTORY, HISTORY_JOBS = 5, 16
ROUNDS = 3

BOUND = "lower bound"


def measure() -> Result:
    seconds = lengths()
    bound = max(sum(seconds) / JOBS, max(seconds))
    with tempfile.TemporaryDirectory() as directory:
        sides = _sides(Path(directory), seconds)
        for _ in range(HISTORY):
            _write_plan(sides[0].directory, seconds)
            run(projects.harness(sides[0].directory, groups=GROUPS, jobs=HISTORY_JOBS, rounds=1))
        measured = in_turn(sides)
    measured[BOUND] = [{"wall": bound}] * ROUNDS
    goals = {"harness": 1.03}
    return result(
        "balance",
        f"{GROUPS} groups that sleep {sum(seconds):.0f} s in all, the longest {max(seconds):.1f} s, {JOBS} at a time",
        measured,
        [
            Comparison(f"{side.name} / {BOUND}", side.name, "wall", BOUND, at_most=goals.get(side.name))
            for side in sides
        ],
        tools.versions(tools.tool("make"), tools.tool("parallel")) | tools.package_versions(*tools.TEST_PACKAGES),
    )


def lengths() -> list[float]:
    """Seconds of each group, TOTAL together. No two are equal: a group is called by its length."""
    dice = random.Random(projects.SEED)
    drawn = [math.exp(dice.gauss(0.0, SPREAD)) for _ in range(GROUPS)]
    return [round(each * TOTAL / sum(drawn), 6) for each in drawn]


def orders(seconds: list[float]) -> Iterator[list[float]]:
    """One for each round, always the same ones."""
    dice = random.Random(projects.SEED)
    while True:
        yield dice.sample(seconds, len(seconds))


def _sides(directory: Path, seconds: list[float]) -> list[Side]:
    """The first is the harness. No round is left uncounted: sleeping gets no faster by being warm."""
    parallel, make = tools.tool("parallel"), tools.tool("make")
    words = [str(parallel), f"-j{JOBS}", "-a", "lengths", "sleep {}; echo slept"]
    python = tools.python()
    xdist = projects.pytest(
        directory / "files", python=python, tests=GROUPS, rounds=ROUNDS, workers=JOBS, dist="loadfile"
    )
    slept, made = said("^slept$", GROUPS), said(r"^sleep \S+$", GROUPS)
    written: list[tuple[Side, Callable[[Path, list[float]], None]]] = [
        (projects.harness(directory / "harness", groups=GROUPS, jobs=JOBS, rounds=ROUNDS), _write_plan),
        (
            Side(f"parallel -j{JOBS}", words if parallel else None, directory / "parallel", ROUNDS, slept),
            _write_lengths,
        ),
        (
            Side(f"make -j{JOBS}", [make, f"-j{JOBS}"] if make else None, directory / "make", ROUNDS, made),
            _write_makefile,
        ),
        (xdist, lambda project, order: projects.write_tests(project, [[each] for each in order], python=python)),
    ]
    return [replace(side, prepare=_with_its_order(side, write, seconds), warm=False) for side, write in written]


def _with_its_order(side: Side, write: Callable[[Path, list[float]], None], seconds: list[float]) -> Callable[[], None]:
    """What writes a side's files anew before each round."""
    side.directory.mkdir()
    coming = orders(seconds)

    def prepare() -> None:
        side.prepare()
        write(side.directory, next(coming))

    return prepare


def _write_plan(project: Path, order: list[float]) -> None:
    projects.write_plan(project, {f"g{each}": f'command = ["sleep", "{each}"]' for each in order})


def _write_lengths(project: Path, order: list[float]) -> None:
    (project / "lengths").write_text("".join(f"{each}\n" for each in order))


def _write_makefile(project: Path, order: list[float]) -> None:
    names = " ".join(f"g{n}" for n in range(len(order)))
    recipes = "".join(f"g{n}:\n\tsleep {each}\n" for n, each in enumerate(order))
    (project / "Makefile").write_text(f"all: {names}\n.PHONY: all {names}\n{recipes}")
