"""What the harness has leased for this process: HARNESS_LEASES, and the claim of a worker's own environment.

HARNESS_LEASES is a JSON list with one object a lease: {"entry": "db", "kind": "postgres", "roles": {"dsn":
"DATABASE_URL"}, "variables": ["DATABASE_URL"]}. A role names the variable that holds its value.

Where a group runs under pytest-xdist with `workers = N`, HARNESS_WORKERS is a directory with the files 0.json to
N-1.json: the environment of one worker each. A worker locks one of them for its life, so that the replacement of a
worker that crashed gets the one that came free. Only the controller's own children claim: it leaves its process id in
HARNESS_CONTROLLER, and a pytest that a test starts has another parent.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from .locks import Lock

_claims: list[Lock] = []  # held until this process ends
_CLAIM_WITHIN = 5.0  # seconds: a worker that crashed is replaced a moment before its lock is gone


class Lease:
    """One isolated thing that is this process's own: its `entry` in the plan, its `kind`, and what it handed over."""

    def __init__(self, entry: str, kind: str, roles: Mapping[str, str], variables: Mapping[str, str]) -> None:
        self.entry = entry
        self.kind = kind
        self.variables = dict(variables)
        """The variables that it handed over, with their values."""
        self._roles = dict(roles)

    def __repr__(self) -> str:
        return f"<lease of [isolation.{self.entry}]: {', '.join(self.variables)}>"  # no values: they hold secrets

    def value(self, role: str) -> str:
        """What it handed over for a role, as "dsn"; empty: nothing."""
        return self.variables.get(self._roles.get(role, ""), "")


def leases_of(kind: str) -> list[Lease]:
    """This process's leases of a kind, in the order of the group's `isolate`."""
    found = []
    for lease in json.loads(os.environ.get("HARNESS_LEASES") or "[]"):
        if lease["kind"] == kind:
            names = [*lease["roles"].values(), *lease.get("variables", ())]
            values = {name: os.environ[name] for name in dict.fromkeys(names) if name in os.environ}
            found.append(Lease(lease["entry"], kind, lease["roles"], values))
    return found


def are_shared(config: pytest.Config) -> bool:
    """Whether other workers have the same leases: those of a group whose `workers` the plan does not tell."""
    return hasattr(config, "workerinput") and not _claims


def admit_workers(count: int) -> None:
    """In the controller of pytest-xdist: its workers may claim. Raises pytest.UsageError for too many."""
    directory = os.environ.get("HARNESS_WORKERS")
    if not directory:
        return
    there = len(_environments(directory))
    if count > there:
        raise pytest.UsageError(
            f"pytest-xdist starts {count} workers, and the harness has made environments for {there}: "
            "let `workers` of the group say how many there are, and leave -n out of addopts"
        )
    os.environ["HARNESS_CONTROLLER"] = str(os.getpid())


def claim() -> None:
    """In a worker: takes an environment that no other worker has, and puts it over this process's own.

    Raises pytest.UsageError when there is none left.
    """
    directory = os.environ.get("HARNESS_WORKERS")
    if not directory or os.environ.get("HARNESS_CONTROLLER") != str(os.getppid()):
        return
    deadline = time.monotonic() + _CLAIM_WITHIN
    while not any(_take(file) for file in _environments(directory)):
        if time.monotonic() > deadline:
            raise pytest.UsageError(f"all environments in {directory} are taken: another worker still holds this one's")
        time.sleep(0.02)
    # A pytest that a test starts has the worker's environment, and must not claim one of the others.
    del os.environ["HARNESS_WORKERS"], os.environ["HARNESS_CONTROLLER"]


def _environments(directory: str) -> list[Path]:
    return sorted(Path(directory).glob("*.json"))


def _take(file: Path) -> bool:
    lock = Lock(file)
    if not lock.try_take():
        lock.close()
        return False
    _claims.append(lock)
    os.environ.update(json.loads(file.read_bytes()))
    return True
