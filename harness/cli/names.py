"""`names`: finds what is fixed in tests and would collide, and replaces it where a fixture can stand in.

Reads and writes the files and prints; what collides is decided in harness/naming. A file that cannot be examined is
told with its line, and the others go on.
"""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.door import Door, out, pass_door
from harness.errors import InfrastructureError, NothingToRun, UsageError
from harness.files import write_atomically
from harness.reporters.text import BOLD, DIM, json_text, paint, plural, printable
from harness.values import quoted

if TYPE_CHECKING:
    from harness.naming import Examined, Finding

SKIPPED = {"__pycache__", "node_modules", "site-packages"}
FOUND = 1  # as linters end

EXAMPLES = """\b
Examples:
  ./exec.sh local names                          the test files of the plan
  ./exec.sh local names tests/test_clients.py    one file, or a directory
  ./exec.sh local names --fix                    put fixtures in, where that is sure
"""


@dataclass(frozen=True)
class File:
    """One file and what there is to say of it. `name` is its path from the current directory."""

    name: str
    examined: "Examined"


@click.command("names", epilog=EXAMPLES)
@click.argument("paths", nargs=-1, metavar="[PATHS]...", type=click.Path(path_type=Path))
@click.option("--fix", is_flag=True, help="Replace what a fixture can stand in for, where that is sure.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@pass_door
def names(door: Door, paths: tuple[Path, ...], fix: bool, form: str) -> int:
    """Find fixed names, addresses, ports, paths and keys in tests that would collide.

    Ends with 1 where anything is left, as linters do.
    """
    files = [examined(path, fix=fix) for path in (chosen(paths) if paths else planned(door))]
    if form == "json":
        click.echo(as_json(files))
    else:
        out().write(page(files, fix=fix))
    return FOUND if any(file.examined.findings or file.examined.problem for file in files) else 0


def planned(door: Door) -> list[Path]:
    """The test files of the plan, and the conftest.py beside each. Raises NothingToRun where it has none."""
    root = Path(door.plan.project, door.plan.test_root)
    tests = {root / name for group in door.plan.groups for name in group.tests}
    files = {path for test in tests for path in ([test] if test.is_file() else _below(test))}
    files |= {path for file in files if (path := file.parent / "conftest.py").is_file()}
    if not files:
        raise NothingToRun("the plan has no test files", "Name files or directories to look through.")
    return sorted(files)


def chosen(paths: tuple[Path, ...]) -> list[Path]:
    """These files, and the Python files of these directories. Raises UsageError for one that is not there."""
    files: dict[Path, None] = {}
    for path in paths:
        if not os.path.exists(path):  # noqa: PTH110  # Path.exists would raise where a name is too long
            raise UsageError(f"names: there is no {quoted(str(path))}", "Name files or directories that exist.")
        try:
            files |= dict.fromkeys([path] if path.is_file() else _below(path))
        except OSError as error:
            raise UsageError(
                f"names: {error.filename} cannot be read: {error.strerror}", "Name what does not change meanwhile."
            ) from error
    return list(files)


def _below(directory: Path) -> list[Path]:
    found = (path for path in directory.rglob("*.py") if path.is_file())
    return sorted(
        path
        for path in found
        if not any(part in SKIPPED or part.startswith(".") for part in path.relative_to(directory).parts)
    )


def examined(path: Path, *, fix: bool) -> File:
    """Looks through one file, and rewrites it where anything is fixed. Raises InfrastructureError where it cannot."""
    from harness.naming import examine

    try:
        before = path.read_bytes()
        result = examine(before, fix=fix, shared=path.name == "conftest.py")
        if result.data != before:
            replace(path, result.data)
    except OSError as error:
        raise InfrastructureError(
            f"names: {path}: {error.strerror or error}",
            "Make the file readable, and with --fix its directory writable.",
        ) from error
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return File(str(shown), result)


def replace(path: Path, data: bytes) -> None:
    """Replaces a file at once, whole; a link stays one, and the mode stays as it was."""
    target = path.resolve()
    mode = target.stat().st_mode & 0o7777
    write_atomically(target, data)
    target.chmod(mode)


def page(files: list[File], *, fix: bool) -> list[str]:
    """A line for each finding, and how many there are."""
    lines = [line for file in files for line in _lines(file)]
    left = sum(len(file.examined.findings) for file in files)
    done = sum(len(file.examined.fixed) for file in files)
    unread = sum(bool(file.examined.problem) for file in files)
    able = 0 if fix else sum(not finding.obstacle for file in files for finding in file.examined.findings)
    words = [f"{plural(left, 'fixed identifier')} in {plural(len(files), 'file')}"]
    words += [f"{done} replaced"] if fix else []
    words += [f"{able} can be replaced by --fix"] if able else []
    words += [f"{plural(unread, 'file')} could not be examined"] if unread else []
    return [*lines, *([""] if lines else []), paint("; ".join(words), BOLD)]


def _lines(file: File) -> Iterator[str]:
    name = printable(file.name)
    if file.examined.problem:
        yield f"{name}:{file.examined.line}: {printable(file.examined.problem)}"
    for finding in file.examined.findings:
        place = f"{name}:{finding.line}:{finding.column}:"
        what = f'{finding.kind} "{printable(finding.text)}" in {printable(finding.used)}'
        yield f"{place} {what}: {finding.why}"
        yield paint(f"    {_cure(finding)}", DIM)


def _cure(finding: "Finding") -> str:
    instead = f"instead: {finding.fixture}" if finding.fixture else ""
    return printable(": ".join(part for part in (instead, finding.obstacle) if part)) or "instead: a value of its own"


def as_json(files: list[File]) -> str:
    """For machines: a list of the files with their findings, and what was replaced."""
    content = [
        {
            "file": file.name,
            "problem": file.examined.problem,
            "line": file.examined.line,
            "findings": [asdict(finding) for finding in file.examined.findings],
            "fixed": [asdict(finding) for finding in file.examined.fixed],
        }
        for file in files
    ]
    return json_text(content)
