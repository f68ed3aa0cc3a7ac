"""A project in a temporary directory, journals of runs that never were, and commands called in this process."""

import os
from collections.abc import Callable
from pathlib import Path

import click
import psutil
import pytest
from click.testing import CliRunner, Result

from harness.cli.door import Door
from harness.events import AnyEvent, RunStarted, Stamped, encode
from harness.files import RunFiles
from harness.model import Group, Phase

PLAN = """
[[phases]]
name = "core"
sequential = true

[[phases.groups]]
name = "core"
command = "true"
category = "core"
description = "What the others rest on"

[[phases]]
name = "parallel"

[[phases.groups]]
name = "search"
command = ["pytest", "-k", "a or b"]
depends_on = [{ group = "financial", after = "any" }]

[[phases.groups]]
name = "financial"
command = "true"
category = "acceptance"
parallel_group = "ledger"
needs = { payments_api = 5, settings = "shared" }
timeout = "90s"
retries = 2

[[phases]]
name = "stress"
when = "RUN_STRESS_TESTS"

[[phases.groups]]
name = "withdrawals"
command = "true"
category = "acceptance"

[resources]
payments_api = 20
"""

Call = Callable[..., Result]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a plan, which is also the current one."""
    (tmp_path / "harness.toml").write_text(PLAN)
    monkeypatch.chdir(tmp_path)
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def call(project: Path) -> Call:
    """call(command, argument, …): what it printed; a HarnessError of the command comes through."""

    def called(command: click.Command, *arguments: str) -> Result:
        door = Door.at(project, "local")
        return CliRunner().invoke(command, arguments, obj=door, catch_exceptions=False, standalone_mode=False)

    return called


class FakeRun:
    """Writes the journal of a run, event by event. Its harness is this process, unless `pid` says otherwise."""

    def __init__(self, log_dir: Path, run_id: str, *, pid: int | None = None, started_at: float | None = None) -> None:
        self.files = RunFiles(log_dir, run_id)
        self.files.run_dir.mkdir(parents=True)
        self.pid = os.getpid() if pid is None else pid
        self.started_at = psutil.Process().create_time() + 100 if started_at is None else started_at
        self.seq = 0

    def start(self, *groups: str | Group, **more: object) -> "FakeRun":
        made = [Group(name=group, phase="all", command="true") if isinstance(group, str) else group for group in groups]
        phase = Phase(name="all", groups=tuple(made))
        event = RunStarted(
            run_id=self.files.run_id,
            version="1",
            project="/project",
            environment="local",
            jobs=4,
            parallel=True,
            fail_fast=0,
            log_dir=str(self.files.log_dir),
            phases=(phase,),
            pid=self.pid,
        )
        return self.add(0.0, event)

    def add(self, elapsed: float, *events: AnyEvent) -> "FakeRun":
        with self.files.events.open("ab") as file:
            for event in events:
                self.seq += 1
                file.write(encode(Stamped(self.seq, self.started_at + elapsed, elapsed, event)) + b"\n")
        return self


@pytest.fixture
def fake_run(project: Path) -> Callable[..., FakeRun]:
    """fake_run("20250101_120000"): an empty run in the project's log directory."""

    def make(run_id: str, **more: object) -> FakeRun:
        return FakeRun(project / "logs", run_id, **more)  # type: ignore[arg-type]

    return make
