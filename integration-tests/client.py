"""A client of the service: one method per thing a user does, and what tests need around it.

Nothing here retries: an answer the test did not ask for is a `Refused`, and the test fails.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
import requests
from requests.adapters import HTTPAdapter

T = TypeVar("T")
Json = dict[str, Any]
Fixture = Callable[..., Any]
"""`race` and `load`, of the harness's plugin."""

POLL_SECONDS = 0.2
"""How often a pending payment is asked about. Every question is a call to the payment network, which counts them."""


class Refused(Exception):
    """An answer that is an error, in the service's one format."""

    def __init__(self, response: requests.Response, request: str) -> None:
        self.status = response.status_code
        error = response.json()["error"]
        self.code, self.message = error["code"], error["message"]
        self.retry_after = response.headers.get("Retry-After")
        super().__init__(f"{request}: {self.status} {self.code}: {self.message}")


@contextmanager
def refused(status: int, code: str) -> Iterator[None]:
    """The block must be refused in exactly this way."""
    with pytest.raises(Refused) as caught:
        yield
    assert (caught.value.status, caught.value.code) == (status, code), str(caught.value)


def refused_as(code: str) -> Callable[[BaseException], bool]:
    """Whether an error of a race is a refusal with this code."""
    return lambda error: isinstance(error, Refused) and error.code == code


def eventually(read: Callable[[], T], accept: Callable[[T], object], within: float = 10, every: float = 0.1) -> T:
    """Reads until the value is acceptable and returns it; after `within` seconds fails, showing the last value.

    As the plugin's fixture of this name, for methods, which cannot have that one.
    """
    deadline = time.monotonic() + within
    while True:
        value = read()
        if accept(value):
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"not within {within} s; last seen: {value!r}")
        time.sleep(every)


def unique(prefix: str) -> str:
    """A name nobody else uses: not another test, nor another run against the same service."""
    return f"{prefix}-{secrets.token_hex(6)}"


def word() -> str:
    """A unique word without hyphens, which full-text search takes as one."""
    return "w" + "".join(secrets.choice("bcdfghjkmpqrtvwxz") for _ in range(12))


def iban(account: str = "1234567890123456") -> str:
    """A German IBAN for a bank code and account number, with the right check digits."""
    number = f"{account:0>18}"
    check = 98 - int(f"{number}131400") % 97
    return f"DE{check:02}{number}"


CLOSED_IBAN = iban("500105170123000000")
"""An account that the sandbox takes for closed: what is sent there comes back."""


def slot(days: float, hours: float = 1) -> Json:
    """A timeslot so many days from now, of so many hours."""
    start = datetime.now(UTC) + timedelta(days=days)
    return {"starts_at": start.isoformat(), "ends_at": (start + timedelta(hours=hours)).isoformat()}


@dataclass
class Api:
    """The service as one organization sees it (or the platform, if the key is the platform's)."""

    url: str
    key: str
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        self.session.trust_env = False  # the service is spoken to directly, whatever proxy the machine has
        self.session.mount("http://", HTTPAdapter(pool_maxsize=16))

    def send(self, method: str, path: str, token: str | None = None, **options: Any) -> requests.Response:
        """The response, unless it is an error."""
        headers = {"Authorization": f"Bearer {self.key}", **({"X-User-Token": token} if token else {})}
        response = self.session.request(method, self.url + path, headers=headers, timeout=30, **options)
        if response.status_code >= 400:
            raise Refused(response, f"{method} {path}")
        return response

    def get(self, path: str, token: str | None = None, **params: Any) -> Any:
        return self.send("GET", path, token, params=params).json()

    def post(self, path: str, token: str | None = None, **body: Any) -> Any:
        return self.send("POST", path, token, json=body).json()

    def register(self, name: str = "user") -> "User":
        handle = unique(name)
        created = self.post("/v1/users", handle=handle, display_name=f"The {name}")
        return User(self, created["id"], handle, created["token"])

    def search(self, **filters: Any) -> Json:
        return self.get("/v1/search", **filters)

    def found(self, **filters: Any) -> list[str]:
        """The titles found, in order."""
        return [item["title"] for item in self.search(**filters)["items"]]

    def tag(self, user: "User", name: str | None = None, parent: int | None = None) -> Json:
        return user.post("/v1/tags", name=word() if name is None else name, parent_id=parent)


