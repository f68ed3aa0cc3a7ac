"""What everything that belongs to no lease is like, in one database: for the contamination check.

A table of up to MOST_ROWS rows and MOST_BYTES is read, and its rows are hashed: count and sum of Postgres's own 64-bit
hash, so their order does not matter. A larger one, or one that we may not read, is told by the server's counters of
written rows: they say that it was written to, but late while the session that wrote is still open.
"""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from harness.isolation.postgres.server import LOCKED, ServerError, Session, identifier

MOST_ROWS = 10_000
MOST_BYTES = 64 * 1024 * 1024  # of one table, on disk

_AT_ONCE = 50  # tables a query
_LOCK_TIMEOUT = "2s"

_GONE = frozenset({"42P01", "3F000"})  # undefined_table, invalid_schema_name


class _Table(NamedTuple):
    schema: str
    name: str
    oid: int
    is_readable: bool  # by us
    inserted: int
    updated: int
    deleted: int

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def quoted(self) -> str:
        return f"{identifier(self.schema)}.{identifier(self.name)}"

    @property
    def counters(self) -> str:
        return f"{self.inserted} rows inserted, {self.updated} updated, {self.deleted} deleted so far"


# What is a lease's is owned by a role that bears a label. What is in its schema may be anybody's, and what it has made
# elsewhere goes with it: that is told of the lease itself, by `tables_outside`.
_TABLES = """
SELECT n.nspname::text, c.relname::text, c.oid, has_table_privilege(c.oid, 'SELECT'),
       coalesce(s.n_tup_ins, 0), coalesce(s.n_tup_upd, 0), coalesce(s.n_tup_del, 0)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  AND NOT EXISTS (SELECT FROM unnest(ARRAY[c.relowner, n.nspowner]) AS owner
                  WHERE pg_get_userbyid(owner) <> %s AND shobj_description(owner, 'pg_authid') LIKE 'harness lease=%%')
ORDER BY 1, 2"""

_OUTSIDE = """
SELECT n.nspname::text || '.' || c.relname::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND c.relowner <> n.nspowner
  AND pg_get_userbyid(c.relowner) = %s"""

_DATABASES = """
SELECT DISTINCT datname::text
FROM pg_shdepend d JOIN pg_database b ON b.oid = d.dbid JOIN pg_roles r ON r.oid = d.refobjid
WHERE refclassid = 'pg_authid'::regclass AND deptype = 'o' AND rolname = %s AND datname <> current_database()"""


def tables(session: Session, sentinel: str, ignore: Sequence[str]) -> Mapping[str, str]:
    """Every table outside leases, and those of the role `sentinel`: "table public.users" -> "12 rows, 8c1f07a2"; "" for
    one that somebody has locked.

    `ignore` are globs on "schema.table". Raises ServerError.
    """
    session.run(f"SET lock_timeout = '{_LOCK_TIMEOUT}'")
    found = [_Table(*row) for row in session.run(_TABLES, sentinel)]
    watched = [table for table in found if not _is_any(table.full_name, ignore)]
    said: dict[str, str | None] = {table.full_name: table.counters for table in watched}
    readable = [table for table in watched if table.is_readable]
    for start in range(0, len(readable), _AT_ONCE):
        said.update(_read(session, readable[start : start + _AT_ONCE]))
    session.reset()
    return {f"table {name}": how for name, how in said.items() if how is not None}


def tables_outside(session: Session, role: str, ignore: Sequence[str]) -> list[str]:
    """The tables of a lease's role that are in none of its schemas, as "table public.users". Raises ServerError."""
    return [f"table {name}" for (name,) in session.run(_OUTSIDE, role) if not _is_any(name, ignore)]


def databases_of(session: Session, role: str) -> list[str]:
    """The other databases in which the role owns something. Raises ServerError."""
    return [name for (name,) in session.run(_DATABASES, role)]


def _is_any(name: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def _read(session: Session, some: Sequence[_Table]) -> Iterator[tuple[str, str | None]]:
    """What each holds; None for one that has gone meanwhile, "" for one that cannot be read now."""
    query = " UNION ALL ".join(
        f"SELECT {number}, count(*), coalesce(sum(hashtextextended(row(harness_row.*)::text, 0)), 0), {_size(table)} "
        f"FROM (SELECT * FROM ONLY {table.quoted} "
        f"WHERE {_size(table)} <= {MOST_BYTES} LIMIT {MOST_ROWS + 1}) harness_row"
        for number, table in enumerate(some)
    )
    try:
        rows = session.run(query)
    except ServerError as error:
        if error.sqlstate not in _GONE | {LOCKED}:
            raise
        if len(some) == 1:
            yield some[0].full_name, "" if error.sqlstate == LOCKED else None
            return
        for table in some:
            yield from _read(session, [table])
        return
    for number, count, total, size in rows:
        table = some[number]
        yield table.full_name, _told(count, total) if count <= MOST_ROWS and size <= MOST_BYTES else table.counters


def _size(table: _Table) -> str:
    """In bytes. A query of its own within the query: asked once, not for each row."""
    return f"(SELECT pg_table_size({table.oid}))"


def _told(count: int, total: int) -> str:
    digest = f"{int(total) % 2**64:016x}"[:8]
    return f"{count} {'row' if count == 1 else 'rows'}, {digest}"
