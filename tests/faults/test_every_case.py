"""docs/reliability.md names all forty cases, and each of them has tests where it says."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "reliability.md"
CASES = 40


def rows() -> dict[int, list[str]]:
    """The test files that the page names for each case."""
    found = re.findall(r"^\| (\d+) \|.*\| ([^|]+) \|$", PAGE.read_text(), re.MULTILINE)
    return {int(number): re.findall(r"`(test_\w+\.py)`", where) for number, where in found}


def cases_in(path: Path) -> set[int]:
    """The numbers in the names of its tests: test_case_08_…, test_cases_13_14_…"""
    names = [node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    numbers = [match[1] for name in names if (match := re.match(r"test_cases?((?:_\d\d)+)_", name))]
    return {int(number) for each in numbers for number in each.split("_")[1:]}


def test_every_case_has_a_row_and_every_row_its_tests() -> None:
    assert list(rows()) == list(range(1, CASES + 1))
    for number, files in rows().items():
        assert files, f"case {number} has no test"
        for file in files:
            assert number in cases_in(HERE / file), f"{file} has no test of case {number}"


def test_every_test_of_a_case_is_named_by_the_page() -> None:
    named = rows()
    for path in HERE.glob("test_*.py"):
        for number in cases_in(path):
            assert path.name in named[number], f"case {number} is tested in {path.name} too"
