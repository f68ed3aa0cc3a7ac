"""The console and the main log: one Transcript, two ends.

The console is for the eyes and may go away (a closed pipe); the main log stays, and says the same without colours.
"""

import os
from typing import ClassVar

from harness.events import Stamped
from harness.files import open_private
from harness.reporters.base import Context
from harness.reporters.text import Sink
from harness.reporters.transcript import Transcript


class Console:
    """Plain lines, flushed as they come: no redraws, and no escapes but colours where they are wanted."""

    name: ClassVar[str] = "console"
    durable: ClassVar[bool] = False

    def __init__(self, context: Context) -> None:
        self._transcript = Transcript(context, Sink(context.stream, colour=context.colour).write)

    def handle(self, stamped: Stamped) -> None:
        self._transcript.handle(stamped)

    def output(self, group: str, data: bytes) -> None:
        self._transcript.output(group, data)

    def close(self) -> None:
        self._transcript.close()


class MainLog:
    """logs/parallel_run_TIMESTAMP.log: all that the console said, without colours."""

    name: ClassVar[str] = "main log"
    durable: ClassVar[bool] = True

    def __init__(self, context: Context) -> None:
        handle = open_private(context.files.main_log, os.O_WRONLY | os.O_APPEND)
        self._file = os.fdopen(handle, "w", encoding="utf-8", newline="\n")
        self._transcript = Transcript(context, Sink(self._file, colour=False).write)

    def handle(self, stamped: Stamped) -> None:
        self._transcript.handle(stamped)

    def output(self, group: str, data: bytes) -> None:
        self._transcript.output(group, data)

    def close(self) -> None:
        with self._file:
            self._transcript.close()
