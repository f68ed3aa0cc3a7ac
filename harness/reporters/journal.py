"""events.jsonl: every event of the run, in order; the source of truth from which all reports can be rebuilt.

Protocol: one line an event, handed to the operating system as it comes, so a reader in another terminal sees the run as
it is and a killed harness loses nothing; on the disk for certain once the run has finished.
"""

import os
from typing import ClassVar

from harness.events import RunFinished, Stamped, encode
from harness.files import open_private
from harness.reporters.base import Context, Quiet


class Journal(Quiet):
    name: ClassVar[str] = "journal"
    durable: ClassVar[bool] = True

    def __init__(self, context: Context) -> None:
        handle = open_private(context.files.events, os.O_WRONLY | os.O_APPEND)
        self._file = os.fdopen(handle, "ab")

    def handle(self, stamped: Stamped) -> None:
        # Buffered and flushed: after a full disk the next flush goes on where this one stopped, in mid-line if need be.
        self._file.write(encode(stamped) + b"\n")
        self._file.flush()
        if isinstance(stamped.data, RunFinished):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()
