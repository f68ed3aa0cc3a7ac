"""`setup`: says what the environment of the harness has. exec.sh has made it ready before this runs."""

import os
import platform
import sys
from pathlib import Path

import click

import harness
from harness.cli.door import Door, out, pass_door
from harness.errors import InfrastructureError
from harness.reporters.text import BOLD, paint, plural, printable


@click.command("setup", epilog="\b\nExample:\n  ./exec.sh local setup")
@pass_door
def setup(door: Door) -> int:
    """Make the environment ready and show what it has. Nothing is started."""
    sink = out()
    sink.write([item("python", platform.python_version(), sys.executable)])
    sink.write([item("harness", harness.__version__, str(Path(harness.__file__).resolve().parents[1]))])
    sink.write([item("postgres", *postgres())])
    plan = door.plan
    contents = f"{plural(len(plan.phases), 'phase')}, {plural(len(plan.groups), 'group')}"
    sink.write([item("plan", contents, str(door.project / "harness.toml"))])
    return 0


def item(name: str, what: str, where: str) -> str:
    return f"{paint(f'{name:<10}', BOLD)}{printable(what):<24}{printable(where)}".rstrip()


def postgres() -> tuple[str, str]:
    """The version of the server that a service of kind `postgres` would be, and where it is."""
    from harness.process import run_tool
    from harness.services.postgres import find_binaries

    try:
        binaries = find_binaries(os.environ)
        version = run_tool([str(binaries / "postgres"), "--version"], timeout=10)
    except InfrastructureError as error:
        return "none", error.message
    return version.split()[2], str(binaries)  # "postgres (PostgreSQL) 16.14 (Debian …)"
