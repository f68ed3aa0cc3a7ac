"""Where is the plan? The nearest harness.toml, from a directory upward."""

from pathlib import Path

from harness.errors import UsageError

FILE_NAME = "harness.toml"


def find_project(start: Path) -> Path:
    """The absolute directory of the nearest harness.toml at or above `start`; UsageError where there is none."""
    here = start.absolute()
    for directory in (here, *here.parents):
        if (directory / FILE_NAME).is_file():
            return directory
    raise UsageError(
        f"there is no {FILE_NAME} in {here} or any directory above it",
        "change to the project's directory, or name it with --project DIR",
    )
