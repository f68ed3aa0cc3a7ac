"""Purchases: from the balance at once, or by card once the payment has settled.

That nobody buys a thing twice, and no slot is booked twice, is kept by the unique indexes of schema.sql: a pending
purchase counts, so of two who pay at the same time one is refused before any money moves.
"""

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field

from searchable import invoices, payments, searchables, wallet
from searchable.database import Json, Row, Tx
from searchable.errors import ApiError, not_found
from searchable.payments import CardPayment, settles
from searchable.services import AsMember, Member

router = APIRouter(prefix="/v1/purchases", tags=["purchases"])

FEE_PERCENT = 5


class Order(CardPayment):
    searchable_id: int
    slot_id: Annotated[int | None, Field(description="for offline searchables: which timeslot")] = None
    method: Literal["balance", "card"] = "balance"


FIND = """
    SELECT p.*, s.title, s.kind, b.handle AS buyer, o.handle AS seller, i.number AS invoice, t.starts_at
    FROM purchases p JOIN searchables s ON s.id = p.searchable_id
    JOIN users b ON b.id = p.buyer_id JOIN users o ON o.id = p.seller_id
    LEFT JOIN invoices i ON i.purchase_id = p.id LEFT JOIN slots t ON t.id = p.slot_id
"""
PARTIES = ("id", "searchable_id", "title", "kind", "buyer", "seller", "slot_id", "starts_at")
MONEY = ("price_cents", "fee_cents", "status", "payment_id", "invoice", "created_at")


def view(row: Row) -> Json:
    return {key: row[key] for key in PARTIES + MONEY}


def find(tx: Tx, purchase_id: int, user: Row) -> Row:
    """One that the user has a part in."""
    row = tx.maybe(f"{FIND} WHERE p.id = %s AND %s IN (p.buyer_id, p.seller_id)", [purchase_id, user["id"]])
    if row is None:
        raise not_found("purchase")
    return row


@router.post("", status_code=201)
def buy(body: Order, member: AsMember) -> Json:
    with member.signed_in() as (tx, user):
        thing = searchables.find(tx, body.searchable_id, user)
        if thing["owner_id"] == user["id"]:
            raise ApiError(403, "own_searchable", "nobody buys from themselves")
        check_slot(tx, thing, body.slot_id)
        purchase = reserve(tx, thing, user, body.slot_id)
        if body.method == "card" and purchase["price_cents"]:
            detail = {"purchase": purchase["id"]}
            paying = payments.charge(member, tx, user, "purchase", purchase["price_cents"], body.card, detail)
            tx.update("purchases", purchase["id"], {"payment_id": paying["id"]})
        else:
            wallet.lock_wallets(tx, user["id"], thing["owner_id"])
            if purchase["price_cents"]:
                wallet.move(tx, user["id"], -purchase["price_cents"], f"purchase {purchase['id']}")
            complete(member, tx, purchase, thing["kind"])
        return view(find(tx, purchase["id"], user))


def check_slot(tx: Tx, thing: Row, slot_id: int | None) -> None:
    if (slot_id is not None) != (thing["kind"] == "offline"):
        raise ApiError(422, "slot_required", "offline searchables are bought with a slot_id, others without")
    if slot_id is not None:
        slot = tx.maybe(
            "SELECT starts_at > now() AS ahead FROM slots WHERE id = %s AND searchable_id = %s",
            [slot_id, thing["id"]],
        )
        if slot is None:
            raise not_found("slot")
        if not slot["ahead"]:
            raise ApiError(409, "slot_over", "this slot is in the past")


def reserve(tx: Tx, thing: Row, user: Row, slot_id: int | None) -> Row:
    """The pending purchase; who comes second waits here for the first to commit, and is then refused."""
    price = thing["price_cents"]
    purchase = tx.maybe(
        "INSERT INTO purchases (searchable_id, buyer_id, seller_id, slot_id, price_cents, fee_cents, status)"
        " VALUES (%s, %s, %s, %s, %s, %s, 'pending') ON CONFLICT DO NOTHING RETURNING *",
        [thing["id"], user["id"], thing["owner_id"], slot_id, price, price * FEE_PERCENT // 100],
    )
    if purchase is None and slot_id is not None:
        raise ApiError(409, "slot_taken", "this slot is booked")
    if purchase is None:
        raise ApiError(409, "already_bought", "this was bought before, or is being paid")
    return purchase


def complete(member: Member, tx: Tx, purchase: Row, kind: str) -> None:
    """The price is paid: the seller gets it less the fee, the buyer gets an invoice."""
    tx.update("purchases", purchase["id"], {"status": "paid"})
    earned = purchase["price_cents"] - purchase["fee_cents"]
    if earned:
        wallet.move(tx, purchase["seller_id"], earned, f"sale {purchase['id']}")
    invoices.issue(tx, purchase["id"])
    member.count(tx, "purchases", kind)
    member.count(tx, "revenue", kind, by=purchase["price_cents"])
    member.count(tx, "fees", by=purchase["fee_cents"])


@settles("purchase")
def purchase_settled(member: Member, tx: Tx, payment: Row) -> None:
    purchase = tx.one(f"{FIND} WHERE p.id = %s", [payment["detail"]["purchase"]])
    if payment["status"] == "settled":
        complete(member, tx, purchase, purchase["kind"])
    else:
        tx.update("purchases", purchase["id"], {"status": "failed"})


@router.get("")
def index(member: AsMember) -> Json:
    """What the caller bought, the newest first."""
    with member.signed_in() as (tx, user):
        rows = tx.all(f"{FIND} WHERE p.buyer_id = %s ORDER BY p.id DESC", [user["id"]])
        return {"items": [view(row) for row in rows]}


@router.get("/{purchase_id}")
def show(purchase_id: int, member: AsMember) -> Json:
    with member.signed_in() as (tx, user):
        return view(find(tx, purchase_id, user))


@router.post("/{purchase_id}/cancel")
def cancel(purchase_id: int, member: AsMember) -> Json:
    """Gives a booked slot back up to a day ahead. The seller returns what they got; the fee is not returned."""
    with member.signed_in() as (tx, user):
        tx.run("SELECT 1 FROM purchases WHERE id = %s FOR UPDATE", [purchase_id])
        purchase = find(tx, purchase_id, user)
        if purchase["buyer_id"] != user["id"]:
            raise ApiError(403, "not_yours", "only who booked can cancel")
        if purchase["slot_id"] is None or purchase["status"] != "paid":
            raise ApiError(409, "not_cancellable", "only paid bookings of a timeslot can be cancelled")
        if not tx.one("SELECT %s > now() + interval '1 day' AS early", [purchase["starts_at"]])["early"]:
            raise ApiError(409, "too_late", "a booking can be cancelled up to a day ahead")
        refund = purchase["price_cents"] - purchase["fee_cents"]
        if refund:
            wallet.lock_wallets(tx, purchase["buyer_id"], purchase["seller_id"])
            wallet.move(tx, purchase["seller_id"], -refund, f"refund {purchase_id}")
            wallet.move(tx, purchase["buyer_id"], refund, f"refund {purchase_id}")
        tx.update("purchases", purchase_id, {"status": "cancelled"})
        return view(find(tx, purchase_id, user))
