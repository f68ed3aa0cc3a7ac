"""What does `--t NAME` mean? A group, a file, a pytest id, or part of one.

The first of these that finds anything decides: a group of that name; a file; an id, or the name of a class or function
inside the test files; then names that merely contain it. Test files are parsed, never imported, and only those whose
text holds the name.
"""

import ast
import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from harness.errors import UsageError
from harness.model import Group, Plan
from harness.planning.problems import close_matches
from harness.values import quoted

Found = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Place:
    """One entry of a group's tests: a file, or a pytest id in it."""

    group: str
    file: str
    within: str  # "TestA::test_b", or empty: the whole file

    @property
    def id(self) -> str:
        return f"{self.file}::{self.within}" if self.within else self.file


@dataclass(frozen=True)
class Definition:
    """A class or test function of a file."""

    name: str  # "TestA::test_b"
    open: bool  # a class with bases: it may have tests that its file does not show


def find_tests(plan: Plan, name: str) -> Found:
    """For each group that has what `name` means, in plan order, the tests to run; UsageError where nothing does."""
    groups = {group.name: group for group in plan.groups}
    if name in groups:
        return {name: groups[name].tests}
    if not name.strip():
        raise UsageError("--t: names no test", "name a group, a file, a pytest id, or part of one")
    search = _Search(plan)
    # An argument of a parametrised test may hold anything, so it is set aside first.
    base, bracket, rest = name.partition("[")
    for step in (search.files, search.exact, search.inherited):
        if found := step(base):
            return _grouped(found, bracket + rest)
    partly = {group: groups[group].tests for group in groups if name.casefold() in group.casefold()}
    if partly := partly or _grouped(search.parts(name), ""):
        return partly
    close = close_matches(name, search.all_names(), 5)
    cure = f"did you mean {' or '.join(quoted(match) for match in close)}?" if close else "`--list` shows the groups"
    raise UsageError(f"--t: no group, file or test is called {quoted(name)}, in whole or in part", cure)


def defined(file: Path, names: Collection[str]) -> set[str]:
    """Which of the names (`test_a`, `TestA::test_b`) the file has, or may have through a base of a class."""
    definitions = _outline(_text(file))
    known = {definition.name for definition in definitions}
    inheriting = {definition.name for definition in definitions if definition.open}
    return {name for name in names if name in known or name.rpartition("::")[0] in inheriting}


def file_of(plan: Plan, group: Group, name: str) -> str:
    """The file of the group that pytest calls so; empty: none, or it could be several.

    pytest's names are relative to a directory that it chose itself, the test root or one above it. So what they have
    more than ours is the end of the test root's own path.
    """
    root = PurePosixPath(plan.project, plan.test_root).parts
    parts = PurePosixPath(name).parts
    found = []
    for file in group.files:
        own = PurePosixPath(file).parts
        more = len(parts) - len(own)
        if more >= 0 and parts[more:] == own and parts[:more] == root[len(root) - more :]:
            found.append(file)
    return found[0] if len(found) == 1 else ""


def _grouped(found: list[Place], suffix: str) -> Found:
    ids: dict[str, list[str]] = {}
    for place in found:
        ids.setdefault(place.group, []).append(place.id + (suffix if place.within else ""))
    return {group: tuple(dict.fromkeys(tests)) for group, tests in ids.items()}


class _Search:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._root = Path(plan.project, plan.test_root)
        self._text = cache(_text)
        self._outline = cache(_outline)
        self._places = []
        for group in plan.groups:
            for test in group.tests:
                file, _, within = test.partition("::")
                self._places.append(Place(group.name, file, within))

    def files(self, name: str) -> list[Place]:
        """The entries of the file that is called so, with or without directory and `.py`."""
        return [place for place in self._places if self._is_file(place.file, name)]

    def _is_file(self, file: str, name: str) -> bool:
        wanted = PurePosixPath(name)
        for base in (self._root, Path(self._plan.test_root)):
            if wanted.is_relative_to(base):
                wanted = wanted.relative_to(base)
                break
        parts, tail = PurePosixPath(file.removesuffix(".py")).parts, wanted.parts
        if not tail:
            return False
        tail = (*tail[:-1], tail[-1].removesuffix(".py"))
        return parts[-len(tail) :] == tail

    def exact(self, name: str) -> list[Place]:
        """The id; or every class and function called so, or ending so: `TestA::test_b`."""
        file, _, within = name.partition("::")
        files = self.files(file) if within else []
        wanted = within if files else name
        last = wanted.rpartition("::")[2]

        def matches(definition: Definition) -> bool:
            return definition.name == wanted or (not files and definition.name.endswith(f"::{wanted}"))

        return self._defined(files or self._places, last, matches)

    def inherited(self, name: str) -> list[Place]:
        """An id whose class may have got the test from a base: pytest will tell."""
        owner, colons, test = name.rpartition("::")
        if not colons or "::" not in owner:
            return []
        file, _, within = owner.partition("::")
        places = self._defined(self.files(file), within.rpartition("::")[2], lambda d: d.open and d.name == within)
        return [Place(place.group, place.file, f"{within}::{test}") for place in places]

    def parts(self, name: str) -> list[Place]:
        """What merely contains the name: files, or else classes and functions."""
        wanted = name.casefold()
        if found := [place for place in self._places if wanted in place.file.casefold()]:
            return found
        last = wanted.rpartition("::")[2]
        return self._defined(self._places, last, lambda definition: wanted in definition.name.casefold())

    def all_names(self) -> list[str]:
        """Everything that could have been meant."""
        names = [group.name for group in self._plan.groups]
        names += [PurePosixPath(place.file).stem for place in self._places]
        for place in self._places:
            names += [definition.name.rpartition("::")[2] for definition in self._definitions(place)]
        return list(dict.fromkeys(names))

    def _defined(self, places: list[Place], word: str, matches: Callable[[Definition], bool]) -> list[Place]:
        """The classes and functions that match, of the files whose text has the word; none inside another."""
        found: list[Place] = []
        for place in places:
            if word.casefold() not in self._text(self._root / place.file).casefold():
                continue
            taken: list[str] = []
            for definition in self._definitions(place):
                name = definition.name
                if place.within and name != place.within and not name.startswith(f"{place.within}::"):
                    continue
                if matches(definition) and not any(name.startswith(f"{owner}::") for owner in taken):
                    taken.append(name)
            found += [Place(place.group, place.file, name) for name in taken]
        return found

    def _definitions(self, place: Place) -> tuple[Definition, ...]:
        return self._outline(self._text(self._root / place.file))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _outline(source: str) -> tuple[Definition, ...]:
    """The classes and test functions of a source, an owner before what is in it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # doubtful escapes in a test are not ours to speak of
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()  # pytest will say what is wrong with it
    return tuple(_definitions(tree, ""))


def _definitions(node: ast.Module | ast.ClassDef, owner: str) -> Iterator[Definition]:
    for child in node.body:
        if isinstance(child, ast.ClassDef):
            inside = list(_definitions(child, f"{owner}{child.name}::"))
            if inside or child.name.startswith("Test"):
                yield Definition(owner + child.name, bool(child.bases))
                yield from inside
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and child.name.startswith("test"):
            yield Definition(owner + child.name, False)
