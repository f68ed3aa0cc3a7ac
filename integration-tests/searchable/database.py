"""One transaction per request, always inside one organization's schema.

The schema is chosen by `SET LOCAL search_path` (spelled `set_config(…, true)` because SET takes no parameters),
so it ends with the transaction and a pooled connection cannot carry one organization's view over to the next.
Nothing here names a schema in SQL: a query that forgot about organizations finds no table at all.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg import Connection, OperationalError
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

Row = dict[str, Any]
Json = dict[str, Any]

ORGANIZATION_TABLES = (Path(__file__).parent / "schema.sql").read_text()
PLATFORM_TABLES = """
    SELECT pg_advisory_xact_lock(7263544);
    CREATE TABLE IF NOT EXISTS public.organizations (
        slug text PRIMARY KEY,
        schema text NOT NULL UNIQUE,
        key_hash bytea NOT NULL UNIQUE,
        live boolean NOT NULL,
        payment_account text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now()
    )
"""


@dataclass(frozen=True, slots=True)
class Organization:
    """A tenant: a key, a schema and a payment account of its own."""

    slug: str
    schema: str
    payment_account: str


@dataclass(slots=True)
class Tx:
    """A running transaction. What must only happen if it commits goes through `after_commit`."""

    connection: Connection[Row]
    organization: Organization
    deferred: list[Callable[[], None]] = field(default_factory=list)

    def all(self, sql: str, params: Any = None) -> list[Row]:
        return self.connection.execute(sql, params).fetchall()

    def maybe(self, sql: str, params: Any = None) -> Row | None:
        return self.connection.execute(sql, params).fetchone()

    def one(self, sql: str, params: Any = None) -> Row:
        """For statements that cannot come back empty; LookupError is a bug, not a refusal."""
        row = self.maybe(sql, params)
        if row is None:
            raise LookupError(f"no row: {sql}")
        return row

    def run(self, sql: str, params: Any = None) -> int:
        """Executes and returns the number of rows touched."""
        return self.connection.execute(sql, params).rowcount

    def update(self, table: str, row_id: int, changes: Row) -> None:
        """Sets the given columns; names come from models in this package, never from a request."""
        if changes:
            assignments = ", ".join(f"{column} = %({column})s" for column in changes)
            self.run(f"UPDATE {table} SET {assignments} WHERE id = %(id)s", {**changes, "id": row_id})

    def after_commit(self, action: Callable[[], None]) -> None:
        self.deferred.append(action)


class Database:
    """The connection pool, and the two kinds of transactions there are."""

    def __init__(self, url: str) -> None:
        self.pool: ConnectionPool[Connection[Row]] = ConnectionPool(
            url,
            min_size=2,
            max_size=16,
            open=False,
            # Server-side prepared statements are tied to one search_path; here it changes with every request.
            kwargs={"row_factory": dict_row, "prepare_threshold": None},
        )

    def open(self) -> None:
        self.pool.open(wait=True, timeout=10)
        with self.platform() as connection:
            connection.execute(PLATFORM_TABLES)

    def close(self) -> None:
        self.pool.close(timeout=2)

    def ping(self) -> None:
        """Raises what psycopg raises when the database does not answer."""
        try:
            with self.pool.connection(timeout=1) as connection:
                connection.execute("SELECT 1")
        except OperationalError:
            self.pool.check()  # the others are broken as well: replaced now, or each would fail a request first
            raise

    @contextmanager
    def platform(self) -> Iterator[Connection[Row]]:
        """A transaction outside of any organization, for the list of organizations only."""
        with self.pool.connection() as connection:
            yield connection

    @contextmanager
    def inside(self, organization: Organization) -> Iterator[Tx]:
        """A transaction that sees one organization's tables; committed on leaving, rolled back by any exception."""
        with self.pool.connection() as connection:
            connection.execute("SELECT set_config('search_path', %s, true)", [organization.schema])
            tx = Tx(connection, organization)
            yield tx
        for action in tx.deferred:
            action()
