"""The kind `tenant` against the bundled service: organizations of its platform API."""

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import requests
from servers import running

from harness.errors import InfrastructureError
from harness.isolation.lease import Context, Lease
from harness.isolation.tenant.kind import Tenant
from harness.model import Ready, Service
from harness.planning.kinds import KINDS
from harness.planning.problems import Problems

BUNDLED = Path(__file__).parents[2] / "integration-tests"
KEY = "the-key-of-the-platform"
ORGANIZATIONS = "/v1/platform/organizations"


@pytest.fixture(scope="module")
def url(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    service = Service(
        name="searchable",
        command=(sys.executable, "-m", "uvicorn", "searchable.app:app", "--port", "{port}", "--no-access-log"),
        directory=str(BUNDLED),
        env={"DATABASE_URL": postgres_url, "SEARCHABLE_PLATFORM_KEY": KEY},
        ready=Ready(http="/health"),
    )
    with running(service, tmp_path_factory.mktemp("searchable")) as values:
        yield f"http://127.0.0.1:{values['port']}"


@pytest.mark.slow
def test_an_organization_a_lease(url: str, tmp_path: Path) -> None:
    problems = Problems()
    keys = {
        "base_url": url,
        "key_variable": "SEARCHABLE_PLATFORM_KEY",
        "create": {
            "path": ORGANIZATIONS,
            "body": {"slug": "{name}"},
            "read": {"TESTS_ORG_SECRET_KEY": "secret_key", "TESTS_ORG": "slug"},
        },
        "guard": {"path": f"{ORGANIZATIONS}/{{name}}", "never_where": {"live": True}},
        "delete": {"path": ORGANIZATIONS, "body": {"slug": "{name}"}},
        "state": f"{ORGANIZATIONS}/{{name}}/state",
    }
    options = KINDS["tenant"].read(keys, (), problems)
    assert problems.found == []
    kind = Tenant(options, Context(tmp_path, "0f0f", "20260101_000000", {"SEARCHABLE_PLATFORM_KEY": KEY}))

    def made(token: str, group: str) -> tuple[Lease, str]:
        lease = Lease(token=token, entry="org", kind="tenant", run_id="20260101_000000", group=group)
        lease = msgspec.structs.replace(lease, details=dict(kind.plan(lease)))
        handed = kind.make(lease, lambda _: None)
        assert handed.secret == {"TESTS_ORG_SECRET_KEY"}
        assert handed.variables["TESTS_ORG"] == lease.details["name"]
        return lease, handed.variables["TESTS_ORG_SECRET_KEY"]

    def ask(method: str, path: str, key: str, **body: object) -> int:
        headers = {"Authorization": f"Bearer {key}"}
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, url + path, headers=headers, json=body or None, timeout=30).status_code

    sentinel, strangers_key = made("0" * 12, "")
    lease, own_key = made("1" * 12, "Basic features")
    name = sentinel.details["name"]
    before = kind.look(sentinel)
    assert before[f"tenant {name}: rows.users"] == "0"
    assert before[f"tenant {name}: payment_calls"] == "0"

    assert ask("POST", "/v1/users", own_key, handle="ada", display_name="Ada") == 201
    assert kind.look(sentinel) == before
    assert ask("POST", "/v1/users", strangers_key, handle="eve", display_name="Eve") == 201
    assert kind.look(sentinel) == before | {f"tenant {name}: rows.users": "1"}

    path = f"{ORGANIZATIONS}/{lease.details['name']}"
    assert ask("PATCH", path, KEY, live=True) == 200
    with pytest.raises(InfrastructureError, match="is live, and so not deleted"):
        kind.release(lease)
    assert ask("PATCH", path, KEY, live=False) == 200
    for _ in range(2):
        kind.release(lease)
        kind.release(sentinel)
    assert ask("GET", path, KEY) == 404
    assert kind.look(sentinel) == {f"tenant {name}": "is not there"}
