"""A directory of tests run by a pytest of its own with the plugin `harness_fixtures`, and what became of it."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import harness

PLUGINS = Path(harness.__file__).parent / "pytest_plugin"
DEADLINE = 60.0  # seconds that anything here may take, on the slowest machine

_OURS = re.compile(r"HARNESS|PYTEST|^(DATABASE_URL|REDIS_URL|PYTHONPATH)$")


@dataclass
class PluginRan:
    code: int
    output: str

    @property
    def outcomes(self) -> dict[str, int]:
        """The last line: {"passed": 2, "failed": 1}."""
        last = self.output.strip().rpartition("\n")[2]
        return {word.rstrip("s"): int(count) for count, word in re.findall(r"(\d+) ([a-z]+)", last)}


@dataclass
class PluginSuite:
    """Like a user's: its own directory, its own pytest, no plugin but those that are asked for."""

    directory: Path
    env: dict[str, str] = field(default_factory=dict)

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.directory / f"{name}.py").write_text(dedent(text))

    def lease(self, kind: str, roles: Mapping[str, str], **values: str) -> None:
        """As the harness hands one over: `roles` to variables, `values` of all variables."""
        leases = json.loads(self.env.get("HARNESS_LEASES", "[]"))
        leases.append({"entry": kind, "kind": kind, "roles": dict(roles), "variables": list(values)})
        self.env |= {**values, "HARNESS_LEASES": json.dumps(leases)}

    def worker_environments(self, environments: Sequence[Mapping[str, str]]) -> None:
        """As the harness lays them out for a group with `workers`."""
        directory = self.directory / "workers"
        directory.mkdir()
        for number, environment in enumerate(environments):
            (directory / f"{number}.json").write_text(json.dumps(dict(environment)))
        self.env["HARNESS_WORKERS"] = str(directory)

    def command(self, *words: str, workers: int = 0, plugin: bool = True) -> list[str]:
        xdist = ["-p", "xdist", "-n", str(workers)] if workers else []
        ours = ["-p", "harness_fixtures"] if plugin else []
        common = [f"--rootdir={self.directory}", "-p", "no:cacheprovider", "--strict-markers", "--color=no"]
        return [sys.executable, "-m", "pytest", *ours, *xdist, *common, *words]

    def start(self, *words: str, workers: int = 0, plugin: bool = True, **env: str) -> "subprocess.Popen[str]":
        clean = {name: value for name, value in os.environ.items() if not _OURS.search(name)}
        own = {"PYTHONPATH": str(PLUGINS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "200"}
        return subprocess.Popen(
            self.command(*words, workers=workers, plugin=plugin),
            cwd=self.directory,
            env=clean | own | self.env | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str, workers: int = 0, plugin: bool = True, **env: str) -> PluginRan:
        process = self.start(*words, workers=workers, plugin=plugin, **env)
        try:
            output, _ = process.communicate(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            raise AssertionError(f"no end of pytest:\n{process.communicate()[0]}") from None
        return PluginRan(process.returncode, output)

    def told(self) -> list[Any]:
        """What the tests have said through `tell`, in order of the files' names."""
        return [json.loads(path.read_text()) for path in sorted(self.directory.glob("told-*"))]


TELL = """
import json, os, pytest

def tell(value):
    with open(f"told-{os.urandom(8).hex()}", "w") as file:
        json.dump(value, file)
"""
"""The source of `tell`, for suites that tell what only their processes know: put it into a module."""
