"""Social-media links. Each network has its own idea of a handle; a link is shown as verified once moderated."""

import re
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter
from pydantic import Field

from searchable.database import Json, Tx
from searchable.errors import ApiError, not_found
from searchable.services import AsMember, Body
from searchable.worker import job

router = APIRouter(prefix="/v1/users/me/links", tags=["social"])


@dataclass(frozen=True, slots=True)
class Network:
    """Where a network's profiles live: `path` has one {} where the handle goes."""

    hosts: tuple[str, ...]
    handle: str
    path: str = "/{}"

    def parse(self, value: str) -> tuple[str, str] | None:
        """(handle, canonical URL) out of a handle, an @handle or a URL; None when it is none of them."""
        if "://" in value:
            parts = urlsplit(value)
            before, after = self.path.split("{}")
            if parts.scheme != "https" or (parts.hostname or "").removeprefix("www.") not in self.hosts:
                return None
            path = parts.path.rstrip("/")
            if not path.startswith(before) or not path.endswith(after):
                return None
            value = path[len(before) : len(path) - len(after)]
        value = value.removeprefix("@")
        if not re.fullmatch(self.handle, value, re.IGNORECASE | re.ASCII):
            return None
        return value, f"https://{self.hosts[0]}{self.path.format(value)}"


NETWORKS = {
    "github": Network(("github.com",), r"[a-z\d](?:-?[a-z\d]){0,38}"),
    "instagram": Network(("instagram.com",), r"(?!.*\.\.)[a-z\d_](?:[a-z\d_.]{0,28}[a-z\d_])?"),
    "linkedin": Network(("linkedin.com",), r"[a-z\d-]{3,100}", "/in/{}"),
    "x": Network(("x.com", "twitter.com"), r"\w{1,15}"),
    "youtube": Network(("youtube.com",), r"[\w.-]{3,30}", "/@{}"),
}
RESERVED = ("admin", "official", "support")
"""Words that moderation does not let through: whoever uses them poses as somebody."""


class LinkValue(Body):
    value: Annotated[str, Field(min_length=1, max_length=200)]


@router.put("/{network}")
def put(network: str, body: LinkValue, member: AsMember) -> Json:
    """Sets the link to a network, and has it moderated (again)."""
    if network not in NETWORKS:
        raise ApiError(404, "network_not_found", f"{network} is none of {', '.join(NETWORKS)}")
    parsed = NETWORKS[network].parse(body.value)
    if parsed is None:
        raise ApiError(422, "invalid_link", f"{body.value!r} is no handle or address of {network}")
    with member.signed_in() as (tx, user):
        link = tx.one(
            "INSERT INTO links (user_id, network, handle, url) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (user_id, network) DO UPDATE SET handle = excluded.handle, url = excluded.url,"
            " status = 'pending' RETURNING id, network, handle, url, status",
            [user["id"], network, *parsed],
        )
        member.services.worker.enqueue(tx, "moderate_link", link.pop("id"))
        return link


@router.delete("/{network}")
def remove(network: str, member: AsMember) -> Json:
    with member.signed_in() as (tx, user):
        if not tx.run("DELETE FROM links WHERE user_id = %s AND network = %s", [user["id"], network]):
            raise not_found("link")
        return {"network": network, "deleted": True}


@job("moderate_link")
def moderate(tx: Tx, links: list[int]) -> None:
    tx.run(
        "UPDATE links SET status = CASE WHEN handle ~* %s THEN 'rejected' ELSE 'verified' END WHERE id = ANY(%s)",
        ["|".join(RESERVED), links],
    )
