"""Stress: MASS_WITHDRAWAL_COUNT withdrawals (5 unless told otherwise), from several threads at once.

The payment network limits calls, so they are paced below its rate: this stresses the balances, not the limit.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from client import CLOSED_IBAN, Api, Json, Refused, User, fund

CALLS_PER_SECOND = 9
THREADS = 6
CENTS = 100


class Pace:
    """Lets one caller through at a time, in even steps."""

    def __init__(self, per_second: float) -> None:
        self.step, self.lock, self.next = 1 / per_second, threading.Lock(), time.monotonic()

    def __call__(self, action: Callable[[], Any]) -> Any:
        with self.lock:
            wait = self.next - time.monotonic()
            self.next = max(self.next, time.monotonic()) + self.step
        if wait > 0:
            time.sleep(wait)
        return action()


@pytest.fixture(scope="module")
def count() -> int:
    value = os.environ.get("MASS_WITHDRAWAL_COUNT") or "5"
    if not (value.isascii() and value.isdigit() and 1 <= int(value) <= 5000):
        pytest.fail(f"MASS_WITHDRAWAL_COUNT is {value!r}; it must be a number from 1 to 5000")
    return int(value)


@pytest.fixture(scope="module")
def users(api: Api, count: int) -> list[User]:
    """One who can afford all withdrawals, and one who can afford half of them."""
    return fund(api, count * CENTS, max(count // 2, 1) * CENTS)


@pytest.fixture(scope="module")
def pace() -> Pace:
    return Pace(CALLS_PER_SECOND)


def spread(pace: Pace, actions: Iterable[Callable[[], Any]]) -> list[Any]:
    """Runs the actions on some threads, at the pace; an entry of the result is a value or the Refused."""

    def attempt(action: Callable[[], Any]) -> Any:
        try:
            return pace(action)
        except Refused as refusal:
            return refusal

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(attempt, actions))


def ended(user: User, payment: Json, pace: Pace) -> str:
    """Asks until the payment has ended; its status."""
    while (status := pace(lambda: user.refresh(payment["id"]))["status"]) == "pending":
        pass
    return status


def test_all_are_paid_out_or_given_back(users: list[User], count: int, pace: Pace) -> None:
    """Every fifth goes to a closed account."""
    user, returned = users[0], len(range(0, count, 5))
    payments = spread(pace, [lambda n=n: user.withdraw(CENTS, None if n % 5 else CLOSED_IBAN) for n in range(count)])
    assert [payment for payment in payments if isinstance(payment, Refused)] == []
    assert user.balance == 0
    statuses = Counter(ended(user, payment, pace) for payment in payments)
    assert statuses == Counter(settled=count - returned, failed=returned)
    assert user.balance == returned * CENTS


def test_what_is_not_there_is_not_paid_out(users: list[User], count: int, pace: Pace) -> None:
    user, affordable = users[1], max(count // 2, 1)
    outcomes = spread(pace, [lambda: user.withdraw(CENTS)] * count)
    refusals = [outcome.code for outcome in outcomes if isinstance(outcome, Refused)]
    assert refusals == ["insufficient_funds"] * (count - affordable)
    assert user.balance == 0
    assert min(entry["balance_cents"] for entry in user.ledger()) == 0
