"""Metrics over whole workflows: what happened in them is what was counted, to the cent."""

from collections.abc import Callable

import pytest
from client import Api, settle_all
from monitoring import Exposition

Grown = Callable[..., float]


@pytest.fixture(scope="module")
def sale(url: str, slug: str, api: Api) -> Grown:
    """A small market day; its tests look at what it left in the counters, and do nothing themselves.

    Two things are published; one is sold by balance, and rated, and the other by card. One deposit settles and one is
    declined; there is a withdrawal, and an invite that is redeemed.
    """
    before = Exposition.of(url, slug)
    seller, rich, broke = (api.register(name) for name in ("seller", "rich", "broke"))
    cheap, dear = seller.offer(price_cents=1000), seller.offer(price_cents=3000)
    settle_all(
        (broke, broke.deposit(400, card="card_declined")),
        (rich, rich.deposit(5000)),
        (seller, seller.publish(cheap, dear)),
    )
    rich.buy(cheap)
    rich.rate(cheap, 4)
    broke.post(f"/v1/invites/{rich.post('/v1/invites')['code']}/redeem")
    paid = broke.buy(dear, method="card")
    withdrawn = rich.withdraw(500)
    settle_all((broke, {"id": paid["payment_id"]}), (rich, withdrawn))
    end = Exposition.of(url, slug)
    end.samples = [
        sample._replace(value=sample.value - before.value(sample.name, **sample.labels)) for sample in end.samples
    ]
    return end.value


def test_users_and_invites(sale: Grown) -> None:
    assert sale("searchable_users_registered_total") == 3
    assert sale("searchable_invites_redeemed_total") == 1


def test_what_was_published(sale: Grown) -> None:
    assert sale("searchable_published_total", kind="online") == 2
    assert sale("searchable_published_total") == 2


def test_purchases_their_value_and_the_fees(sale: Grown) -> None:
    assert sale("searchable_purchases_total", kind="online") == 2
    assert sale("searchable_revenue_cents_total") == 4000
    assert sale("searchable_fees_cents_total") == 200


@pytest.mark.parametrize(
    ("kind", "started", "settled", "failed", "cents"),
    [
        ("deposit", 2, 1, 1, 5000),
        ("listing", 1, 1, 0, 100),
        ("purchase", 1, 1, 0, 3000),
        ("withdrawal", 1, 1, 0, 500),
        ("storage", 0, 0, 0, 0),
    ],
)
def test_payments_by_kind(sale: Grown, kind: str, started: int, settled: int, failed: int, cents: int) -> None:
    assert sale("searchable_payments_started_total", kind=kind) == started
    assert sale("searchable_payments_settled_total", kind=kind, outcome="settled") == settled
    assert sale("searchable_payments_settled_total", kind=kind, outcome="failed") == failed
    assert sale("searchable_payments_cents_total", kind=kind) == cents


def test_every_payment_that_ended_was_timed(sale: Grown) -> None:
    assert sale("searchable_payment_settlement_seconds_count") == 5
    assert sale("searchable_payment_settlement_seconds_sum") >= 5


def test_ratings_by_stars(sale: Grown) -> None:
    assert sale("searchable_ratings_total", stars="4") == 1
    assert sale("searchable_ratings_total") == 1


def test_nothing_was_throttled_and_nothing_failed(sale: Grown) -> None:
    assert sale("searchable_payments_throttled_total") == 0
    for status in ("500", "503"):
        assert sale("searchable_http_requests_total", status=status) == 0
