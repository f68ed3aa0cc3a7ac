"""Where is the plan? The nearest harness.toml, from a directory upward."""

import os
from pathlib import Path

from harness.errors import UsageError

FILE_NAME = "harness.toml"


def find_project(start: Path) -> Path:
    """The absolute directory of the nearest harness.toml at or above `start`; UsageError where there is none."""
    here = start.absolute()
    for directory in (here, *here.parents):
        # Path.is_file would raise where a name is too long.
        if os.path.isfile(directory / FILE_NAME):  # noqa: PTH113
            return directory
    raise UsageError(
        f"there is no {FILE_NAME} in {here} or any directory above it",
        "change to the project's directory, or name it with --project DIR",
    )
