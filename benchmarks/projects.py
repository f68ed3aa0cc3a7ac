"""Projects for the benchmarks to run: a plan of groups, files of sleeping tests, and the sides that run them."""

import json
import random
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Side, said

SEED = 1


def write_plan(project: Path, groups: Mapping[str, str], *, run: str = "") -> None:
    """A plan of one phase: group -> its other keys, and the keys of [run]."""
    project.mkdir(parents=True, exist_ok=True)
    tables = "".join(f'[[phases.groups]]\nname = "{name}"\n{keys}\n' for name, keys in groups.items())
    (project / "harness.toml").write_text(f'[run]\n{run}\n[[phases]]\nname = "p"\n{tables}')


def harness(
    project: Path, *, groups: int, tests: int = 0, jobs: int, rounds: int, name: str = "harness", each: bool = False
) -> Side:
    """The harness with all that it writes. `tests` are those of all groups; `each`: with the figures a group."""
    return Side(
        name,
        [sys.executable, "-I", "-m", "harness", "test", "--parallel", "--jobs", str(jobs), "--compact"],
        project,
        rounds,
        proof=lambda _printed: passed(project) == (groups, tests),
        groups=groups if each else 0,
        prepare=lambda: put_logs_aside(project),
    )


def report(project: Path) -> dict[str, Any]:
    """That of the run that ended last."""
    told: dict[str, Any] = json.loads((project / "logs" / "test-report.json").read_text())
    return told


def passed(project: Path) -> tuple[int, int]:
    """How many groups and how many tests did, in that run."""
    told = report(project)
    return told["summary"]["passed"], sum(suite["tests"]["passed"] for suite in told["suites"])


def put_logs_aside(project: Path) -> None:
    """Every run begins in a directory that has none. They are not removed now: thousands of files that have just gone
    make new ones several times as slow on some file systems. The history stays."""
    if (project / "logs").exists():
        (project / "logs").rename(tempfile.mkdtemp(prefix="logs-", dir=project))


def forget_logs(project: Path) -> None:
    """The same where there are few, or large ones."""
    shutil.rmtree(project / "logs", ignore_errors=True)


def sleeps(files: int, tests: int, least: float, most: float) -> list[list[float]]:
    """Seconds of each test of each file: always the same."""
    dice = random.Random(SEED)
    return [[dice.uniform(least, most) for _ in range(tests)] for _ in range(files)]


def write_tests(project: Path, seconds: Sequence[Sequence[float]], *, python: str, imports: str = "") -> None:
    """A file for each list, a sleeping test for each number in it, and a plan with a group for each file."""
    names = [f"test_{number:03}.py" for number in range(len(seconds))]
    write_plan(project, {name[:-3]: f'tests = ["{name}"]' for name in names}, run=f'python = "{python}"')
    (project / "pytest.ini").write_text("[pytest]\n")
    for name, every in zip(names, seconds, strict=True):
        tests = "".join(f"\n\ndef test_{n}():\n    time.sleep({each:.4f})\n" for n, each in enumerate(every))
        (project / name).write_text(f"import time\n{imports}{tests}")


def pytest(project: Path, *, python: str, tests: int, rounds: int, workers: int = 0, dist: str = "") -> Side:
    """All files in one pytest, or handed out by pytest-xdist."""
    words = ["-n", str(workers), "--dist", dist] if workers else []
    all_passed, handed_out = said(rf"\b{tests} passed"), said(rf"^{workers} workers \[{tests} items\]")
    return Side(
        f"pytest {' '.join(words)}".strip(),
        [python, "-m", "pytest", *words],
        project,
        rounds,
        proof=lambda printed: all_passed(printed) and (not workers or handed_out(printed)),
    )


def bare_forks(project: Path, *, python: str, files: int, tests: int, rounds: int, jobs: int) -> Side:
    """A fork of one pytest for each file. `tests` are those of a file."""
    return Side(
        f"bare forks, {jobs} at a time",
        [python, str(Path(__file__).with_name("bare_forks.py")), str(jobs)],
        project,
        rounds,
        proof=said(rf"\b{tests} passed", files),
    )


def xargs_pytest(project: Path, *, python: str, files: int, tests: int, rounds: int, jobs: int) -> Side:
    """A pytest for each file. `tests` are those of a file."""
    return Side(
        f"xargs -n1 -P {jobs} pytest",
        ["bash", "-c", f"ls test_*.py | xargs -n1 -P {jobs} {python} -m pytest"],
        project,
        rounds,
        proof=said(rf"\b{tests} passed", files),
    )
