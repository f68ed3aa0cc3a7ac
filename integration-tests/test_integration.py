"""Core: the service is up, and one thing goes all the way from an idea to a paid sale."""

import pytest
import requests
from client import Api, User, eventually, fund, refused, unique, word


def test_health_says_that_the_database_answers(url: str) -> None:
    answer = requests.get(f"{url}/health", timeout=10)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_a_request_without_a_key_is_refused(url: str) -> None:
    answer = requests.get(f"{url}/v1/search", timeout=10)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "no_key")


def test_an_unknown_key_is_refused(url: str) -> None:
    with refused(401, "wrong_key"):
        Api(url, "sk_test_made_up").search()


@pytest.mark.parametrize(("token", "code"), [(None, "no_token"), ("ut_made_up", "wrong_token")])
def test_a_user_is_known_by_a_token_only(api: Api, token: str | None, code: str) -> None:
    with refused(401, code):
        api.get("/v1/users/me", token)


def test_unknown_paths_and_methods_answer_in_the_same_format(api: Api) -> None:
    with refused(404, "http_error"):
        api.get("/v1/nothing-here")
    with refused(405, "http_error"):
        api.send("DELETE", "/v1/search")


def test_a_body_with_an_unknown_field_is_refused(api: Api) -> None:
    with refused(422, "invalid"):
        api.post("/v1/users", handle=unique("u"), display_name="U", admin=True)


def test_text_that_postgres_cannot_store_is_refused(user: User) -> None:
    with refused(422, "invalid"):
        user.patch("/v1/users/me", bio="a\0b")


def test_the_platform_api_refuses_an_organizations_key(api: Api) -> None:
    with refused(401, "wrong_key"):
        api.post("/v1/platform/organizations", slug=unique("stolen"))


def test_from_an_idea_to_a_paid_sale(api: Api) -> None:
    """Offer, publish, find, buy: what every other file takes for granted."""
    seller, name = api.register("seller"), word()
    thing = seller.offer(title=f"Course {name}", price_cents=2000)
    fee = seller.publish(thing)
    (buyer,) = fund(api, 5000)
    seller.settle(fee)
    eventually(lambda: api.found(q=name), lambda titles: titles == [thing["title"]])
    purchase = buyer.buy(thing)
    assert (purchase["status"], purchase["seller"]) == ("paid", seller.handle)
    assert (buyer.balance, seller.balance) == (3000, 1900)
