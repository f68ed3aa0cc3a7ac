"""A project in which things go wrong: the harness of projects.py, with the oracles at the end."""

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.oracles import Said, Scene, judge
from projects import DEADLINE, Harness, Ran, eventually


@dataclass
class Stage(Harness):
    """As Harness. What each invocation said is remembered, for `judge`."""

    temporary: Path = Path()
    said: list[Said] = field(default_factory=list)
    judged: bool = False

    def environment(self) -> dict[str, str]:
        return super().environment() | {"TMPDIR": str(self.temporary)}

    def start_process(self, argv: list[str], env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Something around the harness, as `start` starts the harness itself."""
        process = subprocess.Popen(
            argv,
            cwd=self.directory,
            env=self.environment() | dict(env or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def finish(self, process: subprocess.Popen[str]) -> Ran:
        ran = super().finish(process)
        self.said.append(Said(ran.code, ran.stdout, ran.stderr))
        return ran

    def kill(self, process: subprocess.Popen[str]) -> None:
        """kill -9 of the harness alone. What it leaves behind does not hold us by its pipes."""
        process.kill()
        process.wait(DEADLINE)
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()

    def newest(self) -> Ran:
        """The newest run, from what it left behind alone."""
        return Ran(0, "", "", self.directory / "logs")

    def await_file(self, name: str) -> None:
        eventually((self.directory / name).exists, f"the file {name}")

    def judge(self, **scene: Any) -> None:
        """All six oracles, on all that has happened up to here."""
        self.judged = True
        judge(Scene(self.directory, self.mark, self.temporary, self.said, **scene))

    def groups(self, *commands: str, run: str = "", more: str = "", head: str = "") -> None:
        """A plan of groups g0, g1 … in one phase: `run` are keys of [run], `more` those of each group."""
        each = "".join(
            f'[[phases.groups]]\nname = "g{number}"\ncommand = {_quoted(command)}\n{more}\n'
            for number, command in enumerate(commands)
        )
        self.plan(f'[run]\n{run}\n{head}\n[[phases]]\nname = "p"\n{each}')

    def on_terminal(self, *words: str, env: Mapping[str, str] | None = None) -> "Terminal":
        """The harness as the foreground process of a terminal of its own."""
        return Terminal(self, [sys.executable, "-I", "-m", "harness", *words], env or {})


def _quoted(text: str) -> str:
    """As TOML has it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


class Terminal:
    """What a person sees and types. Everything that comes is read as it comes."""

    def __init__(self, stage: Stage, argv: list[str], env: Mapping[str, str]) -> None:
        self._stage = stage
        self.master, self.slave = pty.openpty()
        self.shown = b""
        self.process = subprocess.Popen(
            argv,
            cwd=stage.directory,
            env=stage.environment() | {"TERM": "xterm"} | dict(env),
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        stage.processes.append(self.process)

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def read(self, seconds: float = 0.05) -> None:
        while select.select([self.master], [], [], seconds)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            if not data:
                return
            self.shown += data

    def until(self, condition: Callable[[], bool], what: str) -> None:
        def met() -> bool:
            self.read(0.01)
            return condition()

        eventually(met, f"{what}, after {self.shown[-2000:]!r}")

    def attributes(self) -> list[Any]:
        return termios.tcgetattr(self.slave)

    def hang_up(self) -> None:
        """The window is closed."""
        os.close(self.slave)
        os.close(self.master)
        self.slave = self.master = -1

    def finish(self) -> int:
        """Returns the exit code, as subprocess has it."""
        deadline = time.monotonic() + DEADLINE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"no end: {self.shown[-2000:]!r}"
            if self.master >= 0:
                self.read(0.02)
            else:
                time.sleep(0.02)
        if self.master >= 0:
            self.read(0.05)
            os.close(self.slave)
            os.close(self.master)
        text = self.shown.decode("utf-8", "replace")
        self._stage.said.append(Said(self.process.returncode, text, "", terminal=True))
        return self.process.returncode


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
