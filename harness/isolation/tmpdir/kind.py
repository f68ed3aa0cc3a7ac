"""The kind `tmpdir`: a fresh directory for temporary files, and one for `HOME` in it where that is asked for.

Its name holds the lease's token and is short, because the path of a Unix socket has 107 bytes at most. It is removed if
it is the directory that was made, or if what bears that name belongs to us; a stranger's is left alone.

With `check` it looks at files outside: those of the project, or of the directories in `watch` (files.py).
"""

import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.errors import InfrastructureError
from harness.files import PRIVATE_DIRECTORY
from harness.isolation.lease import BaseKind, Context, Lease, Made
from harness.isolation.tmpdir.files import WatchedFiles
from harness.isolation.tmpdir.removal import remove_tree

PREFIX = "harness-"

_LONG = 60  # bytes: below a longer path, what tests make in it might not do for a socket any more
_VARIABLES = ("TMPDIR", "TMP", "TEMP")


class TmpDir(BaseKind):
    """Leases of one directory each."""

    durable = False

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        super().__init__(options, context)
        self._watched = WatchedFiles(context.project, options["watch"], options["ignore"])
        # Before the first look: Python tries where it can write by writing there.
        self._base = _base()

    def plan(self, lease: Lease) -> Mapping[str, str]:
        return {"directory": str(self._base / f"{PREFIX}{lease.token}")}

    def make(self, lease: Lease, learned: Callable[[Mapping[str, str]], None]) -> Made:
        """Makes it, for its owner alone. Raises InfrastructureError."""
        directory = Path(lease.details["directory"])
        try:
            directory.mkdir(mode=PRIVATE_DIRECTORY)
            learned({"inode": _inode(directory.lstat())})
            variables = dict.fromkeys(_VARIABLES, str(directory))
            if self.options["home"]:
                home = directory / "home"
                home.mkdir(mode=PRIVATE_DIRECTORY)
                variables["HOME"] = str(home)
        except OSError as error:
            raise InfrastructureError(
                f"cannot make {directory}: {error.strerror or error}",
                "Free some space, or set TMPDIR to a directory that you can write to.",
            ) from error
        return Made(variables, {"directory": "TMPDIR"})

    def release(self, lease: Lease) -> None:
        """Removes it with all that is in it. Raises InfrastructureError with the path of what could not be removed."""
        if "directory" not in lease.details:
            return
        directory = Path(lease.details["directory"])
        away = directory.with_name(f"{directory.name}-away")
        if directory.name != f"{PREFIX}{lease.token}":
            raise InfrastructureError(
                f"{directory} is not removed: its name does not hold the lease's token {lease.token}",
                "Somebody changed the journal of leases; look at the directory yourself.",
            )
        remove_tree(away)
        try:
            status = directory.lstat()
            if status.st_uid != os.geteuid() and _inode(status) != lease.details.get("inode"):
                return
            if not stat.S_ISDIR(status.st_mode):
                directory.unlink()
                return
            # Out of the way of whoever still writes there by its name.
            directory.rename(away)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise InfrastructureError(f"cannot remove {directory}: {error.strerror or error}") from error
        remove_tree(away)

    def look(self, sentinel: Lease | None) -> Mapping[str, str]:
        """The watched files. Raises InfrastructureError."""
        return self._watched.look()


def _base() -> Path:
    """The system's directory for temporary files; /tmp where that has a long path. Raises InfrastructureError."""
    try:
        base = Path(tempfile.gettempdir()).resolve()
    except OSError as error:
        raise InfrastructureError(
            f"there is no directory for temporary files: {error.strerror or error}",
            "Free some space, or set TMPDIR to a directory that you can write to.",
        ) from error
    return base if len(os.fsencode(base)) <= _LONG else Path("/tmp").resolve()


def _inode(status: os.stat_result) -> str:
    return f"{status.st_dev}:{status.st_ino}"
