"""Invoices, numbered without a gap, and the notes that buyer and seller keep on them."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from searchable.database import Json, Row, Tx
from searchable.errors import ApiError, not_found
from searchable.services import AsMember, Body

router = APIRouter(prefix="/v1/invoices", tags=["invoices"])

NoteText = Annotated[str, Field(min_length=1, max_length=1000)]


class NewNote(Body):
    text: NoteText
    shared: bool = False


class NoteChange(Body):
    text: NoteText


FIND = """
    SELECT i.number, i.issued_at, p.id AS purchase_id, p.price_cents, p.fee_cents, s.title,
        b.handle AS buyer, o.handle AS seller
    FROM invoices i JOIN purchases p ON p.id = i.purchase_id JOIN searchables s ON s.id = p.searchable_id
    JOIN users b ON b.id = p.buyer_id JOIN users o ON o.id = p.seller_id WHERE %s IN (p.buyer_id, p.seller_id)
"""


def issue(tx: Tx, purchase_id: int) -> None:
    """The next number. Whoever else issues one waits until this transaction ends: a rollback leaves no gap."""
    tx.run(
        "WITH next AS (UPDATE last_invoice SET number = number + 1 RETURNING number)"
        " INSERT INTO invoices (number, purchase_id) SELECT number, %s FROM next",
        [purchase_id],
    )


def find(tx: Tx, number: int, user: Row) -> Row:
    """One that the user paid or was paid by; to others it does not exist."""
    row = tx.maybe(f"{FIND} AND i.number = %s", [user["id"], number])
    if row is None:
        raise not_found("invoice")
    return row


def notes(tx: Tx, number: int, user: Row) -> list[Row]:
    return tx.all(
        "SELECT n.id, u.handle AS author, n.text, n.shared, n.created_at FROM invoice_notes n"
        " JOIN users u ON u.id = n.author_id WHERE n.invoice = %s AND (n.shared OR n.author_id = %s) ORDER BY n.id",
        [number, user["id"]],
    )


@router.get("")
def index(member: AsMember) -> Json:
    with member.signed_in() as (tx, user):
        return {"items": tx.all(f"{FIND} ORDER BY i.number DESC", [user["id"]])}


@router.get("/{number}")
def show(number: int, member: AsMember) -> Json:
    with member.signed_in() as (tx, user):
        return {**find(tx, number, user), "notes": notes(tx, number, user)}


@router.post("/{number}/notes", status_code=201)
def add_note(number: int, body: NewNote, member: AsMember) -> Json:
    """A note is its author's own, unless it is shared with the other party."""
    with member.signed_in() as (tx, user):
        find(tx, number, user)
        note = tx.one(
            "INSERT INTO invoice_notes (invoice, author_id, text, shared) VALUES (%s, %s, %s, %s)"
            " RETURNING id, text, shared, created_at",
            [number, user["id"], body.text, body.shared],
        )
        return {**note, "author": user["handle"]}


def check_author(tx: Tx, number: int, note_id: int, user: Row) -> None:
    find(tx, number, user)
    note = tx.maybe("SELECT author_id, shared FROM invoice_notes WHERE id = %s AND invoice = %s", [note_id, number])
    if note is None or (note["author_id"] != user["id"] and not note["shared"]):
        raise not_found("note")
    if note["author_id"] != user["id"]:
        raise ApiError(403, "not_yours", "only its author changes a note")


@router.patch("/{number}/notes/{note_id}")
def change_note(number: int, note_id: int, body: NoteChange, member: AsMember) -> Json:
    with member.signed_in() as (tx, user):
        check_author(tx, number, note_id, user)
        tx.update("invoice_notes", note_id, {"text": body.text})
        return {"id": note_id, "text": body.text}


@router.delete("/{number}/notes/{note_id}")
def remove_note(number: int, note_id: int, member: AsMember) -> Json:
    with member.signed_in() as (tx, user):
        check_author(tx, number, note_id, user)
        tx.run("DELETE FROM invoice_notes WHERE id = %s", [note_id])
        return {"id": note_id, "deleted": True}
