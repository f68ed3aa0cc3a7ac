"""Files: uploaded, scanned, downloaded by who may, within limits of size, type and quota."""

import hashlib
import os

import pytest
from client import Api, Fixture, User, refused, refused_as

KIB = 1024
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
# Close to the well-known test file, but not it: scanners would complain about this repository.
VIRUS = b"%EICAR-STANDARD-ANTIVIRUS-TEST-FILE%"


def quota(user: User) -> tuple[int, int]:
    storage = user.get("/v1/files")
    return storage["used_bytes"], storage["quota_bytes"]


def test_what_was_uploaded_is_downloaded_once_it_is_scanned(user: User) -> None:
    content = os.urandom(20 * KIB)
    file = user.upload(PNG + content, "photo.png", "image/png")
    assert (file["status"], file["size"]) == ("scanning", len(PNG + content))
    assert file["sha256"] == hashlib.sha256(PNG + content).hexdigest()
    with refused(409, "file_not_scanned"):
        user.download(file["id"])
    (scanned,) = user.scanned(file)
    assert scanned["status"] == "clean"
    assert user.download(file["id"]) == PNG + content


def test_an_infected_file_is_kept_back(user: User) -> None:
    good, bad = user.upload(b"harmless"), user.upload(b"some text, then " + VIRUS)
    assert [file["status"] for file in user.scanned(good, bad)] == ["clean", "infected"]
    with refused(403, "file_infected"):
        user.download(bad["id"])
    assert user.download(good["id"]) == b"harmless"


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"<html>", "text/html"),
        (b"MZ", "application/x-msdownload"),
        (b"GIF89a", "image/png"),
        (b"text", "application/pdf"),
        (b"data", ""),
    ],
    ids=["html", "exe", "a gif called png", "text called pdf", "no type"],
)
def test_a_type_that_is_not_accepted_is_refused(user: User, content: bytes, media_type: str) -> None:
    with refused(415, "media_type"):
        user.upload(content, "file", media_type)


def test_a_parameter_of_the_type_does_not_matter(user: User) -> None:
    assert user.upload("Grüße".encode(), "n.txt", "Text/Plain; charset=utf-8")["media_type"] == "text/plain"


@pytest.mark.parametrize(("size", "code"), [(128 * KIB + 1, "file_too_large"), (100 * KIB, "quota_exceeded")])
def test_too_much_is_refused(user: User, size: int, code: str) -> None:
    with refused(413, code):
        user.upload(bytes(size))
    assert quota(user) == (0, 64 * KIB)


def test_an_empty_file_is_refused(user: User) -> None:
    with refused(422, "file_empty"):
        user.upload(b"")


@pytest.mark.parametrize("name", ["../../etc/passwd", "C:\\temp\\passwd", "passwd"])
def test_a_name_is_kept_without_its_folders(user: User, name: str) -> None:
    assert user.upload(name=name)["name"] == "passwd"


def test_uploads_at_the_same_time_do_not_pass_the_quota_together(api: Api, race: Fixture) -> None:
    for _ in range(4):
        user = api.register()
        uploads = race(lambda u=user: u.upload(bytes(30 * KIB)), n=5)
        uploads.expect(successes=2, errors=refused_as("quota_exceeded"))
        assert quota(user) == (60 * KIB, 64 * KIB)


def test_files_are_their_owners(user: User, other: User) -> None:
    file = user.upload()["id"]
    for attempt in (other.file, other.download, lambda it: other.delete(f"/v1/files/{it}")):
        with refused(403, "not_yours"):
            attempt(file)
    assert [item["id"] for item in user.get("/v1/files")["items"]] == [file]
    assert other.get("/v1/files")["items"] == []


def test_a_deleted_file_is_gone_and_its_room_is_free(user: User) -> None:
    file = user.upload(bytes(60 * KIB))["id"]
    user.delete(f"/v1/files/{file}")
    with refused(404, "file_not_found"):
        user.file(file)
    assert quota(user) == (0, 64 * KIB)


def test_a_file_that_is_offered_stays(user: User) -> None:
    file = user.upload()
    user.offer("direct", file_id=file["id"])
    with refused(409, "file_in_use"):
        user.delete(f"/v1/files/{file['id']}")


def test_what_is_infected_is_not_sold_but_a_clean_file_in_its_place_is(user: User, other: User) -> None:
    """Of the same name and owner, and scanned all the same: the verdict is on the content."""
    bad = user.upload(b"la la la " + VIRUS, "song.txt")
    thing = user.offer("direct", file_id=bad["id"], price_cents=0)
    user.scanned(bad)
    with refused(409, "file_not_clean"):
        user.publish(thing)
    assert user.get("/v1/payments")["items"] == []
    good = user.upload(b"la la la", "song.txt")
    assert good["status"] == "scanning"
    assert [file["status"] for file in user.scanned(good, bad)] == ["clean", "infected"]
    thing = user.offer("direct", file_id=good["id"], price_cents=0)
    user.settle(user.publish(thing))
    other.buy(thing)
    assert other.download(good["id"]) == b"la la la"
    with refused(403, "not_yours"):
        other.download(bad["id"])


def test_bought_storage_counts_once_it_is_paid(user: User) -> None:
    payment = user.post("/v1/storage", blocks=2)
    assert payment["amount_cents"] == 200
    assert quota(user) == (0, 64 * KIB)
    user.settle(payment)
    assert quota(user) == (0, 192 * KIB)
    assert user.upload(bytes(100 * KIB))["size"] == 100 * KIB


def test_storage_that_was_not_paid_does_not_count(user: User) -> None:
    payment = user.settle(user.post("/v1/storage", card="card_declined"))
    assert payment["status"] == "failed"
    assert quota(user) == (0, 64 * KIB)
