"""The platform API: organizations are made and removed, and are apart. Its key is handed to no other group's tests."""

import os
import re
from collections.abc import Iterator

import pytest
import requests
from client import Api, Fixture, eventually, refused, refused_as, unique
from monitoring import Exposition


@pytest.fixture(scope="module")
def platform(url: str) -> Api:
    key = os.environ.get("SEARCHABLE_PLATFORM_KEY")
    if not key:
        pytest.skip("needs SEARCHABLE_PLATFORM_KEY, which is not handed to the tests of one organization")
    return Api(url, key)


@pytest.fixture
def own_organization(platform: Api) -> Iterator[Api]:
    """An organization of the test's own, for what would disturb others."""
    slug = unique("own")
    created = platform.post("/v1/platform/organizations", slug=slug)
    yield Api(platform.url, created["secret_key"])
    platform.send("DELETE", "/v1/platform/organizations", json={"slug": slug})


def test_an_organization_lives_from_creation_to_deletion(platform: Api) -> None:
    slug = unique("short-lived")
    created = platform.post("/v1/platform/organizations", slug=slug)
    assert created["secret_key"].startswith("sk_test_")
    shown = platform.get(f"/v1/platform/organizations/{slug}")
    assert shown["live"] is False
    assert "secret_key" not in shown
    api = Api(platform.url, created["secret_key"])
    assert api.search()["total"] == 0
    with refused(409, "organization_exists"):
        platform.post("/v1/platform/organizations", slug=slug)
    platform.send("DELETE", "/v1/platform/organizations", json={"slug": slug})
    with refused(401, "wrong_key"):
        api.search()
    with refused(404, "organization_not_found"):
        platform.send("DELETE", "/v1/platform/organizations", json={"slug": slug})


def test_the_platform_sees_how_much_an_organization_holds(platform: Api) -> None:
    slug = unique("watched")
    path = f"/v1/platform/organizations/{slug}/state"
    api = Api(platform.url, platform.post("/v1/platform/organizations", slug=slug)["secret_key"])
    idle = platform.get(path)
    assert idle["rows"]["users"] == idle["payment_calls"] == 0
    user = api.register()
    user.offer()
    user.deposit(1000)
    busy = platform.get(path)
    changed = {"users": 1, "searchables": 1, "payments": 1}
    assert busy == {"rows": idle["rows"] | changed, "payment_calls": 1}
    platform.send("DELETE", "/v1/platform/organizations", json={"slug": slug})
    with refused(404, "organization_not_found"):
        platform.get(path)


def test_a_live_organization_is_not_deleted(platform: Api) -> None:
    slug = unique("live")
    created = platform.post("/v1/platform/organizations", slug=slug, live=True)
    assert created["secret_key"].startswith("sk_live_")
    assert platform.get(f"/v1/platform/organizations/{slug}")["live"] is True
    with refused(409, "organization_live"):
        platform.send("DELETE", "/v1/platform/organizations", json={"slug": slug})
    assert Api(platform.url, created["secret_key"]).search()["total"] == 0
    platform.send("PATCH", f"/v1/platform/organizations/{slug}", json={"live": False})
    platform.send("DELETE", "/v1/platform/organizations", json={"slug": slug})


def test_organizations_see_nothing_of_each_other(api: Api, own_organization: Api) -> None:
    here = api.register("same")
    stranger = own_organization.post("/v1/users", handle=here.handle, display_name="A namesake elsewhere")
    assert stranger["handle"] == here.handle
    with refused(401, "wrong_token"):
        own_organization.get("/v1/users/me", here.token)
    draft = here.offer()
    with refused(404, "searchable_not_found"):
        own_organization.get(f"/v1/searchables/{draft['id']}", stranger["token"])


def test_organizations_are_made_and_removed_side_by_side(platform: Api, race: Fixture) -> None:
    slugs = [unique("many") for _ in range(4)]
    path = "/v1/platform/organizations"
    made = race(*(lambda s=slug: platform.post(path, slug=s) for slug in (*slugs, slugs[0])))
    made.expect(successes=4, errors=refused_as("organization_exists"))
    race(*(lambda s=slug: platform.send("DELETE", path, json={"slug": s}) for slug in slugs)).expect(successes=4)


def test_a_deleted_organization_leaves_no_series(url: str, platform: Api) -> None:
    slug = unique("counted")
    key = platform.post("/v1/platform/organizations", slug=slug)["secret_key"]
    Api(url, key).register()
    there = Exposition.of(url)
    assert there.value("searchable_users_registered_total", organization=slug) == 1
    assert there.value("searchable_organizations") > 0
    platform.send("DELETE", "/v1/platform/organizations", json={"slug": slug})
    answer = requests.get(f"{url}/metrics", timeout=10).text
    assert not re.search(rf'organization="{slug}"', answer)


def test_who_calls_the_network_too_often_is_told_when_to_come_again(own_organization: Api, race: Fixture) -> None:
    """Provoked on purpose, and so in an organization of its own: the limit is the payment account's."""
    user = own_organization.register()
    account = own_organization.get("/v1/payment-account")
    deposits = race(lambda: user.deposit(100), n=account["burst"] + 8)
    accepted = len(deposits.succeeded)
    deposits.expect(successes=accepted, errors=refused_as("rate_limited"))
    assert {(error.status, error.retry_after) for error in deposits.errors} == {(429, "1")}
    assert account["burst"] <= accepted < account["burst"] + 8
    assert len(user.get("/v1/payments")["items"]) == accepted, "what was refused left nothing behind"
    eventually(lambda: race(lambda: user.deposit(100), n=1).succeeded, bool, every=0.2)
