"""What stands on the server for one lease: a role, and its schema or database. Making, marking and removing them.

The role `h_TOKEN` bears the label, in the transaction that creates it. Nobody but an administrator can change that
comment, the role itself neither. So what the role owns is the lease's, and what is removed is what the role with the
token's label owns: also where a test has written its own comment on its schema, also what was made half-way.

A schema comes and goes with its role in one transaction. A database cannot be made in one, so its role comes first.

The server may go on making what its client, which died, has asked for. So whoever makes something has the token's
advisory lock until that is over, and whoever removes it waits for that lock.
"""

import re
import time
from collections.abc import Mapping
from typing import NamedTuple

from harness import clock
from harness.isolation.label import Label, read_label
from harness.isolation.lease import Lease
from harness.isolation.postgres.server import DEADLINE, LOCKED, Server, ServerError, Session, identifier, literal

MOMENT = 1.0
"""Seconds for which a stranger's session may keep a lock on what is to be removed; then it is ended."""

_LOOK_AGAIN = 0.01  # seconds between looks for sessions that are ending

_TRANSIENT = frozenset(
    {
        LOCKED,
        "55006",  # object_in_use
        "40P01",  # deadlock_detected
        "XX000",  # "tuple concurrently updated": somebody else removes it, too
        "42704",  # undefined_object: … and was faster
        "3D000",  # invalid_catalog_name: likewise
    }
)


def names_of(lease: Lease, make: str) -> dict[str, str]:
    """The names of what is made for a lease: `role`, `schema` and, for a database, `database`.

    All are lower-case letters, digits and `_`, at most 63 of them, whatever the group is called.
    """
    words = re.sub(r"[^a-z0-9]+", "_", lease.name.lower()).strip("_")[:40] or "nobody"
    name = f"h_{words}_{lease.token}"
    role = {"role": f"h_{lease.token}"}
    return {**role, "schema": name} if make == "schema" else {**role, "schema": "public", "database": name}


def application_name(group: str) -> str:
    """The group's name as Postgres shows it: printable ASCII, at most 63 characters."""
    return "".join(char if " " <= char <= "~" else "?" for char in group)[:63]


# The rights on the database stand in one row of the catalog, and two who change it at once are an error there.
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtext('harness: rights on the database'))"


def _lock(token: str, kind: str) -> str:
    return f"SELECT pg_advisory_{kind}lock({int(token, 16)})"


class Role(NamedTuple):
    """A role that is to be made."""

    name: str
    password: str
    comment: str
    connections: int


def make_role(server: Server, session: Session, role: Role) -> None:
    """Makes a role that may log in, and owns nothing yet. Within a transaction."""
    facts = server.facts
    name = identifier(role.name)
    statements = [
        f"CREATE ROLE {name} LOGIN CONNECTION LIMIT {role.connections} "
        f"PASSWORD {literal(session.verifier(role.name, role.password))}",
        f"COMMENT ON ROLE {name} IS {literal(role.comment)}",
    ]
    if not facts.is_superuser:  # who is none must be a member to make something that the role owns
        statements.append(f"GRANT {name} TO CURRENT_USER")
    if facts.may_grant_monitor:
        statements.append(f"GRANT pg_monitor TO {name}")
    session.run("; ".join(statements))


