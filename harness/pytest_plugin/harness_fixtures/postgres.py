"""The fixtures for Postgres: a schema of one's own, a connection that is rolled back, and rows that were left behind.

With a lease of the harness the schema is the lease's. Without one, but with the variable DATABASE_URL, this process
makes a schema of its own in that database, and drops it at the end. psycopg 3 is imported when a test asks for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import pytest

from .leased import skip
from .leases import leases_of
from .names import stamp

if TYPE_CHECKING:
    import psycopg

_NOT_YOURS_TO_COMMIT = (
    "a test must not commit on the fixture `transaction`: all of it is rolled back at the end. "
    "What is to be undone within the test goes into `with transaction.transaction():`, a savepoint; "
    "what is to be committed, into a connection of the test's own on `postgres_dsn`"
)


class Database(NamedTuple):
    """Where this process's tables are."""

    dsn: str
    schema: str


def known_dsn() -> str:
    """The DSN by which this process reaches its database; empty: there is none."""
    leased = leases_of("postgres")
    return leased[0].value("dsn") if leased else os.environ.get("DATABASE_URL", "")


def libpq_dsn(dsn: str) -> str:
    """As psycopg takes it: SQLAlchemy's `postgresql+driver://` becomes `postgresql://`."""
    scheme, separator, rest = dsn.partition("://")
    return f"{scheme.partition('+')[0]}://{rest}" if separator else dsn


def with_search_path(dsn: str, schema: str) -> str:
    """The DSN with the schema first on the search path; it stays what it was, a URL or `key=value` words."""
    option = f"-csearch_path={schema},public"
    if "://" not in dsn:
        from psycopg.conninfo import conninfo_to_dict, make_conninfo

        before = str(conninfo_to_dict(dsn).get("options") or "")
        return make_conninfo(dsn, options=f"{before} {option}".strip())
    parts = urlsplit(dsn)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    query["options"] = f"{query.get('options', '')} {option}".strip()
    # libpq takes a plus for a plus.
    return urlunsplit(parts._replace(query=urlencode(query, quote_via=quote)))


@pytest.fixture(scope="session")
def _database(request: pytest.FixtureRequest) -> Iterator[Database]:
    leased = leases_of("postgres")
    if leased:
        yield Database(leased[0].value("dsn"), leased[0].value("schema"))
        return
    dsn = os.environ.get("DATABASE_URL", "")
    if not dsn:
        skip('no Postgres here: set DATABASE_URL, or give the group `isolate` with an entry of kind = "postgres"')
    psycopg = load_psycopg()
    schema = f"test_{stamp(request.config)}"
    with psycopg.connect(libpq_dsn(dsn), autocommit=True) as connection:
        connection.execute(f'CREATE SCHEMA "{schema}"')
    try:
        yield Database(with_search_path(dsn, schema), schema)
    finally:
        with psycopg.connect(libpq_dsn(dsn), autocommit=True) as connection:
            # A session that a test left open may hold locks; it must not keep this process from its end.
            connection.execute("SET lock_timeout = '5s'")
            connection.execute(f'DROP SCHEMA "{schema}" CASCADE')


@pytest.fixture(scope="session")
def postgres_dsn(_database: Database) -> str:
    """The DSN of a Postgres in which this process has a schema of its own, first on the search path.

    The harness's lease; without one, a new schema in the database DATABASE_URL, dropped at the end. Skips where there
    is neither.
    """
    return _database.dsn


@pytest.fixture(scope="session")
def postgres_schema(_database: Database) -> str:
    """The name of this process's own schema in the database `postgres_dsn`."""
    return _database.schema


@pytest.fixture
def transaction(postgres_dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """A psycopg connection on `postgres_dsn`: all that is done on it is rolled back at the end of the test.

    `with transaction.transaction():` is a savepoint. A commit is refused, and one in SQL fails the test.
    """
    psycopg = load_psycopg()

    class RolledBack(psycopg.Connection[Any]):  # type: ignore[misc, name-defined]
        began: Any = None

        def begin(self) -> None:
            # The setting lasts only if it is committed.
            self.began = self._read("SELECT transaction_timestamp(), set_config('harness.began', 'yes', false)")

        def commit(self) -> None:
            raise psycopg.ProgrammingError(_NOT_YOURS_TO_COMMIT)

        def rollback(self) -> None:
            super().rollback()
            self.begin()

        def was_committed(self) -> bool:
            """Whether SQL has ended the transaction that `begin` saw. After an error: whether it was committed."""
            status, statuses = self.info.transaction_status, psycopg.pq.TransactionStatus
            if status == statuses.INERROR:
                super().rollback()
                return bool(self._read("SELECT current_setting('harness.began', true)") == "yes")
            if status == statuses.INTRANS:
                return bool(self._read("SELECT transaction_timestamp()") != self.began)
            return bool(status == statuses.IDLE)

        def _read(self, query: str) -> Any:
            with self.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
                return cursor.execute(query).fetchone()[0]

    connection = RolledBack.connect(libpq_dsn(postgres_dsn))
    try:
        connection.begin()
        yield connection
        if not connection.closed and connection.was_committed():
            pytest.fail(f"{_NOT_YOURS_TO_COMMIT}. This test has ended the transaction in SQL.", pytrace=False)
    finally:
        connection.close()  # which rolls back


def load_psycopg() -> ModuleType:
    """The package; skips the test where there is none."""
    try:
        import psycopg
        import psycopg.rows
        import psycopg.sql
    except ImportError:
        skip('this fixture needs psycopg: `pip install "psycopg[binary]"`')
    return psycopg
