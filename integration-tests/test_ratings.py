"""Ratings: by buyers, once, one to five stars, and an average that is right."""

from dataclasses import dataclass

import pytest
from client import Api, Fixture, Json, User, refused, refused_as


@dataclass
class Shelf:
    """Published things."""

    owner: User
    priced: Json
    things: list[Json]
    """Free of charge; a test takes one of its own with `pop`."""


@pytest.fixture(scope="module")
def shelf(api: Api) -> Shelf:
    owner = api.register("owner")
    things = [owner.offer(price_cents=0) for _ in range(12)]
    priced = owner.offer(price_cents=500)
    owner.settle(owner.publish(priced, *things))
    return Shelf(owner, priced, things)


@pytest.fixture
def thing(shelf: Shelf) -> Json:
    return shelf.things.pop()


@pytest.fixture
def buyer(user: User, thing: Json) -> User:
    """A user who has bought the thing."""
    user.buy(thing)
    return user


def ratings(user: User, thing: Json) -> Json:
    return user.get(f"/v1/searchables/{thing['id']}/ratings")


def test_without_ratings_the_average_is_zero(user: User, thing: Json) -> None:
    shown = ratings(user, thing)
    assert (shown["average"], shown["count"], shown["items"]) == (0, 0, [])
    assert shown["distribution"] == {"1": 0, "2": 0, "3": 0, "4": 0, "5": 0}


def test_a_buyer_rates_and_everybody_sees_it(buyer: User, other: User, thing: Json) -> None:
    buyer.rate(thing, 4, "  Good value ")
    shown = ratings(other, thing)
    assert shown["items"] == [{"author": buyer.handle, "stars": 4, "comment": "Good value"}]
    assert other.get(f"/v1/searchables/{thing['id']}")["rating"] == 4


def test_only_who_bought_rates(user: User, thing: Json) -> None:
    with refused(403, "not_bought"):
        user.rate(thing, 5)
    assert ratings(user, thing)["count"] == 0


def test_its_owner_does_not_rate(shelf: Shelf, thing: Json) -> None:
    with refused(403, "not_bought"):
        shelf.owner.rate(thing, 5)


def test_a_purchase_that_is_not_paid_does_not_count(shelf: Shelf, other: User) -> None:
    """Pending first, then failed: neither makes a buyer."""
    purchase = other.buy(shelf.priced, method="card", card="card_declined")
    with refused(403, "not_bought"):
        other.rate(shelf.priced, 1)
    assert other.settle({"id": purchase["payment_id"]})["status"] == "failed"
    with refused(403, "not_bought"):
        other.rate(shelf.priced, 1)


def test_a_buyer_rates_once(buyer: User, thing: Json) -> None:
    buyer.rate(thing, 2)
    with refused(409, "already_rated"):
        buyer.rate(thing, 5)
    assert ratings(buyer, thing)["average"] == 2


def test_a_buyer_rates_once_also_when_impatient(buyer: User, thing: Json, race: Fixture) -> None:
    race(lambda: buyer.rate(thing, 3), n=6).expect(successes=1, errors=refused_as("already_rated"))
    assert ratings(buyer, thing)["count"] == 1


def test_a_rating_can_be_changed_by_its_author(buyer: User, other: User, thing: Json) -> None:
    path = f"/v1/searchables/{thing['id']}/ratings/mine"
    with refused(404, "rating_not_found"):
        buyer.patch(path, stars=1)
    buyer.rate(thing, 1, "broken")
    buyer.patch(path, stars=5, comment="it was me")
    with refused(404, "rating_not_found"):
        other.patch(path, stars=1)
    assert ratings(other, thing)["items"] == [{"author": buyer.handle, "stars": 5, "comment": "it was me"}]


@pytest.mark.parametrize("stars", [0, 6, -1, 4.5, "five", "5", None, True])
def test_stars_are_whole_and_from_one_to_five(user: User, stars: object) -> None:
    """Checked before anything is looked up, so that no thing is needed."""
    with refused(422, "invalid"):
        user.rate({"id": 1}, stars)


def test_the_average_is_of_all_and_rounded(api: Api, thing: Json) -> None:
    for stars in (5, 4, 4):
        guest = api.register("guest")
        guest.buy(thing)
        guest.rate(thing, stars)
    shown = ratings(guest, thing)
    assert (shown["average"], shown["count"]) == (4.33, 3)
    assert shown["distribution"] == {"1": 0, "2": 0, "3": 0, "4": 2, "5": 1}


def test_ratings_given_at_once_are_all_counted(api: Api, thing: Json, race: Fixture) -> None:
    guests = [api.register("guest") for _ in range(6)]
    for guest in guests:
        guest.buy(thing)
    race(*(lambda g=g, n=n: g.rate(thing, n % 5 + 1) for n, g in enumerate(guests))).expect(successes=6)
    shown = ratings(guests[0], thing)
    assert (shown["count"], shown["average"]) == (6, pytest.approx(16 / 6, abs=0.01))


def test_a_rating_outlives_the_offer(shelf: Shelf, buyer: User, thing: Json) -> None:
    shelf.owner.post(f"/v1/searchables/{thing['id']}/unpublish")
    buyer.rate(thing, 5)
    assert ratings(shelf.owner, thing)["average"] == 5


def test_what_does_not_exist_cannot_be_rated(user: User) -> None:
    with refused(404, "searchable_not_found"):
        user.rate({"id": 999_999_999}, 3)
