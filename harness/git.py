"""What git knows of the project: the commit, and which files differ from another one.

Protocol: `head` never fails, because a run goes on without git; `changed_files` was asked for, and raises UsageError
where git cannot answer. Both call git in the project's directory with the variables of the shell, as the user would.

It must not change the repository (no lock on the index, no daemon left behind), and decides nothing about groups.
"""

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.process import ToolError, run_tool
from harness.values import quoted

TIMEOUT = 5.0  # seconds for `head`: nobody asked for it, so nobody waits for it
LONG_TIMEOUT = 60.0  # seconds for each call of `changed_files`

# Without fsmonitor, because git would start a daemon that outlives it. With quotes, because names need not be UTF-8.
_GIT = ("git", "-c", "core.fsmonitor=false", "-c", "core.quotePath=true")


@dataclass(frozen=True)
class Head:
    commit: str  # empty: not in git, or nothing was committed yet
    dirty: bool  # whether a file differs from it, or git neither tracks nor ignores it


def head(project: Path, ignoring: Collection[str] = ()) -> Head:
    """The commit that is checked out; ("", False) outside git, without git, and where git takes more than 5 s.

    Files below the directories `ignoring`, relative to the project, make nothing dirty.
    """
    excluded = [
        f":(exclude){path}" for path in ignoring if not Path(path).is_absolute() and ".." not in Path(path).parts
    ]
    try:
        # Neither renames nor the distance to upstream are wanted, and each can take longer than all the rest.
        answer = _git(
            project,
            *("status", "--porcelain=v2", "--branch", "--untracked-files=normal", "--no-ahead-behind", "--no-renames"),
            *("--", ":/", *excluded),
            timeout=TIMEOUT,
        )
    except ToolError:
        return Head("", False)
    lines = answer.splitlines()
    commit = next((line.removeprefix("# branch.oid ") for line in lines if line.startswith("# branch.oid ")), "")
    return Head("" if commit == "(initial)" else commit, any(not line.startswith("#") for line in lines))


def changed_files(project: Path, ref: str) -> frozenset[str]:
    """The files, relative to the project, that differ between the working tree and where it branched off from `ref`.

    Deleted and untracked ones are among them, of a rename both names; ignored files and those outside the project are
    not. Raises UsageError for an unknown `ref`, one without a common ancestor, and where git cannot answer at all.
    """
    try:
        _git(project, "rev-parse", "--git-dir")
    except ToolError as error:
        raise UsageError(f"--changed: git does not answer here: {_reason(error)}", "Leave the option out.") from None
    base = _merge_base(project, ref)
    try:
        listed = [
            *_git(project, "diff", "--name-only", "--relative", "--no-renames", "--no-ext-diff", base).splitlines(),
            *_git(project, "ls-files", "--others", "--exclude-standard").splitlines(),
        ]
    except ToolError as error:
        raise UsageError(f"--changed: git does not answer: {_reason(error)}", "Leave the option out.") from None
    return frozenset(file for line in listed for file in _files(project, _unquoted(line)))


def _merge_base(project: Path, ref: str) -> str:
    # The suffix also makes of a name that begins with a dash no option of git, but an unknown name.
    commit = _first_line(project, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    if not commit:
        raise UsageError(
            f"--changed: git knows no commit {quoted(ref)}",
            "Name a branch, a tag or a commit; in CI, fetch it first (a checkout is often shallow).",
        )
    base = _first_line(project, "merge-base", commit, "HEAD")
    if not base:
        raise UsageError(
            f"--changed: {quoted(ref)} and the current commit have no common ancestor",
            "In CI, fetch the whole history first (fetch-depth: 0).",
        )
    return base


def _first_line(project: Path, *words: str) -> str:
    """What git answers; empty where it says no."""
    try:
        return _git(project, *words).strip()
    except ToolError:
        return ""


def _git(project: Path, *words: str, timeout: float = LONG_TIMEOUT) -> str:
    env = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    return run_tool([*_GIT, *words], env=env, directory=project, timeout=timeout)


def _reason(error: ToolError) -> str:
    """The line that says why; git often adds advice below it."""
    lines = [line.strip() for line in error.message.splitlines()]
    return next((line.removeprefix("fatal: ") for line in lines if line.startswith("fatal: ")), lines[-1])


def _unquoted(line: str) -> str:
    """A name as git writes it: in quotes, with C's escapes, if it has anything but plain ASCII in it."""
    if not line.startswith('"'):
        return line
    return os.fsdecode(line[1:-1].encode("ascii").decode("unicode_escape").encode("latin-1"))


def _files(project: Path, name: str) -> Iterator[str]:
    """The name itself, and of a submodule or a repository inside the project, of which git names no more, its files."""
    name = name.rstrip("/")
    yield name
    path = project / name
    if path.is_dir() and not path.is_symlink():
        yield from (file.relative_to(project).as_posix() for file in path.rglob("*") if file.is_file())
