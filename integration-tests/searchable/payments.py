"""Payments: handed to the network at once, settled when a refresh learns how they ended.

A feature that charges starts a payment with `start` and says with `@settles(kind)` what its end implies. That runs in
the transaction that marks the payment as ended, under the lock of its row, so it happens exactly once however many
callers refresh at the same time.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from psycopg.types.json import Jsonb
from pydantic import Field

from searchable.database import Json, Row, Tx
from searchable.errors import ApiError, not_found
from searchable.network import DECLINED
from searchable.services import AsMember, AsVisitor, Body, Member

router = APIRouter(prefix="/v1", tags=["payments"])

Card = Literal["card_visa", "card_master", "card_declined"]
Cents = Annotated[int, Field(ge=100, le=1_000_000)]

Settlement = Callable[[Member, Tx, Row], None]
SETTLEMENTS: dict[str, Settlement] = {}


class CardPayment(Body):
    card: Card = "card_visa"


def settles(kind: str) -> Callable[[Settlement], Settlement]:
    """Registers what the end of a payment of this kind implies; its row's status is `settled` or `failed`."""

    def register(settlement: Settlement) -> Settlement:
        SETTLEMENTS[kind] = settlement
        return settlement

    return register


@contextmanager
def counting_refusals(member: Member) -> Iterator[None]:
    try:
        yield
    except ApiError:
        member.metrics.throttled.labels(member.organization.slug).inc()
        raise


def start(member: Member, tx: Tx, user: Row, kind: str, cents: int, detail: Json, *, fails: bool = False) -> Json:
    """Hands a payment to the network; raises ApiError 429, which undoes all that the transaction did so far.

    Call it last: what is refused for a reason of our own should not cost a call.
    """
    with counting_refusals(member):
        receipt = member.services.network.submit(member.organization.payment_account, payout=kind == "withdrawal")
    payment = tx.one(
        "INSERT INTO payments (user_id, kind, amount_cents, detail, reference, will_fail, settles_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, clock_timestamp() + make_interval(secs => %s)) RETURNING *",
        [user["id"], kind, cents, Jsonb(detail), receipt.reference, fails, receipt.settlement_seconds],
    )
    member.count(tx, "payments", kind)
    return view(payment)


def charge(member: Member, tx: Tx, user: Row, kind: str, cents: int, card: str, detail: Json) -> Json:
    """Starts a payment by card."""
    return start(member, tx, user, kind, cents, detail, fails=card == DECLINED)


def view(payment: Row) -> Json:
    return {key: payment[key] for key in ("id", "kind", "amount_cents", "status", "reference", "created_at")}


@router.get("/payment-account")
def account(visitor: AsVisitor) -> Json:
    """How close the organization came to the limit of its payment account."""
    name = visitor.organization.payment_account
    bucket = visitor.services.network.account(name)
    return {
        "account": name,
        "rate": bucket.rate,
        "burst": bucket.burst,
        "calls": bucket.granted,
        "throttled": bucket.refused,
        "lowest": round(bucket.lowest, 2),
    }


@router.get("/payments")
def index(
    member: AsMember,
    status: Annotated[Literal["pending", "settled", "failed"] | None, Query()] = None,
) -> Json:
    """The caller's payments, the newest first."""
    with member.signed_in() as (tx, user):
        rows = tx.all(
            "SELECT * FROM payments WHERE user_id = %s AND status = coalesce(%s, status) ORDER BY id DESC",
            [user["id"], status],
        )
        return {"items": [view(row) for row in rows]}


@router.get("/payments/{payment_id}")
def show(payment_id: int, member: AsMember) -> Json:
    """What is known here; it does not ask the network."""
    with member.signed_in() as (tx, user):
        payment = tx.maybe("SELECT * FROM payments WHERE id = %s AND user_id = %s", [payment_id, user["id"]])
        if payment is None:
            raise not_found("payment")
        return view(payment)


@router.post("/payments/{payment_id}/refresh")
def refresh(payment_id: int, member: AsMember) -> Json:
    """Asks the network how a pending payment stands, and does what its end implies."""
    with member.signed_in() as (tx, user):
        payment = tx.maybe(
            "SELECT *, settles_at <= clock_timestamp() AS over,"
            " extract(epoch FROM clock_timestamp() - created_at)::float8 AS age"
            " FROM payments WHERE id = %s AND user_id = %s FOR UPDATE",
            [payment_id, user["id"]],
        )
        if payment is None:
            raise not_found("payment")
        if payment["status"] != "pending":
            return view(payment)
        with counting_refusals(member):
            member.services.network.call(member.organization.payment_account)
        if not payment["over"]:
            return view(payment)
        payment["status"] = "failed" if payment["will_fail"] else "settled"
        tx.update("payments", payment_id, {"status": payment["status"]})
        SETTLEMENTS[payment["kind"]](member, tx, payment)
        record(member, tx, payment)
        return view(payment)


def record(member: Member, tx: Tx, payment: Row) -> None:
    member.count(tx, "settled", payment["kind"], payment["status"])
    if payment["status"] == "settled":
        member.count(tx, "moved", payment["kind"], by=payment["amount_cents"])
    seconds = member.metrics.settlement_seconds.labels(member.organization.slug)
    tx.after_commit(lambda: seconds.observe(payment["age"]))
