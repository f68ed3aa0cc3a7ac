"""`gc`: removes what dead runs left outside of the log directory: leases, by their journals and by their labels.

A run does the same when it starts, for the entries that it has. What runs had on services that only runs start is left
to the next of them.
"""

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import click

from harness.cli.door import Door, caution, out, pass_door
from harness.config.dotenv import read_env_files
from harness.errors import InfrastructureError
from harness.isolation import kind_of
from harness.isolation.journal import LEASES
from harness.isolation.kept import forget_environments
from harness.isolation.lease import Context, Kind, Lease, project_id
from harness.isolation.options import problem_of
from harness.isolation.sweep import Swept, sweep, sweep_expired
from harness.planning.variables import run_variables
from harness.reporters.text import printable

EXAMPLES = """\b
Examples:
  ./exec.sh local gc          what runs that were killed left behind
  ./exec.sh local gc --kept   … and what --keep-environment kept
  ./exec.sh staging gc        with the addresses and keys of that environment"""


@click.command("gc", epilog=EXAMPLES)
@click.option("--kept", is_flag=True, help="Also environments that --keep-environment kept.")
@pass_door
def gc(door: Door, kept: bool) -> int:
    """Remove tenants, schemas, databases, keys and directories that dead runs left."""
    kinds = _kinds(door)
    try:
        swept = sweep(door.project / LEASES, lambda entry, kind: _same(door, kinds, entry, kind), with_kept=kept)
        sweep_expired(kinds, swept)
    finally:
        for kind in kinds.values():
            kind.close()
    if kept:
        forget_environments(door.project)
    out().write(list(_said(swept)))
    failed = [f"[isolation.{lease.entry}] of run {lease.run_id}: {why}" for lease, why in swept.left if why]
    if failed:
        raise InfrastructureError(
            "something could not be removed:\n" + "\n".join(failed), "Mend what is said there, and call gc again."
        )
    waiting = sorted({lease.entry for lease, why in swept.left if not why})
    caution(f"what is left of [isolation.{entry}] is removed by the next run that has it" for entry in waiting)
    return 0


def _kinds(door: Door) -> dict[str, Kind]:
    """Those that can work without a run: that need no service of one, and whose variables are set."""
    plan = door.plan
    dotenv = read_env_files(door.project, plan.env_files)
    variables = run_variables(plan, door.environment, dict(os.environ), dotenv)
    run_id = datetime.now().strftime("%Y%m%d_%H%M%S")
    context = Context(door.project, project_id(Path(plan.project)), run_id, variables)
    usable = [entry for entry in plan.isolation if problem_of(entry, variables, ()) is None]
    return {entry.name: kind_of(entry, context, {}) for entry in usable}


def _same(door: Door, kinds: dict[str, Kind], entry: str, kind: str) -> Kind | None:
    known = {it.name: it.kind for it in door.plan.isolation}
    return kinds.get(entry) if known.get(entry) == kind else None


def _said(swept: Swept) -> Iterator[str]:
    for lease in swept.released:
        yield f"removed {_named(lease)}"
    for lease in swept.kept:
        yield f"kept    {_named(lease)}, because its group failed; --kept removes it"
    if not swept.released and not swept.kept and not swept.left:
        yield "nothing to remove"


def _named(lease: Lease) -> str:
    details = ", ".join(f"{name} {value}" for name, value in lease.details.items())
    whose = f"of {lease.group}" if lease.group else "of nobody"
    return printable(f"[isolation.{lease.entry}] {whose} in run {lease.run_id} ({details})")