@dataclass
class User:
    """A user with the token that proves it."""

    api: Api
    id: int
    handle: str
    token: str

    def get(self, path: str, **params: Any) -> Any:
        return self.api.get(path, self.token, **params)

    def post(self, path: str, **body: Any) -> Any:
        return self.api.post(path, self.token, **body)

    def put(self, path: str, **body: Any) -> Any:
        return self.api.send("PUT", path, self.token, json=body).json()

    def patch(self, path: str, **body: Any) -> Any:
        return self.api.send("PATCH", path, self.token, json=body).json()

    def delete(self, path: str) -> Any:
        return self.api.send("DELETE", path, self.token).json()

    # Money

    @property
    def balance(self) -> int:
        return self.get("/v1/wallet")["balance_cents"]

    def ledger(self) -> list[Json]:
        return self.get("/v1/wallet/ledger")["items"]

    def deposit(self, cents: int, card: str = "card_visa") -> Json:
        return self.post("/v1/deposits", amount_cents=cents, card=card)

    def withdraw(self, cents: int, to: str | None = None) -> Json:
        return self.post("/v1/withdrawals", amount_cents=cents, iban=to or iban())

    def refresh(self, payment: int) -> Json:
        return self.post(f"/v1/payments/{payment}/refresh")

    def settle(self, payment: Json) -> Json:
        """Waits until the payment has ended, and returns it."""
        return eventually(lambda: self.refresh(payment["id"]), lambda it: it["status"] != "pending", every=POLL_SECONDS)

    # Things

    def offer(self, kind: str = "online", **details: Any) -> Json:
        """A draft."""
        if kind == "offline":
            details.setdefault("location", {"lat": 52.52, "lon": 13.405})
        return self.post("/v1/searchables", kind=kind, **{"title": unique("Thing"), "price_cents": 1000, **details})

    def publish(self, *things: Json, card: str = "card_visa") -> Json:
        """Pays the listing fee; returns the pending payment."""
        return self.post("/v1/searchables/publish", ids=[thing["id"] for thing in things], card=card)

    def buy(self, thing: Json, **how: Any) -> Json:
        return self.post("/v1/purchases", searchable_id=thing["id"], **how)

    def rate(self, thing: Json, stars: Any, comment: str = "") -> Json:
        return self.post(f"/v1/searchables/{thing['id']}/ratings", stars=stars, comment=comment)

    def slots(self, thing: Json, *slots: Json) -> list[Json]:
        return self.post(f"/v1/searchables/{thing['id']}/slots", slots=list(slots))["items"]

    # Files

    def upload(self, content: bytes = b"text", name: str = "notes.txt", media_type: str = "text/plain") -> Json:
        return self.api.send("POST", "/v1/files", self.token, files={"file": (name, content, media_type)}).json()

    def file(self, file_id: int) -> Json:
        return self.get(f"/v1/files/{file_id}")

    def scanned(self, *files: Json) -> list[Json]:
        """Waits until the files have been scanned."""
        return [eventually(lambda: self.file(it["id"]), lambda f: f["status"] != "scanning") for it in files]  # noqa: B023

    def download(self, file_id: int) -> bytes:
        return self.api.send("GET", f"/v1/files/{file_id}/content", self.token).content


def settle_all(*made: tuple[User, Json]) -> None:
    """Waits for payments made one after the other: when the last has ended, the others have as well."""
    for user, payment in reversed(made):
        user.settle(payment)


def fund(api: Api, *cents: int) -> list[User]:
    """New users with these balances; they wait for their deposits together."""
    users = [api.register("funded") for _ in cents]
    settle_all(*((user, user.deposit(amount)) for user, amount in zip(users, cents, strict=True)))
    return users