def make_schema(server: Server, lease: Lease, role: Role, sql: str = "", *, open_to_all: bool = False) -> None:
    """Makes a role and its schema, and runs `sql` as that role, all of it or nothing."""
    facts = server.facts
    schema, owner = identifier(lease.details["schema"]), identifier(role.name)
    database = identifier(facts.database)
    path = ", ".join(identifier(name) for name in (lease.details["schema"], *facts.extension_schemas))
    settings = {"search_path": path, "application_name": literal(application_name(lease.name))}
    with server.session(f"make the schema {lease.details['schema']}") as session:
        with session.transaction():
            session.run(_lock(lease.token, "xact_"))
            make_role(server, session, role)
            if not facts.everybody_connects:
                session.run(f"{_ONE_AT_A_TIME}; GRANT CONNECT ON DATABASE {database} TO {owner}")
            for name, value in settings.items():
                session.run(f"ALTER ROLE {owner} IN DATABASE {database} SET {name} = {value}")
            session.run(f"CREATE SCHEMA {schema} AUTHORIZATION {owner}")
            session.run(f"COMMENT ON SCHEMA {schema} IS {literal(role.comment)}")
            session.run(f"SET LOCAL ROLE {owner}; SET LOCAL check_function_bodies = off; {sql}")
            if open_to_all:
                session.run(_opened(schema))
        session.reset()


