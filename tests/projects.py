"""A project in a temporary directory, run by a harness of its own process, and what it left behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from harness.events import AttemptFinished, AttemptSpawned, AttemptStarted, Stamped, decode
from harness.files import RunFiles, all_runs
from harness.verify import parse_status

DEADLINE = 60.0  # seconds that anything here may take, on the slowest machine


@dataclass
class Ran:
    """A run that has ended."""

    code: int
    stdout: str
    stderr: str
    log_dir: Path

    @property
    def files(self) -> RunFiles:
        runs = all_runs(self.log_dir)
        assert runs, "the run left nothing behind"
        return runs[0]

    @property
    def events(self) -> list[Stamped]:
        return [decode(line) for line in self.files.events.read_bytes().splitlines()]

    @property
    def report(self) -> dict:
        return json.loads(self.files.report.read_text())

    @property
    def statuses(self) -> dict[str, str]:
        return {suite["name"]: suite["status"] for suite in self.report["suites"]}

    def status_file(self, group: str) -> dict[str, str]:
        return parse_status(self.files.status(group).read_text())

    def log(self, group: str) -> str:
        return self.files.group_log(group).read_text()

    def most_at_once(self) -> int:
        """The most attempts that were under way at one moment, by the order of the events."""
        running = most = 0
        for stamped in self.events:
            running += isinstance(stamped.data, AttemptStarted)
            running -= isinstance(stamped.data, AttemptFinished)
            most = max(most, running)
        return most


@dataclass
class Harness:
    """The command line, in the project `directory`. Whatever it starts can be found by the mark in its environment."""

    directory: Path
    mark: str
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def plan(self, text: str) -> None:
        (self.directory / "harness.toml").write_text(textwrap.dedent(text))

    def write(self, name: str, text: str) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def start(
        self, *words: str, env: Mapping[str, str] | None = None, nohup: bool = False, before: str = ""
    ) -> subprocess.Popen[str]:
        """`before`: what a shell does before it becomes the harness."""
        shell = ["bash", "-c", f'{before}; exec "$0" "$@"'] if before else []
        handlers = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT) if nohup}
        for number in handlers:  # as `nohup harness … &` does
            signal.signal(number, signal.SIG_IGN)
        process = subprocess.Popen(
            [*shell, sys.executable, "-I", "-m", "harness", *words],
            cwd=self.directory,
            env=self.environment() | dict(env or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        for number, handler in handlers.items():
            signal.signal(number, handler)
        self.processes.append(process)
        return process

    def environment(self) -> dict[str, str]:
        """The variables of a run, with our mark."""
        ours = {"PYTHONPATH", "MAX_PARALLEL_JOBS", "RUN_STRESS_TESTS", "CI", "GITHUB_ACTIONS", "FORCE_COLOR"}
        clean = {name: value for name, value in os.environ.items() if name not in ours and "HARNESS" not in name}
        return clean | {"HARNESS_TEST_MARK": self.mark}

    def finish(self, process: subprocess.Popen[str]) -> Ran:
        stdout, stderr = process.communicate(timeout=DEADLINE)
        return Ran(process.returncode, stdout, stderr, self.directory / "logs")

    def run(self, *words: str, env: Mapping[str, str] | None = None, before: str = "") -> Ran:
        return self.finish(self.start(*words, env=env, before=before))

    def survivors(self) -> list[str]:
        """The command lines of all processes that carry the mark, whatever session they are in."""
        found = []
        for process in self.bearers():
            with contextlib.suppress(psutil.Error):  # it has ended meanwhile
                found.append(" ".join(process.cmdline()))
        return found

    def bearers(self) -> list[psutil.Process]:
        """All processes that carry the mark."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("HARNESS_TEST_MARK") == self.mark:
                    found.append(process)
        return found

    def await_event(self, kind: type, count: int = 1) -> None:
        """Returns when the newest run has told of `count` events of this kind."""

        def seen() -> bool:
            runs = all_runs(self.directory / "logs")
            if not runs or not runs[0].events.exists():
                return False
            lines = runs[0].events.read_bytes().split(b"\n")[:-1]
            return sum(isinstance(decode(line).data, kind) for line in lines) >= count

        eventually(seen, f"{count} × {kind.__name__}")

    def await_running(self, count: int) -> None:
        self.await_event(AttemptSpawned, count)


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.02)
