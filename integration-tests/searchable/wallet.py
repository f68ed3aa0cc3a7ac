"""Wallets: deposits, withdrawals, and the ledger that every balance is the sum of.

All money moves through `move`. It takes from a balance only what is there, in one statement that checks and changes
under the row's lock, so no interleaving of requests can make a balance negative.
"""

import re
from typing import Annotated

from fastapi import APIRouter
from pydantic import AfterValidator

from searchable import payments
from searchable.database import Json, Row, Tx
from searchable.errors import ApiError
from searchable.payments import CardPayment, Cents, settles
from searchable.services import AsMember, Body, Member

router = APIRouter(prefix="/v1", tags=["wallet"])

CLOSED_ACCOUNT = "000000"
"""In this sandbox an account number that ends so was closed: money sent there comes back."""


def iban(value: str) -> str:
    """Validates by length, form and check digits (ISO 13616: the rearranged number leaves 1, modulo 97)."""
    compact = value.replace(" ", "").upper()
    if not re.fullmatch(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}", compact, re.ASCII):
        raise ValueError("not the form of an IBAN")
    if int("".join(str(int(char, 36)) for char in compact[4:] + compact[:4])) % 97 != 1:
        raise ValueError("the check digits of the IBAN are wrong")
    return compact


class Deposit(CardPayment):
    amount_cents: Cents


class Withdrawal(Body):
    amount_cents: Cents
    iban: Annotated[str, AfterValidator(iban)]


def move(tx: Tx, user_id: int, cents: int, reason: str) -> int:
    """Adds to a balance (or takes, if negative) and returns the new one; raises ApiError 409 when it is too low."""
    moved = tx.maybe(
        """
        WITH changed AS (
            UPDATE users SET balance_cents = balance_cents + %(cents)s
            WHERE id = %(user)s AND balance_cents + %(cents)s >= 0 RETURNING id, balance_cents
        )
        INSERT INTO ledger (user_id, amount_cents, balance_cents, reason)
        SELECT id, %(cents)s, balance_cents, %(reason)s FROM changed RETURNING balance_cents
        """,
        {"cents": cents, "user": user_id, "reason": reason},
    )
    if moved is None:
        raise ApiError(409, "insufficient_funds", f"the balance is lower than {-cents} cents")
    balance: int = moved["balance_cents"]
    return balance


def lock_wallets(tx: Tx, *user_ids: int) -> None:
    """Before money moves between users: always in the same order, or two who trade would wait for each other.

    NO KEY, because everybody who has inserted a row that refers to one of the users holds a share of its key.
    """
    tx.run("SELECT 1 FROM users WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE", [list(user_ids)])


@router.get("/wallet")
def show(member: AsMember) -> Json:
    with member.signed_in() as (tx, user):
        pending = tx.one(
            "SELECT coalesce(sum(amount_cents), 0)::bigint AS cents FROM payments"
            " WHERE user_id = %s AND kind = 'deposit' AND status = 'pending'",
            [user["id"]],
        )
        return {"balance_cents": user["balance_cents"], "pending_cents": pending["cents"]}


@router.get("/wallet/ledger")
def ledger(member: AsMember) -> Json:
    """Every change of the balance, the newest first, each with the balance it led to."""
    with member.signed_in() as (tx, user):
        return {
            "items": tx.all(
                "SELECT amount_cents, balance_cents, reason, created_at FROM ledger"
                " WHERE user_id = %s ORDER BY id DESC",
                [user["id"]],
            )
        }


@router.post("/deposits", status_code=201)
def deposit(body: Deposit, member: AsMember) -> Json:
    """Charges a card; the balance rises once the payment has settled."""
    with member.signed_in() as (tx, user):
        return payments.charge(member, tx, user, "deposit", body.amount_cents, body.card, {})


@settles("deposit")
def deposit_settled(_: Member, tx: Tx, payment: Row) -> None:
    if payment["status"] == "settled":
        move(tx, payment["user_id"], payment["amount_cents"], "deposit")


@router.post("/withdrawals", status_code=201)
def withdraw(body: Withdrawal, member: AsMember) -> Json:
    """Takes from the balance at once, and gives back if the bank does not accept it."""
    with member.signed_in() as (tx, user):
        move(tx, user["id"], -body.amount_cents, "withdrawal")
        closed = body.iban.endswith(CLOSED_ACCOUNT)
        return payments.start(member, tx, user, "withdrawal", body.amount_cents, {"iban": body.iban}, fails=closed)


@settles("withdrawal")
def withdrawal_settled(_: Member, tx: Tx, payment: Row) -> None:
    if payment["status"] == "failed":
        move(tx, payment["user_id"], payment["amount_cents"], "withdrawal returned")
