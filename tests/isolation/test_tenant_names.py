"""What tenants are called, and that a name without a token is one lease's at a time."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from platforms import KEY, Platform, lease_of, make, refused, tenant

from harness.isolation.lease import Context, Lease, new_token
from harness.isolation.tenant import names as tenant_names
from harness.isolation.tenant.names import LONGEST_NAME, lock_file, name_of


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path, "0f0f", "20260101_000000", {"PLATFORM_KEY": KEY, "PATH": os.environ["PATH"]})


# --- names


@given(
    template=st.lists(
        st.sampled_from(["{group}", "{slot}", "{run}", "{token}", "test", "-", "x" * 40]), min_size=1, max_size=6
    ).filter(lambda pieces: pieces.count("{token}") < 5),
    group=st.text(min_size=1),
    worker=st.integers(0, 12),
)
def test_a_name_fits_and_keeps_its_token(template: list[str], group: str, worker: int) -> None:
    lease = Lease(token=new_token(), entry="org", kind="tenant", run_id="20260101_000000-2", group=group, worker=worker)
    name = name_of("".join(template), lease)
    assert len(name) <= LONGEST_NAME
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert name.count(lease.token) == template.count("{token}")


@pytest.mark.parametrize(
    ("template", "group", "worker", "name"),
    [
        ("test-{group}-{slot}", "Basic_Features (ü)", 0, "test-basic-features-3"),
        ("{group}.{run}", "a", 0, "a.20260101-000000"),
        ("org-{group}", "a", 2, "org-a-w2"),
        ("org-{group}", "ü", 0, "org-group"),
        ("org-{group}", "", 0, "org-sentinel"),
        ("org", "", 0, "org-sentinel"),
        ("{group}-{token}", "g" * 80, 0, "g" * 50 + "-0123456789ab"),
    ],
)
def test_names(template: str, group: str, worker: int, name: str) -> None:
    lease = Lease("0123456789ab", "org", "tenant", "20260101_000000", group=group, slot=3, worker=worker)
    assert name_of(template, lease) == name


def test_the_parts_of_a_group_have_names_of_their_own() -> None:
    parts = [Lease("0123456789ab", "org", "tenant", "r", group="g", part=part) for part in ("test_a.py", "sub/b.py")]
    assert [name_of("org-{group}", lease) for lease in parts] == ["org-g-test-a-py", "org-g-sub-b-py"]


def test_a_token_is_not_cut_where_it_is_the_longest_part() -> None:
    lease = Lease("0123456789ab", "org", "tenant", "r", group="g", slot=3)
    assert name_of("{token}" + "-{slot}" * 40, lease).startswith("0123456789ab")


def test_long_names_without_a_token_stay_apart() -> None:
    one, other = (Lease("0123456789ab", "org", "tenant", "r", group="g" * 80 + end) for end in "ab")
    assert name_of("{group}", one)[:50] == name_of("{group}", other)[:50]
    assert name_of("{group}", one) != name_of("{group}", other)


def test_a_name_without_a_token_replaces_what_an_earlier_run_left(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context, name="test-{group}")
    platform.tenants["test-users"] = {"slug": "test-users", "live": False, "users": 99}
    lease = lease_of(kind)
    make(kind, lease)
    assert platform.asked == ["GET /orgs/test-users", "DELETE /orgs", "POST /orgs", "GET /orgs/test-users"]
    assert platform.tenants["test-users"]["users"] == 0
    kind.release(lease)
    assert platform.tenants == {}
    platform.tenants["test-users"] = {"slug": "test-users", "live": False, "users": 99}
    kind.release(lease)
    assert platform.tenants["test-users"]["users"] == 99, "what was made since is somebody else's"


def test_a_name_without_a_token_is_one_leases_at_a_time(
    platform: Platform, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenant_names, "PATIENCE", 0.1)
    kind, other = (tenant(platform, context, name="test-{group}") for _ in range(2))
    first, second = lease_of(kind), msgspec.structs.replace(lease_of(other), run_id="20260202_000000")
    make(kind, first)
    message = refused(other, second)
    assert f"the name test-users is used by run 20260101_000000 (group users) in {context.project}," in message
    assert "{token}" in message
    other.release(second)
    assert list(platform.tenants) == ["test-users"], "it was the first one's"
    kind.release(first)
    make(other, second)
    kind.release(first)
    assert list(platform.tenants) == ["test-users"], "it is the second one's now"
    other.release(second)
    assert platform.tenants == {}


def test_a_name_without_a_token_is_one_projects_at_a_time(
    platform: Platform, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenant_names, "PATIENCE", 0.1)
    kind = tenant(platform, context, name="acme")
    there = replace(context, project=context.project / "another")
    other = tenant(platform, there, base_url=f"{platform.url}/", name="acme")
    first, second = lease_of(kind), lease_of(other)
    make(kind, first)
    assert f"in {context.project}, and it was not free after 0.1 s" in refused(other, second)
    other.release(second)
    assert list(platform.tenants) == ["acme"]
    kind.release(first)
    make(other, second)
    other.release(second)
    assert platform.tenants == {}


def test_who_waits_for_a_name_is_told_when_the_run_stops(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context, name="acme")
    first, second = lease_of(kind), lease_of(kind)
    make(kind, first)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(refused, kind, second)
        context.stopping.set()
        assert "and the run stops" in waiting.result(timeout=20)
    kind.release(second)
    kind.release(first)
    assert platform.tenants == {}


def test_who_waits_for_a_name_gets_it_when_it_is_free(platform: Platform, context: Context) -> None:
    kind = tenant(platform, context, name="test")
    first, second = lease_of(kind, "a"), lease_of(kind, "b")
    make(kind, first)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(make, kind, second)
        kind.release(first)
        assert waiting.result(timeout=20).variables["ORG_KEY"] == "sk_test_2"
    kind.release(second)


HOLDER = """
import json, sys
from pathlib import Path
from harness.isolation.lease import Context, Lease
from harness.isolation.tenant.kind import Tenant
import msgspec
options, lease, project, key = json.loads(sys.argv[1])
kind = Tenant(options, Context(Path(project), "0f0f", "dead", {"PLATFORM_KEY": key}))
kind.make(msgspec.convert(lease, Lease), lambda _: None)
print("made", flush=True)
sys.stdin.read()
"""


def test_the_name_of_a_run_that_was_killed_is_free_and_its_tenant_replaced(
    platform: Platform, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = tenant(platform, context, name="test-{group}")
    dead, lease = lease_of(kind), lease_of(kind)
    words = json.dumps([dict(kind.options), msgspec.to_builtins(dead), str(context.project), KEY])
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "made\n"
        monkeypatch.setattr(tenant_names, "PATIENCE", 0.1)
        assert "is used by run 20260101_000000" in refused(kind, lease)
        kind.release(lease)
        holder.kill()
        holder.wait()
    make(kind, lease)
    kind.release(dead)
    assert list(platform.tenants) == ["test-users"], "`gc` of the dead run leaves what replaced its tenant alone"
    kind.release(lease)
    make(kind, dead)
    lock_file(platform.url, "test-users").unlink()
    tenant(platform, context, name="test-{group}").release(dead)
    assert platform.tenants == {}, "where the lock's file is lost, the journal is believed"
