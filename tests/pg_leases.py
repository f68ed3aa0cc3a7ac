"""Leases of the kind postgres for tests: made, entered as a group would, and looked for on the server."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import psycopg

from harness.isolation.lease import Lease, Made, new_token
from harness.isolation.postgres.kind import Postgres


def options(dsn: str, **changed: object) -> dict[str, Any]:
    """Those of an entry of the plan, with the defaults of planning/kinds.py."""
    return {
        "dsn": dsn,
        "make": "schema",
        "migrate": None,
        "migrations": (),
        "connections": 5,
        "variable": "DATABASE_URL",
        "schema_variable": "POSTGRES_SCHEMA",
        "ignore": (),
        **changed,
    }


def lease_of(kind: Postgres, group: str = "orders") -> Lease:
    lease = Lease(token=new_token(), entry="db", kind="postgres", run_id="20260101_000000", group=group)
    return msgspec.structs.replace(lease, details=dict(kind.plan(lease)))


def make(kind: Postgres, lease: Lease) -> Made:
    return kind.make(lease, lambda _details: None)


@contextmanager
def made(kind: Postgres, group: str = "orders") -> Iterator[tuple[Lease, str]]:
    """A lease and its DSN; released at the end."""
    lease = lease_of(kind, group)
    try:
        yield lease, make(kind, lease).variables["DATABASE_URL"]
    finally:
        kind.release(lease)


def rows(dsn: str, query: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(query.encode(), values or None)
        return cursor.fetchall() if cursor.description is not None else []


def standing(dsn: str, token: str) -> set[str]:
    """All that is on the server under the token: roles, schemas, databases."""
    found = rows(
        dsn,
        "SELECT 'role ' || rolname FROM pg_roles UNION ALL SELECT 'schema ' || nspname FROM pg_namespace "
        "UNION ALL SELECT 'database ' || datname FROM pg_database",
    )
    return {name for (name,) in found if token in name}
