"""`gc`: finishes the runs that have died, and removes what they left outside of the log directory: leases, by their
journals and by their labels.

A run does the same when it starts, for the entries that it has. What runs had on services that only runs start is left
to the next of them.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime

import click

from harness.cli.door import Door, caution, out, pass_door
from harness.config.dotenv import read_env_files
from harness.errors import InfrastructureError
from harness.isolation import kind_of
from harness.isolation.journal import LEASES, all_standing
from harness.isolation.kept import forget_environment, kept_environment
from harness.isolation.lease import Context, Kind, Lease, project_id
from harness.isolation.options import origin_of, problem_of
from harness.isolation.sweep import Swept, sweep, sweep_expired
from harness.model import Isolation
from harness.planning.variables import run_variables
from harness.recovery import finish_abandoned
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
    """End and remove what dead runs left: processes, tenants, schemas, databases, keys and directories."""
    finished = finish_abandoned(door.project)
    variables = _variables(door)
    kinds = _kinds(door, variables)
    known = {entry.name: entry for entry in door.plan.isolation}
    origins = {name: origin_of(entry, variables) for name, entry in known.items()}
    journals = door.project / LEASES

    def find(entry: str, kind: str) -> Kind | None:
        return kinds.get(entry) if entry in known and known[entry].kind == kind else None

    try:
        swept = sweep(journals, find, origins=origins, with_kept=kept)
        standing = all_standing(journals)
        sweep_expired(kinds, swept, standing)
    finally:
        for it in kinds.values():
            it.close()
    _forget(door, swept, {(it.lease.run_id, it.lease.name) for it in standing.values()})
    out().write([*map(printable, finished), *(_said(swept) if not finished or swept.released else ())])
    left = [(lease, why or _why(lease, known)) for lease, why in swept.left]
    failed = [f"[isolation.{lease.entry}] of run {lease.run_id}: {why}" for lease, why in left if why]
    if failed:
        raise InfrastructureError(
            "something could not be removed:\n" + "\n".join(failed), "Mend what is said there, and call gc again."
        )
    waiting = sorted({lease.entry for lease, _ in left})
    caution(f"what is left of [isolation.{entry}] is removed by the next run that has it" for entry in waiting)
    return 0


def _variables(door: Door) -> dict[str, str]:
    dotenv = read_env_files(door.project, door.plan.env_files)
    variables = run_variables(door.plan, door.environment, dict(os.environ), dotenv)
    door.secrets.learn(variables)
    return variables


def _kinds(door: Door, variables: dict[str, str]) -> dict[str, Kind]:
    """Those that can work without a run: that need no service of one, and whose variables are set."""
    run_id = datetime.now().strftime("%Y%m%d_%H%M%S")
    context = Context(door.project, project_id(door.project), run_id, variables)
    usable = [entry for entry in door.plan.isolation if problem_of(entry, variables, ()) is None]
    return {entry.name: kind_of(entry, context, {}) for entry in usable}


def _why(lease: Lease, known: Mapping[str, Isolation]) -> str:
    """Why nobody can remove it now; empty: the next run will."""
    entry = known.get(lease.entry)
    if entry is not None and entry.kind == lease.kind:
        return ""
    return f"the plan has no such entry of the kind {lease.kind} any more: put it back for this once"


def _forget(door: Door, swept: Swept, standing: Collection[tuple[str, str]]) -> None:
    """What would lead into environments that are gone now."""
    for run_id, group in {(lease.run_id, lease.name) for lease in swept.released} - set(standing):
        kept = kept_environment(door.project, group) if group else None
        if kept and kept.run_id == run_id:
            forget_environment(door.project, group)


def _said(swept: Swept) -> Iterator[str]:
    for lease in swept.released:
        yield f"removed {_named(lease)}"
    for lease in swept.kept:
        yield f"kept    {_named(lease)}, because its group failed; --kept removes it"
    if not swept.released and not swept.kept and not swept.left:
        yield "nothing to remove"


def _named(lease: Lease) -> str:
    details = ", ".join(f"{name} {value}" for name, value in lease.details.items())
    whose = f"of {lease.name}" if lease.group else "of nobody"
    return printable(f"[isolation.{lease.entry}] {whose} in run {lease.run_id} ({details})")
