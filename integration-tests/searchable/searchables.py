"""Searchables: what users offer. Online ones are joined, offline ones are visited in a timeslot, direct ones are
downloaded. A draft becomes visible when its listing fee has settled, and can be found once it is indexed.
"""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import AwareDatetime, Field, model_validator

from searchable import files, payments
from searchable.database import Json, Row, Tx
from searchable.errors import ApiError, not_found
from searchable.payments import CardPayment, settles
from searchable.services import AsMember, Body, Member
from searchable.users import Place, place
from searchable.worker import job

router = APIRouter(prefix="/v1/searchables", tags=["searchables"])

LISTING_CENTS = 50
Kind = Literal["online", "offline", "direct"]
Title = Annotated[str, Field(min_length=3, max_length=120)]
Description = Annotated[str, Field(max_length=5000)]
Price = Annotated[int, Field(ge=0, le=1_000_000)]


class NewSearchable(Body):
    kind: Kind
    title: Title
    description: Description = ""
    price_cents: Price = 0
    location: Place | None = None
    file_id: int | None = None

    @model_validator(mode="after")
    def has_what_its_kind_needs(self) -> "NewSearchable":
        if (self.location is not None) != (self.kind == "offline"):
            raise ValueError("offline searchables have a location, others have none")
        if (self.file_id is not None) != (self.kind == "direct"):
            raise ValueError("direct searchables have a file_id, others have none")
        return self


class SearchableChange(Body):
    title: Title = ""
    description: Description = ""
    price_cents: Price = 0


class Publication(CardPayment):
    ids: Annotated[list[int], Field(min_length=1, max_length=50)]


class TagList(Body):
    tag_ids: Annotated[list[int], Field(max_length=20)]


class Slot(Body):
    starts_at: AwareDatetime
    ends_at: AwareDatetime

    @model_validator(mode="after")
    def ends_after_it_starts(self) -> "Slot":
        if self.starts_at >= self.ends_at:
            raise ValueError("a slot ends after it starts")
        return self


class SlotList(Body):
    slots: Annotated[list[Slot], Field(min_length=1, max_length=50)]


COLUMNS = """
    s.*, u.handle AS owner, coalesce(r.average, 0)::float8 AS rating, coalesce(r.count, 0) AS rating_count,
    (SELECT coalesce(array_agg(t.name ORDER BY t.name), '{}')
     FROM searchable_tags st JOIN tags t ON t.id = st.tag_id WHERE st.searchable_id = s.id) AS tags
"""
TABLES = """
    searchables s JOIN users u ON u.id = s.owner_id
    LEFT JOIN LATERAL (SELECT round(avg(stars), 2) AS average, count(*) AS count
                       FROM ratings WHERE searchable_id = s.id) r ON true
"""
FIND = f"SELECT {COLUMNS} FROM {TABLES}"
SHOWN = ("id", "owner", "kind", "title", "description", "price_cents", "status", "tags", "rating", "rating_count")


def view(row: Row) -> Json:
    return {**{key: row[key] for key in SHOWN}, "location": place(row)}


def find(tx: Tx, searchable_id: int, user: Row) -> Row:
    """One that the user may see: published, or their own."""
    row = tx.maybe(f"{FIND} WHERE s.id = %s", [searchable_id])
    if row is None or (row["status"] != "published" and row["owner_id"] != user["id"]):
        raise not_found("searchable")
    return row


def find_own(tx: Tx, searchable_id: int, user: Row) -> Row:
    row = find(tx, searchable_id, user)
    if row["owner_id"] != user["id"]:
        raise ApiError(403, "not_yours", "this searchable is somebody else's")
    return row


@router.post("", status_code=201)
def create(body: NewSearchable, member: AsMember) -> Json:
    with member.signed_in() as (tx, user):
        if body.file_id is not None:
            files.find(tx, user, body.file_id)
        at = body.location
        created = tx.one(
            "INSERT INTO searchables (owner_id, kind, title, description, price_cents, lat, lon, file_id)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING id",
            [
                *(user["id"], body.kind, body.title, body.description, body.price_cents),
                *(at and at.lat, at and at.lon, body.file_id),
            ],
        )
        return view(find(tx, created["id"], user))


@router.get("")
def index(member: AsMember) -> Json:
    """The caller's own, drafts too."""
    with member.signed_in() as (tx, user):
        rows = tx.all(f"{FIND} WHERE s.owner_id = %s ORDER BY s.id", [user["id"]])
        return {"items": [view(row) for row in rows]}


@router.get("/{searchable_id}")
def show(searchable_id: int, member: AsMember) -> Json:
    with member.signed_in() as (tx, user):
        return view(find(tx, searchable_id, user))


@router.patch("/{searchable_id}")
def change(searchable_id: int, body: SearchableChange, member: AsMember) -> Json:
    with member.signed_in() as (tx, user):
        find_own(tx, searchable_id, user)
        tx.update("searchables", searchable_id, body.model_dump(exclude_unset=True))
        member.services.worker.enqueue(tx, "index_searchable", searchable_id)
        return view(find(tx, searchable_id, user))


