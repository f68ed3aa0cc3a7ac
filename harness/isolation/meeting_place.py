"""Directories of a user on this machine, in which all of his runs meet: of any project, whatever their environment is.

What lies in one can be trusted, because nobody else can write to it. It knows nothing of what is put there.
"""

import os
import stat
import tempfile
from pathlib import Path

from harness.errors import InfrastructureError
from harness.files import PRIVATE_DIRECTORY


def meeting_place(name: str) -> Path:
    """This user's directory of that name, made if need be. Raises InfrastructureError if others can write to it."""
    # Not below $TMPDIR, where one can write to /tmp: runs that were given different ones must meet as well.
    place = "/tmp" if os.access("/tmp", os.W_OK) else tempfile.gettempdir()
    directory = Path(place, f"harness-{name}-{os.geteuid()}")
    try:
        directory.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
        status = directory.lstat()
    except OSError as error:
        raise InfrastructureError(
            f"cannot make {directory}, in which runs keep out of one another's way: {error.strerror or error}",
            "Make the directory above it writable, or free some space.",
        ) from error
    if not (stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022):
        raise InfrastructureError(
            f"{directory}, in which runs keep out of one another's way, is not a directory that only this user can "
            "write to",
            f"Find out who made it, and remove it (`rm -r {directory}`).",
        )
    return directory
