"""The log of a part: its own while it runs, then a block of its group's.

Parts of one group run side by side, and each writes to a file of its own in the run's directory. When an attempt of one
has ended, all that it wrote is appended to the group's log, header line and all, and its own log is removed; so no two
are ever mixed. Of a harness that is killed, whoever finishes the run appends the rest (recovery.py).
"""

import fcntl
import os
from pathlib import Path

import msgspec

from harness.files import RunFiles, open_private
from harness.model import Outcome, Status

_READ_SIZE = 1024 * 1024


def with_log_in_place(outcome: Outcome, files: RunFiles) -> Outcome:
    """The outcome of an attempt, once what it wrote is in its group's log; an `error` where that cannot be written.

    Any thread may call, several at once.
    """
    if not outcome.part:
        return outcome
    own, log = files.part_log(outcome.name), files.group_log(outcome.group)
    if not own.exists():  # one that could not be opened is an error already
        return outcome
    try:
        _append(own, log)
        own.unlink()
    except OSError as error:
        reason = f"cannot write the log {log}: {error.strerror}; what belongs in it is in {own}"
        return msgspec.structs.replace(outcome, status=Status.ERROR, reason=reason, failed_tests=())
    return outcome


def _append(own: Path, log: Path) -> None:
    """All of one file to the other, on a line of its own, or nothing. Raises OSError."""
    handle = open_private(log, os.O_RDWR | os.O_APPEND)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        before = os.fstat(handle).st_size
        try:
            if before and os.pread(handle, 1, before - 1) != b"\n":
                os.write(handle, b"\n")
            with own.open("rb") as file:
                while data := file.read(_READ_SIZE):
                    rest = memoryview(data)
                    while rest:
                        rest = rest[os.write(handle, rest) :]
        except OSError:
            os.ftruncate(handle, before)
            raise
    finally:
        os.close(handle)
