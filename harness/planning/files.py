"""The files that a plan names: test files, globs, env files. They must be there, inside the project, and unique.

Reads directories, never contents. `resolve_tests` turns the `tests` of every group into what the noun Group holds:
existing files (or pytest ids in them), relative to the test root, in order.
"""

import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path, PurePosixPath

from harness.planning.compound import Row
from harness.planning.problems import Path as PlanPath
from harness.planning.problems import Problems, show, show_path

_MAGIC = frozenset("*?[")
_MOST_ENTRIES = 1_000_000  # of directories that one glob looks at


class Tree:
    """The files below one directory of the project."""

    def __init__(self, project: Path, below: str) -> None:
        self._root = project / below
        self._real_project = os.path.realpath(project)
        self._listings: dict[PurePosixPath, list[str]] = {}

    def is_file(self, name: str) -> bool:
        return _mode(self._root / name, stat.S_ISREG)

    def is_directory(self, name: str = "") -> bool:
        return _mode(self._root / name, stat.S_ISDIR)

    def is_inside(self, name: str) -> bool:
        """Whether the file, its links followed, is inside the project."""
        real = os.path.realpath(self._root / name)
        return os.path.commonpath([real, self._real_project]) == self._real_project

    def glob(self, pattern: str) -> Iterator[str]:
        """The files that match; hidden ones and __pycache__ only where the pattern names them. In no order, each once.

        Raises ValueError for a pattern that is none, and for one that leads through too much: links that lead upward
        make endless trees.
        """
        parts = [part for part in pattern.split("/") if part not in ("", ".")]
        if any("**" in part and part != "**" for part in parts):
            raise ValueError("** stands alone between slashes")
        if parts[-1:] == ["**"]:
            parts.append("*")
        waiting = [("", 0)]  # a directory, and the part that what is in it must match
        seen = set(waiting)
        looked = 0
        while waiting:
            place, at = waiting.pop()
            if at == len(parts):
                if self.is_file(place):
                    yield place
                continue
            steps = [(place, at + 1)] if parts[at] == "**" else []
            if _MAGIC.isdisjoint(parts[at]):
                steps.append((_join(place, parts[at]), at + 1))
            else:
                entries = self._entries(place)
                looked += len(entries)
                if looked > _MOST_ENTRIES:
                    raise ValueError(f"it leads through more than {_MOST_ENTRIES:,} files and directories")
                steps += [
                    (_join(place, entry.name), at + (parts[at] != "**"))
                    for entry in entries
                    if _fits(entry, parts[at], last=at + 1 == len(parts)) and not _is_hidden(entry.name, parts)
                ]
            new = [step for step in steps if step not in seen]
            seen.update(new)
            waiting += new

    def _entries(self, place: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self._root / place) as entries:
                return list(entries)
        except OSError:  # no directory, or none that can be read
            return []

    def beside(self, name: str) -> list[str]:
        """The files in the directory of that file."""
        directory = PurePosixPath(name).parent
        if directory not in self._listings:
            try:
                found = [path.name for path in (self._root / directory).iterdir()]
            except OSError:
                found = []
            self._listings[directory] = [(directory / name).as_posix() for name in found]
        return self._listings[directory]


def _subject(name: str) -> str:
    """What a test file is about: all test files are alike in the rest of their names."""
    return name.rpartition("/")[2].removesuffix(".py").removeprefix("test_").lower()


def _mode(path: Path, test: Callable[[int], bool]) -> bool:
    """Whether the path leads to a thing of that mode. Path.is_file would raise where a name is too long."""
    try:
        return test(path.stat().st_mode)
    except (OSError, ValueError):  # ValueError: a name that the file system's encoding does not have
        return False


