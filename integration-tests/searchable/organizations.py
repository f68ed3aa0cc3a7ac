"""The platform API: organizations are made and removed here, each with a key, a schema and a payment account.

Deleting is final and takes everything along, so it is refused for an organization that is live.
"""

import secrets
from contextlib import suppress
from typing import Annotated

import psycopg
from fastapi import APIRouter
from pydantic import Field

from searchable.database import ORGANIZATION_TABLES, Json
from searchable.errors import ApiError, not_found
from searchable.services import AsPlatform, Body, Services, fingerprint, new_secret

router = APIRouter(prefix="/v1/platform/organizations", tags=["platform"])

WRITTEN_LATER = ["jobs", "search_documents"]
"""Tables that change after whoever caused it has gone."""

Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


class NewOrganization(Body):
    slug: Slug
    live: bool = False


class OrganizationChange(Body):
    live: bool


class OrganizationName(Body):
    slug: Slug


@router.post("", status_code=201)
def create(body: NewOrganization, services: AsPlatform) -> Json:
    key = new_secret("sk_live" if body.live else "sk_test")
    # Not derived from the slug: a schema's name has 63 bytes, and a slug may come back while its old one is dropped.
    schema = f"org_{secrets.token_hex(8)}"
    account = f"acct_{secrets.token_hex(8)}"
    with services.database.platform() as connection:
        # The row comes first: of two callers with one slug the second waits here, and then finds it taken.
        created = connection.execute(
            "INSERT INTO public.organizations (slug, schema, key_hash, live, payment_account)"
            " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (slug) DO NOTHING",
            [body.slug, schema, fingerprint(key), body.live, account],
        )
        if not created.rowcount:
            raise ApiError(409, "organization_exists", f"there is an organization {body.slug} already")
        connection.execute(f"CREATE SCHEMA {schema}; SET LOCAL search_path TO {schema}; {ORGANIZATION_TABLES}")
    services.metrics.organizations.inc()
    return {
        "slug": body.slug,
        "secret_key": key,
        "schema": schema,
        "payment_account": account,
        "live": body.live,
    }


@router.get("/{slug}")
def show(slug: str, services: AsPlatform) -> Json:
    with services.database.platform() as connection:
        row = connection.execute(
            "SELECT slug, schema, live, payment_account, created_at FROM public.organizations WHERE slug = %s",
            [slug],
        ).fetchone()
    if row is None:
        raise not_found("organization")
    return row


@router.get("/{slug}/state")
def state(slug: str, services: AsPlatform) -> Json:
    """How much an organization holds, and how often it called the payment network. Nobody else changes either."""
    with services.database.platform() as connection:
        # Locked, so that its tables cannot be dropped while they are counted.
        organization = connection.execute(
            "SELECT schema, payment_account FROM public.organizations WHERE slug = %s FOR SHARE", [slug]
        ).fetchone()
        if organization is None:
            raise not_found("organization")
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s AND table_name <> ALL(%s)",
            [organization["schema"], WRITTEN_LATER],
        ).fetchall()
        counts = [
            f"SELECT '{row['table_name']}' AS name, count(*) AS rows FROM {organization['schema']}.{row['table_name']}"
            for row in tables
        ]
        rows = connection.execute(" UNION ALL ".join(counts)).fetchall()
    return {
        "rows": {row["name"]: row["rows"] for row in rows},
        "payment_calls": services.network.account(organization["payment_account"]).granted,
    }


@router.patch("/{slug}")
def change(slug: str, body: OrganizationChange, services: AsPlatform) -> Json:
    """Goes live, or retires from it; only then can it be deleted."""
    with services.database.platform() as connection:
        row = connection.execute(
            "UPDATE public.organizations SET live = %s WHERE slug = %s RETURNING slug, live", [body.live, slug]
        ).fetchone()
    if row is None:
        raise not_found("organization")
    return row


@router.delete("")
def delete(body: OrganizationName, services: AsPlatform) -> Json:
    # Dropping locks the tables one by one, against whatever a late request or the worker holds: one of both may lose.
    for _ in range(2):
        with suppress(psycopg.errors.DeadlockDetected):
            return drop(body.slug, services)
    return drop(body.slug, services)


def drop(slug: str, services: Services) -> Json:
    with services.database.platform() as connection:
        row = connection.execute(
            "SELECT schema, live, key_hash, payment_account FROM public.organizations WHERE slug = %s FOR UPDATE",
            [slug],
        ).fetchone()
        if row is None:
            raise not_found("organization")
        if row["live"]:
            raise ApiError(409, "organization_live", f"{slug} is live: it is not deleted over the API")
        connection.execute("DELETE FROM public.organizations WHERE slug = %s", [slug])
        connection.execute(f"DROP SCHEMA {row['schema']} CASCADE")
    services.by_key.pop(bytes(row["key_hash"]), None)
    services.network.close(row["payment_account"])
    services.metrics.forget(slug)
    services.metrics.organizations.dec()
    return {"slug": slug, "deleted": True}
