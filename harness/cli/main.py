"""The door: finds the project, finds the command, and turns every ending into an exit code.

Commands are imported when they are called, one file each, so that `list` does not pay for what `test` needs.
"""

import contextlib
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import click

from harness import __version__
from harness.cli.door import Door, complain
from harness.errors import ExitCode, HarnessError, InfrastructureError, shortage
from harness.masking import Secrets
from harness.reporters.text import printable

# In the order in which --help shows them. A command is `harness.cli.MODULE:FUNCTION`.
COMMANDS = {
    "test": "test:test",
    "cicd": "cicd:cicd",
    "list": "listing:list_groups",
    "plan": "plan:plan",
    "logs": "logs:logs",
    "status": "status:status",
    "history": "history:history",
    "flaky": "flaky:flaky",
    "cache": "cache:cache",
    "merge": "merge:merge",
    "names": "names:names",
    "hold": "hold:hold",
    "setup": "setup:setup",
    "clean": "clean:clean",
    "gc": "gc:gc",
    "enter": "enter:enter",
}

EXAMPLES = """\b
Examples:
  ./exec.sh local test --parallel          the suite, groups side by side
  ./exec.sh local test --t test_deposits   one file, its output shown live
  ./exec.sh local list                     what there is to run
  ./exec.sh local logs -f financial        the log of a group, as it grows
  ./exec.sh staging test --parallel        against services that run elsewhere"""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            # click guesses among the commands that it knows, and these are not imported yet.
            raise click.NoSuchCommand(error.command_name, possibilities=list(COMMANDS), ctx=ctx) from None

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, function = COMMANDS[name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"harness.cli.{module}"), function)
        return command


@click.group(
    cls=LazyGroup,
    epilog=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"]},
    subcommand_metavar="COMMAND [OPTIONS]",
)
@click.version_option(__version__, prog_name="harness")
@click.option("--project", metavar="DIR", type=click.Path(path_type=Path), help="Where harness.toml is.")
@click.option("--environment", metavar="NAME", default="local", show_default=True, help="local, or one of the plan's.")
@click.pass_context
def cli(ctx: click.Context, project: Path | None, environment: str) -> None:
    """Runs integration tests side by side, each group in an environment of its own.

    Through exec.sh the environment comes first: ./exec.sh ENVIRONMENT COMMAND [OPTIONS].
    """
    ctx.obj = Door.at(project, environment, ctx.obj)


def main() -> int:
    """Runs the command line and returns its exit code. A signal that stopped it is raised again."""
    # One that takes rights from the owner himself would leave us with files that we cannot use.
    os.umask(os.umask(0o077) & 0o077)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who called us
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123
    secrets = Secrets()
    try:
        with _interruptible():
            code = cli.main(prog_name="harness", standalone_mode=False, obj=secrets)
            _flush()
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        _show(error)
        if (word := _environment(sys.argv)) in COMMANDS:
            click.echo(f"The environment comes first, as in: ./exec.sh local {word}", err=True)
        return ExitCode.USAGE
    except HarnessError as error:
        return complain(secrets.error(error))
    except (click.Abort, KeyboardInterrupt):
        return die_of(signal.SIGINT)
    except BrokenPipeError:
        _forget_output()  # the reader has gone, as in `list | head -1`
        return ExitCode.OK
    except Exception as error:
        if why := shortage(error):
            return complain(InfrastructureError(why))
        # Not Python's own 1, which says that tests failed.
        for line in secrets.text(traceback.format_exc()).splitlines():
            click.echo(printable(line), err=True)
        click.echo("error: this is a bug of the harness; please report it with the lines above", err=True)
        return ExitCode.INTERNAL
    if code is not None and code > 128:
        return die_of(code - 128)
    return code or ExitCode.OK


def _show(error: click.ClickException) -> None:
    """As click does, but nothing in the words that it was given acts."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    click.UsageError(printable(error.format_message()), context).show()


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C is an exception in here. Before and after, while Python loads and ends, it just ends the process."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_DFL:
        yield  # ignored, or somebody else's
        return
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _flush() -> None:
    """A console that is full or gone changes nothing of what was done: the exit code stands."""
    try:
        sys.stdout.flush()
    except OSError:
        _forget_output()


def _forget_output() -> None:
    """What is still buffered must not raise when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _environment(argv: list[str]) -> str:
    """What stands where exec.sh expects ENVIRONMENT: the command, where somebody forgot it."""
    place = argv.index("--environment") + 1 if "--environment" in argv else len(argv)
    return argv[place] if place < len(argv) else ""


def die_of(number: int) -> int:
    """Ends this process by the signal itself, so that a calling shell sees a signal and not merely a number."""
    sys.stdout.flush()
    sys.stderr.flush()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number  # where the signal is blocked
