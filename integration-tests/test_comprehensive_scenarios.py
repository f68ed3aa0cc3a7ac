"""Scenarios: what several people do with several features, from beginning to end, and whether the sums are right."""

from dataclasses import dataclass

import pytest
from client import (
    Api,
    Fixture,
    Json,
    User,
    eventually,
    refused,
    refused_as,
    settle_all,
    slot,
    word,
)


def test_an_author_sells_a_file_to_a_reader_who_came_by_invitation(api: Api) -> None:
    author, reader, name = api.register("author"), api.register("reader"), word()
    reader.post(f"/v1/invites/{author.post('/v1/invites')['code']}/redeem")
    assert reader.get("/v1/users/me")["invited_by"] == author.id
    tag = api.tag(author)
    (file,) = author.scanned(author.upload(b"%PDF-1.7 poems", "poems.pdf", "application/pdf"))
    poems = author.offer("direct", file_id=file["id"], title=f"Poems {name}", price_cents=800)
    author.put(f"/v1/searchables/{poems['id']}/tags", tag_ids=[tag["id"]])
    settle_all((reader, reader.deposit(1000)), (author, author.publish(poems)))
    (found,) = eventually(lambda: api.search(tag=tag["id"], q=name)["items"], lambda items: len(items) == 1)
    purchase = reader.buy(found)
    assert reader.download(file["id"]) == b"%PDF-1.7 poems"
    reader.rate(found, 5, "Lovely.")
    author.post(f"/v1/invoices/{purchase['invoice']}/notes", text="thank you", shared=True)
    assert reader.get(f"/v1/invoices/{purchase['invoice']}")["notes"][0]["text"] == "thank you"
    assert api.search(q=name, min_rating=5)["items"][0]["rating"] == 5
    assert (author.balance, reader.balance) == (760, 200)


@dataclass
class Fair:
    """One host with published things, and guests with money; what a test changes, no other test uses."""

    host: User
    course: Json
    """For 4,000 cents."""
    workshop: Json
    """For 5,000 cents a slot."""
    guests: list[User]
    """Three, with 20,000 cents each: enough for all tests together."""
    spender: User
    """With 1,000 cents."""
    stall: User
    """A second seller, of one thing for 600 cents."""
    souvenir: Json


@pytest.fixture(scope="module")
def fair(api: Api) -> Fair:
    host, stall, spender = api.register("host"), api.register("stall"), api.register("spender")
    guests = [api.register("guest") for _ in range(3)]
    course, workshop = host.offer(price_cents=4000), host.offer("offline", price_cents=5000)
    souvenir = stall.offer(price_cents=600)
    settle_all(
        (spender, spender.deposit(1000)),
        *((guest, guest.deposit(20_000)) for guest in guests),
        (stall, stall.publish(souvenir)),
        (host, host.publish(course, workshop)),
    )
    return Fair(host, course, workshop, guests, spender, stall, souvenir)


def test_a_workshop_fills_up_and_who_cancels_makes_room(api: Api, fair: Fair, race: Fixture) -> None:
    host, workshop = fair.host, fair.workshop
    late, (morning, evening) = api.register("late"), host.slots(workshop, slot(30), slot(30.5))
    first, second, third = fair.guests
    both = race(
        lambda: first.buy(workshop, slot_id=morning["id"]),
        lambda: second.buy(workshop, slot_id=evening["id"]),
    )
    both.expect(successes=2)
    path = f"/v1/searchables/{workshop['id']}/slots"
    assert third.get(path, free=True)["items"] == []
    with refused(409, "slot_taken"):
        third.buy(workshop, slot_id=morning["id"])
    before = first.balance
    first.post(f"/v1/purchases/{both.succeeded[0]['id']}/cancel")
    assert first.balance == before + 4750, "the price less the fee"
    assert [item["id"] for item in late.get(path, free=True)["items"]] == [morning["id"]]
    assert third.buy(workshop, slot_id=morning["id"])["status"] == "paid"


def test_everybody_buys_at_once_and_the_sums_are_right(fair: Fair, race: Fixture) -> None:
    host, guests, course = fair.host, fair.guests, fair.course
    people = [host, *guests]
    before = sum(person.balance for person in people)
    race(*(lambda g=g: g.buy(course) for g in guests)).expect(successes=3)
    assert sum(person.balance for person in people) == before - 3 * 200, "nothing is lost but the fees"
    for person in people:
        ledger = person.ledger()
        assert sum(entry["amount_cents"] for entry in ledger) == person.balance == ledger[0]["balance_cents"]
    numbers = {item["number"] for guest in guests for item in guest.get("/v1/invoices")["items"]}
    assert numbers <= {item["number"] for item in host.get("/v1/invoices")["items"]}


def test_money_is_spent_once(fair: Fair, race: Fixture) -> None:
    """A purchase and a withdrawal race for a balance that is enough for one of them."""
    spent = race(lambda: fair.spender.buy(fair.souvenir), lambda: fair.spender.withdraw(600))
    spent.expect(successes=1, errors=refused_as("insufficient_funds"))
    assert fair.spender.balance == 400
    assert fair.stall.balance == (0 if spent.outcomes[0].error else 570)


def test_a_seller_who_spent_the_money_cannot_refund(fair: Fair) -> None:
    """Then the booking stands: nobody is paid back with money that is not there."""
    host, guest = fair.host, fair.guests[2]
    (when,) = host.slots(fair.workshop, slot(60))
    booking = guest.buy(fair.workshop, slot_id=when["id"])
    host.withdraw(host.balance)
    with refused(409, "insufficient_funds"):
        guest.post(f"/v1/purchases/{booking['id']}/cancel")
    assert guest.get(f"/v1/purchases/{booking['id']}")["status"] == "paid"
    assert host.balance == 0


def test_a_guest_sees_all_that_was_bought_in_one_list(api: Api, fair: Fair) -> None:
    visitor = api.register("visitor")
    pending = visitor.buy(fair.course, method="card")
    (item,) = visitor.get("/v1/purchases")["items"]
    assert (item["id"], item["status"], item["payment_id"]) == (pending["id"], "pending", pending["payment_id"])
    assert visitor.get("/v1/payments")["items"][0]["kind"] == "purchase"
    with refused(404, "purchase_not_found"):
        fair.guests[0].get(f"/v1/purchases/{pending['id']}")
