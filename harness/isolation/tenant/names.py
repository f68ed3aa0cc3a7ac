"""What tenants are called, and who may use a name that is not unique.

A name with {token} is one lease's alone. Any other is used by one lease after the other: whoever holds the lock of a
name (flock on a file) may make, replace and remove what is called so. The file says whose tenant it is that is called
so, so that a run that comes back late finds out that its own was replaced, and leaves the other alone.

The locks are those of one user on one machine, for all of his projects; who shares a platform with other users or other
machines needs {token} in the name.
"""

import fcntl
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import clock
from harness.errors import InfrastructureError
from harness.files import PRIVATE_FILE
from harness.isolation.lease import Lease
from harness.isolation.meeting_place import meeting_place

LONGEST_NAME = 63
PATIENCE = 30.0  # seconds for which a name is waited for
_LOOK_AGAIN = 0.05
_PLACEHOLDER = re.compile(r"(\{(?:group|slot|run|token)\})")


def slug(text: str) -> str:
    """The text in lower-case letters, digits and single hyphens between them."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def name_of(template: str, lease: Lease) -> str:
    """What the lease's tenant is called: at most 63 characters.

    What is too long is cut where it is longest, but never in the token; without a token, eight digits of a hash keep
    names that were cut apart.
    """
    if lease.worker:
        template += f"-w{lease.worker}"
    if not lease.group and "{group}" not in template:
        template += "-sentinel"
    values = {
        "{group}": slug(lease.name) or ("group" if lease.group else "sentinel"),
        "{slot}": str(lease.slot),
        "{run}": slug(lease.run_id),
    }
    pieces = [values.get(piece, piece) for piece in _PLACEHOLDER.split(template)]
    whole = "".join(pieces)
    room = LONGEST_NAME - (len(lease.token) - len("{token}")) * pieces.count("{token}")
    if len(whole) > room and "{token}" not in pieces:
        pieces += ["-", hashlib.sha256(whole.encode()).hexdigest()[:8]]
    while sum(map(len, pieces)) > room:
        longest = max((at for at, piece in enumerate(pieces) if piece != "{token}"), key=lambda at: len(pieces[at]))
        pieces[longest] = pieces[longest][:-1].rstrip("-")
    return "".join(pieces).replace("{token}", lease.token)


def lock_file(platform: str, name: str) -> Path:
    """The file of a name on the platform of that address. Raises InfrastructureError if there is no place for it."""
    which = hashlib.sha256(f"{platform.rstrip('/')} {name}".encode()).hexdigest()[:16]
    return meeting_place("names") / f"tenant-{which}.lock"


class NameLocks:
    """The locks of names on one platform, `platform` being its address, for one project."""

    def __init__(self, platform: str, project: Path) -> None:
        self._platform = platform
        self._project = project
        self._held: dict[str, int] = {}  # by token, descriptors
        self._lock = threading.Lock()

    def take(self, lease: Lease, name: str, stopping: threading.Event) -> None:
        """Locks the name. Raises InfrastructureError if somebody else still has it after 30 s, or when `stopping`."""
        descriptor = self._open(name)
        deadline = clock.now() + PATIENCE
        while not _try_lock(descriptor):
            if stopping.wait(_LOOK_AGAIN) or clock.now() > deadline:
                holder = _read(descriptor)
                os.close(descriptor)
                until = "the run stops" if stopping.is_set() else f"it was not free after {PATIENCE:g} s"
                raise InfrastructureError(
                    f"the name {name} is used by run {holder.get('run', '?')} (group {holder.get('group', '?')}) in "
                    f"{holder.get('project', '?')}, and {until}",
                    "Wait for that run, or put {token} into the entry's `name`: then every lease has its own.",
                )
        self._write(descriptor, _read(descriptor).get("token", ""), lease)
        with self._lock:
            self._held[lease.token] = descriptor

    def claim(self, lease: Lease) -> None:
        """Says that what is called so from now on is the lease's, which has locked the name."""
        with self._lock:
            self._write(self._held[lease.token], lease.token, lease)

    @contextmanager
    def giving_back(self, lease: Lease, name: str) -> Iterator[bool]:
        """Whether what is called so is the lease's. After a block that raises nothing it is nobody's any more.

        The lock is let go of in any case.
        """
        with self._lock:
            held = self._held.pop(lease.token, None)
        descriptor = self._open(name) if held is None else held
        try:
            locked = held is not None or _try_lock(descriptor)
            # A file that holds nothing was lost and made anew: then nobody else has used the name since.
            ours = locked and _read(descriptor).get("token", lease.token) == lease.token
            yield ours
            if ours:
                self._write(descriptor, "", lease)
        finally:
            os.close(descriptor)

    def _open(self, name: str) -> int:
        file = lock_file(self._platform, name)
        try:
            return os.open(file, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        except OSError as error:
            raise InfrastructureError(
                f"the lock of the name {name} cannot be opened: {file}: {error.strerror}",
                "Make it writable, or raise `ulimit -n`.",
            ) from error

    def _write(self, descriptor: int, token: str, holder: Lease) -> None:
        content = {"token": token, "run": holder.run_id, "group": holder.name, "project": str(self._project)}
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(content).encode(), 0)
        except OSError as error:
            raise InfrastructureError(
                f"the lock of a tenant's name cannot be written: {error.strerror}",
                "Free some space where it lies, in /tmp or the like.",
            ) from error


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(descriptor: int) -> dict[str, str]:
    """Whose the tenant is (`token`), and who locked the name last (`run`, `group`, `project`); empty if unknown."""
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
