"""A platform that fails, asks for patience or answers with nonsense: nothing is left, and nothing waits for ever."""

import os
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from platforms import (
    GUARD,
    KEY,
    Handler,
    Misbehaviour,
    Platform,
    fails,
    hangs,
    hangs_up,
    lease_of,
    make,
    options,
    refused,
    says,
    tenant,
)

from harness.isolation.lease import Context
from harness.isolation.tenant.kind import Tenant


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path, "0f0f", "20260101_000000", {"PLATFORM_KEY": KEY, "PATH": os.environ["PATH"]})


# --- a server that fails


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("behave", [fails(500), fails(503), hangs, hangs_up], ids=["500", "503", "hangs", "hangs up"])
def test_a_create_that_failed_is_tried_again_and_leaves_one(
    platform: Platform, context: Context, behave: Misbehaviour, done: bool
) -> None:
    kind = tenant(platform, context, timeout=0.3)
    platform.plant("POST", behave, done=done)
    lease = lease_of(kind)
    made = make(kind, lease)
    assert made.variables["ORG_KEY"] == f"sk_{lease.details['name']}_{1 + done}", "a key of the one that is there"
    kind.release(lease)
    assert platform.tenants == {}


@pytest.mark.parametrize("behave", [fails(500), hangs, hangs_up], ids=["500", "hangs", "hangs up"])
def test_a_create_that_never_answers_leaves_nothing(platform: Platform, context: Context, behave: Misbehaviour) -> None:
    kind = tenant(platform, context, timeout=0.2, attempts=2)
    platform.plant("POST", behave, times=2, done=True)
    lease = lease_of(kind)
    assert "(try 2 of 2)" in refused(kind, lease)
    kind.release(lease)
    assert platform.tenants == {}


def test_what_may_still_come_into_being_is_not_called_removed(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context, timeout=0.2, attempts=1, guard=None)
    lease = lease_of(kind)
    platform.plant("POST", hangs)
    assert "no answer after 0.2 s" in refused(kind, lease)
    assert "may still come into being" in refused(kind, lease, releasing=True)
    platform.carry_out("POST", "/orgs", {"slug": lease.details["name"]})
    kind.release(lease)
    assert platform.tenants == {}


def test_a_name_that_is_taken_is_refused_and_left_alone(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context)
    platform.plant("POST", fails(409, {"error": {"message": "taken"}}))
    assert "has a tenant" in refused(kind, lease_of(kind))
    assert platform.asked == ["POST /orgs"]


def test_a_name_without_a_token_is_not_ours_because_a_try_failed(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context, name="acme")
    platform.plant("POST", fails(500), done=True)
    assert "the platform has a tenant acme already" in refused(kind, lease_of(kind))
    assert platform.asked_for("POST") == 2


def test_a_delete_that_fails_three_times_is_done_the_fourth(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context)
    lease = lease_of(kind)
    make(kind, lease)
    platform.plant("DELETE", fails(500), times=3)
    kind.release(lease)
    assert (platform.asked_for("DELETE"), platform.tenants) == (4, {})


def test_a_delete_that_keeps_failing_is_an_error_and_can_be_repeated(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context, attempts=3)
    lease = lease_of(kind)
    make(kind, lease)
    platform.plant("DELETE", fails(500, {"error": {"message": "disk\nfull"}}), times=3)
    message = refused(kind, lease, releasing=True)
    assert f"DELETE {platform.url}/orgs: 500 Internal Server Error: disk full (try 3 of 3)" in message
    kind.release(lease)
    assert platform.tenants == {}


@pytest.mark.parametrize("behave", [fails(500), hangs_up])
def test_a_delete_that_was_carried_out_unheard_is_no_error(
    platform: Platform, context: Context, behave: Misbehaviour
) -> None:
    kind = tenant(platform, context)
    lease = lease_of(kind)
    make(kind, lease)
    platform.plant("DELETE", behave, done=True)
    kind.release(lease)
    assert platform.tenants == {}


def test_a_guard_that_has_not_heard_yet_of_an_unheard_removal_is_no_error(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context)
    lease = lease_of(kind)
    make(kind, lease)
    platform.plant("DELETE", hangs_up, done=True)
    platform.plant("GET", says({"live": False}), times=2)
    kind.release(lease)
    assert (platform.asked_for("DELETE"), platform.tenants) == (2, {})


def test_what_came_into_being_unheard_and_is_not_found_is_not_called_removed(
    platform: Platform, context: Context
) -> None:
    wrong = {"path": "/wrong/nobody"}
    for more in ({"guard": GUARD | wrong}, {"guard": None, "delete": wrong}):
        kind = tenant(platform, context, **more)
        lease = lease_of(kind)
        platform.plant("POST", fails(500), done=True)
        assert "has a tenant" in refused(kind, lease)
        assert "does not find it" in refused(kind, lease, releasing=True)


