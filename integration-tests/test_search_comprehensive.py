"""Search: words, filters, distances, orders and pages, over a catalogue that is published once for all tests.

Other tests publish in the same organization, so every search here is narrowed to this catalogue's owner.
"""

from dataclasses import dataclass
from typing import Any

import pytest
from client import Api, Json, User, eventually, refused, settle_all, word

OFFERS: dict[str, dict[str, Any]] = {
    "Baking sourdough bread": {"price_cents": 1500, "description": "Flour, water, salt and patience."},
    "Bread and butter": {"price_cents": 300, "description": "A history of breakfast."},
    "Patience, a card game": {"price_cents": 0, "description": "Rules for long evenings."},
    "Walking tour of Berlin": {"price_cents": 2500, "location": {"lat": 52.52, "lon": 13.405}},
    "Walking tour of Potsdam": {"price_cents": 2000, "location": {"lat": 52.4, "lon": 13.06}},
    "Harbour tour of Hamburg": {"price_cents": 3500, "location": {"lat": 53.55, "lon": 9.993}},
    "Fiji at sunrise": {"price_cents": 90000, "location": {"lat": -17.8, "lon": 179.9}},
}
BERLIN = {"lat": 52.52, "lon": 13.405}
TOURS = ["Walking tour of Berlin", "Walking tour of Potsdam", "Harbour tour of Hamburg"]


@dataclass
class Catalogue:
    """Everything in OFFERS, by one owner; the first is rated 5, the second 2."""

    api: Api
    owner: User
    beside: User
    """Another owner, of one thing that is free of charge and not rated yet."""
    unrated: Json
    reader: User
    """Owner of a third thing, which one test edits."""
    edited: Json

    def found(self, **filters: Any) -> list[str]:
        return self.api.found(owner=self.owner.handle, **filters)

    def search(self, **filters: Any) -> dict[str, Any]:
        return self.api.search(owner=self.owner.handle, **filters)


@pytest.fixture(scope="module")
def catalogue(api: Api) -> Catalogue:
    owner, reader = api.register("publisher"), api.register("reader")
    things = [
        owner.offer("offline" if "location" in details else "online", title=title, **details)
        for title, details in OFFERS.items()
    ]
    beside = api.register("beside")
    unrated, edited = beside.offer(price_cents=0), reader.offer(title="A first draft")
    settle_all(
        (reader, reader.deposit(10_000)),
        (reader, reader.publish(edited)),
        (beside, beside.publish(unrated)),
        (owner, owner.publish(*things)),
    )
    for thing, stars in zip(things, (5, 2), strict=False):
        reader.buy(thing)
        reader.rate(thing, stars)
    eventually(lambda: api.search(owner=owner.handle)["total"], lambda total: total == len(OFFERS))
    return Catalogue(api, owner, beside, unrated, reader, edited)


def test_words_are_found_in_titles_before_descriptions(catalogue: Catalogue) -> None:
    assert catalogue.found(q="patience") == ["Patience, a card game", "Baking sourdough bread"]


@pytest.mark.parametrize(
    ("q", "titles"),
    [
        ("walk", ["Walking tour of Berlin", "Walking tour of Potsdam"]),
        ("TOURS berlin", ["Walking tour of Berlin"]),
        ("bread -butter", ["Baking sourdough bread"]),
        ('"bread and butter"', ["Bread and butter"]),
        ("fiji or hamburg", ["Harbour tour of Hamburg", "Fiji at sunrise"]),
        ("tour fiji", []),
        ("zzzz", []),
    ],
    ids=["stem", "both words, any case", "without", "phrase", "either", "not both", "nothing"],
)
def test_a_query_means_what_people_mean(catalogue: Catalogue, q: str, titles: list[str]) -> None:
    assert catalogue.found(q=q) == titles


@pytest.mark.parametrize("q", ["'; DROP TABLE users; --", '"', "& | ! ( )", "%s %(q)s", "\\", "🦉"])
def test_a_query_of_any_form_is_only_a_query(catalogue: Catalogue, q: str) -> None:
    assert isinstance(catalogue.search(q=q)["total"], int)


def test_kinds_are_apart(catalogue: Catalogue) -> None:
    assert set(catalogue.found(kind="offline")) == {*TOURS, "Fiji at sunrise"}
    assert len(catalogue.found(kind="online")) == 3
    assert catalogue.found(kind="direct") == []


@pytest.mark.parametrize(
    ("low", "high", "count"), [(0, 0, 1), (300, 1500, 2), (301, 1499, 0), (2000, None, 4), (None, 300, 2)]
)
def test_prices_are_limited_on_both_sides_inclusively(
    catalogue: Catalogue, low: int | None, high: int | None, count: int
) -> None:
    assert catalogue.search(min_price=low, max_price=high)["total"] == count


@pytest.mark.parametrize(
    ("radius", "titles"), [(1, TOURS[:1]), (30, TOURS[:2]), (300, TOURS), (20040, [*TOURS, "Fiji at sunrise"])]
)
def test_a_radius_limits_the_distance(catalogue: Catalogue, radius: float, titles: list[str]) -> None:
    assert catalogue.found(**BERLIN, radius_km=radius, sort="distance") == titles


def test_distances_are_right(catalogue: Catalogue) -> None:
    """Against the known distances of the cities, to a kilometre; also across the 180th meridian."""
    distance = {item["title"]: item["distance_km"] for item in catalogue.search(**BERLIN)["items"]}
    assert distance["Walking tour of Berlin"] == 0
    assert distance["Harbour tour of Hamburg"] == pytest.approx(255, abs=1)
    assert distance["Bread and butter"] is None
    east = catalogue.search(lat=-17.8, lon=-179.9, radius_km=50)["items"]
    assert [item["title"] for item in east] == ["Fiji at sunrise"]
    assert east[0]["distance_km"] == pytest.approx(21.2, abs=0.2)


