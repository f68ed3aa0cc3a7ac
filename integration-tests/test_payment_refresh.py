"""Refreshing: asking the payment network how a payment stands, and doing exactly once what its end implies."""

from dataclasses import dataclass

import pytest
from client import Api, Fixture, Json, User, refused, settle_all


@dataclass
class Ended:
    """A payment that settled, and one that failed, of a user who makes no others."""

    user: User
    good: Json
    bad: Json


@pytest.fixture(scope="module")
def ended(api: Api) -> Ended:
    user = api.register()
    good, bad = user.deposit(700), user.deposit(200, card="card_declined")
    settle_all((user, good), (user, bad))
    return Ended(user, good, bad)


def test_a_payment_stays_pending_until_the_network_is_done(user: User) -> None:
    payment = user.deposit(100)
    assert user.refresh(payment["id"])["status"] == "pending"
    assert user.balance == 0


def test_of_many_who_refresh_at_once_one_has_the_effect(user: User, race: Fixture) -> None:
    payment = user.deposit(900)
    user.settle(user.deposit(100))
    assert user.get(f"/v1/payments/{payment['id']}")["status"] == "pending", "looking does not ask the network"
    refreshed = race(lambda: user.refresh(payment["id"]), n=5)
    refreshed.expect(successes=5)
    assert [seen["status"] for seen in refreshed.succeeded] == ["settled"] * 5
    assert user.get(f"/v1/payments/{payment['id']}")["status"] == "settled"
    assert user.balance == 1000
    assert sorted(entry["amount_cents"] for entry in user.ledger()) == [100, 900]


def test_the_network_is_asked_no_more_about_what_has_ended(ended: Ended, api: Api) -> None:
    before = api.get("/v1/payment-account")["calls"]
    for _ in range(5):
        assert ended.user.refresh(ended.good["id"])["status"] == "settled"
        assert ended.user.refresh(ended.bad["id"])["status"] == "failed"
    assert ended.user.balance == 700
    # Some calls may be others': the organization can be shared with tests that run at the same time.
    assert api.get("/v1/payment-account")["calls"] - before < 10


def test_payments_are_their_payers(user: User, other: User) -> None:
    payment = user.deposit(100)
    for attempt in (other.refresh, lambda it: other.get(f"/v1/payments/{it}")):
        with refused(404, "payment_not_found"):
            attempt(payment["id"])
    assert other.get("/v1/payments")["items"] == []


@pytest.mark.parametrize("payment", [0, 999_999_999, -1])
def test_an_unknown_payment_is_not_found(user: User, payment: int) -> None:
    with refused(404, "payment_not_found"):
        user.refresh(payment)


def test_payments_are_listed_by_how_they_stand(ended: Ended, user: User) -> None:
    waiting = user.deposit(300)
    for owner, status, payment in (
        (ended.user, "settled", ended.good),
        (ended.user, "failed", ended.bad),
        (user, "pending", waiting),
    ):
        assert [item["id"] for item in owner.get("/v1/payments", status=status)["items"]] == [payment["id"]]
    assert [item["id"] for item in ended.user.get("/v1/payments")["items"]] == [ended.bad["id"], ended.good["id"]]
    with refused(422, "invalid"):
        user.get("/v1/payments", status="lost")
