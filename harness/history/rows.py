"""Rows of the tables: written inside a transaction (one run, what another history has, forgetting the oldest), and read
as what they should be."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from harness.foreign import decoded
from harness.history.database import DamagedError
from harness.history.fold import Rows
from harness.history.schema import quoted_columns
from harness.past import Measured, PastGroup, PastRun, PastTest, StoredFingerprint

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")

RUN = ", ".join([*quoted_columns(PastRun), "whole"])
GROUP = ", ".join([*quoted_columns(PastGroup, frozenset({"run"})), "complete"])
UNRUN = '"group", status'
_PARTS = msgspec.json.Decoder(dict[str, str])
TEST = "attempt, status, duration, error, cpu_seconds, memory_growth"


def unfit(rows: Rows) -> str:
    """What of a run would make the history unreadable, as an impossible time of a torn journal; empty: nothing."""
    try:
        for noun, found in ((PastRun, [rows.run]), (PastGroup, rows.groups), (PastTest, rows.tests)):
            msgspec.convert(msgspec.to_builtins(found), list[noun])  # type: ignore[valid-type]
    except msgspec.ValidationError as error:
        return str(error)
    return ""


def insert(connection: "sqlite3.Connection", rows: Rows) -> None:
    """Adds a run. Raises sqlite3.IntegrityError if it is there already."""
    values = [*_values(rows.run), rows.whole]
    run = connection.execute(f"INSERT INTO runs ({RUN}) VALUES ({_marks(values)})", values).lastrowid
    # The first field of a PastGroup is its run's key.
    groups = [[run, *_values(group)[1:], group.group in rows.complete] for group in rows.groups]
    if groups:
        connection.executemany(f"INSERT INTO group_runs (run, {GROUP}) VALUES ({_marks(groups[0])})", groups)
    connection.executemany(f"INSERT INTO unrun (run, {UNRUN}) VALUES (?, ?, ?)", ((run, *row) for row in rows.unrun))
    connection.executemany(
        'INSERT OR IGNORE INTO test_names ("group", test) VALUES (?, ?)',
        ((test.group, test.test) for test in rows.tests),
    )
    connection.executemany(
        f"""
        INSERT INTO test_runs (name, run, {TEST})
        SELECT id, ?, ?, ?, ?, ?, ?, ? FROM test_names WHERE "group" = ? AND test = ?
        """,
        (
            (run, t.attempt, t.status, t.duration, t.error, t.cpu_seconds, t.memory_growth, t.group, t.test)
            for t in rows.tests
        ),
    )
    connection.executemany("INSERT OR IGNORE INTO errors (hash, example) VALUES (?, ?)", rows.examples.items())


def prune(connection: "sqlite3.Connection", keep: int, newest: str) -> None:
    """Forgets all but the `keep` runs that began last; never the one of key `newest`, whatever the clock says."""
    gone = connection.execute(
        "DELETE FROM runs WHERE key <> ? AND id NOT IN (SELECT id FROM runs ORDER BY started_at DESC, id DESC LIMIT ?)",
        (newest, keep),
    )
    if not gone.rowcount:
        return
    connection.execute("DELETE FROM test_names WHERE NOT EXISTS (SELECT 1 FROM test_runs WHERE name = test_names.id)")
    connection.execute(
        """
        DELETE FROM errors
        WHERE NOT EXISTS (SELECT 1 FROM test_runs t WHERE t.error = errors.hash AND t.error <> '')
        AND NOT EXISTS (SELECT 1 FROM group_runs g WHERE g.error = errors.hash AND g.error <> '')
        """
    )


def absorb(connection: "sqlite3.Connection") -> int:
    """Adds the runs of the attached database `other` that are new, and newer fingerprints. Returns how many are new."""
    (before,) = connection.execute("SELECT coalesce(max(id), 0) FROM main.runs").fetchone()
    new = connection.execute(
        f"INSERT INTO main.runs ({RUN}) SELECT {RUN} FROM other.runs WHERE key NOT IN (SELECT key FROM main.runs)"
    ).rowcount
    # A run has an id of its own in each file.
    ids = f"other.runs theirs JOIN main.runs ours ON ours.key = theirs.key AND ours.id > {before}"
    for statement in (
        f"INSERT INTO main.group_runs (run, {GROUP}) SELECT ours.id, {_of('g', GROUP)}"
        f" FROM {ids} JOIN other.group_runs g ON g.run = theirs.id",
        f"INSERT INTO main.unrun (run, {UNRUN}) SELECT ours.id, {_of('u', UNRUN)}"
        f" FROM {ids} JOIN other.unrun u ON u.run = theirs.id",
        'INSERT OR IGNORE INTO main.test_names ("group", test) SELECT n."group", n.test FROM other.test_names n',
        f"INSERT INTO main.test_runs (name, run, {TEST}) SELECT mine.id, ours.id, {_of('t', TEST)}"
        f" FROM {ids} JOIN other.test_runs t ON t.run = theirs.id JOIN other.test_names n ON n.id = t.name"
        ' JOIN main.test_names mine ON mine."group" = n."group" AND mine.test = n.test',
        "INSERT OR IGNORE INTO main.errors (hash, example) SELECT e.hash, e.example FROM other.errors e",
        """
        INSERT INTO main.fingerprints ("group", digest, parts, run, at)
        SELECT f."group", f.digest, f.parts, f.run, f.at FROM other.fingerprints f WHERE true
        ON CONFLICT ("group") DO UPDATE SET
            digest = excluded.digest, parts = excluded.parts, run = excluded.run, at = excluded.at
        WHERE excluded.at > fingerprints.at
        """,
    ):
        connection.execute(statement)
    return new


def typed(row: type[T], found: Iterable[Sequence[Any]], names: Sequence[str] = ()) -> list[T]:
    """Rows as tuples of their types; with the names of their columns, as nouns. Raises DamagedError for any other."""
    rows = [dict(zip(names, each, strict=True)) for each in found] if names else list(found)
    try:
        # Not strict, because SQLite has no switches: it stores 0 and 1.
        return msgspec.convert(rows, list[row], strict=False)  # type: ignore[valid-type]
    except msgspec.ValidationError as error:
        raise DamagedError(f"it holds what no run has written: {error}") from error


def stored_fingerprints(connection: "sqlite3.Connection") -> dict[str, StoredFingerprint]:
    """By group. Raises DamagedError."""
    found = connection.execute('SELECT "group", digest, parts, run, at FROM fingerprints')
    try:
        return {
            group: StoredFingerprint(digest=digest, parts=decoded(_PARTS, parts), run=run, at=at)
            for group, digest, parts, run, at in typed(tuple[str, str, str, str, Measured], found)
        }
    except ValueError as error:
        raise DamagedError(f"a fingerprint in it cannot be read: {error}") from error


def _of(table: str, columns: str) -> str:
    return ", ".join(f"{table}.{column}" for column in columns.split(", "))


def _values(noun: PastRun | PastGroup) -> list[object]:
    return [getattr(noun, name) for name in noun.__struct_fields__]


def _marks(values: list[object]) -> str:
    return ", ".join("?" * len(values))
