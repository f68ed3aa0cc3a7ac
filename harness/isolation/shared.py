"""Where the processes of a run meet: a directory of the run for locks and for who runs now, and the project's budgets.

What lies in them is the plugin's (pytest_plugin/harness_fixtures: meeting.py, budgets.py); here they are made before
the first group starts and removed after the last. The directory of a run is locked for as long as its process lives, so
that a later run knows which ones are left over.
"""

import fcntl
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from harness.errors import InfrastructureError
from harness.files import PRIVATE_DIRECTORY
from harness.model import Budget, Plan
from harness.pytest_plugin.harness_fixtures.budgets import DIRECTORY, write_spec

SHARED = Path(".harness", "shared")
HEAVY = "heavy_resource"


class Shared:
    """The meeting place of one run."""

    def __init__(self, project: Path, run_id: str) -> None:
        self.directory = project / SHARED / run_id
        self._budgets = project / DIRECTORY
        self._lock = -1

    def open(self, plan: Plan) -> dict[str, str]:
        """Makes it, and returns the variables that lead every group there. Raises InfrastructureError."""
        try:
            # Locked before it bears its name, or another run that sweeps would take it for a leftover.
            fresh = self.directory.with_name(f".{self.directory.name}.{os.getpid()}.new")
            fresh.mkdir(parents=True, mode=PRIVATE_DIRECTORY)
            self._lock = os.open(fresh, os.O_RDONLY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            fresh.rename(self.directory)
            self._budgets.mkdir(parents=True, exist_ok=True, mode=PRIVATE_DIRECTORY)
            write_budgets(self._budgets, plan.budgets)
            _remove_leftovers(self.directory.parent)
        except OSError as error:
            raise InfrastructureError(
                f"cannot make {self.directory}: {error.strerror or error}",
                "Make the project's directory .harness writable, or free some space.",
            ) from error
        return {
            "HARNESS_SHARED": str(self.directory),
            "HARNESS_BUDGETS": str(self._budgets),
            "HARNESS_HEAVY": str(plan.resources.get(HEAVY, 1)),
        }

    def close(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def write_budgets(directory: Path, budgets: Sequence[Budget]) -> None:
    """Says to whoever takes from a budget how much there is. What has been taken is not forgotten. Raises OSError."""
    for budget in budgets:
        write_spec(directory, budget.name, budget.concurrent, budget.requests, budget.window)


def _remove_leftovers(directory: Path) -> None:
    """The meeting places of runs whose process has ended."""
    for place in directory.iterdir():
        if place.name.startswith("."):
            continue  # somebody is about to lock it
        with suppress(OSError):
            lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(place, ignore_errors=True)
            finally:
                os.close(lock)
