"""Invoices, which every paid purchase has one of, and the notes that buyer and seller keep on them."""

from dataclasses import dataclass

import pytest
from client import Api, Fixture, Json, User, refused, settle_all


@dataclass
class Trade:
    """A seller's free offer, and what was sold for money once. Tests that write buy the free one themselves."""

    seller: User
    buyer: User
    free: Json
    sold: Json
    dear: Json
    offered_by_buyer: Json
    """For the same price as what is dear."""
    purchase: Json


@pytest.fixture(scope="module")
def trade(api: Api) -> Trade:
    seller, buyer = api.register("seller"), api.register("buyer")
    free, sold, dear = (seller.offer(price_cents=cents) for cents in (0, 2000, 1000))
    counter = buyer.offer(price_cents=1000)
    settle_all(
        (buyer, buyer.deposit(10_000)),
        (seller, seller.deposit(10_000)),
        (buyer, buyer.publish(counter)),
        (seller, seller.publish(free, sold, dear)),
    )
    return Trade(seller, buyer, free, sold, dear, counter, buyer.buy(sold))


@pytest.fixture
def number(trade: Trade, user: User) -> int:
    """An invoice that only this test knows: `user` bought the free offer."""
    return user.buy(trade.free)["invoice"]


def texts(user: User, number: int) -> list[str]:
    return [note["text"] for note in user.get(f"/v1/invoices/{number}")["notes"]]


def note(user: User, number: int, text: str, shared: bool = False) -> Json:
    return user.post(f"/v1/invoices/{number}/notes", text=text, shared=shared)


def test_an_invoice_says_who_paid_what_to_whom(trade: Trade) -> None:
    invoice = trade.buyer.get(f"/v1/invoices/{trade.purchase['invoice']}")
    assert (invoice["price_cents"], invoice["fee_cents"]) == (2000, 100)
    assert (invoice["buyer"], invoice["seller"]) == (trade.buyer.handle, trade.seller.handle)
    assert (invoice["title"], invoice["purchase_id"]) == (trade.sold["title"], trade.purchase["id"])


def test_both_parties_have_it_and_nobody_else(trade: Trade, other: User) -> None:
    number = trade.purchase["invoice"]
    assert number in [item["number"] for item in trade.seller.get("/v1/invoices")["items"]]
    with refused(404, "invoice_not_found"):
        other.get(f"/v1/invoices/{number}")
    assert other.get("/v1/invoices")["items"] == []


def test_what_is_not_paid_yet_has_no_invoice(trade: Trade, user: User) -> None:
    purchase = user.buy(trade.sold, method="card")
    assert (purchase["status"], purchase["invoice"]) == ("pending", None)
    assert user.get("/v1/invoices")["items"] == []


def test_a_card_that_is_charged_has_an_invoice_and_one_that_is_declined_has_none(
    trade: Trade, user: User, other: User
) -> None:
    good = user.buy(trade.sold, method="card")
    bad = other.buy(trade.sold, method="card", card="card_declined")
    settle_all((user, {"id": good["payment_id"]}), (other, {"id": bad["payment_id"]}))
    (invoice,) = user.get("/v1/invoices")["items"]
    assert (invoice["purchase_id"], invoice["price_cents"], invoice["buyer"]) == (good["id"], 2000, user.handle)
    assert other.get("/v1/invoices")["items"] == []
    about = [item["purchase_id"] for item in trade.seller.get("/v1/invoices")["items"]]
    assert (about.count(good["id"]), about.count(bad["id"])) == (1, 0)


def test_invoices_issued_at_once_have_numbers_of_their_own(api: Api, trade: Trade, race: Fixture) -> None:
    buyers = [api.register("buyer") for _ in range(6)]
    bought = race(*(lambda b=b: b.buy(trade.free) for b in buyers))
    bought.expect(successes=6)
    numbers = [purchase["invoice"] for purchase in bought.succeeded]
    assert len(set(numbers)) == 6
    assert max(numbers) - min(numbers) >= 5


def test_a_private_note_is_its_authors(trade: Trade, user: User, number: int) -> None:
    note(user, number, "  reimbursed in May ")
    note(trade.seller, number, "a regular")
    assert texts(user, number) == ["reimbursed in May"]
    assert texts(trade.seller, number) == ["a regular"]


def test_a_shared_note_is_for_both(trade: Trade, user: User, number: int) -> None:
    note(user, number, "please add our VAT number", shared=True)
    note(trade.seller, number, "done", shared=True)
    assert texts(user, number) == texts(trade.seller, number) == ["please add our VAT number", "done"]


def test_only_its_author_changes_or_removes_a_note(trade: Trade, user: User, number: int) -> None:
    path = f"/v1/invoices/{number}/notes/{note(user, number, 'first', shared=True)['id']}"
    for attempt in (lambda: trade.seller.patch(path, text="mine now"), lambda: trade.seller.delete(path)):
        with refused(403, "not_yours"):
            attempt()
    user.patch(path, text="second")
    assert texts(trade.seller, number) == ["second"]
    user.delete(path)
    assert texts(trade.seller, number) == []
    with refused(404, "note_not_found"):
        user.delete(path)


def test_a_private_note_does_not_exist_for_the_other_party(trade: Trade, user: User, number: int) -> None:
    hidden = note(user, number, "private")["id"]
    with refused(404, "note_not_found"):
        trade.seller.patch(f"/v1/invoices/{number}/notes/{hidden}", text="found you")


def test_who_has_no_part_in_it_writes_no_note(other: User, number: int) -> None:
    with refused(404, "invoice_not_found"):
        note(other, number, "hello")


@pytest.mark.parametrize("text", ["", "   ", "x" * 1001])
def test_a_note_out_of_bounds_is_refused(user: User, number: int, text: str) -> None:
    with refused(422, "invalid"):
        note(user, number, text)
    assert texts(user, number) == []


def test_two_who_buy_from_each_other_at_once_do_not_block(trade: Trade, race: Fixture) -> None:
    """Money moves both ways at the same moment, between the same two wallets."""
    one, two = trade.buyer, trade.seller
    before = one.balance, two.balance
    bought = race(lambda: one.buy(trade.dear), lambda: two.buy(trade.offered_by_buyer))
    bought.expect(successes=2)
    assert [purchase["status"] for purchase in bought.succeeded] == ["paid", "paid"]
    assert (one.balance, two.balance) == (before[0] - 50, before[1] - 50)
