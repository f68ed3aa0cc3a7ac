"""Files: uploaded by their owner, scanned before anybody gets them back, counted against a quota that can be bought."""

import hashlib
from typing import Annotated

from fastapi import APIRouter, Response, UploadFile
from pydantic import Field

from searchable import payments
from searchable.database import Json, Row, Tx
from searchable.errors import ApiError, not_found
from searchable.payments import CardPayment, settles
from searchable.services import AsMember, Member
from searchable.worker import job

router = APIRouter(prefix="/v1", tags=["files"])

LARGEST_FILE = 128 * 1024
BLOCK_BYTES, BLOCK_CENTS = 64 * 1024, 100
MEDIA_TYPES = {"text/plain": b"", "image/png": b"\x89PNG\r\n\x1a\n", "application/pdf": b"%PDF-"}
"""What is accepted, with the bytes it must begin with: a name and a header are easily wrong."""
TEST_VIRUS = rb"%EICAR-STANDARD-ANTIVIRUS-TEST-FILE%"


class StorageOrder(CardPayment):
    blocks: Annotated[int, Field(ge=1, le=16)] = 1


def view(file: Row) -> Json:
    return {key: file[key] for key in ("id", "name", "media_type", "size", "sha256", "status", "created_at")}


COLUMNS = "id, owner_id, name, media_type, size, sha256, status, created_at"


@router.post("/files", status_code=201)
def upload(file: UploadFile, member: AsMember) -> Json:
    media_type = (file.content_type or "").partition(";")[0].strip().lower()
    if media_type not in MEDIA_TYPES:
        raise ApiError(415, "media_type", f"{media_type or 'nothing'} is none of {', '.join(MEDIA_TYPES)}")
    content = file.file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise ApiError(413, "file_too_large", f"a file may have {LARGEST_FILE} bytes")
    if not content:
        raise ApiError(422, "file_empty", "the file is empty")
    if not content.startswith(MEDIA_TYPES[media_type]):
        raise ApiError(415, "media_type", f"the content is not {media_type}")
    with member.signed_in() as (tx, user):
        # The quota is a sum over rows, so uploads of one user take turns.
        quota = tx.one("SELECT storage_bytes FROM users WHERE id = %s FOR NO KEY UPDATE", [user["id"]])["storage_bytes"]
        used = tx.one("SELECT coalesce(sum(size), 0) AS bytes FROM files WHERE owner_id = %s", [user["id"]])["bytes"]
        if used + len(content) > quota:
            raise ApiError(413, "quota_exceeded", f"{used} of {quota} bytes are used; more can be bought")
        row = tx.one(
            "INSERT INTO files (owner_id, name, media_type, size, sha256, content)"
            f" VALUES (%s, %s, %s, %s, %s, %s) RETURNING {COLUMNS}",
            [
                user["id"],
                (file.filename or "unnamed").replace("\\", "/").rpartition("/")[2][:200],
                media_type,
                len(content),
                hashlib.sha256(content).hexdigest(),
                content,
            ],
        )
        member.services.worker.enqueue(tx, "scan_file", row["id"])
        member.count(tx, "files", media_type)
        return view(row)


@router.get("/files")
def index(member: AsMember) -> Json:
    """The caller's own files, and how full their storage is."""
    with member.signed_in() as (tx, user):
        rows = tx.all(f"SELECT {COLUMNS} FROM files WHERE owner_id = %s ORDER BY id", [user["id"]])
        used = sum(row["size"] for row in rows)
        return {"items": [view(row) for row in rows], "used_bytes": used, "quota_bytes": user["storage_bytes"]}


def find(tx: Tx, user: Row, file_id: int, *, to_read: bool = False) -> Row:
    """A file of the user's; `to_read` also admits who has paid for a searchable that delivers it."""
    file = tx.maybe(f"SELECT {COLUMNS} FROM files WHERE id = %s", [file_id])
    if file is None:
        raise not_found("file")
    if file["owner_id"] != user["id"]:
        bought = to_read and tx.run(
            "UPDATE purchases p SET downloads = downloads + 1 FROM searchables s"
            " WHERE s.id = p.searchable_id AND s.file_id = %s AND p.buyer_id = %s AND p.status = 'paid'",
            [file_id, user["id"]],
        )
        if not bought:
            raise ApiError(403, "not_yours", "this file is neither yours nor bought by you")
    return file


@router.get("/files/{file_id}")
def show(file_id: int, member: AsMember) -> Json:
    with member.signed_in() as (tx, user):
        return view(find(tx, user, file_id))


@router.get("/files/{file_id}/content")
def download(file_id: int, member: AsMember) -> Response:
    with member.signed_in() as (tx, user):
        file = find(tx, user, file_id, to_read=True)
        if file["status"] == "scanning":
            raise ApiError(409, "file_not_scanned", "the file is still being scanned")
        if file["status"] == "infected":
            raise ApiError(403, "file_infected", "the file was found to be infected")
        content = tx.one("SELECT content FROM files WHERE id = %s", [file_id])["content"]
    return Response(content, media_type=file["media_type"], headers={"ETag": f'"{file["sha256"]}"'})


@router.delete("/files/{file_id}")
def remove(file_id: int, member: AsMember) -> Json:
    with member.signed_in() as (tx, user):
        find(tx, user, file_id)
        if tx.maybe("SELECT 1 FROM searchables WHERE file_id = %s", [file_id]):
            raise ApiError(409, "file_in_use", "a searchable delivers this file")
        tx.run("DELETE FROM files WHERE id = %s", [file_id])
        return {"id": file_id, "deleted": True}


@job("scan_file")
def scan(tx: Tx, files: list[int]) -> None:
    tx.run(
        "UPDATE files SET status = CASE WHEN position(%s IN content) > 0 THEN 'infected' ELSE 'clean' END"
        " WHERE id = ANY(%s)",
        [TEST_VIRUS, files],
    )


@router.post("/storage", status_code=201)
def buy_storage(body: StorageOrder, member: AsMember) -> Json:
    with member.signed_in() as (tx, user):
        detail = {"bytes": body.blocks * BLOCK_BYTES}
        return payments.charge(member, tx, user, "storage", body.blocks * BLOCK_CENTS, body.card, detail)


@settles("storage")
def storage_settled(_: Member, tx: Tx, payment: Row) -> None:
    if payment["status"] == "settled":
        tx.run(
            "UPDATE users SET storage_bytes = storage_bytes + %s WHERE id = %s",
            [payment["detail"]["bytes"], payment["user_id"]],
        )
