"""What every command is handed: where the project is, in which environment, and how to speak to the user.

Protocol: main.py makes one Door; a command reads what it needs from it, so that a command that needs no plan works
where the plan is wrong, and raises HarnessErrors, which main.py hands to `complain`. A command returns its exit code.

It must not decide anything about a run.
"""

import os
import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path

import click

from harness.errors import HarnessError, PlanError
from harness.masking import Secrets
from harness.model import Plan
from harness.reporters.text import RED, YELLOW, Sink, decide_colour, paint, printable


@dataclass(frozen=True)
class Door:
    """One invocation. `start` is where the search for harness.toml begins, upward. What `secrets` learns is masked in
    errors, too."""

    start: Path
    environment: str = "local"
    secrets: Secrets = field(default_factory=Secrets)

    @classmethod
    def at(cls, project: Path | None, environment: str, secrets: Secrets | None = None) -> "Door":
        """`project` is what --project says; without it the current directory."""
        # Path.resolve would raise where a link leads to itself.
        start = Path(os.path.realpath(project or Path.cwd()))
        return cls(start, environment, Secrets() if secrets is None else secrets)

    @cached_property
    def project(self) -> Path:
        """The absolute directory of harness.toml. Raises UsageError where there is none."""
        from harness.planning.find import find_project

        return find_project(self.start)

    @cached_property
    def plan(self) -> Plan:
        """Raises PlanError, and UsageError where it has no such environment."""
        from harness.planning.load import load_plan
        from harness.planning.variables import environment_of

        plan = load_plan(self.project, date.today())
        environment_of(plan, self.environment)
        self.secrets.listed = plan.secrets
        return plan

    def log_dir(self, chosen: Path | None) -> Path:
        """The absolute directory of the logs; `chosen` is what --log-dir says, from the current directory."""
        return chosen.absolute() if chosen else self.project / self._planned_log_dir()

    def _planned_log_dir(self) -> str:
        """What the plan says, without checking the rest: logs are wanted most while a plan is being mended."""
        import tomllib

        default = Plan(project="", phases=()).log_dir
        try:
            with (self.project / "harness.toml").open("rb") as file:
                said = tomllib.load(file).get("run", {}).get("log_dir", default)
        except (OSError, ValueError, AttributeError, RecursionError):
            return default
        return said if isinstance(said, str) and "\0" not in said else default

    @cached_property
    def name(self) -> str:
        """How the user calls the harness from the current directory, for commands to copy."""
        script = self.project / "exec.sh"
        if not script.exists():
            return "harness"
        if not self.project.is_relative_to(Path.cwd()) and not Path.cwd().is_relative_to(self.project):
            return shlex.quote(str(script))
        path = os.path.relpath(script)
        return shlex.quote(path if "/" in path else f"./{path}")

    def command(self, *words: str) -> str:
        """A command line to copy: `./exec.sh local logs financial`."""
        if self.name == "harness":
            environment = [] if self.environment == "local" else ["--environment", self.environment]
        else:
            environment = [self.environment]
        return f"{self.name} {shlex.join([*environment, *words])}"


pass_door = click.make_pass_decorator(Door)

log_dir_option = click.option(
    "--log-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where the logs are, if not where the plan says.",
)


def out() -> Sink:
    """Where a command prints its lines: stdout, in colours where they are welcome."""
    return Sink(sys.stdout, colour=decide_colour(os.environ, sys.stdout.isatty()))


def complain(error: HarnessError) -> int:
    """Says on stderr what is wrong and how to mend it; returns the exit code to end with."""
    sink = Sink(sys.stderr, colour=decide_colour(os.environ, sys.stderr.isatty()))
    word = paint("error:", RED)
    if isinstance(error, PlanError):
        # Each begins with its place, which editors and terminals make a link of.
        lines = [f"{word} {printable(problem)}" for problem in error.problems]
    else:
        first, *rest = error.message.splitlines() or [""]
        lines = [f"{word} {printable(first)}", *(f"  {printable(line)}" for line in rest)]
    sink.write([*lines, *(f"  {printable(line)}" for line in error.cure.splitlines())])
    return int(error.exit_code)


def caution(warnings: Iterable[str]) -> None:
    """Says on stderr what the user should know and need not act upon."""
    sink = Sink(sys.stderr, colour=decide_colour(os.environ, sys.stderr.isatty()))
    sink.write([f"{paint('warning:', YELLOW)} {printable(warning)}" for warning in warnings])
