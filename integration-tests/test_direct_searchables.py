"""Direct searchables: a file for a price. From the scanned upload over the listing fee to what changes afterwards."""

from dataclasses import dataclass

import pytest
from client import Api, Fixture, Json, User, eventually, refused, refused_as, settle_all, word


@dataclass
class Market:
    """What the tests of this file share."""

    seller: User
    buyers: list[User]
    """Two, with money."""
    file: Json
    book: Json
    """Published, for 1,200 cents; bought by each buyer in one test."""
    guide: Json
    """Published, and changed by one test."""
    atlas: Json
    """Published, for 1,000 cents until one test changes that."""


@pytest.fixture(scope="module")
def market(api: Api) -> Market:
    seller, buyers = api.register("author"), [api.register("funded") for _ in range(2)]
    (file,) = seller.scanned(seller.upload(b"%PDF-1.7 all about owls", "owls.pdf", "application/pdf"))
    book = seller.offer("direct", file_id=file["id"], title="All about owls", price_cents=1200)
    guide, atlas = (seller.offer("direct", file_id=file["id"], title=f"{name} {word()}") for name in ("Guide", "Atlas"))
    settle_all(*((buyer, buyer.deposit(100_000)) for buyer in buyers), (seller, seller.publish(book, guide, atlas)))
    return Market(seller, buyers, file, book, guide, atlas)


def test_a_direct_thing_delivers_a_file(market: Market) -> None:
    assert market.seller.offer("direct", file_id=market.file["id"])["status"] == "draft"
    with refused(422, "invalid"):
        market.seller.offer("direct")
    with refused(422, "invalid"):
        market.seller.offer("online", file_id=market.file["id"])


def test_only_ones_own_file_can_be_offered(user: User, market: Market) -> None:
    with refused(403, "not_yours"):
        user.offer("direct", file_id=market.file["id"])
    with refused(404, "file_not_found"):
        user.offer("direct", file_id=999999999)


def test_a_file_that_is_not_scanned_cannot_be_published(user: User) -> None:
    thing = user.offer("direct", file_id=user.upload()["id"])
    with refused(409, "file_not_clean"):
        user.publish(thing)
    assert user.get("/v1/payments")["items"] == []


@pytest.mark.parametrize(
    "details",
    [{"title": "ab"}, {"title": "x" * 121}, {"price_cents": -1}, {"price_cents": 1_000_001}, {"price_cents": 9.5}],
    ids=["short", "long", "negative", "too dear", "half a cent"],
)
def test_an_offer_out_of_bounds_is_refused(market: Market, details: Json) -> None:
    with refused(422, "invalid"):
        market.seller.offer("direct", file_id=market.file["id"], **details)


def test_published_is_what_is_paid(user: User, other: User) -> None:
    things, unpaid = [user.offer() for _ in range(3)], other.offer()
    payment = user.publish(*things)
    declined = other.publish(unpaid, card="card_declined")
    assert (payment["kind"], payment["amount_cents"]) == ("listing", 150)
    assert {item["status"] for item in user.get("/v1/searchables")["items"]} == {"publishing"}
    settle_all((user, payment), (other, declined))
    assert {item["status"] for item in user.get("/v1/searchables")["items"]} == {"published"}
    assert other.get(f"/v1/searchables/{unpaid['id']}")["status"] == "draft"


def test_one_draft_is_published_by_one_payment(user: User, race: Fixture) -> None:
    thing = user.offer()
    race(lambda: user.publish(thing), n=4).expect(successes=1, errors=refused_as("not_a_draft"))
    assert len(user.get("/v1/payments")["items"]) == 1


def test_what_is_somebody_elses_cannot_be_published_or_changed(user: User, market: Market) -> None:
    with refused(403, "not_yours"):
        user.publish(market.book)
    with refused(403, "not_yours"):
        user.patch(f"/v1/searchables/{market.book['id']}", price_cents=0)
    with refused(403, "not_yours"):
        user.post(f"/v1/searchables/{market.book['id']}/unpublish")


def test_buying_moves_the_price_less_a_fee(market: Market) -> None:
    buyer = market.buyers[0]
    before, earned = buyer.balance, market.seller.balance
    purchase = buyer.buy(market.book)
    assert (purchase["price_cents"], purchase["fee_cents"], purchase["status"]) == (1200, 60, "paid")
    assert (buyer.balance, market.seller.balance) == (before - 1200, earned + 1140)


def test_a_thing_is_bought_once_even_by_the_impatient(market: Market, race: Fixture) -> None:
    buyer = market.buyers[1]
    before = buyer.balance
    race(lambda: buyer.buy(market.book), n=5).expect(successes=1, errors=refused_as("already_bought"))
    assert buyer.balance == before - 1200


def test_the_price_is_what_it_was_when_it_was_bought(market: Market, user: User, other: User) -> None:
    """The seller raises it while a card is being charged."""
    path, earned = f"/v1/searchables/{market.atlas['id']}", market.seller.balance
    purchase = user.buy(market.atlas, method="card")
    market.seller.patch(path, price_cents=9000)
    assert other.get(path)["price_cents"] == 9000
    assert user.settle({"id": purchase["payment_id"]})["amount_cents"] == 1000
    paid = user.get(f"/v1/purchases/{purchase['id']}")
    assert (paid["status"], paid["price_cents"], paid["fee_cents"]) == ("paid", 1000, 50)
    assert market.seller.balance == earned + 950


def test_nobody_buys_from_themselves_or_without_money(market: Market, user: User) -> None:
    with refused(403, "own_searchable"):
        market.seller.buy(market.book)
    with refused(409, "insufficient_funds"):
        user.buy(market.book)
    assert user.get("/v1/purchases")["items"] == []


def test_a_changed_thing_is_found_by_its_new_words(api: Api, market: Market) -> None:
    path, old, new = f"/v1/searchables/{market.guide['id']}", market.guide["title"], f"Guide {word()}"
    eventually(lambda: api.found(q=old), lambda titles: titles == [old])
    market.seller.patch(path, title=new, price_cents=1)
    assert api.found(q=new) == []
    eventually(lambda: api.found(q=new), lambda titles: titles == [new])
    assert api.found(q=old) == []
    market.seller.post(f"{path}/unpublish")
    assert api.found(q=new) == []
