"""The leases of one run: each planned, journalled, made, renewed and released, in the order that lease.py gives.

What cannot be released stays in the journal, and is told as `leaked`; the next start or `gc` tries again. A thread of
its own renews, every quarter of a TERM, all that is out, as long as this process lives.

It knows nothing of attempts, or of who gets what.
"""

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Literal

import msgspec

from harness import clock, threads
from harness.errors import HarnessError, InfrastructureError
from harness.events import AnyEvent, LeaseEnded, LeaseMade, Warned
from harness.isolation.journal import Journal
from harness.isolation.lease import TERM, Kind, Lease, Made
from harness.masking import Secrets

_RENEW = TERM / 4  # seconds


class Leases:
    """Any thread may make and release. `kinds` are those of the entries, by name.

    Raises InfrastructureError where there can be no thread that renews.
    """

    def __init__(
        self, journal: Journal, kinds: Mapping[str, Kind], notify: Callable[[AnyEvent], None], secrets: Secrets
    ) -> None:
        """`secrets` learns what is handed over before anybody else gets it."""
        self._journal = journal
        self._kinds = kinds
        self._notify = notify
        self._secrets = secrets
        self._out: dict[str, Lease] = {}  # by token: made, or being made, and not released
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._heart = threads.start(self._beat, name="leases")

    def make(self, lease: Lease) -> tuple[Lease, Made]:
        """Makes it, and returns it with all that was learned. Raises InfrastructureError; it was then
        released, and says whether something is left."""
        kind, began = self._kinds[lease.entry], clock.now()
        with self._lock:
            self._out[lease.token] = lease
        try:
            lease = msgspec.structs.replace(lease, details=dict(kind.plan(lease)))
            self._out[lease.token] = lease
            self._journal.making(lease, kind.durable)
            made = kind.make(lease, lambda details: self._learned(lease.token, details))
        except BaseException as error:
            leaked = not self.release(self._out[lease.token])
            if isinstance(error, HarnessError | OSError):
                why, cure = (error.message, error.cure) if isinstance(error, HarnessError) else (str(error), "")
                message = f"[isolation.{lease.entry}] could not be made: {why}"
                raise InfrastructureError(message, cure, leaked=leaked) from error
            raise
        self._secrets.learn_given(made.variables, made.secret)
        for warning in self._secrets.warnings():
            self.warn(warning)
        lease = self._out[lease.token]
        seconds = clock.now() - began
        self._notify(
            LeaseMade(
                token=lease.token,
                entry=lease.entry,
                kind=lease.kind,
                group=lease.group,
                part=lease.part,
                attempt=lease.attempt,
                details=lease.details,
                seconds=seconds,
            )
        )
        return lease, made

    def release(self, lease: Lease) -> bool:
        """Whether it is gone now."""
        began = clock.now()
        try:
            self._kinds[lease.entry].release(lease)
            self._journal.released(lease.token)
        except (HarnessError, OSError) as error:
            why = error.message if isinstance(error, HarnessError) else str(error)
            self.warn(
                f"a lease of [isolation.{lease.entry}] was not released: {why}; the next run tries again, or `gc`"
            )
            self._end(lease, "leaked", why, began)
            return False
        self._end(lease, "released", "", began)
        return True

    def keep(self, lease: Lease) -> None:
        """It stays until `gc --kept`. Raises OSError and InfrastructureError; it is then as it was."""
        self._kinds[lease.entry].renew(msgspec.structs.replace(lease, kept=True))
        self._journal.kept(lease.token)
        self._end(lease, "kept", "", clock.now())

    def warn(self, message: str) -> None:
        self._notify(Warned(message=message))

    def close(self) -> None:
        """Releases all that is still out, the last made first, and closes the journal."""
        self._over.set()
        self._heart.join()
        dead: set[str] = set()
        for lease in reversed(list(self._out.values())):
            # A server that did not answer once is not waited for again and again; the journal keeps what is left.
            if lease.entry not in dead and not self.release(lease):
                dead.add(lease.entry)
        try:
            self._journal.close()
        except OSError as error:
            self.warn(f"the journal of leases could not be closed: {error}")

    def _learned(self, token: str, details: Mapping[str, str]) -> None:
        self._journal.learned(token, details)
        lease = self._out[token]
        self._out[token] = msgspec.structs.replace(lease, details=lease.details | dict(details))

    def _end(self, lease: Lease, ending: Literal["released", "kept", "leaked"], reason: str, began: float) -> None:
        with self._lock:
            self._out.pop(lease.token, None)
        seconds = clock.now() - began
        self._notify(
            LeaseEnded(
                token=lease.token,
                entry=lease.entry,
                group=lease.group,
                part=lease.part,
                ending=ending,
                reason=reason,
                seconds=seconds,
            )
        )

    def _beat(self) -> None:
        while not self._over.wait(_RENEW):
            with self._lock:
                out = list(self._out.values())
            for lease in out:
                # Whatever it is, the others must be renewed too; the next user of the server will say what is wrong.
                with suppress(Exception):
                    self._kinds[lease.entry].renew(lease)