def make_database(
    server: Server,
    lease: Lease,
    role: Role,
    template: tuple[str, str] | None = None,
    *,
    open_to_all: bool = False,
) -> None:
    """Makes a role and its database, a copy of `template` (its name, and the role whose things become this role's)."""
    facts = server.facts
    database, owner = identifier(lease.details["database"]), identifier(role.name)
    with server.session(f"make the database {lease.details['database']}") as session:
        session.run(_lock(lease.token, ""))
        with session.transaction():
            make_role(server, session, role)
        create = f"CREATE DATABASE {database} OWNER {owner}"
        if template:
            create += f" TEMPLATE {identifier(template[0])}"
        if facts.version >= 15 and not facts.is_safe:
            # Copying files is the faster way where the checkpoints that it needs cost nothing.
            create += " STRATEGY file_copy"
        session.run(create)
        statements = [
            f"COMMENT ON DATABASE {database} IS {literal(role.comment)}",
            f"ALTER ROLE {owner} IN DATABASE {database} SET application_name = {literal(application_name(lease.name))}",
        ]
        if not open_to_all:
            statements.append(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
        session.run("; ".join(statements))
        session.run(_lock(lease.token, "un"))
    if template or open_to_all:
        doing = f"hand the tables of the database {lease.details['database']} over"
        with server.apart(doing, database=lease.details["database"]) as session, session.transaction():
            if template:
                session.run(f"REASSIGN OWNED BY {identifier(template[1])} TO {owner}")
            if open_to_all:
                session.run(_opened("public"))


def _opened(schema: str) -> str:
    """Lets everybody write there: a sentinel must not keep a stranger away who is to be seen."""
    return (
        f"GRANT ALL ON SCHEMA {schema} TO PUBLIC; GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO PUBLIC; "
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO PUBLIC"
    )


def relabel(server: Server, token: str, label: Label) -> None:
    """Writes a new label on all that the token's role owns. Nothing happens if there is no such role any more."""
    with server.session(f"renew the lease {token}") as session:
        found = _found(session, token)
        if found is None:
            return
        things = [
            f"ROLE {identifier(found.role)}",
            *(f"SCHEMA {identifier(name)}" for name in found.schemas),
            *(f"DATABASE {identifier(name)}" for name in found.databases),
        ]
        session.run("; ".join(f"COMMENT ON {thing} IS {literal(str(label))}" for thing in things))


def remove(server: Server, token: str) -> None:
    """Removes the role that bears the token's label, its sessions and all that it owns. No harm if there is none.

    Raises ServerError if it is still there after DEADLINE seconds.
    """
    limit = clock.now() + DEADLINE
    with server.session(f"remove the lease {token}") as session:
        session.run(f"{_lock(token, '')}; {_lock(token, 'un')}")
        session.run(f"SET lock_timeout = {int(MOMENT * 1000)}")
        while (found := _found(session, token)) is not None:
            try:
                _remove(server, session, found)
            except ServerError as error:
                if error.sqlstate not in _TRANSIENT or clock.now() >= limit - 2 * MOMENT:
                    raise
                _end_sessions(session, _HOLDERS, found.oid)
        session.reset()


class _Found(NamedTuple):
    """What stands for a token."""

    oid: int
    role: str
    schemas: list[str]
    databases: list[str]


_STANDING = """
SELECT r.oid, r.rolname::text, shobj_description(r.oid, 'pg_authid'),
       ARRAY(SELECT nspname::text FROM pg_namespace WHERE nspowner = r.oid),
       ARRAY(SELECT datname::text FROM pg_database
             WHERE datdba = r.oid OR shobj_description(oid, 'pg_database') LIKE 'harness lease=' || %s || ' %%')
FROM pg_roles r WHERE r.rolname = %s"""


def _found(session: Session, token: str) -> _Found | None:
    """None: no role bears the label of this token, whatever it is called."""
    for oid, role, comment, schemas, databases in session.run(_STANDING, token, f"h_{token}"):
        label = read_label(comment)
        if label is not None and label.token == token:
            return _Found(oid, role, schemas, databases)
    return None


def _remove(server: Server, session: Session, found: _Found) -> None:
    role = identifier(found.role)
    session.run(f"ALTER ROLE {role} NOLOGIN")
    _end_sessions(session, _SESSIONS, found.oid)
    for database in found.databases:
        session.run(f"DROP DATABASE IF EXISTS {identifier(database)} WITH (FORCE)")
    for (database,) in session.run(_ELSEWHERE, found.oid):
        # It has written where everybody may: that has been seen by now, if somebody looks for it.
        with server.apart(f"remove what {found.role} left in {database}", database=database) as other:
            other.run(f"SET lock_timeout = {int(MOMENT * 1000)}; DROP OWNED BY {role} CASCADE")
    with session.transaction():
        session.run(_ONE_AT_A_TIME)
        session.run(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


# The other databases in which something belongs to the role, or is granted to it.
_ELSEWHERE = """
SELECT DISTINCT datname::text FROM pg_shdepend d JOIN pg_database b ON b.oid = d.dbid
WHERE refclassid = 'pg_authid'::regclass AND refobjid = %s AND datname <> current_database()"""

_SESSIONS = "SELECT pid FROM pg_stat_activity WHERE usesysid = %s AND pid <> pg_backend_pid()"

# Whoever has a lock on a schema of the role, or on something in it.
_HOLDERS = """
WITH mine AS (SELECT oid FROM pg_namespace WHERE nspowner = %s)
SELECT DISTINCT pid FROM pg_locks l
WHERE granted AND pid <> pg_backend_pid()
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (relation IN (SELECT oid FROM pg_class WHERE relnamespace IN (SELECT oid FROM mine))
       OR classid = 'pg_namespace'::regclass AND objid IN (SELECT oid FROM mine))"""


def _end_sessions(session: Session, which: str, role: int) -> None:
    """Ends the sessions of a query, and waits a moment for their end."""
    limit = clock.now() + MOMENT
    while session.run(f"SELECT pg_terminate_backend(pid) FROM ({which}) found", role) and clock.now() < limit:
        time.sleep(_LOOK_AGAIN)


_LABELLED = """
SELECT r.rolname::text, shobj_description(r.oid, 'pg_authid'), r.rolconnlimit,
       (SELECT nspname::text FROM pg_namespace WHERE nspowner = r.oid LIMIT 1),
       (SELECT datname::text FROM pg_database WHERE datdba = r.oid LIMIT 1)
FROM pg_roles r WHERE r.rolname LIKE 'h\\_%'"""


class Labelled(NamedTuple):
    """A lease's role that stands on the server, whoever's."""

    label: Label
    connections: int
    details: Mapping[str, str]


def all_labelled(session: Session) -> list[Labelled]:
    """Every lease that stands on the server, by its role's label."""
    found = []
    for role, comment, connections, schema, database in session.run(_LABELLED):
        label = read_label(comment)
        if label is not None and role == f"h_{label.token}":
            details = {"role": role, "schema": schema or "public", "database": database or ""}
            found.append(Labelled(label, connections, {name: value for name, value in details.items() if value}))
    return found
