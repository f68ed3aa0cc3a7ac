"""`setup`: what it says of the environment."""

import platform
import sys
from pathlib import Path

import pytest

import harness
from harness.cli.setup import setup
from harness.errors import PlanError


def fake_postgres(directory: Path) -> None:
    directory.mkdir()
    for name in ("postgres", "initdb"):
        (directory / name).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 16.14 (Debian 16.14-1.pgdg)'\n")
        (directory / name).chmod(0o755)


def test_shows_what_there_is(call, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_postgres(project / "bin")
    monkeypatch.setenv("HARNESS_POSTGRES_BIN", str(project / "bin"))
    lines = [line.split(maxsplit=2) for line in call(setup).output.splitlines()]
    assert lines == [
        ["python", platform.python_version(), sys.executable],
        ["harness", harness.__version__, str(Path(__file__).resolve().parents[2])],
        ["postgres", "16.14", str(project / "bin")],
        ["plan", "3", f"phases, 4 groups      {project}/harness.toml"],
    ]


def test_missing_postgres_is_no_error(call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_POSTGRES_BIN", "/nowhere")
    line = call(setup).output.splitlines()[2]
    assert line.split()[:2] == ["postgres", "none"]
    assert "HARNESS_POSTGRES_BIN=/nowhere" in line


def test_wrong_plan_is_refused(call, project: Path) -> None:
    (project / "harness.toml").write_text("nonsense = 1")
    with pytest.raises(PlanError):
        call(setup)
