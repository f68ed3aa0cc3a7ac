"""Prefixes on a real Redis as leases: a user that can touch nothing else, and a server that makes no users."""

import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import redis

from harness.errors import InfrastructureError
from harness.isolation.label import FOREVER, Label, read_label
from harness.isolation.lease import Context, Lease, Made, new_token
from harness.isolation.redis.kind import Redis

OPTIONS = {"make": "prefix", "databases": None, "variable": "CACHE", "prefix_variable": "PREFIX", "ignore": []}
DATABASE = 2

MakeKind = Callable[..., Redis]


@pytest.fixture
def url(redis_url: str) -> Iterator[str]:
    """A database of an empty Redis. Users that a test made are gone afterwards."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        client.flushall()
        yield f"{redis_url}/{DATABASE}"
        client.flushall()
        for user in set(client.acl_users()) - {"default"}:
            client.acl_deluser(user)


@pytest.fixture
def make_kind(url: str, context: Context) -> Iterator[MakeKind]:
    made = []

    def make(**options: Any) -> Redis:
        kind = Redis(OPTIONS | {"url": url} | options, context)
        made.append(kind)
        return kind

    yield make
    for kind in made:
        kind.close()


@pytest.fixture
def admin(url: str) -> "Iterator[redis.Redis]":
    with redis.Redis.from_url(url, decode_responses=True) as client:
        yield client


def make(kind: Redis, group: str = "search") -> tuple[Lease, Made]:
    lease = Lease(new_token(), "cache", "redis", "20260101_000000", group)
    details = dict(kind.plan(lease))
    made = kind.make(msgspec.structs.replace(lease, details=dict(details)), details.update)
    return msgspec.structs.replace(lease, details=details), made


def as_tests(made: Made) -> "redis.Redis":
    return redis.Redis.from_url(made.variables["CACHE"], decode_responses=True)


def without_label(client: "redis.Redis") -> list[str]:
    return sorted(key for key in client.scan_iter() if not key.startswith("harness:lease:"))


def test_a_lease_is_a_prefix_and_a_user_for_it(make_kind: MakeKind, url: str, admin: "redis.Redis") -> None:
    kind = make_kind()
    assert kind.capacity() is None
    lease, made = make(kind)
    user = f"h_{lease.token}"
    parts = urlsplit(made.variables["CACHE"])
    assert (parts.username, parts.path, parts.port) == (user, f"/{DATABASE}", urlsplit(url).port)
    assert made.variables["PREFIX"] == f"h:search:{lease.token}:"
    assert made.roles == {"url": "CACHE", "prefix": "PREFIX"}
    assert made.secret == {"CACHE"}
    assert parts.password
    assert parts.password not in str(lease), "the journal is plain text"
    label = read_label(admin.get(f"harness:lease:{lease.token}"))
    assert label
    assert label[:3] == (lease.token, lease.run_id, "0f0f")
    kind.release(lease)
    kind.release(lease)
    assert admin.dbsize() == 0
    assert user not in admin.acl_users()


def test_the_prefix_is_all_that_its_user_can_touch(make_kind: MakeKind, admin: "redis.Redis") -> None:
    kind = make_kind()
    (_, made), (_, other) = make(kind), make(kind)
    mine, theirs = made.variables["PREFIX"], other.variables["PREFIX"]
    admin.mset({"public": "x", f"{theirs}word": "x"})
    before = without_label(admin)
    forbidden: list[tuple[Any, ...]] = [
        *[("GET", key) for key in ("public", f"{theirs}word", mine.rstrip(":"))],
        *[("SET", "public", "y"), ("DEL", "public"), ("RENAME", "public", f"{mine}word"), ("SET", f"x{mine}word", "y")],
        *[("EVAL", "return redis.call('DEL', 'public')", "0"), ("EVAL", "return redis.call('FLUSHALL')", "0")],
        *[("FLUSHALL",), ("FLUSHDB",), ("SWAPDB", "0", "1"), ("SELECT", "0"), ("MOVE", f"{mine}word", "0")],
        ("COPY", f"{mine}word", f"{mine}copy", "DB", "0"),
        *[
            ("CONFIG", "SET", "maxmemory", "1"),
            ("ACL", "LIST"),
            ("SCRIPT", "FLUSH"),
            ("SHUTDOWN", "NOSAVE"),
        ],
        *[("CLIENT", "KILL", "TYPE", "normal"), ("CLIENT", "PAUSE", "1"), ("PUBLISH", "news", "x"), ("MONITOR",)],
        *[("SLAVEOF", "NO", "ONE"), ("SORT", f"{mine}list", "BY", "public")],
    ]
    with as_tests(made) as client:
        client.set(f"{mine}word", "x")
        for words in forbidden:
            with pytest.raises(redis.ResponseError, match=r"no permissions|can't access|can't run"):
                client.execute_command(*words)
        assert client.get(f"{mine}word") == "x"
    assert without_label(admin) == sorted([*before, f"{mine}word"])


def test_libraries_of_functions_belong_to_all(make_kind: MakeKind, admin: "redis.Redis") -> None:
    if int(admin.info("server")["redis_version"].split(".")[0]) < 7:
        pytest.skip("this server has no functions")
    _, made = make(make_kind())
    with as_tests(made) as client, pytest.raises(redis.ResponseError, match=r"no permissions"):
        client.function_flush()


def test_within_the_prefix_tests_work_as_usual(make_kind: MakeKind) -> None:
    _, made = make(make_kind())
    mine = made.variables["PREFIX"]
    with as_tests(made) as client, as_tests(made) as listener:
        client.client_setname("tests")
        assert client.info("server")
        client.hset(f"{mine}hash", mapping={"a": "1"})
        client.rpush(f"{mine}list", "a", "b")
        assert sorted(client.keys(f"{mine}*")) == [f"{mine}hash", f"{mine}list"]
        assert sorted(client.scan_iter(f"{mine}*")) == [f"{mine}hash", f"{mine}list"]
        assert client.register_script("return redis.call('LLEN', KEYS[1])")(keys=[f"{mine}list"]) == 2
        with client.pipeline() as pipe:
            pipe.incr(f"{mine}n")
            pipe.expire(f"{mine}n", 60)
            assert pipe.execute() == [1, True]
        subscribed = listener.pubsub(ignore_subscribe_messages=True)
        subscribed.subscribe(f"{mine}news")
        subscribed.get_message(timeout=30)
        assert client.publish(f"{mine}news", "x") == 1


def test_release_removes_what_begins_with_the_prefix_and_nothing_of_a_similar_name(
    make_kind: MakeKind, admin: "redis.Redis"
) -> None:
    kind = make_kind()
    lease, made = make(kind, group="a group: [*]?")
    mine = made.variables["PREFIX"]
    strangers = sorted(["public", f"h:search:{lease.token}", f"x{mine}a", f"h:other:more:{lease.token}:a"])
    admin.mset(dict.fromkeys(strangers, "x"))
    with as_tests(made) as client:
        with client.pipeline(transaction=False) as pipe:
            for index in range(3000):
                pipe.set(f"{mine}{index}", "x")
            pipe.execute()
        connection = client.connection_pool.get_connection()
        assert kind.leftovers(lease)[0].endswith(f" is still connected as the user h_{lease.token}")
        kind.release(lease)
        with pytest.raises(redis.ConnectionError):
            connection.read_response()
    assert sorted(admin.scan_iter()) == strangers
    assert kind.leftovers(lease) == []


def test_a_sentinel_gets_nothing(make_kind: MakeKind, admin: "redis.Redis") -> None:
    kind = make_kind()
    sentinel, made = make(kind, group="")
    kind.renew(sentinel)
    assert not made.variables
    assert admin.dbsize() == 0
    assert admin.acl_users() == ["default"]


def test_renewing_puts_back_a_label_that_was_flushed_but_not_that_of_a_released_lease(
    make_kind: MakeKind, admin: "redis.Redis"
) -> None:
    kind = make_kind()
    lease, _ = make(kind)
    key = f"harness:lease:{lease.token}"
    admin.flushall()
    kind.renew(lease)
    assert read_label(admin.get(key))
    admin.set(key, str(Label(lease.token, lease.run_id, "0f0f", 5)))
    make_kind().renew(lease)
    assert read_label(admin.get(key)).until > 5  # type: ignore[union-attr]
    kind.renew(msgspec.structs.replace(lease, kept=True))
    assert read_label(admin.get(key)).until == FOREVER  # type: ignore[union-attr]
    kind.release(lease)
    kind.renew(lease)
    assert admin.dbsize() == 0


def test_expired_are_those_of_this_project_whose_label_is_over(make_kind: MakeKind, admin: "redis.Redis") -> None:
    kind = make_kind()
    (lease, made), (living, _) = make(kind), make(kind)
    admin.set(f"{made.variables['PREFIX']}word", "x")
    admin.set(f"harness:lease:{lease.token}", str(Label(lease.token, lease.run_id, "0f0f", 5)))
    stranger = Label(new_token(), lease.run_id, "beef", 5)
    admin.set(f"harness:lease:{stranger.token}", str(stranger))
    admin.set("harness:lease:forged", str(Label(living.token, lease.run_id, "0f0f", 5)))
    gc = make_kind()
    (found,) = gc.expired()
    assert (found.token, found.run_id) == (lease.token, lease.run_id)
    gc.release(found)
    assert without_label(admin) == []
    assert f"h_{lease.token}" not in admin.acl_users()
    assert f"h_{living.token}" in admin.acl_users()


def test_where_no_user_can_be_made_the_prefix_is_handed_over_all_the_same(
    make_kind: MakeKind, admin: "redis.Redis", url: str
) -> None:
    rules = ("on", ">s3cret/@", "~*", "&*", "+@all", "-acl")
    admin.execute_command("ACL SETUSER", "modest", "reset", "resetchannels", *rules)
    modest = url.replace("redis://", "redis://modest:s3cret%2F%40@")
    kind = make_kind(url=modest)
    lease, made = make(kind)
    assert made.variables["CACHE"] == modest
    assert made.secret == {"CACHE"}
    assert "acl" in lease.details["note"]
    assert "s3cret" not in str(lease)
    with as_tests(made) as client:
        client.set(f"{made.variables['PREFIX']}word", "x")
    kind.release(lease)
    assert admin.dbsize() == 0


def test_many_at_once_leave_nothing(make_kind: MakeKind, admin: "redis.Redis") -> None:
    kind = make_kind()
    failed = []

    def group() -> None:
        for _ in range(10):
            lease, made = make(kind)
            with as_tests(made) as client:
                client.set(f"{made.variables['PREFIX']}word", lease.token)
                if client.get(f"{made.variables['PREFIX']}word") != lease.token:
                    failed.append(lease)
            kind.release(lease)

    threads = [threading.Thread(target=group) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert admin.dbsize() == 0
    assert admin.acl_users() == ["default"]


def test_without_a_server_release_does_nothing_and_the_rest_says_where(make_kind: MakeKind) -> None:
    kind = make_kind(url="redis://:hidden@127.0.0.1:1/0")
    with pytest.raises(InfrastructureError, match=r"cannot make a lease on the Redis at 127\.0\.0\.1:1: ") as raised:
        make(kind)
    assert "hidden" not in raised.value.message
    kind.release(Lease(new_token(), "cache", "redis", "20260101_000000", "search"))
