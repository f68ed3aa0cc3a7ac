"""`hold`: a command that takes one request from a budget of the plan, as the fixture `rate_limit` does for Python.

This process waits for the request and then becomes the command: streams, signals and the exit code are the command's
own, and nothing stands between it and its caller. What is bounded at the same time stays taken until the command and
all that it leaves running have ended: they inherit the lock.

It must not start anything else, and must load quickly: it stands before every request.
"""

import os
import shutil
import signal
from pathlib import Path
from typing import NoReturn

import click

from harness.cli.door import Door, complain, pass_door
from harness.errors import InfrastructureError, UsageError
from harness.model import Plan
from harness.pytest_plugin.harness_fixtures.budgets import DIRECTORY, Budget, BudgetError, write_spec
from harness.values import quoted

NOT_FOUND, NOT_EXECUTABLE = 127, 126  # as shells have it
EXAMPLES = """\b
Examples:
  ./exec.sh local hold payments_api -- curl -fsS https://payments.example/charges
  ./exec.sh local hold payments_api -- bash -c './charge.sh && ./refund.sh'"""


@click.command(
    "hold",
    epilog=EXAMPLES,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("name")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
@pass_door
def hold(door: Door, name: str, command: tuple[str, ...]) -> int:
    """Run COMMAND once the budget NAME allows one more request."""
    argv = command[1:] if command[0] == "--" else command
    if not argv:
        raise UsageError("there is no command to run", f"Write: {door.command('hold', name, '--', 'COMMAND')}")
    budget = _budget(door, name)
    if not shutil.which(argv[0]):  # before a request is taken for it
        return _complain_of(argv[0])
    held = budget.hold()
    try:
        with held:
            held.pass_on()
            _become(argv)
    except BudgetError as error:
        raise InfrastructureError(str(error), "Make its directory writable, or free some space.") from error
    except OSError as error:
        complain(UsageError(f"cannot run {quoted(argv[0])}: {error.strerror}", "Run it with its interpreter."))
        return NOT_EXECUTABLE


def _budget(door: Door, name: str) -> Budget:
    """The budget, with the bounds that the plan has now. Raises UsageError and InfrastructureError."""
    spec = next((budget for budget in door.plan.budgets if budget.name == name), None)
    if spec is None:
        raise _unknown(door.plan, name)
    directory = Path(os.environ.get("HARNESS_BUDGETS") or door.project / DIRECTORY)
    try:
        write_spec(directory, name, spec.concurrent, spec.requests, spec.window)
        return Budget.open(directory, name)
    except (OSError, BudgetError) as error:
        raise InfrastructureError(
            f"cannot use the budget {quoted(name)}: {error}", "Make its directory writable, or free some space."
        ) from error


def _unknown(plan: Plan, name: str) -> UsageError:
    from harness.planning.problems import did_you_mean, show_path

    key = show_path((name,))
    if name in plan.resources:
        return UsageError(
            f"{quoted(name)} is a counted resource: groups take of it with `needs`, for as long as they run",
            f"For single requests make it a budget, in [resources]: {key} = {{ concurrent = {plan.resources[name]} }}",
        )
    known = [budget.name for budget in plan.budgets]
    cure = did_you_mean(name, known) or (
        f"The plan has: {', '.join(known)}" if known else f'Write in [resources]: {key} = {{ rate = "25/s" }}'
    )
    return UsageError(f"there is no budget {quoted(name)}", cure)


def _complain_of(program: str) -> int:
    """Of what cannot be run. Returns the exit code that shells have for it."""
    what, cure, code = f"there is no program {quoted(program)}", "Install it, or correct its name.", NOT_FOUND
    there = shutil.which(program, os.F_OK)
    if there:
        what, cure, code = f"{quoted(program)} is not executable", f"Make it so: chmod +x {there}", NOT_EXECUTABLE
    elif "/" in program and Path(program).is_dir():
        what, cure, code = f"{quoted(program)} is a directory", "Name a program in it.", NOT_EXECUTABLE
    complain(UsageError(what, cure))
    return code


def _become(argv: tuple[str, ...]) -> NoReturn:
    # Python ignores them, and a program that is started so would not end when its reader has gone.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.execvp(argv[0], argv)
