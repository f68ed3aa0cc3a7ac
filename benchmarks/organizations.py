"""The bundled suite with one organization for all its groups, and with one for each: 8 groups at a time.

An organization has a payment account, which the payment network refuses when it calls too often. Both sides run the
plan of the repository in a copy, with the service's access log on, which tells each 429. They differ in one entry of
the plan: [isolation.organization] makes an organization, or hands the same one to every group. Left out of both are the
group `platform`, which provokes refusals on purpose, and what runs only when asked for.
"""

import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import msgspec
from tabulate import tabulate

from harness.files import all_runs
from harness.planning.load import load_plan

ROOT = Path(__file__).parent.parent
SERVICE = "searchable"
LEFT_OUT = "platform"
JOBS = 8
ROUNDS = {"one for all": 3, "one a group": 10}

SHARED = """[isolation.organization]
kind = "command"
setup = ["{python}", "shared.py", "{{searchable.url}}"]

"""
# The first group runs alone and makes it; the others find it.
SHARED_SETUP = """
import json, os, pathlib, sys, urllib.request

made = pathlib.Path("../shared.env")
if not made.exists():
    request = urllib.request.Request(sys.argv[1] + "/v1/platform/organizations", b'{"slug": "shared"}')
    request.add_header("Authorization", "Bearer " + os.environ["SEARCHABLE_PLATFORM_KEY"])
    request.add_header("Content-Type", "application/json")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        key = json.load(answer)["secret_key"]
    made.write_text(f"TESTS_ORG=shared\\nTESTS_ORG_SECRET_KEY={key}\\n")
pathlib.Path(os.environ["HARNESS_ENV"]).write_text(made.read_text())
"""


@dataclass(frozen=True)
class Round:
    """What became of one run of the suite."""

    groups: int
    failed_groups: int
    failed_tests: int
    contaminating: int
    throttled: int
    """Answers 429 of the service."""
    seconds: float


def measure() -> str:
    rounds = {side: [run_once(shared=side == "one for all") for _ in range(count)] for side, count in ROUNDS.items()}
    rows = [
        [
            side,
            f"{sum(not it.failed_groups for it in every)} of {len(every)}",
            _span([it.failed_groups for it in every]),
            _span([it.failed_tests for it in every]),
            _span([it.throttled for it in every]),
            _span([it.contaminating for it in every]),
            f"{statistics.median(it.seconds for it in every):.1f} s",
        ]
        for side, every in rounds.items()
    ]
    headers = [
        "organizations",
        "runs passed",
        "groups failed",
        "tests failed",
        "answers 429",
        "contaminating",
        "median",
    ]
    title = f"The bundled suite, {rounds['one a group'][0].groups} groups, {JOBS} at a time"
    return f"{title}\n\n{tabulate(rows, headers, disable_numparse=True)}\n"


def run_once(*, shared: bool) -> Round:
    """Runs the suite in a copy. Raises RuntimeError where it did not run."""
    with tempfile.TemporaryDirectory() as directory:
        project = copy_suite(Path(directory, "suite"), shared=shared)
        groups = [
            group.name
            for phase in load_plan(project, date.today()).phases
            for group in phase.groups
            if not phase.when and group.name != LEFT_OUT
        ]
        words = ["test", "--parallel", "--jobs", str(JOBS), "--groups", ",".join(groups)]
        harness = [sys.executable, "-I", "-m", "harness", *words]
        ran = subprocess.run(harness, cwd=project, capture_output=True, text=True)
        if ran.returncode not in (0, 1):
            raise RuntimeError(f"the suite did not run:\n{ran.stdout}{ran.stderr}")
        files = all_runs(project / "logs")[0]
        report = msgspec.json.decode(files.report.read_bytes())
        answers = files.service_log(SERVICE).read_text()
    suites = report["suites"]
    failed = [suite for suite in suites if suite["status"] != "passed"]
    if not re.search(r'" 200 ', answers):
        raise RuntimeError("the service's log does not tell its answers")
    return Round(
        groups=len(suites),
        failed_groups=len(failed),
        failed_tests=sum(suite["tests"]["failed"] + suite["tests"]["error"] for suite in suites),
        contaminating=sum(bool(suite["contaminates"]) for suite in suites),
        throttled=len(re.findall(r'" 429 ', answers)),
        seconds=report["duration"],
    )


def copy_suite(project: Path, *, shared: bool) -> Path:
    """Makes the directory `project`: the suite, its service and its plan, changed as the module says."""
    ignored = shutil.ignore_patterns("__pycache__", ".pytest_cache")
    shutil.copytree(ROOT / "integration-tests", project / "integration-tests", ignore=ignored)
    plan = _replaced((ROOT / "harness.toml").read_text(), r" --no-access-log", "")
    plan = _replaced(plan, r'(?<=^command = ")exec python(?= )', f"exec {sys.executable}")
    if shared:
        (project / "shared.py").write_text(SHARED_SETUP)
        entry = SHARED.format(python=sys.executable)
        plan = _replaced(plan, r"\[isolation\.organization\]\n.*?(?=\[isolation\.tmpdir\])", entry)
    (project / "harness.toml").write_text(plan)
    return project


def _replaced(text: str, pattern: str, replacement: str) -> str:
    changed, count = re.subn(pattern, lambda _: replacement, text, flags=re.DOTALL | re.MULTILINE)
    if count != 1:
        raise RuntimeError(f"harness.toml has {count} places like {pattern!r}, not one")
    return changed


def _span(numbers: list[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"
