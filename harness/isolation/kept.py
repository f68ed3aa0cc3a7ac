"""Environments that were kept because their group failed: what is needed to enter them again.

One file a group, or part of one, `.harness/kept/GROUP.json`, readable by its owner alone, since it holds secrets. The
leases themselves stand in the journal of their run, marked as kept.
"""

from pathlib import Path

import msgspec

from harness.files import private_directory, safe_name, write_atomically
from harness.foreign import decoded
from harness.model import Job

KEPT = Path(".harness", "kept")


class Kept(msgspec.Struct, frozen=True):
    """An environment that stands."""

    group: str  # or part, by its name
    run_id: str
    directory: str  # in which the group ran
    env: dict[str, str]  # of its process, whole


_decoder = msgspec.json.Decoder(Kept)


def keep_environment(project: Path, job: Job) -> None:
    """Writes down what the process of `job` was given; an older one of that group is forgotten. Raises OSError."""
    directory = project / KEPT
    private_directory(directory)
    kept = Kept(job.name, job.run_id, job.directory, job.env)
    write_atomically(directory / f"{safe_name(job.name)}.json", msgspec.json.encode(kept))


def kept_environment(project: Path, group: str) -> Kept | None:
    """None: there is none of that group."""
    try:
        return decoded(_decoder, (project / KEPT / f"{safe_name(group)}.json").read_bytes())
    except (OSError, ValueError):
        return None


def forget_environment(project: Path, group: str) -> None:
    """For when its leases have been released. Raises OSError."""
    (project / KEPT / f"{safe_name(group)}.json").unlink(missing_ok=True)
