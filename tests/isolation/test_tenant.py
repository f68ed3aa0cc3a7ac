"""Tenants over a real HTTP server. What is live is never deleted, and the key is told nobody."""

import base64
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from platforms import (
    CREATE,
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
    refused,
    says,
    tenant,
)

from harness.isolation.lease import Context, Lease, Made


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path, "0f0f", "20260101_000000", {"PLATFORM_KEY": KEY, "PATH": os.environ["PATH"]})


# --- made and removed


def test_a_tenant_is_made_handed_over_and_removed(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context)
    lease = lease_of(kind)
    made = make(kind, lease)
    name = lease.details["name"]
    assert name == f"test-users-{lease.token}"
    assert made == Made(
        {"TESTS_ORG": name, "ORG_KEY": f"sk_{name}_1", "ORG_ID": "7"}, {"name": "TESTS_ORG"}, frozenset({"ORG_KEY"})
    )
    assert list(platform.tenants) == [name]
    kind.release(lease)
    kind.release(lease)
    assert platform.tenants == {}


def test_nothing_is_asked_before_a_name_with_a_token_is_made(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context)
    make(kind, lease_of(kind))
    assert platform.asked == ["POST /orgs"]


def test_another_process_removes_it_by_the_journals_line_alone(platform: Platform, context: Context) -> None:
    lease = lease_of(tenant(platform, context))
    make(tenant(platform, context), lease)
    tenant(platform, context).release(msgspec.json.decode(msgspec.json.encode(lease), type=Lease))
    assert platform.tenants == {}


def test_two_hundred_by_sixteen_at_a_time_leave_nothing(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context)

    def one(number: int) -> str:
        lease = lease_of(kind, f"group {number % 3}")
        value = make(kind, lease).variables["ORG_KEY"]
        kind.release(lease)
        return value

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(one, range(200)))) == 200
    assert platform.tenants == {}


@pytest.mark.parametrize(
    ("path", "value"), [("on", "true"), ("id", "7"), ("slug", None), ("keys.0.secret", None)], ids=str
)
def test_a_value_is_found_by_its_path(platform: Platform, context: Context, path: str, value: str | None) -> None:
    kind = tenant(platform, context, create=CREATE | {"read": {"IT": path}})
    lease = lease_of(kind)
    name = lease.details["name"]
    assert make(kind, lease).variables["IT"] == (value or {"slug": name}.get(path, f"sk_{name}_1"))


@pytest.mark.parametrize("path", ["keys.1.secret", "keys.0", "keys.x", "keys", "none", "id.x", "keys.-1.secret", ""])
def test_a_path_that_leads_nowhere_shows_the_shape_of_the_answer_and_no_value(
    platform: Platform, context: Context, path: str
) -> None:
    kind = tenant(platform, context, create=CREATE | {"read": {"IT": path}})
    lease = lease_of(kind)
    message = refused(kind, lease)
    assert 'it looks like this: {"slug": string, "keys": [1 × {"secret": string}], "id": number' in message
    assert "IT" in message
    assert "sk_" not in message
    kind.release(lease)
    assert platform.tenants == {}


def test_only_what_is_listed_is_a_secret(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context, secrets=["ORG_ID"])
    assert make(kind, lease_of(kind)).secret == {"ORG_ID"}


# --- what is live is never deleted


def test_what_turned_live_is_not_deleted(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context)
    lease = lease_of(kind)
    make(kind, lease)
    platform.tenants[lease.details["name"]]["live"] = True
    message = refused(kind, lease, releasing=True)
    assert f"the tenant {lease.details['name']} is live, and so not deleted: live is true" in message
    assert platform.asked_for("DELETE") == 0
    platform.tenants[lease.details["name"]]["live"] = False
    kind.release(lease)
    assert platform.tenants == {}


def test_what_turns_live_between_two_tries_is_not_deleted(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context)
    lease = lease_of(kind)
    make(kind, lease)

    def fails_and_it_goes_live(handler: Handler) -> None:
        platform.tenants[lease.details["name"]]["live"] = True
        fails(503)(handler)

    platform.plant("DELETE", fails_and_it_goes_live)
    assert "is live" in refused(kind, lease, releasing=True)
    assert (platform.asked_for("DELETE"), len(platform.tenants)) == (1, 1)


def test_what_is_live_is_not_replaced_either(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context, name="acme")
    platform.tenants["acme"] = {"slug": "acme", "live": True, "users": 99}
    lease = lease_of(kind)
    assert "acme is live" in refused(kind, lease)
    platform.tenants["acme"]["live"] = False
    kind.release(lease)
    assert platform.tenants["acme"]["users"] == 99, "nothing was made, so there was nothing to release"
    assert platform.asked_for("DELETE") == platform.asked_for("POST") == 0


@pytest.mark.parametrize("value", [True, "true", "True"], ids=repr)
@pytest.mark.parametrize("never", [True, "true"], ids=repr)
def test_live_is_live_however_it_is_spelled(platform: Platform, context: Context, value: Any, never: Any) -> None:
    kind = tenant(platform, context, guard=GUARD | {"never_where": {"state.0.live": never}})
    lease = lease_of(kind)
    make(kind, lease)
    platform.plant("GET", says({"state": [{"live": value}]}))
    assert "is live" in refused(kind, lease, releasing=True)
    assert len(platform.tenants) == 1


