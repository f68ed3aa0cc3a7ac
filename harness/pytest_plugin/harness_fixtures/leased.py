"""Fixtures for what the harness has leased to this process's group, and what stands in where there is no harness."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, NoReturn

import pytest

from .freeports import PortClaims, is_free
from .leases import Lease, are_shared, leases_of
from .names import stamp

if TYPE_CHECKING:
    import redis


class Tenant:
    """The tenant that is the group's own."""

    def __init__(self, name: str, variables: Mapping[str, str]) -> None:
        self.name = name
        self.variables = dict(variables)
        """All variables that it handed over, with their values; `tenant["TESTS_ORG"]` is one of them."""

    def __repr__(self) -> str:
        return f"<tenant {self.name}>"  # the variables hold its keys

    def __getitem__(self, variable: str) -> str:
        return self.variables[variable]


class FreePort(int):
    """A free TCP port. Call it for another one."""

    _more: PortClaims

    def __new__(cls, claims: PortClaims) -> FreePort:
        port = super().__new__(cls, claims.take())
        port._more = claims
        return port

    def __call__(self) -> int:
        return self._more.take()

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        """A copy, or what is read from a pickle, is a plain number."""
        return int, (int(self),)


@pytest.fixture(scope="session")
def tenant() -> Tenant:
    """The tenant that the harness made for this group: its `name`, and the `variables` that it handed over.

    Skips where there is none.
    """
    found = leases_of("tenant")
    if not found:
        skip('no tenant here: give the group `isolate` with an entry of kind = "tenant", and run it with the harness')
    return Tenant(found[0].value("name"), found[0].variables)


@pytest.fixture(scope="session")
def redis_url() -> str:
    """The URL of the Redis that the harness leased for this group; without a lease, that of the variable REDIS_URL.

    Skips where there is neither.
    """
    lease = _redis()
    url = lease.value("url") if lease else os.environ.get("REDIS_URL")
    if not url:
        skip('no Redis here: set REDIS_URL, or give the group `isolate` with an entry of kind = "redis"')
    return url


@pytest.fixture(scope="session")
def redis_prefix(request: pytest.FixtureRequest, redis_url: str) -> Iterator[str]:
    """What each key of this process begins with, as in `f"{redis_prefix}basket"`.

    That of the lease: empty where the whole database is this group's own. Without a lease, one of this process's own,
    whose keys are deleted at the end.
    """
    lease = _redis()
    if lease:
        yield lease.value("prefix")
        return
    try:
        import redis
    except ImportError:
        skip("redis_prefix deletes its keys with the package redis: `pip install redis`")
    prefix = f"test:{stamp(request.config)}:"
    yield prefix
    with closing(redis.Redis.from_url(redis_url)) as client:
        _delete_all(client, prefix)


@pytest.fixture
def free_port(request: pytest.FixtureRequest) -> Iterator[FreePort]:
    """A TCP port that nobody listens on; `free_port()` is another one, as often as you call it.

    First those that the harness leased for this group. No other test that uses `free_port` gets them until this one has
    ended.
    """
    own = [] if are_shared(request.config) else leases_of("ports")
    leased = [int(value) for lease in own for value in lease.variables.values()]
    with PortClaims([port for port in leased if is_free(port)]) as claims:
        yield FreePort(claims)


def skip(reason: str) -> NoReturn:
    pytest.skip(reason)


def _redis() -> Lease | None:
    return next(iter(leases_of("redis")), None)


def _delete_all(client: redis.Redis, prefix: str) -> None:
    keys = list(client.scan_iter(match=prefix + "*", count=1000))
    for start in range(0, len(keys), 1000):
        client.delete(*keys[start : start + 1000])
