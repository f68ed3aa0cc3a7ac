"""My downloads: what a buyer may fetch, from when on, and that nobody else may."""

import hashlib
from dataclasses import dataclass

import pytest
from client import Api, Json, User, refused, settle_all


@dataclass
class Shop:
    """What the tests of this file share; all of it published."""

    seller: User
    buyer: User
    """Has enough for everything."""
    files: list[Json]
    chapters: list[Json]
    """One for each file, for 300 cents."""
    sample: Json
    """The second file, free of charge."""
    leftover: Json
    """The same; one test takes it out of the shop."""


@pytest.fixture(scope="module")
def shop(api: Api) -> Shop:
    seller, buyer = api.register("author"), api.register("funded")
    files = seller.scanned(*(seller.upload(f"chapter {n}".encode(), f"{n}.txt") for n in (1, 2)))
    chapters = [seller.offer("direct", file_id=file["id"], price_cents=300) for file in files]
    sample, leftover = (
        seller.offer("direct", file_id=files[1]["id"], price_cents=0, title=title) for title in ("Sample", "Leftover")
    )
    settle_all((buyer, buyer.deposit(100_000)), (seller, seller.publish(*chapters, sample, leftover)))
    return Shop(seller, buyer, files, chapters, sample, leftover)


def downloads(user: User) -> list[Json]:
    return user.get("/v1/downloads")["items"]


def test_a_new_user_has_none(user: User) -> None:
    assert downloads(user) == []


def test_what_is_bought_can_be_fetched_and_fetching_is_counted(shop: Shop) -> None:
    buyer, file = shop.buyer, shop.files[0]["id"]
    purchase = buyer.buy(shop.chapters[0])
    assert buyer.download(file) == buyer.download(file) == b"chapter 1"
    assert shop.seller.download(file) == b"chapter 1"
    (mine,) = downloads(buyer)
    assert (mine["purchase_id"], mine["name"], mine["file_id"]) == (purchase["id"], "1.txt", file)
    assert mine["sha256"] == hashlib.sha256(b"chapter 1").hexdigest()
    assert mine["downloads"] == 2, "the seller's own fetching does not count"


def test_who_has_not_bought_cannot_fetch(user: User, shop: Shop) -> None:
    assert user.get(f"/v1/searchables/{shop.chapters[0]['id']}")["status"] == "published"
    with refused(403, "not_yours"):
        user.download(shop.files[0]["id"])


def test_what_is_free_is_fetched_without_paying(user: User, shop: Shop) -> None:
    purchase = user.buy(shop.sample, method="card")
    assert (purchase["status"], purchase["payment_id"]) == ("paid", None)
    assert user.download(shop.files[1]["id"]) == b"chapter 2"
    assert [item["title"] for item in downloads(user)] == ["Sample"]


def test_paid_by_card_it_is_there_when_the_payment_has_settled(user: User, other: User, shop: Shop) -> None:
    """One card is good and one is declined; until the network says so, neither buyer has anything."""
    file, earned = shop.files[1]["id"], shop.seller.balance
    good = user.buy(shop.chapters[1], method="card")
    bad = other.buy(shop.chapters[1], method="card", card="card_declined")
    for buyer, purchase in ((user, good), (other, bad)):
        assert (purchase["status"], downloads(buyer)) == ("pending", [])
        with refused(403, "not_yours"):
            buyer.download(file)
        with refused(409, "already_bought"):
            buyer.buy(shop.chapters[1], method="card")
    settle_all((user, {"id": good["payment_id"]}), (other, {"id": bad["payment_id"]}))
    assert user.download(file) == b"chapter 2"
    assert (user.balance, shop.seller.balance) == (0, earned + 285)
    with refused(403, "not_yours"):
        other.download(file)
    assert other.buy(shop.chapters[1], method="card")["status"] == "pending"


def test_who_was_declined_can_pay_again_and_has_one_download(user: User, shop: Shop) -> None:
    tries = []
    for card, status in (("card_declined", "failed"), ("card_master", "settled")):
        assert downloads(user) == []
        tries.append(user.buy(shop.chapters[0], method="card", card=card))
        assert user.settle({"id": tries[-1]["payment_id"]})["status"] == status
    (mine,) = downloads(user)
    assert (mine["purchase_id"], mine["downloads"]) == (tries[1]["id"], 0)
    assert user.download(shop.files[0]["id"]) == b"chapter 1"
    bought = user.get("/v1/purchases")["items"]
    assert [(it["id"], it["status"]) for it in bought] == [(tries[1]["id"], "paid"), (tries[0]["id"], "failed")]


def test_two_buyers_of_one_file_have_a_download_each(user: User, other: User, shop: Shop) -> None:
    for buyer in (user, other):
        buyer.buy(shop.sample)
    user.download(shop.files[1]["id"])
    assert [downloads(buyer)[0]["downloads"] for buyer in (user, other)] == [1, 0]


def test_what_was_bought_stays_when_it_is_no_longer_offered(user: User, other: User, shop: Shop) -> None:
    user.buy(shop.leftover)
    shop.seller.post(f"/v1/searchables/{shop.leftover['id']}/unpublish")
    with refused(404, "searchable_not_found"):
        other.buy(shop.leftover)
    assert user.download(shop.files[1]["id"]) == b"chapter 2"
    assert [item["title"] for item in downloads(user)] == ["Leftover"]
