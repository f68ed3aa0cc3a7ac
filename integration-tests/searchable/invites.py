"""Invite codes: whoever holds one may use it, once, until it expires."""

import secrets
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from searchable import payments
from searchable.database import Json, Row, Tx
from searchable.errors import ApiError, not_found
from searchable.payments import CardPayment, settles
from searchable.services import AsMember, Body, Member

router = APIRouter(prefix="/v1/invites", tags=["invites"])

PACK_SIZE, PACK_CENTS = 5, 200
ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Without what is read as something else over the phone: I, O, 0 and 1."""


class NewInvite(Body):
    note: Annotated[str, Field(max_length=200)] = ""
    expires_in: Annotated[float, Field(gt=0, le=30 * 86400)] = 7 * 86400.0


FIND = """
    SELECT i.*, c.handle AS creator, r.handle AS redeemer,
        CASE WHEN redeemed_by IS NOT NULL THEN 'redeemed'
             WHEN expires_at <= clock_timestamp() THEN 'expired' ELSE 'open' END AS status
    FROM invites i JOIN users c ON c.id = i.creator_id LEFT JOIN users r ON r.id = i.redeemed_by
"""


def view(invite: Row) -> Json:
    return {key: invite[key] for key in ("code", "note", "creator", "redeemer", "status", "expires_at")}


@router.post("", status_code=201)
def create(body: NewInvite, member: AsMember) -> Json:
    with member.signed_in() as (tx, user):
        if not tx.run(
            "UPDATE users SET invite_credits = invite_credits - 1 WHERE id = %s AND invite_credits > 0", [user["id"]]
        ):
            raise ApiError(409, "no_invites_left", "there are no invites left; a pack can be bought")
        code = "-".join("".join(secrets.choice(ALPHABET) for _ in range(4)) for _ in range(3))
        tx.run(
            "INSERT INTO invites (code, creator_id, note, expires_at)"
            " VALUES (%s, %s, %s, clock_timestamp() + make_interval(secs => %s))",
            [code, user["id"], body.note, body.expires_in],
        )
        return view(tx.one(f"{FIND} WHERE code = %s", [code]))


@router.get("")
def index(member: AsMember) -> Json:
    """The caller's own invites."""
    with member.signed_in() as (tx, user):
        rows = tx.all(f"{FIND} WHERE creator_id = %s ORDER BY expires_at, code", [user["id"]])
        return {"items": [view(row) for row in rows]}


@router.post("/packs", status_code=201)
def buy_pack(body: CardPayment, member: AsMember) -> Json:
    with member.signed_in() as (tx, user):
        return payments.charge(member, tx, user, "invites", PACK_CENTS, body.card, {"invites": PACK_SIZE})


@settles("invites")
def pack_settled(_: Member, tx: Tx, payment: Row) -> None:
    if payment["status"] == "settled":
        tx.run(
            "UPDATE users SET invite_credits = invite_credits + %s WHERE id = %s",
            [payment["detail"]["invites"], payment["user_id"]],
        )


@router.post("/{code}/redeem")
def redeem(code: str, member: AsMember) -> Json:
    """Uses a code up. The lock on its row makes all but the first of several callers see it as used."""
    with member.signed_in() as (tx, user):
        invite = tx.maybe(f"{FIND} WHERE code = %s FOR UPDATE OF i", [code.upper()])
        if invite is None:
            raise not_found("invite")
        if invite["creator_id"] == user["id"]:
            raise ApiError(403, "own_invite", "nobody invites themselves")
        if invite["status"] != "open":
            raise ApiError(409, f"invite_{invite['status']}", f"this invite is {invite['status']}")
        if not tx.run(
            "UPDATE users SET invited_by = %s WHERE id = %s AND invited_by IS NULL",
            [invite["creator_id"], user["id"]],
        ):
            raise ApiError(409, "already_invited", "this user was invited before")
        tx.run("UPDATE invites SET redeemed_by = %s WHERE code = %s", [user["id"], invite["code"]])
        member.count(tx, "invites")
        return {"code": invite["code"], "invited_by": invite["creator"]}


@router.delete("/{code}")
def revoke(code: str, member: AsMember) -> Json:
    """Takes back an unused code; the credit returns with it."""
    with member.signed_in() as (tx, user):
        if not tx.run(
            "DELETE FROM invites WHERE code = %s AND creator_id = %s AND redeemed_by IS NULL", [code, user["id"]]
        ):
            raise not_found("invite")
        tx.run("UPDATE users SET invite_credits = invite_credits + 1 WHERE id = %s", [user["id"]])
        return {"code": code, "revoked": True}
