"""Offline searchables: a place, timeslots, and bookings, of which a slot has one at most."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from client import Api, Fixture, Json, User, eventually, refused, refused_as, settle_all, slot


@dataclass
class Market:
    """What the tests of this file share. Each adds slots of its own, on days of its own."""

    seller: User
    buyer: User
    """Has enough for all bookings together."""
    venue: Json
    free_of_charge: Json


@pytest.fixture(scope="module")
def market(api: Api) -> Market:
    seller, buyer = api.register("host"), api.register("funded")
    venue = seller.offer("offline", price_cents=3000, title="Harbour tour", location={"lat": -41.3, "lon": 174.8})
    free_of_charge = seller.offer("offline", price_cents=0)
    settle_all((buyer, buyer.deposit(1_000_000)), (seller, seller.publish(venue, free_of_charge)))
    return Market(seller, buyer, venue, free_of_charge)


def free(user: User, thing: Json) -> set[int]:
    return {item["id"] for item in user.get(f"/v1/searchables/{thing['id']}/slots", free=True)["items"]}


def test_an_offline_thing_has_a_place(user: User) -> None:
    thing = user.offer("offline", location={"lat": 48.2, "lon": 16.37})
    assert thing["location"] == {"lat": 48.2, "lon": 16.37}
    with refused(422, "invalid"):
        user.offer("offline", location=None)
    with refused(422, "invalid"):
        user.offer("online", location={"lat": 48.2, "lon": 16.37})


def test_a_draft_is_its_owners_only(user: User, other: User) -> None:
    draft = user.offer("offline")
    assert user.get(f"/v1/searchables/{draft['id']}")["status"] == "draft"
    with refused(404, "searchable_not_found"):
        other.get(f"/v1/searchables/{draft['id']}")


@pytest.mark.parametrize(
    ("offset", "hours", "accepted"),
    [(0, 1, False), (0.5, 1, False), (-0.5, 1, False), (-1, 4, False), (1, 1, True), (-1, 1, True)],
    ids=["same", "begins within", "ends within", "around", "right after", "right before"],
)
def test_slots_of_a_thing_do_not_overlap(user: User, offset: float, hours: float, accepted: bool) -> None:
    thing, start = user.offer("offline"), datetime.now(UTC) + timedelta(days=2)
    first, second = (
        {"starts_at": at.isoformat(), "ends_at": (at + timedelta(hours=length)).isoformat()}
        for at, length in ((start, 1.0), (start + timedelta(hours=offset), hours))
    )
    user.slots(thing, first)
    if accepted:
        assert len(user.slots(thing, second)) == 1
    else:
        with refused(409, "slot_overlaps"):
            user.slots(thing, second)


def test_slots_added_at_the_same_time_do_not_overlap_either(user: User, race: Fixture) -> None:
    thing = user.offer("offline")
    for day in range(3, 9):
        when = slot(day)
        race(lambda w=when: user.slots(thing, w), n=5).expect(successes=1, errors=refused_as("slot_overlaps"))


def test_of_several_slots_all_are_added_or_none(user: User) -> None:
    thing = user.offer("offline")
    with refused(409, "slot_overlaps"):
        user.slots(thing, slot(4), slot(5), slot(4))
    assert free(user, thing) == set()


@pytest.mark.parametrize("change", [{"ends_at": "2020-01-01T00:00:00Z"}, {"starts_at": "2030-01-01T10:00:00"}])
def test_a_slot_that_ends_first_or_has_no_zone_is_refused(user: User, change: Json) -> None:
    thing = user.offer("offline")
    with refused(422, "invalid"):
        user.slots(thing, {**slot(1), **change})


def test_only_its_owner_adds_slots_and_only_offline(user: User, other: User, market: Market) -> None:
    with refused(403, "not_yours"):
        other.slots(market.venue, slot(1))
    with refused(409, "not_offline"):
        user.slots(user.offer("online"), slot(1))


def test_a_booked_slot_is_free_no_more(market: Market, other: User) -> None:
    first, second = market.seller.slots(market.venue, slot(10), slot(11))
    booking = market.buyer.buy(market.venue, slot_id=first["id"])
    assert (booking["status"], booking["slot_id"], booking["kind"]) == ("paid", first["id"], "offline")
    assert {first["id"], second["id"]} & free(other, market.venue) == {second["id"]}
    with refused(409, "slot_taken"):
        other.buy(market.venue, slot_id=first["id"])


def test_of_many_who_book_a_slot_one_gets_it(api: Api, market: Market, race: Fixture) -> None:
    """Free of charge, so that nothing but the slot is in the way."""
    thing = market.free_of_charge
    (only,) = market.seller.slots(thing, slot(20))
    guests = [api.register("guest") for _ in range(8)]
    booked = race(*(lambda g=g: g.buy(thing, slot_id=only["id"]) for g in guests))
    booked.expect(successes=1, errors=refused_as("slot_taken"))
    assert sum(len(guest.get("/v1/purchases")["items"]) for guest in guests) == 1


def test_who_books_says_which_slot(market: Market, user: User) -> None:
    with refused(422, "slot_required"):
        market.buyer.buy(market.venue)
    elsewhere = user.slots(user.offer("offline"), slot(1))[0]
    with refused(404, "slot_not_found"):
        market.buyer.buy(market.venue, slot_id=elsewhere["id"])


def test_a_slot_in_the_past_is_over(market: Market) -> None:
    (past,) = market.seller.slots(market.venue, slot(-30))
    with refused(409, "slot_over"):
        market.buyer.buy(market.venue, slot_id=past["id"])


def test_a_card_that_is_declined_frees_the_slot(market: Market, user: User, other: User) -> None:
    (when,) = market.seller.slots(market.venue, slot(40))
    booking = user.buy(market.venue, slot_id=when["id"], method="card", card="card_declined")
    assert booking["status"] == "pending"
    with refused(409, "slot_taken"):
        other.buy(market.venue, slot_id=when["id"], method="card")
    user.settle({"id": booking["payment_id"]})
    assert user.get(f"/v1/purchases/{booking['id']}")["status"] == "failed"
    assert when["id"] in free(other, market.venue)


def test_a_booking_cancelled_in_time_frees_the_slot_and_returns_the_price(market: Market, other: User) -> None:
    (when,) = market.seller.slots(market.venue, slot(50))
    before, earned = market.buyer.balance, market.seller.balance
    booking = market.buyer.buy(market.venue, slot_id=when["id"])
    with refused(404, "purchase_not_found"):
        other.post(f"/v1/purchases/{booking['id']}/cancel")
    with refused(403, "not_yours"):
        market.seller.post(f"/v1/purchases/{booking['id']}/cancel")
    assert market.buyer.post(f"/v1/purchases/{booking['id']}/cancel")["status"] == "cancelled"
    assert (market.buyer.balance, market.seller.balance) == (before - booking["fee_cents"], earned)
    assert market.buyer.buy(market.venue, slot_id=when["id"])["status"] == "paid"


def test_a_booking_paid_by_card_is_cancelled_once_it_has_settled_and_returned_to_the_balance(
    market: Market, user: User, other: User
) -> None:
    (when,) = market.seller.slots(market.venue, slot(70))
    earned = market.seller.balance
    booking = user.buy(market.venue, slot_id=when["id"], method="card")
    path = f"/v1/purchases/{booking['id']}"
    with refused(409, "not_cancellable"):
        user.post(f"{path}/cancel")
    user.settle({"id": booking["payment_id"]})
    paid = user.get(path)
    assert (paid["status"], paid["invoice"] is None, market.seller.balance) == ("paid", False, earned + 2850)
    assert when["id"] not in free(other, market.venue)
    user.post(f"{path}/cancel")
    assert (user.balance, market.seller.balance) == (2850, earned)
    assert when["id"] in free(other, market.venue)


def test_a_booking_is_cancelled_once(market: Market, race: Fixture) -> None:
    (when,) = market.seller.slots(market.venue, slot(60))
    booking = market.buyer.buy(market.venue, slot_id=when["id"])
    cancelled = race(lambda: market.buyer.post(f"/v1/purchases/{booking['id']}/cancel"), n=5)
    cancelled.expect(successes=1, errors=refused_as("not_cancellable"))


def test_it_is_too_late_to_cancel_on_the_day(market: Market) -> None:
    (soon,) = market.seller.slots(market.venue, slot(0.9))
    booking = market.buyer.buy(market.venue, slot_id=soon["id"])
    with refused(409, "too_late"):
        market.buyer.post(f"/v1/purchases/{booking['id']}/cancel")


def test_what_is_near_can_be_found(api: Api, market: Market) -> None:
    near = {"owner": market.seller.handle, "max_price": 3000, "min_price": 1, "lat": -41.29, "lon": 174.78}
    eventually(lambda: api.found(**near, radius_km=10), lambda titles: titles == ["Harbour tour"])
    assert api.found(**near, radius_km=0.5) == []
