"""Leases that are prefixes: all keys of a lease begin with `h:GROUP:TOKEN:`, and a user of its own can touch no others.

The user, `h_TOKEN`, is an ACL user (Redis 6.2 and later). Its channels begin with the prefix as well, it stays in one
database, and what concerns the whole server is refused. Of other keys it can read the names, as with SCAN, no more.
A server that has no such users, or lets us make none, gives the plain address, and the details say why.

The label stands in the key `harness:lease:TOKEN` of the same database.
"""

import re
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from harness.files import safe_name
from harness.isolation.label import label_of, read_label
from harness.isolation.lease import Context, Lease, Made
from harness.isolation.redis.flushes import Flushes
from harness.isolation.redis.server import LEASES, Server, address, text

PREFIXED = re.compile(rb"h:[^:]*:([0-9a-f]{12}):")  # a key of a lease; the group is its token
_BATCH = 1000  # keys

# Of @dangerous, the two that only read are allowed: client libraries say INFO when they connect, and tests say KEYS.
# What is denied beyond it reaches other databases, where a moved or copied key would stay, or other users' scripts.
# AUTH and RESET, which take on another user, cannot be denied to anybody.
_COMMANDS = (
    *("+@all", "-@admin", "-@dangerous", "+info", "+keys"),
    *("+client|setname", "+client|getname", "+client|id"),
    *("-select", "-move", "-copy", "-script", "+script|load", "+script|exists"),
)


class Prefixes:
    """Prefixes in the database that the server's address names."""

    def __init__(self, server: Server, context: Context, options: Mapping[str, Any]) -> None:
        self._server = server
        self._context = context
        self._url: str = options["variable"]
        self._prefix: str = options["prefix_variable"]
        self._client = server.client(server.database)
        self.flushes = Flushes(self._client)
        self._held: set[str] = set()  # tokens; of this process
        self._lock = threading.Lock()

    def plan(self, lease: Lease) -> Mapping[str, str]:
        return {"prefix": f"h:{safe_name(lease.name)}:{lease.token}:"}

    def make(self, lease: Lease, learned: Callable[[Mapping[str, str]], None]) -> Made:
        prefix, user, password = lease.details["prefix"], f"h_{lease.token}", secrets.token_hex(20)
        with self._lock:
            self._held.add(lease.token)
        self._mark(lease)
        self.flushes.watch(lease.token, LEASES + lease.token)
        if why := self._refused(user, password, prefix):
            learned({"note": f"the server made no user for it, so nothing keeps it to its prefix: {why}"})
            url = address(self._server.url, self._server.database)
        else:
            url = address(self._server.url, self._server.database, user, password)
        secret = frozenset({self._url} if not why or self._server.has_password else ())
        return Made({self._url: url, self._prefix: prefix}, {"url": self._url, "prefix": self._prefix}, secret)

    def release(self, lease: Lease) -> None:
        """The user first, with its connections, so that nothing comes after; the label last."""
        import redis

        self.flushes.forget(lease.token)
        try:
            self._client.execute_command("ACL DELUSER", f"h_{lease.token}")
        except redis.ResponseError:
            pass  # who may not remove users was not let make one
        own = (key for key in self._client.scan_iter(f"h:*:{lease.token}:*", _BATCH) if _token(key) == lease.token)
        while batch := list(islice(own, _BATCH)):
            self._client.execute_command("UNLINK", *batch)
        self._client.execute_command("DEL", LEASES + lease.token)
        with self._lock:
            self._held.discard(lease.token)

    def renew(self, lease: Lease) -> None:
        with self._lock:
            held = lease.token in self._held
        self.flushes.count()
        self._mark(lease, *(() if held else ("XX",)))

    def expired(self) -> Sequence[Lease]:
        keys = list(self._client.scan_iter(f"{LEASES}*", _BATCH))
        now, _ = self._client.execute_command("TIME")
        labels = [read_label(text(self._client.execute_command("GET", key))) for key in keys]
        return [
            Lease(label.token, "redis", "redis", label.run_id)
            for key, label in zip(keys, labels, strict=True)
            if label and text(key) == LEASES + label.token
            if label.project_id == self._context.project_id and label.is_over(now)
        ]

    def leftovers(self, lease: Lease) -> Sequence[str]:
        return [
            f"{one['addr']} is still connected as the user {one['user']}"
            for one in self._server.others(self._client)
            if one.get("user") == f"h_{lease.token}"
        ]

    def close(self) -> None:
        self._client.close()

    def _mark(self, lease: Lease, *only: str) -> None:
        now, _ = self._client.execute_command("TIME")
        label = str(label_of(lease, self._context, now))
        self._client.execute_command("SET", LEASES + lease.token, label, *only)

    def _refused(self, user: str, password: str, prefix: str) -> str:
        """Makes the user; returns the server's words where it does not."""
        import redis

        try:
            scripting = self._client.execute_command("ACL CAT", "scripting")
            # Libraries of functions belong to the whole server. Before Redis 7 there were none to deny.
            functions = ["-function"] if any(text(name).startswith("function") for name in scripting) else []
            rules = ("resetchannels", "on", f">{password}", f"~{prefix}*", f"&{prefix}*", *_COMMANDS, *functions)
            select = f"+select|{self._server.database}"
            self._client.execute_command("ACL SETUSER", user, "reset", *rules, select)
        except redis.ResponseError as error:
            return str(error)
        return ""


def _token(key: bytes) -> str:
    found = PREFIXED.match(key)
    return text(found[1]) if found else ""
