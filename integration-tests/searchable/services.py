"""What every endpoint works with, and who is calling: the organization by its key, the user by a token."""

import hashlib
import hmac
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool

from searchable.config import Settings
from searchable.database import Database, Organization, Row, Tx
from searchable.errors import ApiError
from searchable.metrics import Metrics
from searchable.network import PaymentNetwork
from searchable.worker import Worker


class Body(BaseModel):
    """A request body; a field nobody knows is a mistake of the caller, not something to pass over."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class Services:
    """The parts of a running service, made once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.database_url)
        self.metrics = Metrics()
        self.network = PaymentNetwork(
            settings.network_rate, settings.network_burst, settings.settlement_seconds, settings.payout_seconds
        )
        self.worker = Worker(self.database, settings.background_seconds)
        self.by_key: dict[bytes, Organization] = {}
        """Organizations by the hash of their key, filled as keys are first used."""

    def open(self) -> None:
        self.database.open()
        with self.database.platform() as connection:
            for row in connection.execute("SELECT slug, schema, payment_account FROM public.organizations"):
                self.metrics.organizations.inc()
                self.worker.wake(Organization(**row), 0)
        self.worker.thread.start()

    def close(self) -> None:
        self.worker.stop()
        self.database.close()

    def organization(self, key: str) -> Organization | None:
        digest = fingerprint(key)
        if digest not in self.by_key:
            with self.database.platform() as connection:
                row = connection.execute(
                    "SELECT slug, schema, payment_account FROM public.organizations WHERE key_hash = %s",
                    [digest],
                ).fetchone()
            if row is None:
                return None
            self.by_key[digest] = Organization(**row)
        return self.by_key[digest]


def new_secret(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(24)}"


def fingerprint(secret: str) -> bytes:
    """What is stored of a secret. It is long and random, so a plain hash keeps it: nothing can be guessed."""
    return hashlib.sha256(secret.encode()).digest()


def bearer(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise ApiError(401, "no_key", "the Authorization header must be 'Bearer KEY'")
    return key


async def platform(request: Request) -> Services:
    """The door of the platform API."""
    services: Services = request.app.state.services
    if not hmac.compare_digest(bearer(request).encode(), services.settings.platform_key.encode()):
        raise ApiError(401, "wrong_key", "this is not the platform's key")
    return services


@dataclass(slots=True)
class Visitor:
    """A caller with an organization's key."""

    services: Services
    organization: Organization
    token: str | None

    @property
    def metrics(self) -> Metrics:
        return self.services.metrics

    def count(self, tx: Tx, counter: str, *labels: Any, by: int = 1) -> None:
        """Raises a counter of this organization, if `tx` commits."""
        series = getattr(self.metrics, counter).labels(self.organization.slug, *labels)
        tx.after_commit(lambda: series.inc(by))

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        with self.services.database.inside(self.organization) as tx:
            yield tx


class Member(Visitor):
    """A caller who is also a user of the organization."""

    @contextmanager
    def signed_in(self) -> Iterator[tuple[Tx, Row]]:
        """A transaction and the user's row. The row is a snapshot: what depends on the balance must ask again."""
        if not self.token:
            raise ApiError(401, "no_token", "the X-User-Token header is missing")
        with self.transaction() as tx:
            user = tx.maybe("SELECT * FROM users WHERE token_hash = %s", [fingerprint(self.token)])
            if user is None:
                raise ApiError(401, "wrong_token", "this is no user's token")
            yield tx, user


async def visitor(request: Request, x_user_token: Annotated[str | None, Header()] = None) -> Member:
    services: Services = request.app.state.services
    key = bearer(request)
    organization = services.by_key.get(fingerprint(key)) or await run_in_threadpool(services.organization, key)
    if organization is None:
        raise ApiError(401, "wrong_key", "this is no organization's key")
    request.scope["organization"] = organization.slug
    return Member(services, organization, x_user_token)


AsPlatform = Annotated[Services, Depends(platform)]
AsVisitor = Annotated[Visitor, Depends(visitor)]
AsMember = Annotated[Member, Depends(visitor)]
