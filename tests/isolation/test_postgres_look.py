"""The contamination check on a real Postgres: what a stranger's write looks like, and what is none."""

from collections.abc import Iterator, Mapping

import psycopg
import pytest
from pg_leases import lease_of, made, make, options, rows
from projects import eventually

from harness.isolation.lease import Context, Lease
from harness.isolation.postgres import look as postgres_look
from harness.isolation.postgres.kind import Postgres


@pytest.fixture
def database(postgres_url: str) -> Iterator[str]:
    """A database of the test's own, with a table of somebody else's."""
    rows(postgres_url, "CREATE DATABASE looked_at")
    dsn = f"{postgres_url.rpartition('/')[0]}/looked_at"
    rows(dsn, "CREATE TABLE users (id int PRIMARY KEY, name text); INSERT INTO users VALUES (1, 'Ada'), (2, 'Bob')")
    yield dsn
    rows(postgres_url, "DROP DATABASE looked_at WITH (FORCE)")


@pytest.fixture
def kind(database: str, context: Context) -> Iterator[Postgres]:
    found = Postgres(options(database, ignore=("public.jobs", "audit.*")), context)
    yield found
    found.close()


def changes(kind: Postgres, sentinel: Lease | None, before: Mapping[str, str]) -> list[str]:
    after = kind.look(sentinel)
    return sorted(thing for thing in before.keys() | after.keys() if before.get(thing) != after.get(thing))


def test_each_change_of_a_row_is_seen(kind: Postgres, database: str) -> None:
    before = kind.look(None)
    assert list(before) == ["table public.users"]
    assert before["table public.users"].startswith("2 rows, ")
    seen = {before["table public.users"]}
    for change in (
        "UPDATE users SET name = 'Bob ' WHERE id = 2",
        "UPDATE users SET name = NULL WHERE id = 2",
        "UPDATE users SET id = 3 WHERE id = 2",
        "INSERT INTO users VALUES (4, 'Eve')",
        "TRUNCATE users",
    ):
        rows(database, change)
        seen.add(kind.look(None)["table public.users"])
    assert len(seen) == 6
    rows(database, "INSERT INTO users VALUES (2, 'Bob'); INSERT INTO users VALUES (1, 'Ada')")
    assert kind.look(None) == before  # the order of rows is nobody's business


def test_tables_that_come_and_go_are_seen(kind: Postgres, database: str) -> None:
    before = kind.look(None)
    rows(database, 'CREATE SCHEMA "od""d.x"; CREATE TABLE "od""d.x"."t %" (harness_row int)')
    assert changes(kind, None, before) == ['table od"d.x.t %']
    rows(database, "DROP TABLE users")
    assert "table public.users" in changes(kind, None, before)


def test_what_is_ignored_and_what_is_a_leases_is_not_looked_at(kind: Postgres, database: str) -> None:
    before = kind.look(None)
    rows(database, "CREATE TABLE jobs (id int); CREATE SCHEMA audit; CREATE TABLE audit.log (id int)")
    rows(database, "CREATE TABLE jobs_done (id int)")
    with made(kind) as (lease, dsn):
        rows(dsn, f"CREATE TABLE mine (id int); COMMENT ON SCHEMA {lease.details['schema']} IS 'changed'")
        assert changes(kind, None, before) == ["table public.jobs_done"]


@pytest.mark.parametrize("make_", ["schema", "database"])
def test_a_write_to_the_sentinel_succeeds_and_its_writer_is_told(
    make_: str, database: str, context: Context, postgres_url: str
) -> None:
    kind = Postgres(options(database, make=make_), context)
    sentinel = lease_of(kind, group="")
    make(kind, sentinel)
    inside = f"{postgres_url.rpartition('/')[0]}/{sentinel.details.get('database', 'looked_at')}"
    schema = sentinel.details["schema"]
    before = kind.look(sentinel)
    with made(kind, "wrong writer") as (wrong_writer, dsn):
        assert kind.leftovers(wrong_writer) == []
        wrong = dsn.rpartition("/")[0] + "/" + inside.rpartition("/")[2]
        rows(wrong, f"CREATE TABLE {schema}.orders (id int)")
        rows(inside, f"INSERT INTO {schema}.orders VALUES (1); CREATE TABLE {schema}.strangers (id int)")
        (seen,) = changes(kind, sentinel, before)
        assert f"table {schema}.strangers" in seen
        where = f" of {inside.rpartition('/')[2]}" if make_ == "database" else ""
        assert kind.leftovers(wrong_writer) == [f"table {schema}.orders{where} was made outside of the lease"]
        assert kind.leftovers(wrong_writer) == [], "whoever has the lease next has not made it"
        rows(inside, f"DROP TABLE {schema}.strangers")
    # What a lease has made goes with it, wherever it lies, and nobody is blamed for that.
    assert changes(kind, sentinel, before) == []
    kind.release(sentinel)
    kind.close()


def test_what_is_ignored_may_be_made_outside(database: str, context: Context) -> None:
    rows(database, "GRANT CREATE ON SCHEMA public TO PUBLIC")
    kind = Postgres(options(database, ignore=("public.jobs",)), context)
    before = kind.look(None)
    with made(kind) as (lease, dsn):
        rows(dsn, "CREATE TABLE public.jobs (id int); CREATE TABLE public.more (id int); CREATE TABLE mine (id int)")
        assert kind.leftovers(lease) == ["table public.more was made outside of the lease"]
        assert kind.look(None) == before
    assert kind.look(None) == before
    kind.close()


def test_a_large_table_is_told_by_its_counters(kind: Postgres, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_look, "MOST_ROWS", 2)
    assert kind.look(None)["table public.users"].startswith("2 rows, ")
    rows(database, "INSERT INTO users VALUES (3, 'Eve')")
    # The server counts what a session wrote when that session ends, a moment after its client is gone.
    eventually(lambda: users(kind) == "3 rows inserted, 0 updated, 0 deleted so far", "the counter of inserted rows")
    rows(database, "UPDATE users SET name = 'x'")
    eventually(lambda: users(kind) == "3 rows inserted, 3 updated, 0 deleted so far", "the counter of updated rows")


def users(kind: Postgres) -> str:
    return kind.look(None)["table public.users"]


def test_a_locked_table_does_not_hide_the_others(
    kind: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_look, "_LOCK_TIMEOUT", "50ms")
    rows(database, "CREATE TABLE others (id int)")
    with psycopg.connect(database) as holder:
        holder.execute("LOCK TABLE users")
        found = kind.look(None)
    assert found["table public.users"] == "", "that cannot be told now"
    assert found["table public.others"].startswith("0 rows, ")


def test_a_table_that_we_may_not_read_is_told_by_its_counters(database: str, context: Context) -> None:
    rows(database, "CREATE ROLE reader LOGIN")
    kind = Postgres(options(database.replace("postgres@", "reader@")), context)
    eventually(lambda: users(kind) == "2 rows inserted, 0 updated, 0 deleted so far", "the counters")
    kind.close()
    rows(database, "DROP ROLE reader")
