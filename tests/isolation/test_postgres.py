"""Leases on a real Postgres: what they can do, what they cannot, and what is left of them."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import msgspec
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pg_leases import lease_of, made, make, options, rows, standing
from projects import eventually

from harness.errors import InfrastructureError
from harness.isolation.label import FOREVER, read_label
from harness.isolation.lease import TERM, Context, Lease, new_token
from harness.isolation.postgres.kind import Postgres
from harness.isolation.postgres.made import application_name, names_of

MAKES = ("schema", "database")
WHO = "SELECT current_user, current_schema(), current_setting('application_name'), current_database()"
ROLE_COMMENT = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s"


@pytest.fixture(params=MAKES)
def kind(request: pytest.FixtureRequest, postgres_url: str, context: Context) -> Iterator[Postgres]:
    made_one = Postgres(options(postgres_url, make=request.param), context)
    yield made_one
    made_one.close()


@pytest.fixture
def schemas(postgres_url: str, context: Context) -> Iterator[Postgres]:
    made_one = Postgres(options(postgres_url), context)
    yield made_one
    made_one.close()


@pytest.fixture
def admin(postgres_url: str) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


def test_a_plain_dsn_is_enough(kind: Postgres) -> None:
    lease = lease_of(kind, "orders and more")
    found = make(kind, lease)
    try:
        dsn, schema = found.variables["DATABASE_URL"], found.variables["POSTGRES_SCHEMA"]
        database = lease.details.get("database", "postgres")
        assert rows(dsn, WHO) == [(lease.details["role"], schema, "orders and more", database)]
        assert rows(dsn, "CREATE TABLE things (id int); INSERT INTO things VALUES (1); SELECT 1") == []
        assert rows(dsn, "SELECT schemaname, tableowner FROM pg_tables WHERE tablename = 'things'") == [
            (schema, lease.details["role"])
        ]
        assert found.roles == {"dsn": "DATABASE_URL", "schema": "POSTGRES_SCHEMA"}
        assert found.secret == {"DATABASE_URL"}
    finally:
        kind.release(lease)


def test_nothing_is_left_also_after_a_second_release(kind: Postgres, postgres_url: str) -> None:
    lease = lease_of(kind)
    make(kind, lease)
    assert len(standing(postgres_url, lease.token)) == 2  # the role, and the schema or the database
    kind.release(lease)
    assert standing(postgres_url, lease.token) == set()
    kind.release(lease)


def test_another_process_releases_by_the_journal_line_alone(
    kind: Postgres, postgres_url: str, context: Context
) -> None:
    lease = lease_of(kind)
    make(kind, lease)
    line = msgspec.json.encode(lease)
    other = Postgres(kind.options, context)
    other.release(msgspec.json.decode(line, type=Lease))
    other.close()
    assert standing(postgres_url, lease.token) == set()


def test_no_secret_is_in_the_details(kind: Postgres) -> None:
    lease = lease_of(kind)
    dsn = make(kind, lease).variables["DATABASE_URL"]
    kind.release(lease)
    password = psycopg.conninfo.conninfo_to_dict(dsn)["password"]
    assert len(password) >= 24
    assert password.encode() not in msgspec.json.encode(lease)


@pytest.mark.parametrize("make_", MAKES)
def test_a_lease_cannot_touch_another(make_: str, postgres_url: str, context: Context) -> None:
    kind = Postgres(options(postgres_url, make=make_), context)
    with made(kind, "mine") as (_, mine), made(kind, "theirs") as (their_lease, theirs):
        rows(theirs, "CREATE TABLE orders (id int); INSERT INTO orders VALUES (1)")
        schema = their_lease.details["schema"]
        if make_ == "database":
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                rows(mine.rpartition("/")[0] + "/" + their_lease.details["database"], "SELECT 1")
        else:
            for forbidden in (f"SELECT * FROM {schema}.orders", f"CREATE TABLE {schema}.x ()", f"DROP SCHEMA {schema}"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    rows(mine, forbidden)
        for forbidden in ("CREATE SCHEMA elsewhere", "CREATE ROLE another", "CREATE DATABASE another"):
            if not (make_ == "database" and "SCHEMA" in forbidden):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    rows(mine, forbidden)
    kind.close()


def test_a_lease_may_not_write_into_public(schemas: Postgres) -> None:
    with made(schemas) as (_, dsn), pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows(dsn, "CREATE TABLE public.mine (id int)")


def test_it_has_so_many_sessions_and_no_more(postgres_url: str, context: Context) -> None:
    kind = Postgres(options(postgres_url, connections=2), context)
    refused = pytest.raises(psycopg.OperationalError, match="too many connections for role")
    with made(kind) as (_, dsn), psycopg.connect(dsn), psycopg.connect(dsn), refused:
        psycopg.connect(dsn)
    kind.close()


def test_its_role_sees_the_sessions_of_others(schemas: Postgres, admin: psycopg.Connection) -> None:
    with made(schemas) as (_, dsn):
        query = f"SELECT query FROM pg_stat_activity WHERE pid = {admin.info.backend_pid}"
        admin.execute("SELECT 'what others do'")
        assert rows(dsn, query) == [("SELECT 'what others do'",)]


# --- names


@given(st.text(max_size=200), st.sampled_from(MAKES))
def test_names_are_plain_whatever_the_group_is_called(group: str, make_: str) -> None:
    lease = Lease(token=new_token(), entry="db", kind="postgres", run_id="r", group=group)
    for name in names_of(lease, make_).values():
        assert name == "public" or (name.startswith("h_") and name.endswith(lease.token))
        assert len(name) <= 63
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")
    assert application_name(group).isascii()
    assert application_name(group).isprintable()
    assert len(application_name(group)) <= 63


@pytest.mark.parametrize("group", ['"; DROP TABLE x; --', "Größe 'x' %s {}", "a" * 300, "nul\0\n", "\ud800", ".."])
def test_hostile_names(kind: Postgres, postgres_url: str, group: str) -> None:
    with made(kind, group) as (lease, dsn):
        ((_, _, shown, _),) = rows(dsn, WHO)
        assert shown == application_name(group)
    assert standing(postgres_url, lease.token) == set()


# --- releasing


def test_an_open_session_with_a_lock_is_ended(kind: Postgres, postgres_url: str) -> None:
    lease = lease_of(kind)
    dsn = make(kind, lease).variables["DATABASE_URL"]
    rows(dsn, "CREATE TABLE things (id int)")
    holder = psycopg.connect(dsn)
    holder.execute("LOCK TABLE things")
    kind.release(lease)
    assert standing(postgres_url, lease.token) == set()
    with pytest.raises(psycopg.OperationalError):
        holder.execute("SELECT 1")


def test_a_stranger_with_a_lock_on_it_is_ended_after_a_moment(
    schemas: Postgres, postgres_url: str, admin: psycopg.Connection
) -> None:
    lease = lease_of(schemas)
    dsn = make(schemas, lease).variables["DATABASE_URL"]
    rows(dsn, "CREATE TABLE things (id int)")
    with psycopg.connect(postgres_url) as stranger:
        stranger.execute(f"SELECT * FROM {lease.details['schema']}.things")
        schemas.release(lease)
        assert standing(postgres_url, lease.token) == set()
        with pytest.raises(psycopg.OperationalError):
            stranger.execute("SELECT 1")
    assert admin.execute("SELECT 1").fetchall() == [(1,)]  # who holds nothing of it is left alone


def test_nobody_comes_in_while_it_is_removed(schemas: Postgres, postgres_url: str) -> None:
    lease = lease_of(schemas)
    dsn = make(schemas, lease).variables["DATABASE_URL"]
    rows(dsn, "CREATE TABLE things (id int)")
    refused: list[str] = []

    def insist() -> None:
        while not refused:
            try:
                psycopg.connect(dsn).close()
            except psycopg.OperationalError as error:
                refused.append(str(error))

    thread = threading.Thread(target=insist, daemon=True)
    stranger = psycopg.connect(postgres_url)
    stranger.execute(f"SELECT * FROM {lease.details['schema']}.things")  # so that the removal has to wait
    thread.start()
    schemas.release(lease)
    thread.join(30)
    stranger.close()
    assert "not permitted to log in" in refused[0]
    assert standing(postgres_url, lease.token) == set()


def test_what_was_made_half_way_is_removed(postgres_url: str, context: Context, admin: psycopg.Connection) -> None:
    """The harness was killed between CREATE DATABASE and the comment on it."""
    kind = Postgres(options(postgres_url, make="database"), context)
    lease = lease_of(kind)
    make(kind, lease)
    admin.execute(f"COMMENT ON DATABASE {lease.details['database']} IS NULL")
    kind.release(lease)
    kind.close()
    assert standing(postgres_url, lease.token) == set()


def test_a_schema_whose_comment_the_tests_have_changed_is_still_ours(schemas: Postgres, postgres_url: str) -> None:
    with made(schemas) as (lease, dsn):
        rows(dsn, f"COMMENT ON SCHEMA {lease.details['schema']} IS 'mine'")
    assert standing(postgres_url, lease.token) == set()


@pytest.mark.parametrize(
    "comment", ["NULL", "'of somebody'", "'harness lease=000000000000 run=r project=0f0f until=9'"]
)
def test_a_role_without_the_tokens_label_is_not_ours(
    schemas: Postgres, postgres_url: str, admin: psycopg.Connection, comment: str
) -> None:
    lease = lease_of(schemas)
    role, schema = lease.details["role"], lease.details["schema"]
    admin.execute(
        f"CREATE ROLE {role}; COMMENT ON ROLE {role} IS {comment}; CREATE SCHEMA {schema} AUTHORIZATION {role}"
    )
    schemas.release(lease)
    assert standing(postgres_url, lease.token) == {f"role {role}", f"schema {schema}"}
    admin.execute(f"DROP SCHEMA {schema}; DROP ROLE {role}")


def test_what_the_role_made_elsewhere_is_removed_too(
    schemas: Postgres, postgres_url: str, admin: psycopg.Connection
) -> None:
    admin.execute("CREATE SCHEMA anybodys; GRANT ALL ON SCHEMA anybodys TO PUBLIC")
    with made(schemas) as (_, dsn):
        rows(dsn, "CREATE TABLE anybodys.things (id int)")
    assert rows(postgres_url, "SELECT * FROM pg_tables WHERE schemaname = 'anybodys'") == []
    admin.execute("DROP SCHEMA anybodys")


def test_one_that_failed_leaves_nothing(postgres_url: str, context: Context) -> None:
    kind = Postgres(options(postgres_url, make="database", connections=2**40), context)
    lease = lease_of(kind)
    with pytest.raises(InfrastructureError, match="cannot make the database"):
        make(kind, lease)
    kind.release(lease)
    kind.close()
    assert standing(postgres_url, lease.token) == set()


# --- labels


def label_on(postgres_url: str, lease: Lease) -> list[object]:
    comments = rows(postgres_url, ROLE_COMMENT, lease.details["role"])
    comments += rows(
        postgres_url,
        "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = %s AND nspname <> 'public' "
        "UNION ALL SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
        lease.details["schema"],
        lease.details.get("database"),
    )
    return [read_label(comment) for (comment,) in comments]


def test_labels_are_renewed(kind: Postgres, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with made(kind) as (lease, _):
        first, second = before = label_on(postgres_url, lease)
        assert first == second
        assert first.token == lease.token
        monkeypatch.setattr("harness.isolation.label.TERM", 100_000.0)
        kind.renew(lease)
        assert {label.until for label in label_on(postgres_url, lease)} != {label.until for label in before}
        assert len(set(label_on(postgres_url, lease))) == 1
    kind.renew(lease)  # gone: no harm


def test_expired_leases_are_found_by_their_labels(
    kind: Postgres, postgres_url: str, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    with made(kind, "alive") as (alive, _):
        monkeypatch.setattr("harness.isolation.label.TERM", -10.0)
        dead, strangers = lease_of(kind, "dead"), lease_of(kind, "another project's")
        make(kind, dead)
        other = Postgres(kind.options, _of_project(context, "beef"))
        make(other, strangers)
        found = {lease.token: lease for lease in kind.expired()}
        assert alive.token not in found
        assert strangers.token not in found
        assert found[dead.token].details == dead.details
        assert found[dead.token].run_id == dead.run_id
        for lease in found.values():
            kind.release(lease)
        assert standing(postgres_url, dead.token) == set()
        assert standing(postgres_url, strangers.token) != set()
        other.release(strangers)
        other.close()


def test_a_kept_lease_is_never_over(kind: Postgres, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.isolation.label.TERM", -10.0)
    with made(kind) as (lease, _):
        assert lease.token in {found.token for found in kind.expired()}
        kind.renew(msgspec.structs.replace(lease, kept=True))
        assert {label.until for label in label_on(postgres_url, lease)} == {FOREVER}
        assert lease.token not in {found.token for found in kind.expired()}
    assert standing(postgres_url, lease.token) == set()


@pytest.mark.parametrize("wrong", [-10_000, 10_000])
def test_only_the_servers_clock_counts(
    kind: Postgres, postgres_url: str, context: Context, monkeypatch: pytest.MonkeyPatch, wrong: int
) -> None:
    honest = time.time
    with made(kind, "by a machine whose clock is right") as (lease, _):
        monkeypatch.setattr(time, "time", lambda: honest() + wrong)
        other = Postgres(kind.options, context)
        assert other.expired() == []
        with made(other) as (theirs, _):
            other.renew(theirs)
            (until,) = {label.until for label in label_on(postgres_url, theirs)}
            assert abs(until - honest() - TERM) < 60
            assert other.capacity().said.partition(" belong to leases")[0].endswith(" 10")
            monkeypatch.setattr(time, "time", honest)
            assert kind.expired() == []
        kind.renew(lease)
        other.close()


def _of_project(context: Context, project_id: str) -> Context:
    return Context(context.project, project_id, context.run_id, context.variables)


# --- sessions


def test_sessions_that_are_still_open_are_told(schemas: Postgres) -> None:
    with made(schemas) as (lease, dsn):
        assert schemas.leftovers(lease) == []
        with psycopg.connect(dsn) as left, psycopg.connect(dsn, autocommit=True) as idle:
            left.execute("SELECT 1,\n   2")
            idle.execute("SELECT 'i'" + " " * 20 + "|| '" + "x" * 200 + "'")
            one, other = schemas.leftovers(lease)
            assert one.startswith("session idle in transaction since ")
            assert one.endswith(" s: last query SELECT 1, 2")
            assert other.startswith("session idle since ")
            assert other.endswith("xxx…")
        assert schemas.leftovers(lease) == []


def test_capacity_is_what_is_left(postgres_url: str, context: Context) -> None:
    kind = Postgres(options(postgres_url, connections=7), context)
    with psycopg.connect(postgres_url) as one, one.cursor():
        before = kind.capacity()
        with psycopg.connect(postgres_url):
            assert kind.capacity().free == before.free - 1
        eventually(lambda: kind.capacity().free == before.free, "the end of a session")
    lease = lease_of(kind)
    make(kind, lease)
    during = kind.capacity()
    assert during.total is not None
    assert during.total - during.free == 7
    assert "max_connections is 200, 3 are kept for superusers" in during.said
    assert "7 belong to leases" in during.said
    kind.release(lease)
    kind.close()


def test_capacity_counts_the_sessions_of_others_also_for_who_may_not_see_what_they_do(
    postgres_url: str, context: Context
) -> None:
    rows(postgres_url, "CREATE ROLE curious LOGIN CREATEROLE")
    kind = Postgres(options(postgres_url.replace("postgres@", "curious@")), context)
    with psycopg.connect(postgres_url), psycopg.connect(postgres_url):
        in_use = int(kind.capacity().said.partition(" are in use")[0].rpartition(" ")[2])
        assert in_use >= 2
        with psycopg.connect(postgres_url):
            assert f"{in_use + 1} are in use" in kind.capacity().said
    kind.close()
    rows(postgres_url, "DROP ROLE curious")


def test_entries_tell_whether_they_use_up_the_same_server(postgres_url: str, context: Context) -> None:
    _, _, place = postgres_url.rpartition("@")
    port = place.partition("/")[0].rpartition(":")[2]
    for host in ("127.0.0.1", "localhost"):
        kind = Postgres(options(f"postgresql://postgres@{host}:{port}/postgres", make="database"), context)
        assert kind.capacity().server == f"postgres 127.0.0.1:{port}"
        kind.close()


# --- many at once


@pytest.mark.parametrize("make_", MAKES)
def test_many_at_once(make_: str, postgres_url: str, context: Context) -> None:
    kind = Postgres(options(postgres_url, make=make_), context)

    def one(number: int) -> str:
        with made(kind, f"group {number}") as (lease, dsn):
            assert rows(dsn, "CREATE TABLE t (id int)") == []
        return lease.token

    with ThreadPoolExecutor(16) as pool:
        tokens = list(pool.map(one, range(32)))
    kind.close()
    assert [token for token in tokens if standing(postgres_url, token)] == []


def test_a_database_with_a_strange_name(postgres_url: str, context: Context, admin: psycopg.Connection) -> None:
    name = 'a b/%"ü'
    quoted = name.replace('"', '""')
    admin.execute(f'CREATE DATABASE "{quoted}"')
    kind = Postgres(options(f"{postgres_url.rpartition('/')[0]}/{quote(name, safe='')}"), context)
    with made(kind) as (lease, dsn):
        assert rows(dsn, WHO) == [(lease.details["role"], lease.details["schema"], "orders", name)]
    kind.close()
    admin.execute(f'DROP DATABASE "{quoted}" WITH (FORCE)')
