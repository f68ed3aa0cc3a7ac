"""Which groups a set of changed files concerns: for --changed, and for fingerprints.

A group depends on its test files, on what pytest reads around them (conftest.py, its settings) from the project down to
them, and on its `inputs`. Of a group without `inputs` nobody knows what else it depends on, so any change concerns it,
and so does none. What all groups depend on (the plan, lock files, env files) concerns them all.

Works on names alone, so that it also knows files that are gone. A glob means what it means in planning/files.py.
"""

from collections.abc import Collection, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from harness.model import Group, Plan
from harness.planning.find import FILE_NAME

# Of the tools that people install dependencies with.
LOCK_FILES = (
    "requirements.lock",
    "requirements.txt",
    "uv.lock",
    "poetry.lock",
    "pdm.lock",
    "Pipfile.lock",
    "package-lock.json",
    "pnpm-lock.yaml",
    "yarn.lock",
    "go.sum",
    "Cargo.lock",
    "Gemfile.lock",
    "composer.lock",
)
# What pytest reads in every directory, from the project down to a test file.
_AROUND = (
    "conftest.py",
    "pytest.ini",
    ".pytest.ini",
    "pytest.toml",
    ".pytest.toml",
    "pyproject.toml",
    "tox.ini",
    "setup.cfg",
)


def changed_groups(plan: Plan, files: Collection[str]) -> set[str]:
    """The names of the groups that have to run if these files, relative to the project, have changed or are gone."""
    changed = {PurePosixPath(file).as_posix() for file in files}
    if not changed.isdisjoint((FILE_NAME, *lock_files(plan), *plan.env_files)):
        return {group.name for group in plan.groups}
    return {group.name for group in plan.groups if not group.inputs or _concerns(plan, group, changed)}


def _concerns(plan: Plan, group: Group, changed: Collection[str]) -> bool:
    own = set(test_files(plan, group))
    own |= set(files_around(own))
    return not own.isdisjoint(changed) or any(matches(file, glob) for glob in group.inputs for file in changed)


def lock_files(plan: Plan) -> tuple[str, ...]:
    """The names that lock files have in this plan, relative to the project; of the usual ones few are there."""
    return plan.lock_files or LOCK_FILES


def test_files(plan: Plan, group: Group) -> list[str]:
    """The files of a group's tests, each once, relative to the project."""
    root = PurePosixPath(plan.test_root)
    return list(dict.fromkeys((root / test.partition("::")[0]).as_posix() for test in group.tests))


test_files.__test__ = False  # type: ignore[attr-defined]  # pytest must not take it for a test


def files_around(files: Iterable[str]) -> Iterator[str]:
    """What pytest would read for these files, if it is there, relative to the project; each once."""
    directories = dict.fromkeys(parent for file in files for parent in PurePosixPath(file).parents)
    for directory in directories:
        yield from ((directory / name).as_posix() for name in _AROUND)


def matches(file: str, glob: str) -> bool:
    """Whether a glob of the plan stands for the file of this name, as `Tree.glob` would find it.

    `**` is any number of directories, and at the end all files below; hidden files and __pycache__ match only where the
    glob names them. A glob without wildcards, or one that is the file's very name, matches that file.
    """
    pattern = PurePosixPath(glob).as_posix()
    if file == pattern:
        return True
    parts, wanted = file.split("/"), pattern.split("/")
    if any((part.startswith(".") or part == "__pycache__") and part not in wanted for part in parts):
        return False
    if wanted[-1] == "**":
        wanted.append("*")
    # All places in the glob that the parts so far can have led to: no backtracking, however many ** there are.
    places = _past_directories({0}, wanted)
    for part in parts:
        stepped = {place for place in places if place < len(wanted) and wanted[place] == "**"}
        stepped |= {
            place + 1
            for place in places
            if place < len(wanted) and wanted[place] != "**" and fnmatchcase(part, wanted[place])
        }
        places = _past_directories(stepped, wanted)
    return len(wanted) in places


def _past_directories(places: set[int], wanted: list[str]) -> set[int]:
    """The places, and those behind a ** that stands for no directory at all."""
    reached = set(places)
    for place in sorted(places):
        while place < len(wanted) and wanted[place] == "**":
            place += 1
            reached.add(place)
    return reached
