"""Ratings: one to five stars, by buyers, one per buyer and searchable. Its author may change one, not add another."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from searchable import searchables
from searchable.database import Json
from searchable.errors import ApiError, not_found
from searchable.services import AsMember, Body

router = APIRouter(prefix="/v1/searchables/{searchable_id}/ratings", tags=["ratings"])


class Rating(Body):
    stars: Annotated[int, Field(ge=1, le=5, strict=True)]
    comment: Annotated[str, Field(max_length=1000)] = ""


@router.post("", status_code=201)
def rate(searchable_id: int, body: Rating, member: AsMember) -> Json:
    with member.signed_in() as (tx, user):
        bought = tx.maybe(
            "SELECT 1 FROM purchases WHERE searchable_id = %s AND buyer_id = %s AND status = 'paid'",
            [searchable_id, user["id"]],
        )
        if not bought:
            searchables.find(tx, searchable_id, user)
            raise ApiError(403, "not_bought", "only who has bought it can rate it")
        if not tx.run(
            "INSERT INTO ratings (searchable_id, user_id, stars, comment) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            [searchable_id, user["id"], body.stars, body.comment],
        ):
            raise ApiError(409, "already_rated", "this was rated before; the rating can be changed")
        member.count(tx, "ratings", body.stars)
    return {"author": user["handle"], **body.model_dump()}


@router.patch("/mine")
def change(searchable_id: int, body: Rating, member: AsMember) -> Json:
    with member.signed_in() as (tx, user):
        if not tx.run(
            "UPDATE ratings SET stars = %s, comment = %s, updated_at = now() WHERE searchable_id = %s AND user_id = %s",
            [body.stars, body.comment, searchable_id, user["id"]],
        ):
            raise not_found("rating")
    return {"author": user["handle"], **body.model_dump()}


@router.get("")
def index(searchable_id: int, member: AsMember) -> Json:
    """All ratings, the newest first, their average, and how many gave 1, 2, 3, 4 and 5 stars."""
    with member.signed_in() as (tx, user):
        thing = searchables.find(tx, searchable_id, user)
        rows = tx.all(
            "SELECT u.handle AS author, stars, comment FROM ratings r JOIN users u ON u.id = r.user_id"
            " WHERE searchable_id = %s ORDER BY updated_at DESC, r.user_id",
            [searchable_id],
        )
    stars = [row["stars"] for row in rows]
    return {
        "average": thing["rating"],
        "count": len(stars),
        "distribution": {str(n): stars.count(n) for n in range(1, 6)},
        "items": rows,
    }
