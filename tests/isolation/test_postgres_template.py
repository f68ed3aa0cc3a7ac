"""Templates on a real Postgres: made once, kept while they are right, copied into leases."""

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from pg_leases import lease_of, made, make, options, rows, standing
from projects import eventually

from harness import installations
from harness.errors import InfrastructureError
from harness.isolation.label import read_label
from harness.isolation.lease import Context
from harness.isolation.postgres import dump as postgres_dump
from harness.isolation.postgres.dump import find_pg_dump
from harness.isolation.postgres.kind import Postgres
from harness.isolation.postgres.template import TIMEOUT

MAKES = ("schema", "database")

MIGRATE = """
import os, pathlib, psycopg
with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    for path in sorted(pathlib.Path("migrations").glob("*.sql")):
        connection.execute(path.read_text())
with open("ran", "a") as ran:
    ran.write(os.environ["POSTGRES_SCHEMA"] + "\\n")
"""

TABLES = """
CREATE SEQUENCE ids;
CREATE TABLE users (id bigint PRIMARY KEY DEFAULT nextval('ids'), name text NOT NULL UNIQUE);
CREATE TABLE orders (id bigint PRIMARY KEY DEFAULT nextval('ids'), of_user bigint NOT NULL REFERENCES users);
INSERT INTO users (name) VALUES ('O''Brien; \\'), ('100 % -- Größe');
CREATE VIEW names AS SELECT name FROM users;
CREATE FUNCTION first_name() RETURNS text LANGUAGE sql AS 'SELECT min(name) FROM users';
COMMENT ON TABLE users IS 'who is here';
"""

BUNDLED = Path(__file__).parent.parent.parent / "integration-tests" / "searchable" / "schema.sql"


NEWEST = "SELECT datname FROM pg_database WHERE datname LIKE 'harness_template_%' ORDER BY oid DESC LIMIT 1"


@pytest.fixture
def migrated(postgres_url: str, tmp_path: Path) -> Callable[..., Postgres]:
    """Makes kinds of a project with migrations."""
    (tmp_path / "migrate.py").write_text(MIGRATE)
    (tmp_path / "migrations").mkdir()
    # In every test other content: databases stay on the server, which all tests share.
    (tmp_path / "migrations" / "1.sql").write_text(f"-- {tmp_path}\n{TABLES}")
    context = Context(project=tmp_path, project_id="0f0f", run_id="20260101_000000", variables=dict(os.environ))

    def new(make_: str, **changed: object) -> Postgres:
        given = {
            "migrate": (sys.executable, "migrate.py"),
            "migrations": ("migrations/*.sql",),
            "make": make_,
            **changed,
        }
        return Postgres({**options(postgres_url), **given}, context)

    return new


def runs(project: Path) -> int:
    ran = project / "ran"
    return len(ran.read_text().splitlines()) if ran.exists() else 0


@pytest.mark.parametrize("make_", MAKES)
def test_a_lease_is_a_copy_that_its_role_owns(migrated: Callable[..., Postgres], make_: str, tmp_path: Path) -> None:
    kind = migrated(make_)
    with made(kind, "one") as (lease, dsn), made(kind, "two") as (_, other):
        assert rows(dsn, "SELECT name FROM users ORDER BY id") == [("O'Brien; \\",), ("100 % -- Größe",)]
        rows(dsn, "INSERT INTO users (name) VALUES ('Ada'); INSERT INTO orders (of_user) SELECT max(id) FROM users")
        assert rows(dsn, "SELECT first_name(), count(*) FROM names GROUP BY 1") == [("100 % -- Größe", 3)]
        assert rows(other, "SELECT count(*) FROM names") == [(2,)]
        schema = lease.details["schema"]
        assert rows(dsn, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = %s", schema) == [
            (lease.details["role"],)
        ]
        assert rows(dsn, "SELECT obj_description('users'::regclass)") == [("who is here",)]
        rows(dsn, "ALTER TABLE users ADD COLUMN age int; DROP TABLE orders; TRUNCATE users")
        assert rows(other, "SELECT count(*) FROM users") == [(2,)]
    kind.close()
    assert runs(tmp_path) == 1


@pytest.mark.parametrize("make_", MAKES)
def test_it_is_kept_while_the_migrations_stay_the_same(
    migrated: Callable[..., Postgres], make_: str, tmp_path: Path
) -> None:
    for expected in (1, 1):
        kind = migrated(make_)
        with made(kind):
            assert runs(tmp_path) == expected
        kind.close()
    (tmp_path / "migrations" / "2.sql").write_text("CREATE TABLE more (id int)")
    kind = migrated(make_)
    with made(kind) as (_, dsn):
        assert rows(dsn, "SELECT * FROM more") == []
    kind.close()
    assert runs(tmp_path) == 2