def _join(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name


def _fits(entry: os.DirEntry[str], part: str, *, last: bool) -> bool:
    """Whether the way through it goes on: below `**` into real directories only, since links may lead upward."""
    try:
        if part == "**":
            return entry.is_dir(follow_symlinks=False)
        return fnmatchcase(entry.name, part) and (last or entry.is_dir())
    except OSError:  # a link that leads to itself
        return False


def _is_hidden(name: str, named: Collection[str]) -> bool:
    return (name.startswith(".") or name == "__pycache__") and name not in named


def check_files(plan: Row, groups: Iterable[Row], project: Path, problems: Problems) -> None:
    """The files of [run] and the `inputs` of groups."""
    tree = Tree(project, "")
    run: Row = plan["run"]
    for path, name in run.items_of("env_files"):
        if not tree.is_file(name):
            problems.add(path, f"{show(name)} is not there; make it, or leave it out")
    for path, name in run.items_of("lock_files"):
        if not tree.is_file(name):
            problems.add(path, f"{show(name)} is not there; leave it out, or make it")
    for group in groups:
        for path, pattern in group.items_of("inputs"):
            _find(PurePosixPath(pattern).as_posix(), path, tree, problems, most=1)


def resolve_tests(
    test_root: str, groups: Iterable[Row], project: Path, problems: Problems
) -> dict[PlanPath, tuple[str, ...]]:
    """For every group that has tests, by its path: the files and pytest ids that its entries stand for."""
    tree = Tree(project, test_root)
    if not tree.is_directory():
        problems.add(("run", "test_root"), f"{show(test_root)} is not a directory in the project")
        return {}
    owners = _Owners()
    resolved = {}
    for group in groups:
        tests = []
        for path, entry in group.items_of("tests"):
            for test in _resolve(entry, path, tree, problems):
                if test.startswith("-"):
                    problems.add(path, f"{show(test)} would be an option of pytest's; rename it, or move it down")
                owners.add(test, path, problems)
                tests.append(test)
        resolved[group.path] = tuple(tests)
    return resolved


def _resolve(entry: str, path: PlanPath, tree: Tree, problems: Problems) -> list[str]:
    name, colons, test = entry.partition("::")
    name = PurePosixPath(name).as_posix()  # "./a.py" and "a.py" are the same file
    if colons and not tree.is_file(name) and not _MAGIC.isdisjoint(name):
        problems.add(path, f"{show(entry)} is a glob with a pytest id; write the file's name")
        return []
    return [file + colons + test for file in _find(name, path, tree, problems)]


def _find(name: str, path: PlanPath, tree: Tree, problems: Problems, most: int | None = None) -> list[str]:
    """The file of that name, or the files that it matches, sorted; at least one, or else a problem."""
    if tree.is_file(name):
        if tree.is_inside(name):
            return [name]
        problems.add(path, f"{show(name)} is a link out of the project")
    elif not _MAGIC.isdisjoint(name):
        try:
            if found := sorted(islice(tree.glob(name), most)):
                return found
            problems.add(path, f"{show(name)} matches no file")
        except (ValueError, OSError) as error:
            problems.add(path, f"{show(name)} is not a glob: {error}")
    elif tree.is_directory(name):
        problems.add(path, f'{show(name)} is a directory; write "{name}/*.py" or "{name}/**/*.py"')
    else:
        hint = problems.suggestion(name, tree.beside(name), core=_subject)
        problems.add(path, f"{show(name)} is not there" + (f"; {hint}" if hint else ""))
    return []


class _Owners:
    """Which tests are in the plan already. No test is in it twice, be it by its own id or by that of its file."""

    def __init__(self) -> None:
        self._owner: dict[str, PlanPath] = {}
        self._part: dict[str, str] = {}  # a file or class -> a test of it that is in the plan

    def add(self, test: str, path: PlanPath, problems: Problems) -> None:
        parts = test.split("::")
        around = ["::".join(parts[:length]) for length in range(1, len(parts))]
        for holder in (*around, test, self._part.get(test, "")):
            if holder in self._owner:
                how = "" if holder == test else f"shares tests with {show(holder)}, which "
                problems.add(path, f"{show(test)} {how}is in the plan already: {show_path(self._owner[holder])}")
                return
        self._owner[test] = path
        for holder in around:
            self._part.setdefault(holder, test)