def test_what_came_into_being_unheard_and_was_removed_unheard_is_gone(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context, timeout=0.2, attempts=2, guard=None)
    lease = lease_of(kind)
    platform.plant("POST", hangs, times=2, done=True)
    refused(kind, lease)
    platform.plant("DELETE", fails(500), done=True)
    kind.release(lease)
    assert platform.asked_for("DELETE") == 2


@pytest.mark.parametrize("name", ["test-{token}", "acme"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 418, 422])
def test_what_was_refused_was_not_made(platform: Platform, context: Context, status: int, name: str) -> None:
    kind = tenant(platform, context, name=name)
    lease = lease_of(kind)
    platform.plant("POST", fails(429))
    platform.plant("POST", fails(status, {"detail": "slug is too long"}), times=9)
    message = refused(kind, lease)
    assert f": {status} " in message
    assert ": slug is too long" in message
    assert platform.asked_for("POST") == 2
    platform.asked.clear()
    platform.plant("GET", fails(401), times=9)
    kind.release(lease)
    assert platform.asked == [], "nothing was made, so there is nothing to ask"


@pytest.mark.parametrize("status", [408, 409, 425])
def test_what_was_not_quite_refused_may_have_been_made(platform: Platform, context: Context, status: int) -> None:
    kind = tenant(platform, context)
    lease = lease_of(kind)
    platform.plant("POST", fails(status), done=True)
    refused(kind, lease)
    kind.release(lease)
    assert platform.tenants == {}


@pytest.mark.parametrize("behave", [fails(500), hangs_up])
def test_what_was_refused_after_an_unheard_try_may_have_been_made(
    platform: Platform, context: Context, behave: Misbehaviour
) -> None:
    kind = tenant(platform, context)
    lease = lease_of(kind)
    platform.plant("POST", behave, done=True)
    platform.plant("POST", fails(401))
    assert ": 401 " in refused(kind, lease)
    kind.release(lease)
    assert platform.tenants == {}


def test_a_guard_that_is_refused_refuses_no_create(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context)
    lease = lease_of(kind)
    platform.plant("POST", fails(500), done=True)
    platform.plant("GET", fails(401))
    assert ": 401 " in refused(kind, lease)
    kind.release(lease)
    assert platform.tenants == {}


def test_no_server(context: Context) -> None:
    kind = Tenant(options(base_url="http://127.0.0.1:1", attempts=2), context)
    message = refused(kind, lease_of(kind))
    assert "POST http://127.0.0.1:1/orgs: no connection: Connection refused (try 2 of 2)" in message


# --- waiting


