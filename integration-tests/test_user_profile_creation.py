"""Core: users register, prove who they are, and show a profile."""

import pytest
from client import Api, Fixture, User, refused, refused_as, unique


def test_a_new_user_has_an_empty_profile(api: Api, user: User) -> None:
    profile = api.get(f"/v1/users/{user.handle}")
    assert profile["handle"] == user.handle
    assert (profile["bio"], profile["location"], profile["links"]) == ("", None, [])


def test_only_its_owner_sees_what_is_private(api: Api, user: User) -> None:
    mine = user.get("/v1/users/me")
    assert (mine["balance_cents"], mine["invite_credits"], mine["invited_by"]) == (0, 3, None)
    assert not {"balance_cents", "invite_credits", "token", "token_hash"} & api.get(f"/v1/users/{user.handle}").keys()


def test_handles_do_not_depend_on_case(api: Api) -> None:
    handle = unique("MixedCase")
    assert api.post("/v1/users", handle=handle, display_name="M")["handle"] == handle.lower()
    assert api.get(f"/v1/users/{handle.upper()}")["handle"] == handle.lower()
    with refused(409, "handle_taken"):
        api.post("/v1/users", handle=handle.upper(), display_name="M")


@pytest.mark.parametrize("handle", ["ab", "-dash-first", "with space", "ünïcode", "x" * 41, "semi;colon", ""])
def test_a_handle_that_would_not_fit_an_address_is_refused(api: Api, handle: str) -> None:
    with refused(422, "invalid"):
        api.post("/v1/users", handle=handle, display_name="N")


def test_of_many_who_want_a_handle_one_gets_it(api: Api, race: Fixture) -> None:
    handle = unique("wanted")
    wanted = race(lambda: api.post("/v1/users", handle=handle, display_name="W"), n=8)
    wanted.expect(successes=1, errors=refused_as("handle_taken"))


def test_a_hundred_who_register_at_once_are_all_somebody(api: Api, load: Fixture) -> None:
    registered = load(api.register, n=100)
    registered.expect(errors=0)
    assert len({user.id for user in registered.succeeded}) == 100
    for user in registered.succeeded[::20]:
        assert user.get("/v1/users/me")["handle"] == user.handle


def test_a_change_touches_only_what_it_names(api: Api, user: User) -> None:
    user.patch("/v1/users/me", bio="I make things.", location={"lat": 48.14, "lon": 11.58})
    user.patch("/v1/users/me", display_name="  Anna Müller  ")
    profile = api.get(f"/v1/users/{user.handle}")
    assert profile["display_name"] == "Anna Müller"
    assert profile["bio"] == "I make things."
    assert profile["location"] == {"lat": 48.14, "lon": 11.58}


def test_a_location_can_be_taken_back(user: User) -> None:
    user.patch("/v1/users/me", location={"lat": 0, "lon": 0})
    assert user.patch("/v1/users/me", location=None)["location"] is None
    assert user.get("/v1/users/me")["location"] is None


@pytest.mark.parametrize(
    "change",
    [{"display_name": ""}, {"bio": "x" * 501}, {"location": {"lat": 91, "lon": 0}}, {"location": {"lat": 1}}, {}],
    ids=["no name", "long bio", "off the earth", "half a place", "nothing"],
)
def test_a_change_that_makes_no_sense_is_refused(user: User, change: dict) -> None:
    with refused(422, "invalid"):
        user.patch("/v1/users/me", **change)


def test_a_replaced_token_is_void_at_once(user: User) -> None:
    old = user.token
    user.token = user.post("/v1/users/me/token")["token"]
    assert user.get("/v1/users/me")["handle"] == user.handle
    with refused(401, "wrong_token"):
        user.api.get("/v1/users/me", old)


def test_an_unknown_user_is_not_found(api: Api) -> None:
    with refused(404, "user_not_found"):
        api.get(f"/v1/users/{unique('nobody')}")
