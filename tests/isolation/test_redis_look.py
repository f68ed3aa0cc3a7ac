"""The planted cases of contamination on a real Redis: all found, and nothing said of what is somebody's own."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from harness.isolation.lease import Context, Lease, new_token
from harness.isolation.redis import look as redis_look
from harness.isolation.redis.kind import Redis

OPTIONS = {"databases": None, "variable": "CACHE", "prefix_variable": "PREFIX", "ignore": []}
WAYS = ("database", "prefix")

MakeKind = Callable[..., Redis]


@pytest.fixture
def url(redis_url: str) -> Iterator[str]:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        yield redis_url
        client.flushall()


@pytest.fixture
def make_kind(url: str, context: Context) -> Iterator[MakeKind]:
    made = []

    def make(way: str, **options: Any) -> Redis:
        kind = Redis(OPTIONS | {"url": url, "make": way} | options, context)
        made.append(kind)
        return kind

    yield make
    for kind in made:
        kind.close()


def lease_with(kind: Redis) -> Lease:
    lease = Lease(new_token(), "cache", "redis", "20260101_000000", "search")
    return Lease(lease.token, "cache", "redis", lease.run_id, "search", details=dict(kind.plan(lease)))


OWN = "the harness's own keys in database 0"


def look(kind: Redis) -> dict[str, str]:
    """Without what is said of the harness's own keys."""
    return {thing: said for thing, said in kind.look(None).items() if thing != OWN}


def at(url: str, number: int = 0) -> "redis.Redis":
    return redis.Redis.from_url(f"{url}/{number}")


PLANTED = {
    "string": lambda client, key, word: client.set(key, word),
    "list": lambda client, key, word: client.rpush(key, word),
    "hash": lambda client, key, word: client.hset(key, word, "1"),
    "set": lambda client, key, word: client.sadd(key, word),
    "zset": lambda client, key, word: client.zadd(key, {word: 1}),
    "stream": lambda client, key, word: client.xadd(key, {"word": word}),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", [0, 9])
@pytest.mark.parametrize("type_", PLANTED)
def test_a_key_that_is_nobodys_is_seen_come_change_and_go(
    make_kind: MakeKind, url: str, way: str, number: int, type_: str
) -> None:
    kind, thing = make_kind(way), f"key session:42 in database {number}"
    plant = PLANTED[type_]
    with at(url, number) as client:
        looks = [look(kind)]
        for word in ("one", "two"):
            plant(client, "session:42", word)
            looks.append(look(kind))
            assert look(kind) == looks[-1], "nothing was touched in between"
        client.delete("session:42")
        looks.append(look(kind))
    assert [look.keys() for look in looks] == [set(), {thing}, {thing}, set()]
    assert looks[1][thing].startswith(f"{type_} of ")
    assert looks[1] != looks[2]


def test_what_is_said_of_a_key(make_kind: MakeKind, url: str) -> None:
    with at(url) as client:
        client.rpush(b"bin\xff", "a", "b")
        (thing, said), *more = look(make_kind("database")).items()
    assert not more
    assert thing == r"key bin\xff in database 0"
    assert said.startswith("list of 2, ")
    assert len(said) == len("list of 2, ") + 8


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_said_of_leases_of_what_expires_or_of_what_is_ignored(
    make_kind: MakeKind, url: str, way: str
) -> None:
    kind = make_kind(way, ignore=["cache:*"])
    for other in (kind, make_kind("database"), make_kind("prefix"), make_kind("prefix", url=f"{url}/5")):
        made = other.make(lease_with(other), lambda _details: None)
        with redis.Redis.from_url(made.variables["CACHE"]) as client:
            client.set(f"{made.variables.get('PREFIX', '')}own", "x")
    with at(url) as client:
        client.set("soon gone", "x", ex=600)
        client.set("cache:1", "x")
    assert look(kind) == {}


@pytest.mark.parametrize("way", WAYS)
def test_keys_that_only_look_like_a_leases_are_seen(make_kind: MakeKind, url: str, way: str) -> None:
    with at(url) as client:
        client.mset({"h:search:0123456789ab:word": "x", "harness:other": "x"})
    assert look(make_kind(way)).keys() == {
        "key h:search:0123456789ab:word in database 0",
        "key harness:other in database 0",
    }


def test_ones_own_database_is_nobody_elses_also_when_a_test_has_flushed_its_claim_away(
    make_kind: MakeKind,
) -> None:
    kind = make_kind("database")
    made = kind.make(lease_with(kind), lambda _details: None)
    with redis.Redis.from_url(made.variables["CACHE"]) as client:
        client.flushall()
        client.set("own", "x")
    assert look(kind) == {}


def test_more_keys_than_the_limit_are_counted(make_kind: MakeKind, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_look, "LIMIT", 1000)
    with at(url, 3) as client:
        client.mset({f"key:{index}": "x" for index in range(1001)})
        client.set("soon gone", "x", ex=600)
        assert look(make_kind("database")) == {"keys in database 3": "1001"}
        client.delete("key:0")
        assert len(look(make_kind("database"))) == 1000


def test_of_what_is_very_large_the_length_must_do(make_kind: MakeKind, url: str) -> None:
    with at(url) as client:
        client.setrange("large", 200_000, "x")
        assert look(make_kind("database")) == {"key large in database 0": "string of 200001"}


def test_a_database_that_is_leased_while_we_look_is_left_out(
    make_kind: MakeKind, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = make_kind("database", databases=[4])
    with at(url, 4) as client:
        client.set("word", "x")
    honest = redis_look._seen

    def meanwhile(*words: Any) -> Any:
        seen = honest(*words)
        with at(url, 4) as client:
            client.flushdb()
        kind.make(lease_with(kind), lambda _details: None)
        assert seen
        return seen

    monkeypatch.setattr(redis_look, "_seen", meanwhile)
    assert look(make_kind("database")) == {}


@pytest.mark.parametrize("way", WAYS)
def test_a_test_that_says_flushall_is_found_once(make_kind: MakeKind, url: str, way: str) -> None:
    kind = make_kind(way)
    assert kind.look(None)[OWN] == "as they were"
    mine, theirs = lease_with(kind), lease_with(kind)
    for lease in (mine, theirs):
        kind.make(lease, lambda _details: None)
    assert kind.look(None)[OWN] == "as they were"
    with at(url) as client:
        client.flushall()
        for _ in range(2):
            assert kind.look(None)[OWN] == "gone, as after FLUSHALL"
            kind.renew(mine)  # who is there when they come back has not touched anything
            kind.renew(theirs)
        client.flushall()
        kind.renew(mine)
        kind.renew(theirs)
        assert kind.look(None)[OWN] == "gone 2 times, as after FLUSHALL"
    for lease in (mine, theirs):
        kind.release(lease)
        assert kind.look(None)[OWN] == "gone 2 times, as after FLUSHALL"


@pytest.mark.parametrize("meanwhile", ["DEL list", "SET list x"])
def test_a_key_that_goes_while_we_look_cannot_be_told(
    make_kind: MakeKind, url: str, meanwhile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = redis_look._lasting
    with at(url) as client:

        def changing(*words: Any) -> Any:
            kinds = honest(*words)
            client.execute_command(*meanwhile.split())
            return kinds

        monkeypatch.setattr(redis_look, "_lasting", changing)
        client.rpush("list", "a")
        client.set("empty", "")
        said = look(make_kind("database"))
    assert said.pop("key list in database 0") == ""
    assert said["key empty in database 0"].startswith("string of 0, ")
