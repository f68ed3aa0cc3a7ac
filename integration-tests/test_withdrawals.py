"""Withdrawals: taken from the balance at once, paid out later, given back if the bank does not take them."""

import pytest
from client import CLOSED_IBAN, Api, Fixture, User, fund, iban, refused, refused_as, settle_all


@pytest.fixture(scope="module")
def funded(api: Api) -> list[User]:
    """Users with 1,000 cents each; a test takes one with `pop`."""
    return fund(api, 1000, 1000, 1000)


def movements(user: User) -> list[tuple[str, int]]:
    """The ledger from its beginning, as (reason, cents); every line must carry the right balance, and none below 0."""
    ledger, balance = user.ledger()[::-1], 0
    for entry in ledger:
        balance += entry["amount_cents"]
        assert entry["balance_cents"] == balance >= 0
    assert balance == user.balance
    return [(entry["reason"], entry["amount_cents"]) for entry in ledger]


def test_a_withdrawal_is_taken_at_once_and_what_the_bank_returns_can_be_paid_out_again(funded: list[User]) -> None:
    lucky, unlucky = funded.pop(), funded.pop()
    paid, returned = lucky.withdraw(400), unlucky.withdraw(1000, CLOSED_IBAN)
    assert (paid["kind"], paid["status"]) == ("withdrawal", "pending")
    assert (lucky.balance, unlucky.balance) == (600, 0)
    settle_all((lucky, paid), (unlucky, returned))
    assert (lucky.refresh(paid["id"])["status"], unlucky.refresh(returned["id"])["status"]) == ("settled", "failed")
    assert (lucky.balance, unlucky.balance) == (600, 1000)
    assert movements(lucky) == [("deposit", 1000), ("withdrawal", -400)]
    given_back = [("deposit", 1000), ("withdrawal", -1000), ("withdrawal returned", 1000)]
    assert movements(unlucky) == given_back
    with refused(409, "insufficient_funds"):
        unlucky.withdraw(1001)
    assert unlucky.settle(unlucky.withdraw(1000))["status"] == "settled"
    assert movements(unlucky) == [*given_back, ("withdrawal", -1000)]


def test_more_than_there_is_cannot_be_withdrawn(user: User) -> None:
    with refused(409, "insufficient_funds"):
        user.withdraw(100)
    assert user.balance == 0
    assert user.get("/v1/payments")["items"] == []


def test_withdrawals_at_the_same_time_never_take_more_than_there_is(funded: list[User], race: Fixture) -> None:
    user = funded.pop()
    race(lambda: user.withdraw(400), n=8).expect(successes=2, errors=refused_as("insufficient_funds"))
    assert user.balance == 200
    assert movements(user) == [("deposit", 1000)] + [("withdrawal", -400)] * 2


@pytest.mark.parametrize(
    "account",
    [
        iban()[:-1] + ("0" if iban()[-1] != "0" else "1"),
        "DE89",
        "not an account",
        "de89 3704 0044 0532 0130 01",
        "",
    ],
    ids=["digit changed", "too short", "no account", "wrong check digits", "none"],
)
def test_an_account_number_that_cannot_exist_is_refused(user: User, account: str) -> None:
    with refused(422, "invalid"):
        user.post("/v1/withdrawals", amount_cents=100, iban=account)


def test_an_account_number_may_be_written_with_spaces(user: User) -> None:
    """It is the balance that is too low, not the number that is wrong."""
    with refused(409, "insufficient_funds"):
        user.withdraw(100, "de89 3704 0044 0532 0130 00")


@pytest.mark.parametrize("cents", [0, 99, -500, 1_000_001])
def test_an_amount_out_of_bounds_is_refused(user: User, cents: int) -> None:
    with refused(422, "invalid"):
        user.withdraw(cents)


def test_a_withdrawal_takes_a_user(api: Api) -> None:
    with refused(401, "no_token"):
        api.post("/v1/withdrawals", amount_cents=100, iban=iban())
