"""Live output on its way to those who show it: as much as they can keep up with.

Groups are never made to wait for a console, and a log has all that they print. So what comes while too much is under
way already is not shown, and a line says how much that was.
"""

import threading
from dataclasses import replace

from harness.attempt import Output
from harness.values import shown_size

MOST = 8 * 1024 * 1024  # bytes under way


class Backlog:
    """Thread-safe. Of each Output that is let in, `out` is told when it has been shown."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._under_way = 0
        self._is_full = False
        self._left_out: dict[str, int] = {}  # by group or part, since it was last told

    def let_in(self, output: Output) -> Output | None:
        """What is to be shown of it, and of what was left out before, to keep; None: nothing."""
        with self._lock:
            if self._is_full:
                self._left_out[output.group] = self._left_out.get(output.group, 0) + len(output.data)
                return None
            output = replace(output, data=self._told(output.group) + output.data)
            self._under_way += len(output.data)
            self._is_full = self._under_way >= self._most
            return output

    def out(self, output: Output) -> None:
        with self._lock:
            self._under_way -= len(output.data)
            # Not at once, or every other piece would be left out, and a line tell of it.
            self._is_full = self._is_full and self._under_way > self._most // 2

    def end(self, group: str) -> bytes:
        """What is to be said of what was left out at the end of an attempt."""
        with self._lock:
            return self._told(group)

    def _told(self, group: str) -> bytes:
        size = self._left_out.pop(group, 0)
        return f"\n=== {shown_size(size)} not shown here, but in the log: too much at once\n".encode() if size else b""
