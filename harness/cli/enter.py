"""`enter`: a shell, or any command, with exactly the variables of a group's process, in its directory.

In an environment that --keep-environment kept, where there is one; else in one that is made for the visit, services
included, and removed after it.
"""

import os
import sys
from collections.abc import Mapping

import click

from harness.cli.door import Door, caution, pass_door
from harness.cli.prepare import prepare
from harness.errors import UsageError
from harness.events import AnyEvent, Warned
from harness.isolation.kept import kept_environment
from harness.model import Job
from harness.planning.problems import did_you_mean
from harness.reporters.text import printable
from harness.runners.pytest import FIXTURES, PLUGIN_DIRECTORY
from harness.terminal import converse
from harness.values import quoted
from harness.visit import revisit, visit

EXAMPLES = """\b
Examples:
  ./exec.sh local enter financial                   a shell in its environment
  ./exec.sh local enter financial -- pytest -x -k refund
  ./exec.sh local test --parallel --keep-environment; ./exec.sh local enter financial"""


@click.command("enter", epilog=EXAMPLES, context_settings={"ignore_unknown_options": True})
@click.argument("group", metavar="GROUP")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
@pass_door
def enter(door: Door, group: str, command: tuple[str, ...]) -> int:
    """Open a shell in the isolated environment of GROUP."""
    argv = command or (os.environ.get("SHELL") or "/bin/sh",)
    if kept := kept_environment(door.project, group):
        _greet(f"the environment of {group} that run {kept.run_id} kept")
        return revisit(door.plan, kept, lambda env: converse(argv, env=plugged(env), directory=kept.directory))

    known = {it.name: it for it in door.plan.groups}
    if group not in known:
        raise UsageError(f"there is no group {quoted(group)}", did_you_mean(group, known))
    request = prepare(door, {"groups": [group], "no_cache": True}).request
    chosen = next(it for phase in request.phases for it in phase.groups if it.name == group)

    def inside(job: Job) -> int:
        _greet(f"an environment of {group}, made for this visit; it is removed at the end")
        return converse(argv, env=plugged(job.env), directory=job.directory)

    def tell(event: AnyEvent) -> None:
        if isinstance(event, Warned):
            caution([door.secrets.text(event.message)])

    return visit(request, chosen, inside, tell)


def plugged(env: Mapping[str, str]) -> dict[str, str]:
    """Of a pytest group: with the plugin for a pytest that is called by hand; a run names it on the command line."""
    if str(PLUGIN_DIRECTORY) not in env.get("PYTHONPATH", "").split(os.pathsep):
        return dict(env)
    return {**env, "PYTEST_PLUGINS": ",".join(filter(None, [FIXTURES, env.get("PYTEST_PLUGINS")]))}


def _greet(what: str) -> None:
    if sys.stdin.isatty():
        click.echo(f"You are in {printable(what)}. Leave it with `exit`.", err=True)