def test_filters_narrow_together(catalogue: Catalogue) -> None:
    assert catalogue.found(q="tour", **BERLIN, radius_km=300, max_price=2500, sort="-price") == TOURS[:2]
    assert catalogue.found(q="tour", **BERLIN, radius_km=30, min_price=3000) == []


@pytest.mark.parametrize(
    ("sort", "first", "last"),
    [
        ("price", "Patience, a card game", "Fiji at sunrise"),
        ("-price", "Fiji at sunrise", "Patience, a card game"),
        ("newest", "Fiji at sunrise", "Baking sourdough bread"),
        ("rating", "Baking sourdough bread", "Fiji at sunrise"),
    ],
)
def test_an_order_goes_from_first_to_last(catalogue: Catalogue, sort: str, first: str, last: str) -> None:
    titles = catalogue.found(sort=sort)
    assert (titles[0], titles[-1], len(titles)) == (first, last, len(OFFERS))


def test_ratings_are_shown_and_can_be_asked_for(catalogue: Catalogue) -> None:
    (best,) = catalogue.search(min_rating=4.5)["items"]
    assert (best["title"], best["rating"], best["rating_count"]) == ("Baking sourdough bread", 5, 1)
    assert len(catalogue.found(min_rating=2)) == 2


def test_pages_together_are_the_whole_without_overlap(catalogue: Catalogue) -> None:
    pages = [catalogue.search(sort="price", per_page=3, page=page) for page in (1, 2, 3, 4)]
    assert [len(page["items"]) for page in pages] == [3, 3, 1, 0]
    assert {page["total"] for page in pages} == {len(OFFERS)}
    assert [item["title"] for page in pages for item in page["items"]] == catalogue.found(sort="price")


@pytest.mark.parametrize(
    "filters",
    [
        {"page": 0},
        {"per_page": 101},
        {"lat": 91, "lon": 0},
        {"lat": 1},
        {"radius_km": 5},
        {"sort": "distance"},
        {"sort": "best"},
        {"min_price": 5, "max_price": 4},
        {"colour": "red"},
    ],
    ids=lambda filters: "&".join(f"{key}={value}" for key, value in filters.items()),
)
def test_filters_that_make_no_sense_are_refused(api: Api, filters: dict[str, Any]) -> None:
    with refused(422, "invalid"):
        api.search(**filters)


def test_what_is_published_is_found_a_moment_later_and_a_draft_never(api: Api, user: User) -> None:
    name = word()
    thing, _ = user.offer(title=f"Published {name}"), user.offer(title=f"Draft {name}")
    payment = user.publish(thing)
    assert api.found(q=name) == []
    user.settle(payment)
    eventually(lambda: api.found(q=name), lambda titles: titles == [f"Published {name}"])
    user.post(f"/v1/searchables/{thing['id']}/unpublish")
    assert api.found(q=name) == []


def test_what_was_taken_down_is_found_again_after_another_fee_and_another_moment(api: Api, user: User) -> None:
    """Taken down before the index got to it, which must not remember it either."""
    name = word()
    thing = user.offer(title=f"Encore {name}")
    user.settle(user.publish(thing))
    user.post(f"/v1/searchables/{thing['id']}/unpublish")
    user.settle(user.publish(thing))
    assert user.get(f"/v1/searchables/{thing['id']}")["status"] == "published"
    assert api.found(q=name) == []
    eventually(lambda: api.found(q=name), lambda titles: titles == [thing["title"]])
    assert [(fee["kind"], fee["amount_cents"]) for fee in user.get("/v1/payments")["items"]] == [("listing", 50)] * 2


def test_what_was_not_paid_is_not_found_but_can_be_tried_again(api: Api, user: User) -> None:
    thing = user.offer()
    assert user.settle(user.publish(thing, card="card_declined"))["status"] == "failed"
    assert user.settle(user.publish(thing))["status"] == "settled"
    found = eventually(lambda: api.search(owner=user.handle), lambda it: it["total"] == 1)
    assert found["items"][0]["id"] == thing["id"]


def test_an_edit_counts_at_once_as_a_filter_and_later_as_words(api: Api, catalogue: Catalogue) -> None:
    """Of the two edits each leaves alone what the other wrote."""
    path, mine = f"/v1/searchables/{catalogue.edited['id']}", {"owner": catalogue.reader.handle}
    eventually(lambda: api.found(**mine, q="draft"), lambda titles: titles == ["A first draft"])
    catalogue.reader.patch(path, description="About volcanoes.", price_cents=77)
    assert api.found(**mine, min_price=77, max_price=77) == ["A first draft"]
    assert api.found(**mine, q="volcano") == []
    eventually(lambda: api.found(**mine, q="volcano"), lambda titles: titles == ["A first draft"])
    catalogue.reader.patch(path, title="A final version")
    assert api.found(**mine, q="draft") == ["A final version"], "the new title is shown, the old one still searched"
    eventually(lambda: api.found(**mine, q="draft"), lambda titles: titles == [])
    assert api.found(**mine, q="final volcano", max_price=77) == ["A final version"]


def test_a_new_rating_counts_at_once(api: Api, catalogue: Catalogue, user: User) -> None:
    def rated() -> tuple[float, int]:
        (item,) = api.search(owner=catalogue.beside.handle)["items"]
        return item["rating"], item["rating_count"]

    assert rated() == (0, 0)
    user.buy(catalogue.unrated)
    user.rate(catalogue.unrated, 3)
    assert rated() == (3, 1)
