"""Metrics: the exposition is sound, and counts what happened, once, for the organization in which it happened."""

import pytest
import requests
from client import Api, Fixture, User, fund, refused, unique
from monitoring import Exposition, Growth, promtool, tool


@pytest.fixture
def grown(url: str, slug: str) -> Growth:
    return Growth(url, slug, Exposition.of(url, slug))


def test_the_exposition_is_in_prometheus_own_format(url: str) -> None:
    answer = requests.get(f"{url}/metrics", timeout=10)
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    families = Exposition(answer.text).families
    assert families
    for name, family in families.items():
        assert family.documentation, f"{name} does not say what it is"
        assert family.type in {"counter", "gauge", "histogram"}
    if binary := tool("promtool", "PROMTOOL_BIN"):
        promtool(binary, "check", "metrics", stdin=answer.text)


def test_every_series_but_the_number_of_organizations_has_an_organization(url: str, api: Api) -> None:
    api.register()
    without = {sample.name for sample in Exposition.of(url).samples if "organization" not in sample.labels}
    assert without == {"searchable_organizations"}


def test_a_registration_is_counted_and_a_refused_one_is_not(api: Api, grown: Growth) -> None:
    user = api.register()
    with refused(409, "handle_taken"):
        api.post("/v1/users", handle=user.handle, display_name="Twice")
    assert grown("searchable_users_registered_total") == 1


def test_requests_are_counted_by_route_and_status(user: User, grown: Growth) -> None:
    tag = user.post("/v1/tags", name=unique("t"))["id"]
    for _ in range(3):
        user.get(f"/v1/tags/{tag}")
    with refused(404, "tag_not_found"):
        user.get("/v1/tags/999999999")
    labels = {"endpoint": "/v1/tags/{tag_id}", "method": "GET"}
    assert grown("searchable_http_requests_total", **labels, status="200") == 3
    assert grown("searchable_http_requests_total", **labels, status="404") == 1
    assert grown("searchable_http_request_duration_seconds_count", **labels) == 4


def test_no_path_value_or_secret_becomes_a_label(url: str, api: Api, user: User) -> None:
    secret = unique("secret")
    with refused(404, "http_error"):
        api.get(f"/v1/{secret}/nothing")
    with refused(404, "user_not_found"):
        api.get(f"/v1/users/{secret}")
    text = requests.get(f"{url}/metrics", timeout=10).text
    for word in (secret, user.token, user.handle, api.key):
        assert word not in text


def test_histograms_are_cumulative_and_agree_with_their_count(url: str, slug: str, user: User) -> None:
    user.get("/v1/wallet")
    exposition, name = Exposition.of(url, slug), "searchable_http_request_duration_seconds"
    labels = {"organization": slug, "endpoint": "/v1/wallet"}
    buckets = [
        (float(sample.labels["le"]), sample.value)
        for sample in exposition.samples
        if sample.name == f"{name}_bucket" and labels.items() <= sample.labels.items()
    ]
    assert [le for le, _ in buckets] == sorted({le for le, _ in buckets})
    counts = [count for _, count in buckets]
    assert counts == sorted(counts)
    assert counts[-1] == exposition.value(f"{name}_count", **labels) >= 1
    assert exposition.value(f"{name}_sum", **labels) > 0


def test_searches_are_counted_by_whether_they_found(api: Api, grown: Growth) -> None:
    for _ in range(2):
        assert api.search(q=unique("nothing"))["total"] == 0
    assert grown("searchable_searches_total", found="no") == 2
    assert grown("searchable_searches_total", found="yes") == 0


def test_uploads_are_counted_by_type(user: User, grown: Growth) -> None:
    user.upload()
    user.upload(b"%PDF-", "a.pdf", "application/pdf")
    with refused(415, "media_type"):
        user.upload(b"", "a.exe", "application/x-msdownload")
    assert grown("searchable_files_uploaded_total", media_type="text/plain") == 1
    assert grown("searchable_files_uploaded_total", media_type="application/pdf") == 1
    assert grown("searchable_files_uploaded_total") == 2


def test_what_was_rolled_back_is_not_counted(user: User, grown: Growth) -> None:
    with refused(409, "insufficient_funds"):
        user.withdraw(500)
    assert grown("searchable_payments_started_total") == 0


def test_events_at_the_same_time_are_all_counted(api: Api, grown: Growth, race: Fixture) -> None:
    race(api.register, n=8).expect(successes=8)
    assert grown("searchable_users_registered_total") == 8


def test_settlements_are_timed(api: Api, grown: Growth) -> None:
    fund(api, 100)
    name = "searchable_payment_settlement_seconds"
    assert grown(f"{name}_count") == 1
    assert grown(f"{name}_bucket", le="0.5") == 0
    assert grown(f"{name}_sum") >= 1
