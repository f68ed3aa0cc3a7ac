"""The isolation kind `postgres`: a schema or a database for each lease, with a role that reaches nothing else.

The tests get a plain URL. What makes it enough (the schema on the search path, the group's name as application_name) is
set on the role, so that it holds for every client in every language. Where there is a `migrate`, a lease is a copy of a
template that was migrated once (postgres/template.py). What stands on the server, and how it is marked and removed, is
in postgres/made.py; how the server is spoken to, in postgres/server.py.

On servers before 15 everybody may create tables in `public`, unless its owner forbids it; so may these roles.
"""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness import clock
from harness.isolation.label import label_of
from harness.isolation.lease import BaseKind, Capacity, Context, Lease, Made
from harness.isolation.postgres.look import databases_of, tables, tables_outside
from harness.isolation.postgres.made import (
    Role,
    all_labelled,
    make_database,
    make_schema,
    names_of,
    relabel,
    remove,
)
from harness.isolation.postgres.server import POOL, Server
from harness.isolation.postgres.template import Templates

_CLOSING = 1.0  # seconds in which the sessions of a process that has ended are gone
_LOOK_AGAIN = 0.02
_SHOWN = 100  # characters of a query


class Postgres(BaseKind):
    """One entry of this kind. `dsn` is the address of a role that may create roles, and schemas or databases."""

    wants_sentinel = True

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        super().__init__(options, context)
        self._server = Server(options["dsn"])
        self._templates = Templates(options, context, self._server)
        self._makes_databases = options["make"] == "database"
        self._known: dict[str, frozenset[str]] = {}  # by token: tables outside that have been told

    def capacity(self) -> Capacity:
        """Sessions. Other leases count with all that they may open, whether they have or not."""
        now = self._server.now()
        with self._server.session("count its sessions") as session:
            place = session.place
            limit, reserved, others = session.run(_SESSIONS)[0]
            held = sum(max(found.connections, 0) for found in all_labelled(session) if not found.label.is_over(now))
        total = max(limit - reserved - others - POOL, 0)
        said = (
            f"max_connections is {limit}, {reserved} are kept for superusers, {others} are in use, "
            f"{held} belong to leases, {POOL} are the harness's own"
        )
        return Capacity(max(total - held, 0), said, total, server=f"postgres {place}")

    def plan(self, lease: Lease) -> Mapping[str, str]:
        return names_of(lease, self.options["make"])

    def make(self, lease: Lease, learned: Callable[[Mapping[str, str]], None]) -> Made:
        self._server.check_rights(databases=self._makes_databases)
        role = Role(
            lease.details["role"],
            secrets.token_urlsafe(24),
            str(label_of(lease, self.context, self._server.now())),
            self.options["connections"],
        )
        schema = lease.details["schema"]
        everybody = not lease.group  # a sentinel
        if self._makes_databases:
            template = self._templates.database()
            make_database(self._server, lease, role, template, open_to_all=everybody)
        else:
            dump = self._templates.schema()
            make_schema(self._server, lease, role, dump.renamed(schema) if dump else "", open_to_all=everybody)
        dsn, name = self.options["variable"], self.options["schema_variable"]
        database = lease.details.get("database") or self._server.facts.database
        return Made(
            {dsn: self._server.url(role.name, role.password, database), name: schema},
            {"dsn": dsn, "schema": name},
            frozenset({dsn}),
        )

    def release(self, lease: Lease) -> None:
        remove(self._server, lease.token)
        self._known.pop(lease.token, None)

    def renew(self, lease: Lease) -> None:
        relabel(self._server, lease.token, label_of(lease, self.context, self._server.now()))
        self._templates.renew()

    def expired(self) -> Sequence[Lease]:
        now = self._server.now()
        with self._server.session("look for what dead runs left") as session:
            found = all_labelled(session)
        return [
            Lease(token=label.token, entry="", kind="postgres", run_id=label.run_id, details=dict(details))
            for label, _, details in found
            if label.project_id == self.context.project_id and label.is_over(now)
        ]

    def look(self, sentinel: Lease | None) -> Mapping[str, str]:
        """Tables alone: of the database of `dsn`, and of the sentinel's."""
        ignore = self.options["ignore"]
        details = sentinel.details if sentinel else {}
        role, database = details.get("role", ""), details.get("database")
        with self._server.session("look at its tables") as session:
            seen = dict(tables(session, role, ignore))
        if database:
            with self._server.apart("look at the sentinel", database=database) as session:
                seen |= {f"{thing} of {database}": how for thing, how in tables(session, role, ignore).items()}
        return seen

    def leftovers(self, lease: Lease) -> Sequence[str]:
        """Sessions that are still open a second later, and tables that the lease's role has made outside of what is
        its own: they go with the lease, so `look` leaves them out. Each table is told once."""
        role = lease.details["role"]
        limit = clock.now() + _CLOSING
        with self._server.session("look for sessions that are still open") as session:
            while (open_ones := session.run(_OPEN, role)) and clock.now() < limit:
                time.sleep(_LOOK_AGAIN)
        outside = self._outside(role, lease.details.get("database"))
        known, self._known[lease.token] = self._known.get(lease.token, frozenset()), outside
        made = [f"{table} was made outside of the lease" for table in sorted(outside - known)]
        return [_told(*row) for row in open_ones] + made

    def close(self) -> None:
        try:
            self._templates.close()
        finally:
            self._server.close()

    def _outside(self, role: str, own: str | None) -> frozenset[str]:
        """Tables of the role, but for those in its schema or in its database `own`."""
        ignore, found = self.options["ignore"], []
        with self._server.session("look for tables outside of a lease") as session:
            found += tables_outside(session, role, ignore)
            elsewhere = [database for database in databases_of(session, role) if database != own]
        for database in elsewhere:
            with self._server.apart("look for tables outside of a lease", database=database) as session:
                found += [f"{table} of {database}" for table in tables_outside(session, role, ignore)]
        return frozenset(found)


# Sessions of leases are counted with their leases. What kind of session others have, only some roles are told; those
# of the server itself that do not count have no database.
_SESSIONS = """
SELECT current_setting('max_connections')::int,
       current_setting('superuser_reserved_connections')::int
           + coalesce(current_setting('reserved_connections', true)::int, 0),
       (SELECT count(*) FROM pg_stat_activity a
        WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'
          AND pid <> pg_backend_pid() AND NOT EXISTS (
            SELECT FROM pg_roles r WHERE r.oid = a.usesysid
            AND shobj_description(r.oid, 'pg_authid') LIKE 'harness lease=%'))"""

_OPEN = """
SELECT coalesce(state, 'unknown'), greatest(extract(epoch FROM clock_timestamp() - state_change), 0)::int, query
FROM pg_stat_activity WHERE usename = %s ORDER BY backend_start, pid"""


def _told(state: str, seconds: int | None, query: str | None) -> str:
    words = " ".join((query or "").split())
    words = words[: _SHOWN - 1] + "…" if len(words) > _SHOWN else words
    return f"session {state} since {seconds or 0} s" + (f": last query {words}" if words else "")
