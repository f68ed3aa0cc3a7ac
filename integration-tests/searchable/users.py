"""Users and their profiles. A user is known by a token, which is shown once and can be replaced."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, StringConstraints, model_validator

from searchable.database import Json, Row, Tx
from searchable.errors import ApiError, not_found
from searchable.services import AsMember, AsVisitor, Body, fingerprint, new_secret

router = APIRouter(prefix="/v1", tags=["users"])

Handle = Annotated[str, StringConstraints(pattern=r"(?i)^[a-z0-9][a-z0-9_.-]{2,39}$", to_lower=True)]
Name = Annotated[str, Field(min_length=1, max_length=80)]
Latitude = Annotated[float, Field(ge=-90, le=90)]
Longitude = Annotated[float, Field(ge=-180, le=180)]


class Place(Body):
    """A point on earth, in degrees."""

    lat: Latitude
    lon: Longitude


class Registration(Body):
    handle: Handle
    display_name: Name


class ProfileChange(Body):
    """What is left out stays; a location of null removes it."""

    display_name: Name = ""
    bio: Annotated[str, Field(max_length=500)] = ""
    location: Place | None = None

    @model_validator(mode="after")
    def changes_something(self) -> "ProfileChange":
        if not self.model_fields_set:
            raise ValueError("nothing to change")
        return self


def place(row: Row) -> Json | None:
    return None if row["lat"] is None else {"lat": row["lat"], "lon": row["lon"]}


def profile(tx: Tx, user: Row) -> Json:
    """What everybody in the organization may see of a user."""
    links = tx.all("SELECT network, handle, url, status FROM links WHERE user_id = %s ORDER BY network", [user["id"]])
    return {
        "id": user["id"],
        "handle": user["handle"],
        "display_name": user["display_name"],
        "bio": user["bio"],
        "location": place(user),
        "links": links,
        "created_at": user["created_at"],
    }


@router.post("/users", status_code=201)
def register(body: Registration, visitor: AsVisitor) -> Json:
    token = new_secret("ut")
    with visitor.transaction() as tx:
        user = tx.maybe(
            "INSERT INTO users (handle, display_name, token_hash) VALUES (%s, %s, %s)"
            " ON CONFLICT (handle) DO NOTHING RETURNING id, handle",
            [body.handle, body.display_name, fingerprint(token)],
        )
        if user is None:
            raise ApiError(409, "handle_taken", f"{body.handle} is taken")
        visitor.count(tx, "users")
    return {**user, "token": token}


@router.get("/users/me")
def show_me(member: AsMember) -> Json:
    """The profile, with what only its owner may see."""
    with member.signed_in() as (tx, user):
        private = {key: user[key] for key in ("balance_cents", "storage_bytes", "invite_credits", "invited_by")}
        return {**profile(tx, user), **private}


@router.patch("/users/me")
def change_me(body: ProfileChange, member: AsMember) -> Json:
    with member.signed_in() as (tx, user):
        changes = body.model_dump(exclude_unset=True)
        if "location" in changes:
            changes |= changes.pop("location") or {"lat": None, "lon": None}
        tx.update("users", user["id"], changes)
        return profile(tx, {**user, **changes})


@router.post("/users/me/token")
def replace_token(member: AsMember) -> Json:
    """A new token; the old one is void at once."""
    token = new_secret("ut")
    with member.signed_in() as (tx, user):
        tx.update("users", user["id"], {"token_hash": fingerprint(token)})
    return {"token": token}


@router.get("/users/{handle}")
def show(handle: str, visitor: AsVisitor) -> Json:
    with visitor.transaction() as tx:
        user = tx.maybe("SELECT * FROM users WHERE handle = %s", [handle.lower()])
        if user is None:
            raise not_found("user")
        return profile(tx, user)
