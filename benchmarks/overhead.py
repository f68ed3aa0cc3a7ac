"""What the harness itself costs: 2,000 groups of `true`, two at a time, every log, status, event and report written.

Beside it tools that start the same processes and write less, `xargs -P2` nothing at all, and a Python that only starts
them and waits. The harness runs on the disk, and once more on a tmpfs, where files cost next to nothing: a group makes
three, and some file systems take long to make one soon after others have gone. What prepares a directory for make,
CTest and Meson is not measured. bats takes so long that it runs fewer tests; all are compared by time a group.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import projects, tools
from benchmarks.measure import Comparison, Result, Side, in_turn, result, said, silent

GROUPS = 2_000
BATS_TESTS = 200
ROUNDS = 7
SLOW_ROUNDS = 3  # of the tools that take many times as long

XARGS, STARTING, IN_MEMORY = "xargs -P2 -n1", "Popen and wait", "harness on tmpfs"
GOALS = {XARGS: 1.25, "ctest -j2": 1 / 2, "parallel -j2": 1 / 6}

START = f"""
import os, subprocess
running = {{}}
for _ in range({GROUPS}):
    if len(running) == 2:
        pid, status = os.wait()
        running.pop(pid).returncode = status
    process = subprocess.Popen(["true"], start_new_session=True)
    running[process.pid] = process
while running:
    pid, status = os.wait()
    running.pop(pid).returncode = status
"""


def measure() -> Result:
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        sides = _sides(Path(directory), Path(memory))
        measured = in_turn(sides)
    each = "wall a group"
    comparisons = [
        Comparison(f"{one} / {other}", one, each, other, at_most=GOALS.get(other) if one == "harness" else None)
        for one, other in [
            *(("harness", side.name) for side in sides[1:]),
            *((IN_MEMORY, other) for other in GOALS),
            *((STARTING, other) for other in GOALS),
            *((XARGS, other) for other in GOALS if other != XARGS),
        ]
    ]
    cpu = [Comparison(f"{one} / {XARGS}, CPU", one, "cpu a group", XARGS) for one in ("harness", IN_MEMORY)]
    programs = [tools.tool(name) for name in ("xargs", "make", "ctest", "parallel")]
    return result(
        "overhead",
        f"{GROUPS:,} groups of `true`, 2 at a time ({BATS_TESTS} with bats)",
        measured,
        [*comparisons, *cpu],
        tools.versions(*programs, tools.meson(), tools.bats()),
        shown=("wall", "cpu", each),
    )


def _sides(directory: Path, memory: Path) -> list[Side]:
    for project in (directory / "harness", memory):
        projects.write_plan(project, {f"g{n}": 'command = ["true"]' for n in range(GROUPS)})
    parallel, bats = tools.tool("parallel"), tools.bats()

    def side(
        name: str, command: list[str] | None, where: str, rounds: int, proof: Callable[[str], bool] = silent
    ) -> Side:
        return Side(name, command, directory / where, rounds, proof, groups=GROUPS)

    def shell(program: str | None, command: str) -> list[str] | None:
        return ["bash", "-c", f"seq {GROUPS} | {program} {command}"] if program else None

    make, ctest, meson = _make(directory), _ctest(directory), _meson(directory)
    return [
        projects.harness(directory / "harness", groups=GROUPS, jobs=2, rounds=ROUNDS, each=True),
        projects.harness(memory, groups=GROUPS, jobs=2, rounds=ROUNDS, each=True, name=IN_MEMORY),
        side(XARGS, shell("xargs", "-P2 -n1 true"), "", ROUNDS),
        side(STARTING, [sys.executable, "-c", START], "", ROUNDS),
        side("make -j2", make, "make", ROUNDS, said("^true$", GROUPS)),
        side("ctest -j2", ctest, "ctest", ROUNDS, said(f"0 tests failed out of {GROUPS}")),
        side("parallel -j2", shell(parallel, "-j2 true"), "", SLOW_ROUNDS),
        side("meson test", meson, "meson", SLOW_ROUNDS, said(rf"^Ok:\s+{GROUPS}\b")),
        Side(
            "bats --jobs 2",
            _bats(directory) if bats and parallel else None,
            directory,
            SLOW_ROUNDS,
            proof=said("^ok ", BATS_TESTS),
            groups=BATS_TESTS,
            warm=False,
        ),
    ]


def _make(directory: Path) -> list[str] | None:
    names = " ".join(f"g{n}" for n in range(GROUPS))
    _written(directory / "make" / "Makefile", f"all: {names}\n.PHONY: all {names}\n{names}:\n\ttrue\n")
    program = tools.tool("make")
    return [program, "-j2"] if program else None


def _ctest(directory: Path) -> list[str] | None:
    tests = "".join(f"add_test(NAME g{n} COMMAND true)\n" for n in range(GROUPS))
    start = "cmake_minimum_required(VERSION 3.10)\nproject(bench NONE)\nenable_testing()\n"
    _written(directory / "ctest" / "CMakeLists.txt", start + tests)
    program = tools.tool("ctest")
    if program:
        _prepared("cmake", ".", directory=directory / "ctest")
    return [program, "-j2"] if program else None


def _meson(directory: Path) -> list[str] | None:
    tests = f"foreach n : range({GROUPS})\n  test('g' + n.to_string(), find_program('true'))\nendforeach\n"
    _written(directory / "meson" / "meson.build", "project('bench')\n" + tests)
    program = tools.meson()
    if program:
        # It looks for ninja, though there is nothing to build.
        _prepared(program, "setup", "build", directory=directory / "meson", NINJA=str(tools.installed() / "ninja"))
    return [program, "test", "--num-processes", "2", "--no-rebuild", "-C", "build"] if program else None


def _bats(directory: Path) -> list[str]:
    _written(directory / "true.bats", "".join(f'@test "g{n}" {{\n  true\n}}\n' for n in range(BATS_TESTS)))
    return [str(tools.bats()), "--jobs", "2", "true.bats"]


def _written(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _prepared(*command: str, directory: Path, **env: str) -> None:
    subprocess.run(command, cwd=directory, env=os.environ | env, capture_output=True, check=True)
