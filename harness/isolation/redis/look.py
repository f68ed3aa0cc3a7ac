"""What stands on a Redis server and belongs to no lease: the contamination check's look at it.

Keys with a time to live are left out: they vanish without anybody's doing. So are the harness's own (for these see
flushes.py), and those of leases, whether databases or prefixes, of whichever run. It only reads.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import closing
from fnmatch import fnmatchcase
from typing import Any

from harness import clock
from harness.errors import InfrastructureError
from harness.isolation.label import read_label
from harness.isolation.redis.databases import HOME
from harness.isolation.redis.prefixes import PREFIXED
from harness.isolation.redis.server import LEASES, Client, Server, text

LIMIT = 10_000  # keys of one database that are told one by one; beyond it they are counted
_LARGE = 100_000  # bytes of a string, or items: beyond it the length must do
_DEADLINE = 60.0  # seconds
_BATCH = 500

# How long it is, and all of it; where a server keeps no order, the reader does.
_READ: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "string": ("STRLEN", ("GET",)),
    "list": ("LLEN", ("LRANGE", "0", "-1")),
    "hash": ("HLEN", ("HGETALL",)),
    "set": ("SCARD", ("SMEMBERS",)),
    "zset": ("ZCARD", ("ZRANGE", "0", "-1", "WITHSCORES")),
    "stream": ("XLEN", ("XRANGE", "-", "+")),
}


def look(server: Server, held: Set[int], ignore: Sequence[str]) -> Mapping[str, str]:
    """Every key that belongs to no lease: "key session:42 in database 0" -> "string of 5, 8c1f9a02".

    `held`: databases that are leased whatever their claims say. `ignore`: globs of keys to leave out. Where a database
    has more than LIMIT such keys, only their number is told. "" is told of a key that goes meanwhile. Raises
    InfrastructureError after a minute.
    """
    deadline = clock.now() + _DEADLINE
    found: dict[str, str] = {}
    with closing(server.client(HOME)) as home:
        sizes = home.execute_command("INFO", "keyspace")
        for number in sorted(int(name[2:]) for name in sizes if name[2:].isdigit()):
            if number in held or _is_claimed(home, number):
                continue
            with closing(server.client(number)) as client:
                seen = _seen(client, number, ignore, deadline)
            # A group may have been given it while we looked, and then these are its own.
            if not _is_claimed(home, number):
                found |= seen
    return found


def _is_claimed(home: Client, number: int) -> bool:
    return read_label(text(home.execute_command("GET", f"{LEASES}{number}"))) is not None


def _seen(client: Client, number: int, ignore: Sequence[str], deadline: float) -> dict[str, str]:
    names: set[bytes] = set()
    for name in client.scan_iter(count=_BATCH):
        if clock.now() > deadline:
            raise InfrastructureError(
                f"database {number} of the Redis has more keys than can be looked at in {_DEADLINE:.0f} s",
                "Leave `check` out of this entry, or give the tests a Redis of their own.",
            )
        shown = text(name)
        if not shown.startswith(LEASES) and not any(fnmatchcase(shown, glob) for glob in ignore):
            names.add(name)
    kinds = _lasting(client, sorted(names - _leased(client, names)))
    if len(kinds) > LIMIT:
        return {f"keys in database {number}": str(len(kinds))}
    return {f"key {text(name)} in database {number}": said for name, said in _states(client, kinds)}


def _leased(client: Client, names: Set[bytes]) -> set[bytes]:
    """Those of living prefixes. To be asked before whether a key still exists: a lease's label goes after its keys."""
    tokens = {name: found[1] for name in names if (found := PREFIXED.match(name))}
    known = sorted(set(tokens.values()))
    labels = _all(client, [("GET", LEASES + text(token)) for token in known])
    living = {token for token, label in zip(known, labels, strict=True) if read_label(text(label))}
    return {name for name, token in tokens.items() if token in living}


def _lasting(client: Client, names: Sequence[bytes]) -> dict[bytes, str]:
    """The types of those that are there and have no time to live."""
    answers = _all(client, [(word, name) for name in names for word in ("PTTL", "TYPE")])
    return {name: text(kind) for name, left, kind in zip(names, answers, answers, strict=False) if left == -1}


def _states(client: Client, kinds: Mapping[bytes, str]) -> Iterator[tuple[bytes, str]]:
    readable = [name for name, kind in kinds.items() if kind in _READ]  # what a module keeps has only its type
    sizes = dict(zip(readable, _all(client, [(_READ[kinds[name]][0], name) for name in readable]), strict=True))
    small = [name for name in readable if sizes[name] is not None and sizes[name] <= _LARGE]
    read = _all(client, [(word, name, *more) for name in small for word, *more in [_READ[kinds[name]][1]]])
    values = dict(zip(small, read, strict=True))
    for name, kind in kinds.items():
        if name not in sizes:
            yield name, kind
        elif sizes[name] is None or (not values.get(name, True) and values[name] != b""):
            yield name, ""  # it went, or became something else, while we looked; only a string can be empty
        else:
            yield name, f"{kind} of {sizes[name]}" + (f", {_digest(values[name])}" if name in values else "")


def _digest(value: Any) -> str:
    if isinstance(value, Mapping):
        value = sorted(value.items())
    elif isinstance(value, Set):
        value = sorted(value)
    return hashlib.sha256(repr(value).encode()).hexdigest()[:8]


def _all(client: Client, commands: Sequence[tuple[str | bytes, ...]]) -> Iterator[Any]:
    """The answers, in order; so many at a time that neither side has to hold them all. None: it is of another type."""
    import redis

    for start in range(0, len(commands), _BATCH):
        with client.pipeline(transaction=False) as pipe:
            for command in commands[start : start + _BATCH]:
                pipe.execute_command(*command)
            for answer in pipe.execute(raise_on_error=False):
                if not isinstance(answer, redis.ResponseError):
                    yield answer
                elif str(answer).startswith("WRONGTYPE"):
                    yield None
                else:
                    raise answer
