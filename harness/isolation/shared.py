"""Where the processes of a run meet: a directory of the run for locks and for who runs now, and the project's budgets.

What lies in them is the plugin's (pytest_plugin/harness_fixtures: meeting.py, budgets.py); here they are made before
the first group starts and removed after the last. The directory of a run is locked for as long as its process lives, so
that a later run knows which ones are left over.
"""

import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from harness.errors import InfrastructureError
from harness.files import PRIVATE_DIRECTORY, locked, private_directory
from harness.model import Budget, Plan
from harness.pytest_plugin.harness_fixtures.budgets import DIRECTORY, write_spec

SHARED = Path(".harness", "shared")
HEAVY = "heavy_resource"


class Shared:
    """The meeting place of one run."""

    def __init__(self, project: Path, run_id: str) -> None:
        self._project = project
        self._run_id = run_id
        self._lock = -1
        self._elsewhere: Path | None = None  # where the project cannot be written
        self.directory = project  # where it is, once it is open

    def open(self, plan: Plan, *, needed: bool) -> dict[str, str]:
        """Makes it, and returns the variables that lead every group there. Raises InfrastructureError.

        Unless it is `needed`, it is made elsewhere when the project cannot be written: then locks and who runs now
        hold for this run alone, as they do in any case.
        """
        budgets = self._project / DIRECTORY
        try:
            self._make(self._project / SHARED)
            private_directory(budgets)
            write_budgets(budgets, plan.budgets)
        except OSError as error:
            if needed or plan.budgets:
                raise InfrastructureError(
                    f"cannot make {self._project / SHARED}: {error.strerror or error}",
                    "Make the project's directory .harness writable, or free some space.",
                ) from error
            self.close()
            self._elsewhere = Path(tempfile.mkdtemp(prefix="harness-"))
            self._make(self._elsewhere)
            budgets = self.directory
        return {
            "HARNESS_SHARED": str(self.directory),
            "HARNESS_BUDGETS": str(budgets),
            "HARNESS_HEAVY": str(_heavy(plan)),
        }

    def close(self) -> None:
        if self._lock >= 0:
            shutil.rmtree(self.directory, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1
        if self._elsewhere:
            shutil.rmtree(self._elsewhere, ignore_errors=True)

    def _make(self, parent: Path) -> None:
        # The run's id is that of a second and of a log directory: two runs of a project may have the same.
        place = parent / f"{self._run_id}-{secrets.token_hex(4)}"
        with locked(parent):
            place.mkdir(mode=PRIVATE_DIRECTORY)
            try:
                lock = os.open(place, os.O_RDONLY)
            except OSError:
                place.rmdir()
                raise
            fcntl.flock(lock, fcntl.LOCK_EX)
        self._lock, self.directory = lock, place
        remove_leftovers(parent)


def _heavy(plan: Plan) -> int:
    """How many tests marked heavy_resource may run at a time: as a count or as a budget, else one."""
    budgets = {budget.name: budget.concurrent for budget in plan.budgets}
    return plan.resources.get(HEAVY) or budgets.get(HEAVY) or 1


def write_budgets(directory: Path, budgets: Sequence[Budget]) -> None:
    """Says to whoever takes from a budget how much there is. What has been taken is not forgotten. Raises OSError."""
    for budget in budgets:
        write_spec(directory, budget.name, budget.concurrent, budget.requests, budget.window)


def remove_leftovers(directory: Path) -> None:
    """The meeting places of runs whose process has ended. Raises OSError."""
    if not directory.is_dir():
        return
    with locked(directory):
        for place in directory.iterdir():
            with suppress(OSError):
                lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(place, ignore_errors=True)
                finally:
                    os.close(lock)