@pytest.mark.parametrize("make_", MAKES)
def test_without_globs_it_is_made_once_a_run_and_removed_with_it(
    migrated: Callable[..., Postgres], make_: str, tmp_path: Path, postgres_url: str
) -> None:
    before = standing(postgres_url, "")
    for expected in (1, 2):
        kind = migrated(make_, migrations=())
        with made(kind), made(kind) as (lease, _):
            assert runs(tmp_path) == expected
            kind.renew(lease)
        kind.close()
    assert standing(postgres_url, "") == before


def test_what_is_for_one_run_is_found_when_it_was_killed(
    migrated: Callable[..., Postgres], postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = standing(postgres_url, "")
    monkeypatch.setattr("harness.isolation.label.TERM", -10_000.0)
    killed = migrated("database", migrations=())
    with made(killed):
        pass
    assert standing(postgres_url, "") != before
    gc = migrated("database")
    for lease in gc.expired():
        gc.release(lease)
    gc.close()
    assert standing(postgres_url, "") == before


def test_nobody_takes_the_scratch_schema_for_a_dead_runs(migrated: Callable[..., Postgres], tmp_path: Path) -> None:
    """Nobody renews its label while the migrations run."""
    (tmp_path / "migrate.py").write_text(
        MIGRATE
        + textwrap.dedent("""
        query = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = current_user"
        with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
            pathlib.Path("label").write_text(connection.execute(query).fetchone()[0])
        """)
    )
    kind = migrated("schema")
    with made(kind):
        label = read_label((tmp_path / "label").read_text())
        assert label is not None
        assert label.until >= time.time() + TIMEOUT
    kind.close()


TWO = """
import sys
sys.path[:0] = {path!r}
from pathlib import Path
from harness.isolation.lease import Context
from harness.isolation.postgres.kind import Postgres
from pg_leases import made, options
import os
context = Context(Path({project!r}), "0f0f", "r" + str(os.getpid()), dict(os.environ))
migrations = dict(migrate=(sys.executable, "migrate.py"), migrations=("migrations/*.sql",))
kind = Postgres(options({url!r}, make={make!r}, **migrations), context)
with made(kind) as (_, dsn):
    pass
kind.close()
"""


@pytest.mark.parametrize("make_", MAKES)
@pytest.mark.usefixtures("migrated")
def test_two_runs_at_once_make_it_once(make_: str, tmp_path: Path, postgres_url: str) -> None:
    # The first to migrate waits until the other waits for the template: who does not would migrate as well.
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = 'advisory'"
    (tmp_path / "migrate.py").write_text(
        MIGRATE
        + textwrap.dedent(f"""
        import time
        limit = time.monotonic() + 20
        with psycopg.connect({postgres_url!r}, autocommit=True) as watcher:
            while watcher.execute({waiting!r}).fetchone() == (0,) and time.monotonic() < limit:
                time.sleep(0.01)
        """)
    )
    root = Path(__file__).parent.parent
    script = TWO.format(path=[str(root), str(root.parent)], project=str(tmp_path), url=postgres_url, make=make_)
    both = [subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert runs(tmp_path) == 1


def test_a_half_made_one_is_made_again(migrated: Callable[..., Postgres], tmp_path: Path, postgres_url: str) -> None:
    kind = migrated("database")
    with made(kind):
        pass
    ((name,),) = rows(postgres_url, NEWEST)
    rows(postgres_url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    with psycopg.connect(f"{postgres_url.rpartition('/')[0]}/{name}", autocommit=True) as inside:
        inside.execute("DROP TABLE users CASCADE")
        with made(kind) as (_, dsn):
            assert rows(dsn, "SELECT count(*) FROM users") == [(2,)]
    kind.close()
    assert runs(tmp_path) == 2


def test_no_session_enters_a_finished_one(migrated: Callable[..., Postgres], postgres_url: str) -> None:
    kind = migrated("database")
    with made(kind):
        ((name,),) = rows(postgres_url, NEWEST)
        with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
            psycopg.connect(f"{postgres_url.rpartition('/')[0]}/{name}")
    kind.close()


@pytest.mark.parametrize("make_", MAKES)
@pytest.mark.parametrize("globs", [("migrations/*.sql",), ()])
def test_a_migration_that_fails_leaves_nothing_and_tells_why(
    migrated: Callable[..., Postgres], make_: str, globs: tuple[str, ...], postgres_url: str
) -> None:
    before = standing(postgres_url, "")
    kind = migrated(make_, migrate="echo no such column at $DATABASE_URL >&2; exit 3", migrations=globs)
    lease = lease_of(kind)
    with pytest.raises(InfrastructureError, match=r"`migrate` failed.*exit code 3\n  no such column at ") as failure:
        make(kind, lease)
    assert ":…@" in failure.value.message  # the password
    assert "extensions" in failure.value.cure
    kind.release(lease)
    kind.close()
    assert standing(postgres_url, "") == before


@pytest.mark.parametrize("make_", MAKES)
@pytest.mark.parametrize("globs", [("migrations/*.sql",), ()])
def test_a_migration_that_fails_does_so_once_a_run(
    migrated: Callable[..., Postgres], make_: str, globs: tuple[str, ...], tmp_path: Path
) -> None:
    kind = migrated(make_, migrate="echo >> ran; exit 3", migrations=globs)
    said = set()
    for _ in range(3):
        with pytest.raises(InfrastructureError, match="`migrate` failed") as failure:
            make(kind, lease_of(kind))
        said.add((failure.value.message, failure.value.cure))
    kind.close()
    assert len(said) == 1
    assert runs(tmp_path) == 1


def test_a_schema_that_cannot_be_read_is_not_migrated_again(
    migrated: Callable[..., Postgres], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(postgres_dump, "_candidates", lambda *_: iter(()))
    kind = migrated("schema")
    for _ in range(2):
        with pytest.raises(InfrastructureError, match="found no pg_dump"):
            make(kind, lease_of(kind))
    kind.close()
    assert runs(tmp_path) == 1


@pytest.mark.parametrize("make_", MAKES)
@pytest.mark.parametrize("globs", [("migrations/*.sql",), ()])
def test_when_the_run_stops_so_does_the_migration_and_it_has_not_failed(
    migrated: Callable[..., Postgres], make_: str, globs: tuple[str, ...], tmp_path: Path, postgres_url: str
) -> None:
    before = standing(postgres_url, "")
    kind = migrated(make_, migrate="echo >> ran; exec sleep 1000", migrations=globs)
    first, second = lease_of(kind), lease_of(kind)
    with ThreadPoolExecutor() as pool:
        both = [pool.submit(make, kind, lease) for lease in (first, second)]
        eventually(lambda: runs(tmp_path) == 1, "the migration")
        kind.context.stopping.set()
        for one in both:
            with pytest.raises(InfrastructureError, match="the run stops"):
                one.result(60)
    assert runs(tmp_path) == 1
    for lease in (first, second):
        kind.release(lease)
    kind.context.stopping.clear()  # as only a test can: what was broken off would be tried again
    again = migrated(make_, migrate="echo >> ran; exit 3", migrations=globs)
    kind.options = kind._templates._options = again.options
    with pytest.raises(InfrastructureError, match=r"`migrate` failed.*exit code 3"):
        make(kind, lease_of(kind))
    again.close()
    kind.close()
    assert standing(postgres_url, "") == before


def test_who_waits_for_another_run_ends_with_his_own(
    migrated: Callable[..., Postgres], postgres_url: str, tmp_path: Path
) -> None:
    kind = migrated("database")
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = 'advisory'"
    with ThreadPoolExecutor() as pool, psycopg.connect(postgres_url) as another:
        another.execute("SELECT pg_advisory_lock(%s)", (int(kind._templates._digest[:15], 16),))
        waits = pool.submit(make, kind, lease_of(kind))
        eventually(lambda: rows(postgres_url, waiting) != [(0,)], "somebody who waits")
        kind.context.stopping.set()
        with pytest.raises(InfrastructureError, match="the run stops"):
            waits.result(60)
    kind.close()
    assert runs(tmp_path) == 0


def test_migrations_that_match_nothing_are_refused(migrated: Callable[..., Postgres]) -> None:
    kind = migrated("schema", migrations=("sql/*.sql",))
    with pytest.raises(InfrastructureError, match=r"matches no file: sql/\*\.sql"):
        make(kind, lease_of(kind))
    kind.close()


def test_the_kept_sql_is_made_again_where_it_is_torn(migrated: Callable[..., Postgres], tmp_path: Path) -> None:
    first = migrated("schema")
    with made(first):
        pass
    first.close()
    (kept,) = (tmp_path / ".harness" / "cache").iterdir()
    assert kept.stat().st_mode & 0o077 == 0
    kept.write_text("")
    kind = migrated("schema")
    with made(kind) as (_, dsn):
        assert rows(dsn, "SELECT count(*) FROM users") == [(2,)]
    kind.close()
    assert runs(tmp_path) == 2


def test_extensions_of_the_database_are_on_the_search_path(
    migrated: Callable[..., Postgres], postgres_url: str, tmp_path: Path
) -> None:
    available = rows(postgres_url, "SELECT name FROM pg_available_extensions WHERE name = 'pg_trgm'")
    if not available:
        pytest.skip("this Postgres has no extension pg_trgm")
    rows(postgres_url, "CREATE DATABASE with_trigrams")
    dsn_of_it = f"{postgres_url.rpartition('/')[0]}/with_trigrams"
    rows(
        dsn_of_it,
        "CREATE SCHEMA extensions; GRANT USAGE ON SCHEMA extensions TO PUBLIC; "
        "CREATE EXTENSION pg_trgm SCHEMA extensions",
    )
    (tmp_path / "migrations" / "2.sql").write_text("CREATE INDEX ON users USING gin (name gin_trgm_ops)")
    kind = migrated("schema", dsn=dsn_of_it)
    with made(kind) as (_, dsn):
        assert rows(dsn, "SELECT similarity('word', 'word')::int") == [(1,)]
    kind.close()
    rows(postgres_url, "DROP DATABASE with_trigrams WITH (FORCE)")


@pytest.mark.parametrize("make_", MAKES)
def test_the_tables_of_the_bundled_service(migrated: Callable[..., Postgres], make_: str, tmp_path: Path) -> None:
    (tmp_path / "migrations" / "1.sql").write_text(f"-- {tmp_path}\n{BUNDLED.read_text()}")
    kind = migrated(make_)
    expected = BUNDLED.read_text().count("CREATE TABLE")
    with made(kind) as (lease, dsn):
        assert rows(dsn, "SELECT count(*) FROM pg_tables WHERE schemaname = %s", lease.details["schema"]) == [
            (expected,)
        ]
        assert rows(dsn, "SELECT * FROM last_invoice") == [(0,)]
        assert rows(dsn, "SELECT count(*) FROM pg_indexes WHERE indexname IN ('one_purchase', 'one_booking')") == [(2,)]
    kind.close()


# --- pg_dump


def fake_pg_dump(directory: Path, version: str) -> str:
    directory.mkdir()
    program = directory / "pg_dump"
    program.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version} (Debian {version}-1)'\n")
    program.chmod(0o755)
    return str(program)


@pytest.fixture
def only_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installations, "INSTALLATIONS", ())
    monkeypatch.setattr(installations, "WHEEL", "there_is_no_such_package")


@pytest.mark.usefixtures("only_path")
def test_the_pg_dump_of_the_servers_version_is_taken_else_a_newer_one(tmp_path: Path) -> None:
    mine, theirs = fake_pg_dump(tmp_path / "a", "15.3"), fake_pg_dump(tmp_path / "b", "17.0")
    variables = {"PATH": str(tmp_path / "b"), "HARNESS_POSTGRES_BIN": str(tmp_path / "a")}
    context = Context(tmp_path, "0f0f", "r", variables)
    assert find_pg_dump(15, context) == mine
    assert find_pg_dump(16, context) == theirs
    assert find_pg_dump(17, context) == theirs


@pytest.mark.usefixtures("only_path")
def test_an_older_pg_dump_is_refused(tmp_path: Path) -> None:
    older = fake_pg_dump(tmp_path / "a", "14.9")
    with pytest.raises(InfrastructureError, match=f"no pg_dump for PostgreSQL 15.*only older ones: {older}") as refused:
        find_pg_dump(15, Context(tmp_path, "0f0f", "r", {"PATH": str(tmp_path / "a")}))
    assert "PostgreSQL 15 or later" in refused.value.cure
    with pytest.raises(InfrastructureError, match="need: none"):
        find_pg_dump(15, Context(tmp_path, "0f0f", "r", {"PATH": str(tmp_path)}))


def test_nothing_of_psqls_own_is_kept() -> None:
    written = """\\restrict abc

SET transaction_timeout = 0;

--
-- Name: h_x_1; Type: SCHEMA
--

CREATE SCHEMA h_x_1;

COMMENT ON SCHEMA h_x_1 IS 'harness lease=000000000001 run=r project=0f until=9';

CREATE TABLE h_x_1.t (id int);
--
-- PostgreSQL database dump complete
--

\\unrestrict abc
"""
    sql = postgres_dump._plain(written, "h_x_1")
    assert [line for line in sql.splitlines() if line and not line.startswith("--")][1:] == [
        "CREATE TABLE h_x_1.t (id int);"
    ]
    with pytest.raises(InfrastructureError, match="something unexpected"):
        postgres_dump._plain("an error", "h_x_1")
