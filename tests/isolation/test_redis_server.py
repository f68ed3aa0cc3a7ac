"""Addresses of a Redis, and what is said when it is not there or not willing."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from projects import eventually
from redis.connection import parse_url
from servers import redis_server

from harness.errors import InfrastructureError
from harness.isolation.lease import Context, Lease, new_token
from harness.isolation.redis.kind import Redis
from harness.isolation.redis.server import address

OPTIONS = {"make": "database", "databases": None, "variable": "CACHE", "prefix_variable": "PREFIX", "ignore": []}

words = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost", "redis://localhost/3"),
        ("redis://localhost:6380/7", "redis://localhost:6380/3"),
        ("redis://me:p%40ss@[::1]:6380", "redis://me:p%40ss@[::1]:6380/3"),
        ("unix:///tmp/x.sock?db=2", "unix:///tmp/x.sock?db=3"),
        ("unix://me:p%40ss@/tmp/x.sock", "unix://me:p%40ss@/tmp/x.sock?db=3"),
        ("rediss://cache/0?ssl_cert_reqs=none&db=5", "rediss://cache/3?ssl_cert_reqs=none"),
    ],
)
def test_the_address_of_a_database_keeps_all_the_rest(url: str, expected: str) -> None:
    assert address(url, 3) == expected


@given(user=words, password=words, database=st.integers(0, 1000), tls=st.booleans())
def test_the_address_of_a_user_is_read_as_it_was_meant(user: str, password: str, database: int, tls: bool) -> None:
    url = f"redis{'s' * tls}://admin:admins@[::1]:6380/2?username=x&password=y&db=4&socket_timeout=3"
    read: dict[str, Any] = parse_url(address(url, database, user, password))
    read.pop("connection_class", None)
    meant = {"username": user, "password": password, "host": "::1", "port": 6380, "db": database, "socket_timeout": 3.0}
    assert {key: read[key] for key in meant} == meant
    query = dict(parse_qsl(urlsplit(address(url, database, user, password)).query))
    assert query == {"socket_timeout": "3"}, "the administrator's password must not reach the tests"


@pytest.fixture
def limited(redis_url: str) -> Iterator[str]:
    """The address of a user who may neither configure the server nor see who is connected."""
    rules = ("on", ">s3cret", "~*", "&*", "+@all", "-config", "-client", "+client|setname")
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        client.execute_command("ACL SETUSER", "limited", "reset", "resetchannels", *rules)
        yield redis_url.replace("redis://", "redis://limited:s3cret@")
        client.acl_deluser("limited")
        client.flushall()


def lease_of(group: str = "search") -> Lease:
    return Lease(new_token(), "cache", "redis", "20260101_000000", group)


def test_config_and_client_list_are_not_needed_and_a_password_is_a_secret(limited: str, context: Context) -> None:
    kind, lease, details = Redis(OPTIONS | {"url": limited}, context), lease_of(), dict[str, str]()
    assert kind.capacity()[:3] == (15, "16 databases, 1 kept for the claims", 15)
    made = kind.make(lease, details.update)
    assert made.variables["CACHE"] == f"{limited}/{details['database']}"
    assert made.secret == {"CACHE"}
    assert "s3cret" not in str(details)
    assert kind.leftovers(lease) == []
    kind.release(lease)
    assert kind.capacity().free == 15  # type: ignore[union-attr]
    kind.close()


def test_a_server_that_nobody_runs_has_nothing_to_release(context: Context) -> None:
    kind = Redis(OPTIONS | {"url": "redis://127.0.0.1:1"}, context)
    kind.release(lease_of())
    for ask in (kind.capacity, kind.expired, lambda: kind.look(None), lambda: kind.renew(lease_of())):
        with pytest.raises(InfrastructureError, match=r"cannot .* on the Redis at 127\.0\.0\.1:1: "):
            ask()


def test_a_server_that_refuses_us_may_still_hold_the_lease(redis_url: str, context: Context) -> None:
    kind = Redis(OPTIONS | {"url": redis_url.replace("redis://", "redis://nobody:wr0ng@")}, context)
    with pytest.raises(InfrastructureError, match="cannot release a lease on the Redis") as raised:
        kind.release(lease_of())
    assert "wr0ng" not in raised.value.message


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:6379", "redis://h:70000", "redis://h?db=one", "redis://h?max_connections=-1"),
        *("redis://[::1", "redis://me:s3/cret@h"),
    ],
)
def test_an_address_that_is_none(context: Context, url: str) -> None:
    with pytest.raises(InfrastructureError, match="is no address") as raised:
        Redis(OPTIONS | {"url": url}, context)
    assert "s3" not in raised.value.message


@pytest.mark.parametrize("make", ["database", "prefix"])
def test_a_server_on_a_unix_socket(context: Context, make: str) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        socket = Path(directory, "x.sock")
        argv = [redis_server(), "--port", "0", "--unixsocket", str(socket), "--save", ""]
        kind = Redis(OPTIONS | {"url": f"unix://{socket}?db=2", "make": make}, context)
        lease = lease_of()
        lease = Lease(lease.token, "cache", "redis", lease.run_id, "search", details=dict(kind.plan(lease)))
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, cwd=directory) as server:
            try:
                eventually(socket.exists, "the server")
                made = kind.make(lease, lambda _details: None)
                with redis.Redis.from_url(made.variables["CACHE"]) as client:
                    client.set(f"{made.variables.get('PREFIX', '')}word", "x")
                kind.release(lease)
                with redis.Redis(unix_socket_path=str(socket)) as client:
                    assert client.info("keyspace") == {}
            finally:
                server.terminate()
        kind.release(lease)  # the server is gone, and all that was in its memory
        kind.close()


def test_without_the_package_the_cure_names_the_extra() -> None:
    script = (
        "import sys; sys.modules['redis'] = sys.modules['redis.connection'] = None\n"
        "from harness.isolation.redis.kind import Redis\n"
        "from harness.errors import HarnessError\n"
        "try: Redis({'url': 'redis://localhost', 'make': 'prefix'}, type('C', (), {'run_id': ''}))\n"
        "except HarnessError as error: print(error.message, error.cure)\n"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "needs the Python package redis" in said
    assert 'pip install "parallel-harness[redis]"' in said