class Waits(threading.Event):
    """A run that does not stop, and how long it would have waited each time."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.slept.append(timeout)
        return False


@pytest.fixture
def waits(context: Context) -> list[float]:
    """How long it would have waited each time."""
    waits = Waits()
    object.__setattr__(context, "stopping", waits)
    return waits.slept


@pytest.mark.parametrize("status", [429, 503])
def test_it_waits_as_long_as_the_server_asks(
    platform: Platform, context: Context, waits: list[float], status: int
) -> None:
    platform.plant("POST", fails(status, Retry_After="7"))
    kind = tenant(platform, context)
    make(kind, lease_of(kind))
    assert waits == [7.0]


def test_the_server_may_name_a_moment(platform: Platform, context: Context, waits: list[float]) -> None:
    moments = [datetime.now(UTC) + timedelta(seconds=30), datetime.now(UTC) - timedelta(hours=1)]
    for moment in moments:
        platform.plant("POST", fails(429, Retry_After=format_datetime(moment, usegmt=True)))
    kind = tenant(platform, context)
    make(kind, lease_of(kind))
    assert 20 < waits[0] <= 30
    assert waits[1] == 0


@pytest.mark.parametrize("said", ["3600", "99999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_what_would_take_too_long_is_not_waited_for(
    platform: Platform, context: Context, waits: list[float], said: str
) -> None:
    platform.plant("POST", fails(429, Retry_After=said), times=9)
    kind = tenant(platform, context)
    message = refused(kind, lease_of(kind))
    assert waits == []
    assert "429 Too Many Requests" in message
    assert "the next try would have to wait for" in message


@pytest.mark.parametrize("said", ["soon", "-1", "1.5", "٣", "99 Foo 2020", ""])
def test_without_a_moment_it_waits_longer_each_time(
    platform: Platform, context: Context, waits: list[float], said: str
) -> None:
    platform.plant("POST", fails(429, Retry_After=said if said.isascii() else "x"), times=4)
    kind = tenant(platform, context)
    make(kind, lease_of(kind))
    assert all(0.1 * 2**n <= wait <= 0.3 * 2**n for n, wait in enumerate(waits))
    assert len(waits) == 4


# --- a run that stops


def stops(context: Context, behave: Misbehaviour) -> Misbehaviour:
    def behaves(handler: Handler) -> None:
        context.stopping.set()
        behave(handler)

    return behaves


@pytest.mark.parametrize("behave", [fails(503, Retry_After="50"), fails(429, Retry_After="50"), hangs_up])
def test_a_run_that_stops_does_not_create_again(platform: Platform, context: Context, behave: Misbehaviour) -> None:
    kind = tenant(platform, context, attempts=20)
    lease = lease_of(kind)
    platform.plant("POST", stops(context, behave), times=20, done=True)
    assert "it is not sent again, because the run stops" in refused(kind, lease)
    assert platform.asked_for("POST") == 1
    platform.plant("DELETE", fails(500))
    kind.release(lease)
    assert platform.tenants == {}, "a release tries again all the same"


def test_a_run_that_stops_creates_nothing(platform: Platform, context: Context) -> None:
    for name in ("test-{token}", "acme"):
        kind = tenant(platform, context, name=name)
        lease = lease_of(kind)
        context.stopping.set()
        assert "was not sent: the run stops" in refused(kind, lease)
        kind.release(lease)
    assert platform.asked_for("POST") == 0


# --- hostile answers


def endless(handler: Handler) -> None:
    """A hundred megabytes, one at a time."""
    handler.send_response(201)
    handler.send_header("Content-Length", str(100 << 20))
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" " * (1 << 20))


def trickles(handler: Handler) -> None:
    """A byte now and then, so that no single read takes long."""
    handler.send_response(201)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    while not handler.platform.closing.wait(0.05):
        handler.wfile.write(b" ")


def breaks_off(handler: Handler) -> None:
    handler.send_response(201)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.write(b'{"keys"')
    handler.connection.close()


def chunks(data: bytes) -> Misbehaviour:
    """An answer in chunks, of which these are the first bytes."""

    def behave(handler: Handler) -> None:
        handler.send_response(201)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(data)
        handler.connection.close()

    return behave


def lies_about_its_length(handler: Handler) -> None:
    handler.send_response(201)
    handler.send_header("Content-Length", "-5")
    handler.send_header("Content-Encoding", "gzip")
    handler.end_headers()
    handler.wfile.write(b"{")
    handler.connection.close()


HOSTILE: dict[str, tuple[Misbehaviour, str]] = {
    "html": (says(b"<html>", 201), "is not JSON"),
    "empty": (says(b"", 201), "is not JSON"),
    "bytes": (says(b"\xff\xfe", 201), "is not JSON"),
    "deep": (says(b"[" * 200_000, 201), "is not JSON"),
    "deep and whole": (says(b"[" * 900 + b"]" * 900, 201), "no single value"),
    "digits": (says(b'{"keys": ' + b"9" * 10_000 + b"}", 201), "is not JSON"),
    "large": (endless, "is larger than 1 MiB"),
    "slow": (trickles, "had no end after 0.5 s"),
    "broken off": (breaks_off, "broke off"),
    "list": (says([1], 201), "it looks like this: [1 × number]"),
    "null": (says(None, 201), "it looks like this: null"),
    "wide": (says({str(n): n for n in range(5000)}, 201), '"11": number, …}'),
    "nul": (says({"keys": [{"secret": "a\0b"}], "id": 1}, 201), "has a NUL"),
    "long": (says({"keys": [{"secret": "a" * 200_000}], "id": 1}, 201), "is too long"),
    "the platform's key": (says({"keys": [{"secret": f"x{KEY}"}], "id": 1}, 201), "is the platform's own key"),
    "elsewhere": (fails(307, Location="http://me:pw@else.example/?x=1"), "a redirect, to else.example, is not"),
    "nowhere": (fails(307, Location="http://[::1"), "a redirect, to another path, is not"),
    "no chunk": (chunks(b"zz\r\n{}"), "broke off"),
    "endless chunk": (chunks(b"f" * 70_000), "broke off"),
    "wrong length": (lies_about_its_length, "is not JSON"),
    "nameless": (fails(518, {"error": 7}), ": 518 (try 2 of 2)"),
    "unheard of": (says(b"", 299), "is not JSON"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_answers(platform: Platform, context: Context, what: str) -> None:
    behave, expected = HOSTILE[what]
    kind = tenant(platform, context, timeout=0.5, attempts=2)
    platform.plant("POST", behave, times=2, done=True)
    lease = lease_of(kind)
    message = refused(kind, lease)
    assert expected in message
    assert len(message) < 1000
    assert platform.asked_for("POST") == (2 if what == "nameless" else 1), "what was answered is not asked again"
    kind.release(lease)
    assert platform.tenants == {}
