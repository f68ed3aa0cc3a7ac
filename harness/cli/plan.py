"""`plan`: the schedule, without running anything: as a picture, or predicted by the history.

The picture reads the plan and nothing else, so it is instant. A prediction also reads the history, and never makes one.
It decides nothing about a run: the scheduler is asked what it would do.
"""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

from harness.cli.door import Door, caution, out, pass_door
from harness.cli.graphs import as_json, dot, mermaid, tree
from harness.cli.listing import show
from harness.errors import NothingToRun, UsageError
from harness.planning.estimate import Estimates, estimate_plan, splittable
from harness.values import MAX_COUNT, parse_count, quoted

if TYPE_CHECKING:
    from harness.cli.prediction import Known

PIPED_WIDTH = 80

EXAMPLES = """\b
Examples:
  ./exec.sh local plan                         the plan as a tree
  ./exec.sh local plan --format mermaid        for a README
  ./exec.sh local plan --jobs 8                how long a run would take, and what would help
  ./exec.sh local plan --compare 1..16         how many jobs are worth it"""


class _Past(NamedTuple):
    """What of the history a prediction needs; empty where there is none."""

    durations: Mapping[str, Sequence[float]]  # group -> seconds of its passing runs, the newest first
    tests: Mapping[str, Mapping[str, float]]  # splittable group -> its tests -> seconds
    apart: tuple[float, float] | None  # seconds of the services' start, and of the end of a run


@click.command("plan", epilog=EXAMPLES)
@click.option(
    "--format", "form", type=click.Choice(["tree", "mermaid", "dot", "json"]), help="The plan as a picture. [tree]"
)
@click.option("--jobs", metavar="N", help="Predict a run with so many groups at a time.")
@click.option("--compare", metavar="A..B", help="Predict a run for each number of jobs from A to B.")
@pass_door
def plan(door: Door, form: str | None, jobs: str | None, compare: str | None) -> int:
    """Show the plan as a graph, or predict how long a run of it takes."""
    given = [
        flag for flag, value in (("--format", form), ("--jobs", jobs), ("--compare", compare)) if value is not None
    ]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} show different things; leave one out")
    if jobs is not None:
        from harness.cli.prediction import predicted

        count = parse_count(jobs, "--jobs")
        show(predicted(_known(door), count, _width()))
    elif compare is not None:
        from harness.cli.prediction import compared

        first, last = _range(compare)
        show(compared(_known(door), first, last))
    elif form == "json":
        click.echo(as_json(door.plan, _estimates(door, _past(door))))
    elif form in ("mermaid", "dot"):
        out().write(mermaid(door.plan) if form == "mermaid" else dot(door.plan))
    else:
        show(tree(door.plan))
    return 0


def _range(text: str) -> tuple[int, int]:
    """Both ends of `A..B`."""
    first, dots, last = text.partition("..")
    if not dots:
        raise UsageError(f"--compare: {quoted(text)} is not a range; write 1..16, from 1 to {MAX_COUNT}")
    least = parse_count(first, "--compare")
    return least, parse_count(last, "--compare", least)


def _width() -> int:
    return shutil.get_terminal_size((PIPED_WIDTH, 24)).columns if sys.stdout.isatty() else PIPED_WIDTH


def _known(door: Door) -> "Known":
    """What there is to predict from. Raises UsageError for bad variables, NothingToRun where no phase is on."""
    from harness.cli.prediction import Known
    from harness.config.dotenv import read_env_files
    from harness.config.options import resolve
    from harness.masking.choice import unshown
    from harness.planning.select import Selection, select
    from harness.planning.variables import run_variables
    from harness.scheduling.parts import split
    from harness.scheduling.predict import taking_part

    dotenv = read_env_files(door.project, door.plan.env_files)
    variables = run_variables(door.plan, door.environment, dict(os.environ), dotenv)
    # Refuses bad variables. How many jobs there are is said with --jobs or --compare.
    resolve({"jobs": "1"}, variables, door.plan, unshown(variables, os.environ, dotenv))
    selected = select(door.plan, Selection(), variables, door.environment)
    phases = taking_part(selected.phases, selected.off)
    if not phases:
        reasons = "\n".join(selected.off.values())
        raise NothingToRun("nothing to predict: every group is in a phase that is off, or needs one that is", reasons)
    past = _past(door)
    return Known(split(phases), _estimates(door, past), past.apart, door.plan.resources, selected.off)


def _estimates(door: Door, past: _Past) -> Estimates:
    return estimate_plan(door.plan, past.durations, past.tests)


def _past(door: Door) -> _Past:
    """What the history says; nothing where there is none, since a look makes no file."""
    from harness.history import HISTORY_FILE, History

    path = door.project / HISTORY_FILE
    if not path.exists():
        return _Past({}, {}, None)
    history = History.open(path)
    try:
        return _Past(
            history.durations(door.environment, (group.name for group in door.plan.groups)),
            history.test_durations(door.environment, splittable(door.plan)),
            history.apart(door.environment),
        )
    finally:
        history.close()
        caution(history.warnings)
