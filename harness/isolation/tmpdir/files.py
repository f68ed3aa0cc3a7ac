"""The files that a group could touch though they are not its own, as they are at one moment: names, sizes, times.

Nothing is opened. Left out is what tools write beside the tests (caches, version control), what the harness writes
itself (logs, its own directories) and what the plan says. A tree of more than 50,000 files is looked at by directory:
how many files it has, and when one was last made or removed. That is decided at the first look and then stays so, for
looks are compared.
"""

import fnmatch
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.files import RUN_ID

MOST = 50_000

_CACHES = "__pycache__ .pytest_cache .mypy_cache .ruff_cache .hypothesis .tox .nox .venv venv node_modules htmlcov"
_NAMES = frozenset([*_CACHES.split(), ".git", ".hg", ".svn", ".harness", "test-report.json"])
_RUN = re.sub(r"\?P<\w+>", "?:", RUN_ID)
_RUN_DIRECTORY = re.compile(f"run_{_RUN}", re.ASCII)
# Byte code, coverage data; of runs: logs, status files, temporary files; directories of leases and claims.
_PATTERNS = re.compile(
    rf".*\.py[co]|\.coverage.*|.+_{_RUN}\.log|\..+_status_{_RUN}|\..*\.tmp|run_{_RUN}|harness-(?:[0-9a-f]{{12}}(?:-away)?|ports-\d+)",
    re.ASCII | re.DOTALL,
)


class WatchedFiles:
    """The files in some directories. To be used by one thread at a time."""

    def __init__(self, project: Path, watch: Sequence[str], ignore: Sequence[str], most: int = MOST) -> None:
        """`watch`: directories, absolute or relative to the project. `ignore`: globs for the names that `look` gives;
        `*` stands for slashes as well, and a glob that matches a directory leaves out all that is in it."""
        self._project = os.path.normpath(project)
        self._roots = list(dict.fromkeys(os.path.normpath(project / Path(path).expanduser()) for path in watch))
        self._ignore = re.compile("|".join(fnmatch.translate(glob.rstrip("/")) for glob in ignore) or r"(?!)")
        self._most = most
        self._by_directory: bool | None = None

    def look(self) -> Mapping[str, str]:
        """As {"file out/a.txt": "12 bytes, modified 2026-01-31 10:00:00.123456789"}, relative to the project if in it.

        What cannot be read is left out.
        """
        if self._by_directory is None:
            self._by_directory = sum(len(files) for _, _, files in self._directories()) > self._most
        if self._by_directory:
            return {f"directory {_shown(prefix) or './'}": told for prefix, told in self._counted()}
        return {f"file {_shown(name)}": told for name, told in self._timed()}

    def _timed(self) -> Iterator[tuple[str, str]]:
        for _, prefix, files in self._directories():
            for file in files:
                try:
                    status = file.stat(follow_symlinks=False)
                except OSError:
                    continue
                yield f"{prefix}{file.name}", f"{status.st_size} bytes, {_modified(status)}"

    def _counted(self) -> Iterator[tuple[str, str]]:
        for directory, prefix, files in self._directories():
            try:
                status = Path(directory).stat()
            except OSError:
                continue
            yield prefix, f"{len(files)} files, {_modified(status)}"

    def _directories(self) -> Iterator[tuple[str, str, list[os.DirEntry[str]]]]:
        """Each directory, what its files' names begin with, and the files in it. Symbolic links count as files: they
        may lead out of what is watched."""
        pending = list(self._roots)
        while pending:
            directory = pending.pop()
            files, below = self._entries(directory, is_root=directory in self._roots)
            pending += below
            yield directory, self._prefix(directory), files

    def _entries(self, directory: str, *, is_root: bool) -> tuple[list[os.DirEntry[str]], list[str]]:
        """Its files and its directories; none, if it cannot be read or is where runs leave their logs."""
        prefix = self._prefix(directory)
        files, below = [], []
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    is_directory = entry.is_dir(follow_symlinks=False)
                    if not is_root and is_directory and _RUN_DIRECTORY.fullmatch(entry.name):
                        return [], []
                    if entry.name in _NAMES or _PATTERNS.fullmatch(entry.name):
                        continue
                    if self._ignore.fullmatch(f"{prefix}{entry.name}"):
                        continue
                    if is_directory:
                        below.append(entry.path)
                    else:
                        files.append(entry)
        except OSError:
            return [], []
        return files, below

    def _prefix(self, directory: str) -> str:
        if directory == self._project:
            return ""
        return f"{directory.removeprefix(f'{self._project}/')}/"


def _modified(status: os.stat_result) -> str:
    seconds, rest = divmod(status.st_mtime_ns, 1_000_000_000)
    return f"modified {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(seconds))}.{rest:09}"


def _shown(name: str) -> str:
    """Without line breaks, escapes and bytes that are no text: it goes into messages and JSON."""
    return name if name.isprintable() else "".join(it if it.isprintable() else repr(it)[1:-1] for it in name)
