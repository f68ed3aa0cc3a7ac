"""Reads harness.toml and checks it whole: a Plan, or a PlanError with every problem, each with its line.

The steps: text → tomllib → rows (schema.py reads key by key) → rules over the whole plan (check.py, files.py) → nouns
(build.py). Only a file that is no TOML at all ends early, as nothing can be said about what it means.
"""

import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

from harness.errors import PlanError
from harness.model import Plan
from harness.planning.build import build
from harness.planning.check import check, rows
from harness.planning.files import check_files, resolve_tests
from harness.planning.find import FILE_NAME
from harness.planning.locate import Lines
from harness.planning.problems import Problems, show_path
from harness.planning.quarantine import check_quarantine
from harness.planning.schema import HOMES, PLAN

_MOST_BYTES = 8 << 20  # 10,000 groups take a quarter of it; tomllib takes most of a second for each MiB
_MOST_DOTS = 1000
# For which tomllib takes time that grows with the square of their number.
_ENDLESS_KEY = re.compile(rf"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{_MOST_DOTS}}}""")
_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)")


def load_plan(project: Path, today: date) -> Plan:
    """The plan in the directory `project`, as it holds `today`. Raises PlanError with every problem, sorted by line."""
    text = _read(project / FILE_NAME)
    data = _parse(text)
    problems = Problems(HOMES)
    plan = PLAN.read(data, (), problems)
    groups = [group for phase in rows(plan["phases"]) for group in rows(phase["groups"])]
    check(plan, problems)
    check_quarantine(rows(plan["quarantine"]), [group["name"] for group in groups], today, problems)
    check_files(plan, groups, project, problems)
    tests = resolve_tests(
        plan["run"]["test_root"], [group for group in groups if "tests" in group.written], project, problems
    )
    if problems.found:
        raise PlanError(_located(problems, text))
    return build(str(project.absolute()), plan, tests)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise PlanError([f"{path}: {error.strerror or error}"]) from None
    if len(content) > _MOST_BYTES:
        raise PlanError([f"{FILE_NAME}:1: is larger than {_MOST_BYTES >> 20} MiB"])
    try:
        return content.decode("utf-8-sig")  # a byte order mark is what some editors leave
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PlanError(
            [f"{FILE_NAME}:{line}: byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8"]
        ) from None


def _parse(text: str) -> dict[str, Any]:
    if endless := _ENDLESS_KEY.search(text):
        line = text.count("\n", 0, endless.start()) + 1
        raise PlanError([f"{FILE_NAME}:{line}: a name of more than {_MOST_DOTS} parts, with dots between them"])
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise PlanError([f"{FILE_NAME}:1: values are nested too deeply"]) from None
    except ValueError as error:  # TOMLDecodeError; and plain ValueError for a number of thousands of digits
        position = _POSITION.search(str(error))
        message = _POSITION.sub("", str(error))
        if position and position[1]:
            where = f"{position[1]}: column {position[2]}"
        else:
            where = f"{text.rstrip().count(chr(10)) + 1}: at the end" if position else "1"
        raise PlanError([f"{FILE_NAME}:{where}: not TOML: {message}"]) from None


def _located(problems: Problems, text: str) -> list[str]:
    lines = Lines(text)
    found = [(lines.of(path), f"{show_path(path)}: {message}") for path, message in problems.found]
    # A stable sort: what is said about one line stays in the order in which it was found.
    return [
        f"{FILE_NAME}:{line}: {finding}" for line, finding in dict.fromkeys(sorted(found, key=lambda item: item[0]))
    ]