@router.put("/{searchable_id}/tags")
def put_tags(searchable_id: int, body: TagList, member: AsMember) -> Json:
    """Replaces all tags."""
    with member.signed_in() as (tx, user):
        find_own(tx, searchable_id, user)
        wanted = set(body.tag_ids)
        # Locked, so that a tag cannot be deleted as unused while it comes into use.
        if len(tx.all("SELECT id FROM tags WHERE id = ANY(%s) FOR KEY SHARE", [list(wanted)])) != len(wanted):
            raise not_found("tag")
        tx.run("DELETE FROM searchable_tags WHERE searchable_id = %s", [searchable_id])
        tx.run("INSERT INTO searchable_tags SELECT %s, unnest(%s::bigint[])", [searchable_id, list(wanted)])
        member.services.worker.enqueue(tx, "index_searchable", searchable_id)
        return view(find(tx, searchable_id, user))


@router.post("/publish", status_code=201)
def publish(body: Publication, member: AsMember) -> Json:
    """Pays the listing fee of several drafts at once; they are published when it settles."""
    with member.signed_in() as (tx, user):
        for searchable_id in set(body.ids):
            row = find_own(tx, searchable_id, user)
            if row["kind"] == "direct" and files.find(tx, user, row["file_id"])["status"] != "clean":
                raise ApiError(409, "file_not_clean", "its file is not scanned yet, or infected")
        moved = tx.run(
            "UPDATE searchables SET status = 'publishing' WHERE id = ANY(%s) AND status = 'draft'", [body.ids]
        )
        if moved != len(body.ids):
            raise ApiError(409, "not_a_draft", "only drafts can be published, each of them once")
        fee = LISTING_CENTS * len(body.ids)
        return payments.charge(member, tx, user, "listing", fee, body.card, {"ids": body.ids})


@settles("listing")
def listing_settled(member: Member, tx: Tx, payment: Row) -> None:
    paid = payment["status"] == "settled"
    for row in tx.all(
        "UPDATE searchables SET status = %s WHERE id = ANY(%s) AND status = 'publishing' RETURNING id, kind",
        ["published" if paid else "draft", payment["detail"]["ids"]],
    ):
        if paid:
            member.services.worker.enqueue(tx, "index_searchable", row["id"])
            member.count(tx, "published", row["kind"])


@router.post("/{searchable_id}/unpublish")
def unpublish(searchable_id: int, member: AsMember) -> Json:
    """Back to a draft: gone from the search at once. Who bought it keeps it."""
    with member.signed_in() as (tx, user):
        if find_own(tx, searchable_id, user)["status"] != "published":
            raise ApiError(409, "not_published", "it is not published")
        tx.update("searchables", searchable_id, {"status": "draft"})
        tx.run("DELETE FROM search_documents WHERE searchable_id = %s", [searchable_id])
        return view(find(tx, searchable_id, user))


@job("index_searchable")
def index_searchables(tx: Tx, ids: list[int]) -> None:
    """Writes what full-text search looks at: the title weighs most, then tags, then the description."""
    tx.run(
        """
        INSERT INTO search_documents
        SELECT s.id, setweight(to_tsvector('english', s.title), 'A')
            || setweight(to_tsvector('english', coalesce(string_agg(t.name, ' '), '')), 'B')
            || setweight(to_tsvector('english', s.description), 'C')
        FROM searchables s LEFT JOIN searchable_tags st ON st.searchable_id = s.id LEFT JOIN tags t ON t.id = st.tag_id
        WHERE s.id = ANY(%s) AND s.status = 'published' GROUP BY s.id
        ON CONFLICT (searchable_id) DO UPDATE SET document = excluded.document
        """,
        [ids],
    )


@router.post("/{searchable_id}/slots", status_code=201)
def add_slots(searchable_id: int, body: SlotList, member: AsMember) -> Json:
    with member.signed_in() as (tx, user):
        if find_own(tx, searchable_id, user)["kind"] != "offline":
            raise ApiError(409, "not_offline", "only offline searchables have timeslots")
        # Overlap is a matter of all slots together, so those who add some take turns.
        tx.run("SELECT 1 FROM searchables WHERE id = %s FOR NO KEY UPDATE", [searchable_id])
        return {"items": [add_slot(tx, searchable_id, slot.starts_at, slot.ends_at) for slot in body.slots]}


def add_slot(tx: Tx, searchable_id: int, starts_at: datetime, ends_at: datetime) -> Row:
    slot = tx.maybe(
        "INSERT INTO slots (searchable_id, starts_at, ends_at) SELECT %(id)s, %(from)s, %(to)s"
        " WHERE NOT EXISTS (SELECT 1 FROM slots WHERE searchable_id = %(id)s"
        "                   AND starts_at < %(to)s AND ends_at > %(from)s)"
        " RETURNING id, starts_at, ends_at",
        {"id": searchable_id, "from": starts_at, "to": ends_at},
    )
    if slot is None:
        raise ApiError(409, "slot_overlaps", f"the slot from {starts_at.isoformat()} overlaps another")
    return slot


@router.get("/{searchable_id}/slots")
def show_slots(searchable_id: int, member: AsMember, free: bool = False) -> Json:
    with member.signed_in() as (tx, user):
        find(tx, searchable_id, user)
        rows = tx.all(
            "SELECT o.id, o.starts_at, o.ends_at, p.id IS NULL AS free FROM slots o LEFT JOIN purchases p"
            " ON p.slot_id = o.id AND p.status IN ('pending', 'paid') WHERE o.searchable_id = %s ORDER BY starts_at",
            [searchable_id],
        )
        return {"items": [row for row in rows if row["free"] or not free]}
