"""Tags, which form a forest: a tag may have a parent, and never itself among its ancestors."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import StringConstraints

from searchable.database import Json, Row, Tx
from searchable.errors import ApiError, not_found
from searchable.services import AsMember, AsVisitor, Body

router = APIRouter(prefix="/v1/tags", tags=["tags"])

TagName = Annotated[str, StringConstraints(to_lower=True, min_length=1, max_length=40, pattern=r"^[^\W_][\w &+.#-]*$")]

ANCESTORS = """
    WITH RECURSIVE up AS (
        SELECT id, name, parent_id, 0 AS depth FROM tags WHERE id = %s
        UNION ALL
        SELECT t.id, t.name, t.parent_id, up.depth + 1 FROM tags t JOIN up ON t.id = up.parent_id
    ) SELECT id, name FROM up ORDER BY depth DESC
"""
DESCENDANTS = """
    WITH RECURSIVE down AS (
        SELECT id, name, parent_id, 0 AS depth FROM tags WHERE id = %s
        UNION ALL
        SELECT t.id, t.name, t.parent_id, down.depth + 1 FROM tags t JOIN down ON t.parent_id = down.id
    ) SELECT id, name, parent_id, depth FROM down WHERE depth > 0 ORDER BY depth, name
"""


class NewTag(Body):
    name: TagName
    parent_id: int | None = None


class TagChange(Body):
    name: TagName | None = None
    parent_id: int | None = None


def find(tx: Tx, tag_id: int) -> Row:
    tag = tx.maybe("SELECT id, name, parent_id FROM tags WHERE id = %s", [tag_id])
    if tag is None:
        raise not_found("tag")
    return tag


def lock_forest(tx: Tx) -> None:
    """One change of shape at a time: two moves that are fine alone can close a cycle together."""
    tx.run("SELECT pg_advisory_xact_lock(hashtext(current_schema() || '.tags'))")


def refuse_twin(tx: Tx, name: str, parent_id: int | None, but: int = 0) -> None:
    if tx.maybe(
        "SELECT 1 FROM tags WHERE name = %s AND coalesce(parent_id, 0) = %s AND id <> %s",
        [name, parent_id or 0, but],
    ):
        raise ApiError(409, "tag_exists", f"there is a tag {name} here already")


@router.post("", status_code=201)
def create(body: NewTag, member: AsMember) -> Json:
    with member.signed_in() as (tx, _):
        lock_forest(tx)
        if body.parent_id is not None:
            find(tx, body.parent_id)
        refuse_twin(tx, body.name, body.parent_id)
        return tx.one(
            "INSERT INTO tags (name, parent_id) VALUES (%s, %s) RETURNING id, name, parent_id",
            [body.name, body.parent_id],
        )


@router.get("/{tag_id}")
def show(tag_id: int, visitor: AsVisitor) -> Json:
    """A tag with its path from the root, and the number of searchables that carry it or something below it."""
    with visitor.transaction() as tx:
        tag = find(tx, tag_id)
        path = [row["name"] for row in tx.all(ANCESTORS, [tag_id])]
        below = [tag_id, *(row["id"] for row in tx.all(DESCENDANTS, [tag_id]))]
        used = tx.one(
            "SELECT count(DISTINCT searchable_id) AS used FROM searchable_tags WHERE tag_id = ANY(%s)", [below]
        )
        return {**tag, "path": path, **used}


@router.get("/{tag_id}/descendants")
def descendants(tag_id: int, visitor: AsVisitor) -> Json:
    with visitor.transaction() as tx:
        find(tx, tag_id)
        return {"items": tx.all(DESCENDANTS, [tag_id])}


@router.patch("/{tag_id}")
def change(tag_id: int, body: TagChange, member: AsMember) -> Json:
    """Renames or moves; a parent of null makes a root."""
    with member.signed_in() as (tx, _):
        lock_forest(tx)
        tag = find(tx, tag_id)
        changed = {**tag, **body.model_dump(exclude_unset=True)}
        if changed["name"] is None:
            raise ApiError(422, "invalid", "a tag must have a name")
        parent = changed["parent_id"]
        if parent is not None:
            find(tx, parent)
            if any(row["id"] == tag_id for row in tx.all(ANCESTORS, [parent])):
                raise ApiError(409, "tag_cycle", "a tag cannot be below itself")
        refuse_twin(tx, changed["name"], parent, but=tag_id)
        tx.update("tags", tag_id, {"name": changed["name"], "parent_id": parent})
        return changed


@router.delete("/{tag_id}")
def remove(tag_id: int, member: AsMember) -> Json:
    with member.signed_in() as (tx, _):
        lock_forest(tx)
        find(tx, tag_id)
        if tx.maybe("SELECT 1 FROM tags WHERE parent_id = %s", [tag_id]):
            raise ApiError(409, "tag_has_children", "the tags below this one must go first")
        if tx.maybe("SELECT 1 FROM searchable_tags WHERE tag_id = %s", [tag_id]):
            raise ApiError(409, "tag_in_use", "searchables carry this tag")
        tx.run("DELETE FROM tags WHERE id = %s", [tag_id])
        return {"id": tag_id, "deleted": True}
