"""Removes a directory with all that is in it, whatever tests did to it, and nothing outside it.

Symbolic links are removed, never followed. Directories that nobody may enter are opened up. What is mounted inside
stays as it is, and is told of. What somebody still writes is removed as well, for as long as five seconds.

Works with descriptors, so that nobody can lead it elsewhere by replacing a directory; pathlib knows none.
"""

import errno
import os
import re
import secrets
import time
from collections.abc import Set
from contextlib import suppress
from pathlib import Path

from harness import clock
from harness.errors import InfrastructureError

_LIMIT = 5.0  # seconds
_PAUSE = 0.02  # seconds between two tries
_DEEPEST = 200  # directories within one another: each takes a descriptor and a frame
_MOUNTS = Path("/proc/self/mountinfo")
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

# What a second try may mend: somebody made or replaced something while we looked.
_PASSING = {errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ELOOP}


def remove_tree(directory: Path) -> None:
    """Removes the directory, an absolute path without links in it. No harm if it is not there.

    Raises InfrastructureError with the path of something that stays; all that can be removed is gone then.
    """
    limit = clock.now() + _LIMIT
    while problem := _Removal(directory).problem:
        path, why, passing = problem
        if not passing or clock.now() >= limit:
            raise InfrastructureError(
                f"cannot remove {path}: {why}",
                "End what writes to it, unmount it, lift its protection (`lsattr`), or remove it as its owner.",
            )
        time.sleep(_PAUSE)


class _Removal:
    """One try. `problem` is the first thing that stays: its path, why, and whether that may pass."""

    def __init__(self, directory: Path) -> None:
        self.problem: tuple[str, str, bool] | None = None
        self._mounts = _mounts()
        try:
            parent = os.open(directory.parent, _OPEN)
        except FileNotFoundError:
            return
        except OSError as error:
            self._fail(str(directory), error)
            return
        try:
            self._device = os.stat(directory.name, dir_fd=parent, follow_symlinks=False).st_dev
            self._top = -1
            self._remove_directory(parent, directory.name, str(directory), depth=0)
        except OSError as error:
            self._fail(str(directory), error)
        finally:
            os.close(parent)

    def _remove(self, parent: int, name: str, path: str, is_directory: bool, depth: int) -> None:
        try:
            if not is_directory:
                os.unlink(name, dir_fd=parent)
            elif depth > _DEEPEST:
                # To the top, where the next try finds it.
                os.rename(name, secrets.token_hex(8), src_dir_fd=parent, dst_dir_fd=self._top)
            else:
                self._remove_directory(parent, name, path, depth)
        except OSError as error:
            self._fail(path, error)

    def _remove_directory(self, parent: int, name: str, path: str, depth: int) -> None:
        if path in self._mounts:
            self._keep(path)
            return
        here = _enter(parent, name)
        if depth == 0:
            self._top = here
        try:
            if os.fstat(here).st_dev != self._device:
                self._keep(path)
                return
            with os.scandir(here) as entries:
                found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
            for child, is_directory in found:
                self._remove(here, child, f"{path}/{child}", is_directory, depth + 1)
        finally:
            os.close(here)
        os.rmdir(name, dir_fd=parent)

    def _keep(self, path: str) -> None:
        self.problem = self.problem or (path, "something is mounted there", False)

    def _fail(self, path: str, error: OSError) -> None:
        if error.errno != errno.ENOENT:
            self.problem = self.problem or (path, error.strerror or str(error), error.errno in _PASSING)


def _enter(parent: int, name: str) -> int:
    """A descriptor of a directory in which we may list and remove."""
    try:
        here = os.open(name, _OPEN, dir_fd=parent)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=parent)
        here = os.open(name, _OPEN, dir_fd=parent)
    if os.fstat(here).st_mode & 0o700 != 0o700:
        with suppress(PermissionError):  # somebody else's; that it can be emptied all the same is up to the system
            os.fchmod(here, 0o700)
    return here


def _mounts() -> Set[str]:
    """Where something is mounted, as Linux tells; a mount of the same file system cannot be told by its device."""
    try:
        lines = _MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return frozenset()
    # proc(5): the fifth field, in which white space and backslashes stand as three octal digits
    return {re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), line.split(" ")[4]) for line in lines}
