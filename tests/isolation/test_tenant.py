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


def test_of_a_name_with_a_token_the_guard_is_asked_once_after_the_first_was_made(
    platform: Platform, context: Context
) -> None:
    kind = tenant(platform, context)
    lease = lease_of(kind)
    make(kind, lease)
    make(kind, lease_of(kind))
    assert platform.asked == ["POST /orgs", f"GET /orgs/{lease.details['name']}", "POST /orgs"]


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


def told_of(platform: Platform, context: Context, never: Any, value: Any) -> str:
    """What a release is refused with when the guard says `value`; empty if it deletes the tenant."""
    kind = tenant(platform, context, guard=GUARD | {"never_where": {"state.0.live": never}})
    platform.plant("GET", says({"state": [{"live": not never if isinstance(never, bool) else "no"}]}))
    lease = lease_of(kind)
    make(kind, lease)
    platform.plant("GET", says({"state": [{"live": value}]}))
    if value is False or value == "no":
        kind.release(lease)
        assert platform.tenants == {}
        return ""
    message = refused(kind, lease, releasing=True)
    assert (platform.asked_for("DELETE"), len(platform.tenants)) == (0, 1)
    return message


@pytest.mark.parametrize(
    ("never", "value"), [(True, True), ("true", "true"), ("true", "True"), ("true", True), (1, 1), (1, "1")], ids=repr
)
def test_live_is_live_however_it_is_spelled(platform: Platform, context: Context, never: Any, value: Any) -> None:
    assert "is live, and so not deleted" in told_of(platform, context, never, value)


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (None, "null"),
        ("true", "string"),
        ("yes", "string"),
        ("production", "string"),
        ("false", "string"),
        ("", "string"),
        (1, "number"),
        (0, "number"),
        ({"enabled": True}, '{"enabled": boolean}'),
        ([], "[]"),
        ([False], "[1 × boolean]"),
    ],
    ids=repr,
)
def test_what_is_neither_true_nor_false_forbids(platform: Platform, context: Context, value: Any, shape: str) -> None:
    message = told_of(platform, context, True, value)
    assert "state.0.live is neither true nor false in the answer" in message
    assert f"but {shape} " in message
    assert "production" not in message


@pytest.mark.parametrize(("never", "value"), [(True, False), ("live", "no")])
def test_what_is_clearly_another_value_lets_it_go(platform: Platform, context: Context, never: Any, value: Any) -> None:
    assert told_of(platform, context, never, value) == ""


def test_what_must_be_true_to_go_stays_where_it_is_false(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context, guard=GUARD | {"never_where": {"is_test": False}})
    lease = lease_of(kind)
    platform.plant("GET", says({"is_test": True}))
    make(kind, lease)
    platform.plant("GET", says({"is_test": False}))
    assert "is live" in refused(kind, lease, releasing=True)
    platform.plant("GET", says({"is_test": True}))
    kind.release(lease)
    assert platform.tenants == {}


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


# --- paths that are wrong


def test_a_guard_that_does_not_know_the_first_tenant_is_told_and_the_tenant_removed(
    platform: Platform, context: Context
) -> None:
    kind = tenant(platform, context, guard=GUARD | {"path": "/wrong/nobody"})
    lease = lease_of(kind)
    assert "the guard does not know the tenant" in refused(kind, lease)
    assert platform.tenants == {}
    kind.release(lease)


def test_what_could_not_be_removed_without_the_guard_is_not_called_gone(platform: Platform, context: Context) -> None:
    for fault in (fails(404), fails(403)):
        kind = tenant(platform, context, guard=GUARD | {"path": "/wrong/nobody"})
        lease = lease_of(kind)
        platform.plant("DELETE", fault)
        assert "Correct the path of `guard`" in refused(kind, lease)
        assert "could not be deleted" in refused(kind, lease, releasing=True)


def test_what_may_be_anothers_is_not_deleted_without_the_guards_word(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context, name="acme", guard=GUARD | {"path": "/wrong/nobody"})
    lease = lease_of(kind)
    assert "the guard does not know the tenant" in refused(kind, lease)
    assert "could not be deleted" in refused(kind, lease, releasing=True)
    assert (platform.asked_for("DELETE"), list(platform.tenants)) == (0, ["acme"])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [({"live": True}, "is live"), ({"Live": False}, "does not say live"), ({"live": None}, "but null")],
)
def test_a_guard_that_would_not_let_the_first_tenant_go_is_told_when_it_is_made(
    platform: Platform, context: Context, content: Any, complaint: str
) -> None:
    kind = tenant(platform, context)
    lease = lease_of(kind)
    platform.plant("GET", says(content), times=2)
    assert complaint in refused(kind, lease)
    assert complaint in refused(kind, lease, releasing=True)
    assert (platform.asked_for("DELETE"), len(platform.tenants)) == (0, 1)


def test_a_guard_is_asked_again_until_it_knew_one(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context, attempts=1)
    platform.plant("GET", fails(500))
    assert "500" in refused(kind, lease_of(kind))
    platform.plant("GET", fails(404))
    assert "the guard does not know" in refused(kind, lease_of(kind))


def test_a_group_may_remove_its_own_tenant(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context)
    for _ in range(2):
        lease = lease_of(kind)
        make(kind, lease)
        platform.tenants.clear()
        kind.release(lease)


def test_a_delete_that_does_not_find_what_the_guard_sees_is_an_error(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context, delete={"path": "/wrong/nobody"})
    lease = lease_of(kind)
    make(kind, lease)
    for _ in range(2):
        message = refused(kind, lease, releasing=True)
        assert f"DELETE {platform.url}/wrong/nobody does not find it, and the guard does" in message
        assert "`delete`" in message
    assert len(platform.tenants) == 1


def test_without_a_guard_a_delete_that_does_not_find_what_was_made_is_told_once(
    platform: Platform, context: Context
) -> None:
    kind = tenant(platform, context, guard=None, delete={"path": "/wrong/nobody"})
    for _ in range(2):
        lease = lease_of(kind)
        make(kind, lease)
        assert "the path of `delete` is wrong" in refused(kind, lease, releasing=True)
        kind.release(lease)


def test_what_the_platform_says_is_gone_was_there(platform: Platform, context: Context) -> None:
    for guard in (GUARD, None):
        kind = tenant(platform, context, guard=guard)
        lease = lease_of(kind)
        make(kind, lease)
        platform.plant("DELETE", fails(410), done=True)
        kind.release(lease)
    assert platform.tenants == {}


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
        kind = tenant(platform, context, base_url=address, guard=None)
        make(kind, lease_of(kind))
        assert platform.headers[-1]["Authorization"] == f"Bearer {KEY}"


def test_a_proxy_is_for_other_machines(platform: Platform, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    through_a_proxy(monkeypatch, platform.url)
    for address in (platform.url, platform.url.replace("127.0.0.1", "localhost"), "http://platform.invalid"):
        kind = tenant(platform, context, base_url=address, guard=None)
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
