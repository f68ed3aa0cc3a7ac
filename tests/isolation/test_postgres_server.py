"""How a server is spoken to: rights, addresses, deadlines, errors in words."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from pg_leases import lease_of, made, make, options, rows, standing

from harness.errors import InfrastructureError
from harness.isolation.lease import Context
from harness.isolation.postgres import server as postgres_server
from harness.isolation.postgres.kind import Postgres
from harness.isolation.postgres.server import POOL, Server, ServerError
from harness.ports import PortChooser

MIGRATE = """
import os, psycopg
with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    connection.execute("CREATE TABLE t (id int)")
"""


@pytest.fixture
def server(postgres_url: str) -> Iterator[Server]:
    found = Server(postgres_url)
    yield found
    found.close()


@pytest.fixture
def ordinary(postgres_url: str) -> Iterator[Callable[[str], str]]:
    """Makes the role `manager` with some rights, and returns its DSN for a database of its own."""
    rows(postgres_url, "CREATE DATABASE managed")
    dsn = f"{postgres_url.rpartition('/')[0]}/managed"

    def with_rights(rights: str) -> str:
        rows(dsn, f"CREATE ROLE manager LOGIN {rights}")
        return dsn.replace("postgres@", "manager@")

    yield with_rights
    rows(postgres_url, "DROP DATABASE managed WITH (FORCE)")
    rows(postgres_url, "DROP ROLE IF EXISTS manager")


@pytest.mark.parametrize("make_", ["schema", "database"])
def test_no_superuser_is_needed(make_: str, ordinary: Callable[[str], str], postgres_url: str, tmp_path: Path) -> None:
    dsn = ordinary("CREATEROLE CREATEDB")
    rows(
        postgres_url,
        "REVOKE CONNECT ON DATABASE managed FROM PUBLIC; "
        "GRANT CONNECT ON DATABASE managed TO manager WITH GRANT OPTION",
    )
    rows(postgres_url, "GRANT CREATE ON DATABASE managed TO manager")
    context = Context(tmp_path, "0f0f", "r", dict(os.environ))
    kind = Postgres(options(dsn, make=make_, migrate=(sys.executable, "-c", MIGRATE)), context)
    with made(kind, "one") as (lease, mine), made(kind, "two") as (_, other):
        rows(mine, "INSERT INTO t VALUES (1); ALTER TABLE t ADD COLUMN more int")
        assert rows(other, "SELECT count(*) FROM t") == [(0,)]
        kind.renew(lease)
        open_one = psycopg.connect(mine)
        open_one.execute("LOCK TABLE t")
        (left,) = kind.leftovers(lease)
        assert "LOCK TABLE t" in left
        kind.release(lease)
        assert standing(postgres_url, lease.token) == set()
    kind.close()
    assert rows(postgres_url, "SELECT rolname FROM pg_roles WHERE rolname LIKE 'h\\_%'") == []


@pytest.mark.parametrize(
    ("rights", "make_", "lacks", "cure"),
    [
        ("CREATEDB", "database", "create roles", 'ALTER ROLE "manager" CREATEROLE'),
        ("CREATEROLE", "database", "create databases", 'ALTER ROLE "manager" CREATEDB'),
        (
            "",
            "schema",
            "create roles, nor create schemas in managed",
            'GRANT CREATE ON DATABASE "managed" TO "manager"',
        ),
    ],
)
def test_what_the_administrator_lacks_is_said(
    rights: str, make_: str, lacks: str, cure: str, ordinary: Callable[[str], str], context: Context
) -> None:
    kind = Postgres(options(ordinary(rights), make=make_), context)
    with pytest.raises(InfrastructureError, match=f"the role manager may not {lacks}") as refused:
        make(kind, lease_of(kind))
    assert cure in refused.value.cure
    kind.close()


# --- addresses


@pytest.mark.parametrize(
    ("dsn", "address", "expected"),
    [
        ("postgresql://a:b@h:5/d", ("h", 5), "postgresql://r:p%2F%40@h:5/x%20y"),
        ("postgresql://a@[::1]:5/d", ("::1", 5), "postgresql://r:p%2F%40@[::1]:5/x%20y"),
        ("host=/run/pg dbname=d", ("/run/pg", 6), "postgresql://r:p%2F%40@:6/x%20y?host=%2Frun%2Fpg"),
        (
            "postgresql://a@h/d?sslmode=require&application_name=z&sslkey=k",
            ("h", 5432),
            "postgresql://r:p%2F%40@h:5432/x%20y?sslmode=require",
        ),
    ],
)
def test_the_address_for_a_role_is_a_plain_url(dsn: str, address: tuple[str, int], expected: str) -> None:
    server = Server(dsn)
    server.__dict__["_address"] = address
    url = server.url("r", "p/@", "x y")
    assert url == expected
    read = psycopg.conninfo.conninfo_to_dict(url)
    assert (read["user"], read["password"], read["dbname"], read["host"]) == ("r", "p/@", "x y", address[0])


def test_a_dsn_that_is_none_is_refused_without_its_password() -> None:
    with pytest.raises(InfrastructureError, match="is not an address of Postgres") as refused:
        Server("postgresql://me:se%cret@host/d").facts  # noqa: B018 - it connects
    assert "cret" not in refused.value.message + refused.value.cure


def test_a_server_that_is_not_there(context: Context) -> None:
    kind = Postgres(options(f"postgresql://me:secret@127.0.0.1:{PortChooser().choose()}/d"), context)
    lease = lease_of(kind)
    for act in (lambda: make(kind, lease), lambda: kind.release(lease), kind.capacity, kind.expired):
        with pytest.raises(InfrastructureError, match=r"postgres at 127\.0\.0\.1:\d+/d: cannot .*refused") as failure:
            act()
        assert "secret" not in failure.value.message


# --- sessions


def test_a_deadline_ends_what_takes_too_long(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_server, "DEADLINE", 0.1)
    with pytest.raises(ServerError, match="cannot sleep"), server.session("sleep") as session:
        session.run("SELECT pg_sleep(30)")
    monkeypatch.undo()
    with server.session("go on") as session:
        assert session.run("SELECT 1") == [(1,)]


def test_sessions_that_the_server_has_ended_are_opened_again(server: Server, postgres_url: str) -> None:
    with server.session("look") as session:
        ((pid,),) = session.run("SELECT pg_backend_pid()")
    rows(postgres_url, "SELECT pg_terminate_backend(%s, 10000)", pid)
    with server.session("look again") as session:
        assert session.run("SELECT pg_backend_pid() <> %s", pid) == [(True,)]


def test_there_are_never_more_sessions_than_the_pool_has(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.ExitStack() as lent:
        for number in range(POOL):
            lent.enter_context(server.session(f"hold number {number}"))
        monkeypatch.setattr(postgres_server, "DEADLINE", 0.05)
        busy = pytest.raises(ServerError, match=f"cannot have one more: {POOL} sessions of ours are busy")
        with busy, server.session("have one more"):
            pass
    with server.session("have one again") as session:
        assert session.run("SELECT 1") == [(1,)]


def test_what_failed_leaves_no_setting_behind(server: Server) -> None:
    with pytest.raises(ServerError), server.session("fail") as session:
        session.run("SET lock_timeout = 1234; COMMIT; SELECT no_such_column")
    with server.session("look") as session:
        assert session.run("SHOW lock_timeout") == [("0",)]


def test_the_package_may_be_missing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InfrastructureError) as missing:
        server.facts  # noqa: B018 - it connects
    assert "parallel-harness[postgres]" in missing.value.cure
