"""The kind `redis`: for each lease a database of the server, or a prefix of keys and a user that can touch no others.

How either is made, known by its label and removed stands in redis/databases.py and redis/prefixes.py; the check's look
in redis/look.py. Here what they have in common: what is said when the server does not do what it is asked.

A sentinel gets nothing: every database that nobody has is one already. The password of the server's address goes to
the tests where they need it, and never into the details of a lease.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness import clock
from harness.isolation.lease import BaseKind, Capacity, Context, Lease, Made
from harness.isolation.redis.databases import HOME, Databases
from harness.isolation.redis.look import look
from harness.isolation.redis.prefixes import Prefixes
from harness.isolation.redis.server import Server

_FAREWELL = 1.0  # seconds until the server has seen that the sockets of a process that ended are closed
_PAUSE = 0.05  # seconds


class Redis(BaseKind):
    """[isolation.NAME] with kind = "redis". Raises HarnessError where the package redis is missing, and
    InfrastructureError where the server, named in the message, does not do what it is asked."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        super().__init__(options, context)
        self._server = Server(options["url"], context.run_id)
        self._databases = Databases(self._server, context, options) if options["make"] == "database" else None
        self._leases = self._databases or Prefixes(self._server, context, options)

    def capacity(self) -> Capacity | None:
        """Databases that nobody has at this moment, and those that a run has; there is no bound for prefixes."""
        if not self._databases:
            return None
        with self._server.asked("count the databases"):
            return self._databases.capacity()

    def plan(self, lease: Lease) -> Mapping[str, str]:
        return self._leases.plan(lease)

    def make(self, lease: Lease, learned: Callable[[Mapping[str, str]], None]) -> Made:
        """The variables of the URL and, where the database is not the group's own, of the prefix.

        Waits up to 30 seconds for a database, while the run goes on. `learned` is told its number, or why a prefix has
        no user of its own.
        """
        if not lease.group:
            return Made({})
        with self._server.asked("make a lease"):
            return self._leases.make(lease, learned)

    def release(self, lease: Lease) -> None:
        """Ends the connections to it and removes all its keys, as long as its label bears the lease's token."""
        with self._server.asked("release a lease", gone_is_fine=True):
            self._leases.release(lease)

    def renew(self, lease: Lease) -> None:
        """Puts the label back if a test has flushed it away; that of a kept lease never ends. Raises
        InfrastructureError if the lease has been lost."""
        if lease.group:
            with self._server.asked("renew a lease"):
                self._leases.renew(lease)

    def expired(self) -> Sequence[Lease]:
        with self._server.asked("look for leases that are over"):
            return self._leases.expired()

    def look(self, sentinel: Lease | None) -> Mapping[str, str]:
        """Every key that belongs to no lease, but for those with a time to live (redis/look.py); and whether somebody
        has removed the keys by which this process's leases are known."""
        held = self._databases.held if self._databases else frozenset()
        database = HOME if self._databases else self._server.database
        with self._server.asked("look at the keys"):
            own = {f"the harness's own keys in database {database}": self._leases.flushes.told()}
            return {**own, **look(self._server, held, self.options["ignore"])}

    def leftovers(self, lease: Lease) -> Sequence[str]:
        """Connections to the lease that outlive its group by a second. None where CLIENT LIST is forbidden."""
        deadline = clock.now() + _FAREWELL
        with self._server.asked("list the connections"):
            while (found := self._leases.leftovers(lease)) and clock.now() < deadline:
                time.sleep(_PAUSE)
        return found

    def close(self) -> None:
        self._leases.close()
