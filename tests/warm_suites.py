"""A directory of tests whose processes are forked from a warm parent, or are pytests of their own, to be compared."""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

from harness.attempt import Output, run_attempt
from harness.events import AnyEvent, TestFinished, TestStarted, Warned
from harness.model import Group, Job, Outcome, TestResult
from harness.process import Adoption, Control
from harness.runners import PLUGIN_DIRECTORY, PytestOptions, runner_for
from harness.warm import Pytest, Warm

# hypothesis imports itself in the summary of every session: half a second.
PLAIN = "[pytest]\naddopts = -p no:hypothesispytest -p no:anyio {addopts}\n{more}"

_TIMES = re.compile(
    r"\d+\.\d+s\b( \(0:\d\d:\d\d\))?|0x[0-9a-f]+|\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?|pytest-\d+\b"
    r"|\bsubprocess \d+"
)


@dataclass
class Ran:
    """What became of one attempt."""

    outcome: Outcome
    log: str
    started: list[str] = field(default_factory=list)
    results: list[TestResult] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def cold_because(self) -> str:
        """Why it was no fork; empty: it was one."""
        found = re.search(r"^=== a pytest of its own: (.*)$", self.log, re.MULTILINE)
        return found[1] if found else ""

    @property
    def said(self) -> dict[str, object]:
        """All that must be the same, whichever way it was started: without times, addresses and process ids."""
        return {
            "status": self.outcome.status,
            "reason": self.outcome.reason,
            "exit code": self.outcome.exit_code,
            "signal": self.outcome.signal,
            "leaked": self.outcome.leaked,
            "failed": self.outcome.failed_tests,
            "started": self.started,
            "results": [(it.id, it.status, _bare(it.message), _bare(it.details)) for it in self.results],
            "warnings": self.warnings,
            "log": _bare(self.log.partition("\n")[2]),
        }


def _bare(text: str) -> str:
    return _TIMES.sub("…", text)


class WarmSuite:
    """Like a user's directory, with files of tests in it."""

    def __init__(self, place: Path) -> None:
        self.directory = place / "suite"
        self.directory.mkdir()
        self.env: dict[str, str] = {}
        self.warm: Warm | None = None
        self.logs = 0
        self.configure()

    def configure(self, addopts: str = "", more: str = "") -> None:
        (self.directory / "pytest.ini").write_text(PLAIN.format(addopts=addopts, more=more))

    def write(self, path: str, text: str = "") -> None:
        (self.directory / path).parent.mkdir(exist_ok=True)
        (self.directory / path).write_text(dedent(text))

    def forget(self) -> None:
        """Removes what pytest has left behind."""
        for junk in (".pytest_cache", "__pycache__"):
            shutil.rmtree(self.directory / junk, ignore_errors=True)

    def variables(self, **env: str) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("HARNESS", "PYTEST"))}
        return {**clean, "PYTHONPATH": str(PLUGIN_DIRECTORY), **self.env, **env}

    def job(self, *tests: str, name: str = "group", **changes: Any) -> Job:
        group = Group(name=name, phase="p", tests=tests)
        launch = runner_for(group).command(group, python=sys.executable, options=PytestOptions())
        self.logs += 1
        fields: dict[str, Any] = {
            "env": self.variables(HARNESS_GROUP=name, **changes.pop("env", {})),
            "warm": launch.warm,
            "process": "group",
            "timeout": 60.0,
            "grace": 10.0,
        }
        return Job(
            run_id="20260101_000000",
            group=name,
            attempt=1,
            slot=0,
            argv=launch.argv,
            directory=str(self.directory),
            log=str(self.directory.parent / f"{self.logs}.log"),
            statuses=launch.statuses,
            tests=tests,
            reports_tests=True,
            **(fields | changes),
        )

    def run(self, *tests: str, control: Control | None = None, **changes: Any) -> Ran:
        job = self.job(*tests, **changes)
        heard: list[AnyEvent] = []

        def notify(event: AnyEvent | Output) -> None:
            if not isinstance(event, Output):
                heard.append(event)

        outcome = run_attempt(job, notify, control, None, self.warm)
        return Ran(
            outcome,
            Path(job.log).read_text(errors="backslashreplace"),
            [event.test for event in heard if isinstance(event, TestStarted)],
            [event.result for event in heard if isinstance(event, TestFinished)],
            [event.message for event in heard if isinstance(event, Warned)],
        )

    @contextmanager
    def warmed(self, *tests: str, env: dict[str, str] | None = None) -> Iterator[list[str]]:
        """A warm parent for attempts of these, in whatever order. Yields what it warns of."""
        told: list[str] = []
        words = self.job(tests[0]).argv[:-1]
        expected = [Pytest(words, (test,), str(self.directory)) for test in (*tests, tests[0])]
        adoption = Adoption()
        adoption.begin()
        self.warm = Warm(expected, adoption=adoption, variables=lambda: self.variables(**(env or {})), warn=told.append)
        try:
            yield told
        finally:
            self.warm.close()
            self.warm = None
            adoption.end()
