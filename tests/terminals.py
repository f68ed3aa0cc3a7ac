"""A real terminal with an interactive bash on it, for what only a terminal does: Ctrl-C, Ctrl-Z, `fg`, hanging up."""

import os
import pty
import select
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from projects import DEADLINE

HARNESS = f"{sys.executable} -I -m harness"
CTRL_C, CTRL_Z = "\x03", "\x1a"


class Terminal:
    """Where somebody types. What is shown can be waited for; nothing is waited for longer than the deadline."""

    def __init__(self, directory: Path, env: Mapping[str, str]) -> None:
        self.shown = ""
        self._looked_at = 0
        self._pid, self._handle = pty.fork()
        if self._pid == 0:
            os.chdir(directory)
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], {**env, "PS1": "$ ", "TERM": "xterm"})
        # What is typed is echoed until then, and must not be taken for a prompt.
        self.type("stty -echo; bind 'set enable-bracketed-paste off'; PS1='<''prompt>'\n")
        self.await_prompt()

    def type(self, text: str) -> None:
        os.write(self._handle, text.encode())

    def await_text(self, text: str) -> None:
        """Returns when `text` has been shown since the last time."""
        deadline = time.monotonic() + DEADLINE
        while (found := self.shown.find(text, self._looked_at)) < 0:
            left = deadline - time.monotonic()
            readable, _, _ = select.select([self._handle], [], [], max(left, 0))
            assert readable, f"never shown: {text!r}, but {self.shown[self._looked_at :]!r}"
            self.shown += os.read(self._handle, 65536).decode(errors="replace")
        self._looked_at = found + len(text)

    def await_prompt(self) -> None:
        self.await_text("<prompt>")

    def run(self, command: str) -> None:
        """Starts it in the foreground."""
        self.type(f"{command}\n")

    def exit_code(self) -> int:
        """That of what was run last, once it has ended."""
        self.await_prompt()
        self.run('echo "exit code [$?]"')
        self.await_text("exit code [")
        self.await_text("]")
        code = int(self.shown[: self._looked_at].rpartition("[")[2].removesuffix("]"))
        self.await_prompt()
        return code

    def hang_up(self) -> None:
        """The terminal is closed."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def close(self) -> None:
        self.hang_up()
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
