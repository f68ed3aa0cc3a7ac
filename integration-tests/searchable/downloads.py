"""My downloads: the files of all direct searchables that the caller has paid for."""

from fastapi import APIRouter

from searchable.database import Json
from searchable.services import AsMember

router = APIRouter(prefix="/v1/downloads", tags=["downloads"])


@router.get("")
def index(member: AsMember) -> Json:
    """The newest purchase first; the content is at /v1/files/{file_id}/content, and fetching it is counted."""
    with member.signed_in() as (tx, user):
        return {
            "items": tx.all(
                "SELECT p.id AS purchase_id, s.id AS searchable_id, s.title, f.id AS file_id, f.name, f.media_type,"
                " f.size, f.sha256, p.downloads FROM purchases p JOIN searchables s ON s.id = p.searchable_id"
                " JOIN files f ON f.id = s.file_id WHERE p.buyer_id = %s AND p.status = 'paid' ORDER BY p.id DESC",
                [user["id"]],
            )
        }