@pytest.mark.parametrize(
    "behave",
    [fails(500), fails(403), fails(429), hangs, hangs_up, says(b"<html>"), says({}), says([]), says({"live": {}}, 302)],
)
def test_a_guard_that_gives_no_answer_forbids(platform: Platform, context: Context, behave: Misbehaviour) -> None:
    kind = tenant(platform, context, timeout=0.2, attempts=2)
    lease = lease_of(kind)
    make(kind, lease)
    platform.plant("GET", behave, times=2)
    refused(kind, lease, releasing=True)
    assert (platform.asked_for("DELETE"), len(platform.tenants)) == (0, 1)
    platform.faults.clear()
    kind.release(lease)
    assert platform.tenants == {}


def test_a_guard_that_knows_no_tenant_is_not_taken_for_a_removed_one(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context, guard=GUARD | {"path": "/wrong/nobody"})
    lease = lease_of(kind)
    make(kind, lease)
    assert "the guard does not know the tenant" in refused(kind, lease, releasing=True)
    assert len(platform.tenants) == 1


# --- the key


def test_the_key_goes_to_the_platform_and_nowhere_else(platform: Platform, context: Context) -> None:
    forms = (KEY, base64.b64encode(KEY.encode()).decode(), json.dumps(KEY)[1:-1], KEY.replace("/", "%2F"), KEY[3:25])
    seen: list[str] = []
    kind = tenant(platform, context, attempts=1, state="/orgs/{name}/state")
    assert kind.hidden == {"PLATFORM_KEY"}
    learned: list[Mapping[str, str]] = []
    lease = lease_of(kind)
    made = kind.make(lease, learned.append)
    assert platform.headers[-1]["Authorization"] == f"Bearer {KEY}"
    seen += [repr(made), repr(lease), repr(learned), repr(kind.look(lease))]
    for form in forms:
        for content in ({"error": f"no such key {form}"}, {form: {form: form}}, {"message": form}):
            for status in (200, 401, 500, 302):
                platform.plant("POST", fails(status, content, Location=f"http://{form}.example/{form}"))
                seen.append(refused(kind, lease_of(kind)))
            platform.plant("GET", says(content))
            seen.append(refused(kind, lease, releasing=True))
        platform.plant("GET", says({form: form}))
        seen.append(repr(kind.look(lease)))
    kind.release(lease)
    assert not [(form, text) for form in forms for text in seen if form in text]


@pytest.mark.parametrize("key", ["two\nlines", " at the edge ", "€"])
def test_a_key_that_cannot_be_sent_is_not_shown(platform: Platform, context: Context, key: str) -> None:
    kind = tenant(platform, replace(context, variables={"PLATFORM_KEY": key}))
    message = refused(kind, lease_of(kind))
    assert "the header Authorization cannot be sent" in message
    assert key not in message


def test_without_its_key_nothing_is_sent(platform: Platform, context: Context) -> None:
    kind = tenant(platform, replace(context, variables={}))
    assert "the variable PLATFORM_KEY, which holds the platform's key, is not set" in refused(kind, lease_of(kind))
    assert platform.asked == []


def test_a_platform_without_a_key_gets_no_header_of_it(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context, key_variable=None, headers={"Authorization": "Bearer {key}", "X-Team": "tests"})
    make(kind, lease_of(kind))
    assert "Authorization" not in platform.headers[0]
    assert platform.headers[0]["X-Team"] == "tests"
    assert kind.hidden == frozenset()


def test_a_password_in_the_address_is_sent_and_not_shown(platform: Platform, context: Context) -> None:
    address = platform.url.replace("//", "//me:p%40ss@")
    kind = tenant(platform, context, base_url=address, headers={}, key_variable=None)
    platform.plant("POST", fails(403))
    message = refused(kind, lease_of(kind))
    assert platform.url in message
    assert "ss@" not in message
    assert platform.headers[0]["Authorization"] == "Basic " + base64.b64encode(b"me:p@ss").decode()


def test_netrc_replaces_no_header(
    platform: Platform, context: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    through_a_proxy(monkeypatch, platform.url)
    for address in (platform.url, "http://platform.invalid"):
        kind = tenant(platform, context, base_url=address)
        make(kind, lease_of(kind))
        assert platform.headers[-1]["Authorization"] == f"Bearer {KEY}"


def test_a_proxy_is_for_other_machines(platform: Platform, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    through_a_proxy(monkeypatch, platform.url)
    for address in (platform.url, platform.url.replace("127.0.0.1", "localhost"), "http://platform.invalid"):
        kind = tenant(platform, context, base_url=address)
        make(kind, lease_of(kind))
    assert platform.asked == ["POST /orgs", "POST /orgs", "POST http://platform.invalid/orgs"]
    through_a_proxy(monkeypatch, "http://127.0.0.1:1")
    kind = tenant(platform, context, base_url="http://platform.invalid", attempts=1)
    assert "no connection through the proxy" in refused(kind, lease_of(kind))


def through_a_proxy(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    for name in [name for name in os.environ if name.lower() == "no_proxy"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("http_proxy", address)


# --- the sentinel


def test_a_look_at_the_sentinel_shows_what_was_touched(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context, state="/orgs/{name}/state")
    assert kind.wants_sentinel
    sentinel = lease_of(kind, group="")
    name = sentinel.details["name"]
    assert name == f"test-sentinel-{sentinel.token}"
    make(kind, sentinel)
    before = kind.look(sentinel)
    assert before == {f"tenant {name}: users.count": "0", f"tenant {name}: tags": "[]"}
    platform.tenants[name]["users"] = 3
    assert kind.look(sentinel) == before | {f"tenant {name}: users.count": "3"}
    kind.release(sentinel)
    assert kind.look(sentinel) == {f"tenant {name}": "is not there"}


def test_without_state_there_is_nothing_to_look_at(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context)
    assert not kind.wants_sentinel
    assert kind.look(lease_of(kind, group="")) == {}
    assert platform.asked == []
