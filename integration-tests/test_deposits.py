"""Deposits: a card is charged, and the balance rises when the network says that it was."""

import pytest
from client import Api, User, refused, settle_all


def test_a_new_wallet_is_empty(user: User) -> None:
    assert user.get("/v1/wallet") == {"balance_cents": 0, "pending_cents": 0}
    assert user.ledger() == []


def test_a_deposit_counts_when_it_has_settled_and_never_if_it_is_declined(user: User, other: User) -> None:
    good, bad = user.deposit(2500), other.deposit(2500, card="card_declined")
    for depositor, deposit in ((user, good), (other, bad)):
        assert (deposit["kind"], deposit["status"], deposit["amount_cents"]) == ("deposit", "pending", 2500)
        assert depositor.get("/v1/wallet") == {"balance_cents": 0, "pending_cents": 2500}
    settle_all((user, good), (other, bad))
    assert user.get("/v1/wallet") == {"balance_cents": 2500, "pending_cents": 0}
    assert other.get("/v1/wallet") == {"balance_cents": 0, "pending_cents": 0}
    assert other.ledger() == []


def test_several_deposits_add_up_and_each_is_in_the_ledger_of_its_owner(user: User, other: User) -> None:
    settle_all(*((user, user.deposit(cents)) for cents in (100, 250, 1000)))
    ledger = user.ledger()
    assert sorted(entry["amount_cents"] for entry in ledger) == [100, 250, 1000]
    assert {entry["reason"] for entry in ledger} == {"deposit"}
    assert ledger[0]["balance_cents"] == user.balance == 1350
    assert (other.balance, other.ledger()) == (0, [])


def test_what_is_pending_shrinks_by_each_deposit_that_ends(user: User) -> None:
    """Only what has been asked about has ended, however long ago the network was done with it."""
    small, large, declined = user.deposit(200), user.deposit(3000), user.deposit(10_000, card="card_declined")
    assert user.get("/v1/wallet") == {"balance_cents": 0, "pending_cents": 13_200}
    for deposit, balance, pending in ((declined, 0, 3200), (large, 3000, 200), (small, 3200, 0)):
        user.settle(deposit)
        assert user.get("/v1/wallet") == {"balance_cents": balance, "pending_cents": pending}
    assert [entry["balance_cents"] for entry in user.ledger()] == [3200, 3000]


@pytest.mark.parametrize("cents", [0, 99, -100, 1_000_001, 150.5, "much", None, 10**30])
def test_an_amount_out_of_bounds_is_refused(user: User, cents: object) -> None:
    with refused(422, "invalid"):
        user.post("/v1/deposits", amount_cents=cents, card="card_visa")


def test_a_card_nobody_knows_is_refused(user: User) -> None:
    with refused(422, "invalid"):
        user.deposit(100, card="card_of_a_library")


def test_a_deposit_takes_a_user(api: Api) -> None:
    with refused(401, "no_token"):
        api.post("/v1/deposits", amount_cents=100)


def test_a_refused_deposit_leaves_no_payment(user: User) -> None:
    with refused(422, "invalid"):
        user.deposit(1)
    assert user.get("/v1/payments")["items"] == []
