"""The fixture `leftovers`: a test that leaves rows in its schema fails, or warns.

Rows are counted before the test, and again after the last of its fixtures is gone, whatever order they have: so this is
half a fixture and half a hook (`check`). Rows that fixtures of a wider scope made before the test are no leftovers.

After a session's last test its database may be gone before the hook runs, so there the rows are counted just before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from .postgres import Database, libpq_dsn, load_psycopg

INI = "harness_leftovers"
MARKER = "harness_leftovers"
MODES = ("fail", "warn")

_DEADLINE = "5s"  # of a count: a test may still hold locks
_TABLES = """
    SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = %s AND relkind = 'r' ORDER BY relname
"""


class Counter:
    """Counts the rows of the session's database. What it counted last is kept for when that is gone."""

    def __init__(self, database: Database) -> None:
        self.schema = database.schema
        self.awaits_check = False
        self._database = database
        self._last: dict[str, int] | None = None

    def count(self) -> dict[str, int]:
        return _count(self._database) if self._last is None else self._last

    def keep(self) -> None:
        self._last = self.count()


class _Before(NamedTuple):
    counter: Counter
    rows: dict[str, int]


_BEFORE: pytest.StashKey[_Before] = pytest.StashKey()


@pytest.fixture(scope="session")
def _counter(_database: Database) -> Iterator[Counter]:
    counter = Counter(_database)
    yield counter
    if counter.awaits_check:
        counter.keep()


@pytest.fixture
def leftovers(request: pytest.FixtureRequest, _counter: Counter) -> None:
    """Fails a test that leaves rows behind in the schema `postgres_schema`, or warns: `harness_leftovers = warn`.

    The mode is set in pytest's configuration, or for one test with `@pytest.mark.harness_leftovers("warn")`.
    """
    _mode(request.node)  # a wrong one is told now
    request.node.stash[_BEFORE] = _Before(_counter, _counter.count())
    _counter.awaits_check = True


def check(item: pytest.Item) -> None:
    """Call it when all fixtures of the test are gone. Fails or warns if there are more rows than before."""
    before = item.stash.get(_BEFORE, None)
    if before is None:
        return
    del item.stash[_BEFORE]
    before.counter.awaits_check = False
    after = before.counter.count()
    more = {table: rows - before.rows.get(table, 0) for table, rows in after.items()}
    left = [f"{rows} in {table}" for table, rows in more.items() if rows > 0]
    if not left:
        return
    message = (
        f"the test left rows behind in the schema {before.counter.schema}: {', '.join(left)}. "
        "Delete them in the test's fixtures, or write through the fixture `transaction`."
    )
    if _mode(item) == "warn":
        item.warn(pytest.PytestWarning(message))
    else:
        pytest.fail(message, pytrace=False)


def _mode(item: Any) -> str:
    marker = item.get_closest_marker(MARKER)
    mode = str(marker.args[0] if marker and marker.args else item.config.getini(INI))
    if mode not in MODES:
        raise pytest.UsageError(f"{MARKER} is {mode!r}: it must be one of {', '.join(MODES)}")
    return mode


def _count(database: Database) -> dict[str, int]:
    """Rows by table."""
    psycopg = load_psycopg()
    with psycopg.connect(libpq_dsn(database.dsn), autocommit=True) as connection:
        connection.execute(f"SET lock_timeout = '{_DEADLINE}'; SET statement_timeout = '{_DEADLINE}'")
        tables = [name for (name,) in connection.execute(_TABLES, [database.schema])]
        if not tables:
            return {}
        sql = psycopg.sql
        counts = [
            sql.SQL("SELECT {}::text, count(*) FROM {}").format(table, sql.Identifier(database.schema, table))
            for table in tables
        ]
        return dict(connection.execute(sql.SQL(" UNION ALL ").join(counts)).fetchall())
