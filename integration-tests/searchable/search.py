"""Search: words, tags, prices, kinds, ratings and distance, in one statement that is put together from its filters."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from searchable import searchables
from searchable.database import Json
from searchable.services import AsVisitor
from searchable.users import Latitude, Longitude

router = APIRouter(prefix="/v1/search", tags=["search"])

# The haversine formula on a sphere of the earth's mean radius; off by 0.5 % at worst. Rounding can lift the root's
# operand over 1 for points that lie opposite each other, where asin is not defined: hence `least`. That ignores NULL,
# so what has no place is left out first, or it would be at the far end of the earth.
DISTANCE_KM = """
    CASE WHEN s.lat IS NOT NULL THEN 2 * 6371.0088 * asin(least(1, sqrt(
        power(sin(radians(s.lat - %(lat)s) / 2), 2)
        + cos(radians(%(lat)s)) * cos(radians(s.lat)) * power(sin(radians(s.lon - %(lon)s) / 2), 2)))) END
"""
WITH_TAG = """
    s.id IN (
        WITH RECURSIVE down AS (
            SELECT id FROM tags WHERE id = %(tag)s
            UNION SELECT t.id FROM tags t JOIN down ON t.parent_id = down.id
        ) SELECT searchable_id FROM searchable_tags JOIN down ON tag_id = down.id)
"""
ORDERS = {
    "relevance": "relevance DESC, s.id",
    "price": "s.price_cents, s.id",
    "-price": "s.price_cents DESC, s.id",
    "newest": "s.id DESC",
    "rating": "rating DESC, rating_count DESC, s.id",
    "distance": "distance_km, s.id",
}


class Filters(BaseModel):
    """The query string. Every filter narrows; all that are given must hold."""

    model_config = ConfigDict(extra="forbid")

    q: Annotated[str, Field(max_length=200)] = ""
    kind: searchables.Kind | None = None
    tag: int | None = None
    owner: str | None = None
    min_price: Annotated[int | None, Field(ge=0)] = None
    max_price: Annotated[int | None, Field(ge=0)] = None
    min_rating: Annotated[float | None, Field(ge=1, le=5)] = None
    lat: Latitude | None = None
    lon: Longitude | None = None
    radius_km: Annotated[float | None, Field(gt=0, le=20040)] = None
    sort: Literal["relevance", "price", "-price", "newest", "rating", "distance"] = "relevance"
    page: Annotated[int, Field(ge=1, le=10_000)] = 1
    per_page: Annotated[int, Field(ge=1, le=100)] = 20

    @model_validator(mode="after")
    def fits_together(self) -> "Filters":
        if (self.lat is None) != (self.lon is None):
            raise ValueError("lat and lon come together")
        if self.lat is None and (self.radius_km is not None or self.sort == "distance"):
            raise ValueError("a distance needs lat and lon to start from")
        if self.min_price is not None and self.max_price is not None and self.min_price > self.max_price:
            raise ValueError("min_price is above max_price")
        return self

    def conditions(self) -> list[str]:
        """The SQL of the filters that are given."""
        every = {
            "q": "d.document @@ websearch_to_tsquery('english', %(q)s)",
            "kind": "s.kind = %(kind)s",
            "tag": WITH_TAG,
            "owner": "u.handle = %(owner)s",
            "min_price": "s.price_cents >= %(min_price)s",
            "max_price": "s.price_cents <= %(max_price)s",
            "min_rating": "r.average >= %(min_rating)s",
            "radius_km": f"{DISTANCE_KM} <= %(radius_km)s",
        }
        given = [sql for name, sql in every.items() if getattr(self, name) not in (None, "")]
        # What has no place is at no distance: it cannot be sorted by it either.
        return [*given, "s.lat IS NOT NULL"] if self.sort == "distance" else given


@router.get("")
def search(filters: Annotated[Filters, Query()], visitor: AsVisitor) -> Json:
    """One page of what is published and indexed, and how many there are in all."""
    params: dict[str, Any] = filters.model_dump()
    params["skip"] = (filters.page - 1) * filters.per_page
    found = " AND ".join(["s.status = 'published'", *filters.conditions()])
    tables = f"{searchables.TABLES} JOIN search_documents d ON d.searchable_id = s.id WHERE {found}"
    distance = "NULL" if filters.lat is None else f"round(({DISTANCE_KM})::numeric, 3)::float8"
    with visitor.transaction() as tx:
        total: int = tx.one(f"SELECT count(*) AS total FROM {tables}", params)["total"]
        rows = tx.all(
            f"""
            SELECT {searchables.COLUMNS}, {distance} AS distance_km,
                ts_rank(d.document, websearch_to_tsquery('english', %(q)s)) AS relevance
            FROM {tables} ORDER BY {ORDERS[filters.sort]} LIMIT %(per_page)s OFFSET %(skip)s
            """,
            params,
        )
        visitor.count(tx, "searches", "yes" if total else "no")
    items = [{**searchables.view(row), "distance_km": row["distance_km"]} for row in rows]
    return {"total": total, "page": filters.page, "per_page": filters.per_page, "items": items}
