"""`test`: runs the suite, or a part of it."""

import shlex
import signal
from typing import Any

import click

from harness.cli.door import Door, out, pass_door
from harness.cli.options import SectionedCommand, run_options
from harness.cli.prepare import Prepared, prepare
from harness.cli.suite import run
from harness.model import Group, Phase
from harness.reporters.text import BOLD, DIM, paint, printable
from harness.runners import runner_for
from harness.scheduling.parts import parts_of

EXAMPLES = """\b
Examples:
  ./exec.sh local test                                one group at a time
  ./exec.sh local test --parallel                     groups side by side
  ./exec.sh local test --parallel --jobs 8 --fail-fast
  ./exec.sh local test --groups financial,search      these groups only
  ./exec.sh local test --categories acceptance        this category only
  ./exec.sh local test --t test_deposits              one file
  ./exec.sh local test --t TestRefund                 a class or a function, or part of its name
  ./exec.sh local test --parallel --last-failed       what failed the last time, or never ran
  ./exec.sh local test --parallel --changed main      what differs from a branch
  MAX_PARALLEL_JOBS=8 RUN_STRESS_TESTS=true ./run_parallel_tests.sh"""


@click.command("test", cls=SectionedCommand, epilog=EXAMPLES)
@run_options()
@pass_door
def test(door: Door, /, **given: Any) -> int:
    """Run the suite: its phases in order, with --parallel their groups side by side."""
    prepared = prepare(door, given)
    if prepared.settings.list or prepared.settings.dry_run:
        out().write(_listing(prepared, commands=prepared.settings.dry_run))
        return 0
    for _ in range(prepared.settings.repeat - 1):
        finished = run(door, prepared)
        if finished.exit_code:
            return finished.exit_code
        if finished.record.signals:  # it came when the run was over
            return 128 + signal.Signals[finished.record.signals[-1].signal]
        prepared = prepare(door, given)
    return run(door, prepared).exit_code


def _listing(prepared: Prepared, *, commands: bool) -> list[str]:
    """The selected groups by phase; with their commands, what each would run."""
    lines = []
    for phase in prepared.request.phases:
        lines.append(paint(printable(phase.name), BOLD) + _remark(prepared, phase))
        for group in phase.groups:
            passed = prepared.request.cached.get(group.name)
            lines.append(f"  {printable(group.name)}" + (f" (cached: unchanged since run {passed})" if passed else ""))
            if commands and not passed and phase.name not in prepared.request.off:
                lines += [paint(f"    $ {_command(prepared, part)}", DIM) for part in parts_of(group)]
    return lines


def _remark(prepared: Prepared, phase: Phase) -> str:
    if phase.name in prepared.request.off:
        return f" (skipped: {printable(prepared.request.off[phase.name])})"
    jobs = 1 if phase.sequential else min(prepared.request.jobs, len(phase.groups))
    return f" ({jobs} at a time)"


def _command(prepared: Prepared, group: Group) -> str:
    request = prepared.request
    launch = runner_for(group).command(group, python=request.python, options=request.pytest)
    return printable(request.secrets.text(shlex.join(launch.argv)), None)
