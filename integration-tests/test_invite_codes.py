"""Invite codes: used once, by one other person, in time; the first few are free and packs of them can be bought."""

import re

import pytest
from client import Api, Fixture, User, eventually, refused, refused_as, settle_all


def credits_of(user: User) -> int:
    return user.get("/v1/users/me")["invite_credits"]


def status(user: User, code: str) -> str:
    return next(item["status"] for item in user.get("/v1/invites")["items"] if item["code"] == code)


def test_a_code_can_be_read_out_over_the_phone(user: User) -> None:
    invite = user.post("/v1/invites", note="for Ben")
    assert re.fullmatch(r"(?:[A-HJ-NP-Z2-9]{4}-){2}[A-HJ-NP-Z2-9]{4}", invite["code"])
    assert (invite["status"], invite["note"], invite["creator"]) == ("open", "for Ben", user.handle)


def test_who_redeems_was_invited_by_the_creator(user: User, other: User) -> None:
    code = user.post("/v1/invites")["code"]
    assert other.post(f"/v1/invites/{code.lower()}/redeem") == {"code": code, "invited_by": user.handle}
    assert other.get("/v1/users/me")["invited_by"] == user.id
    assert status(user, code) == "redeemed"


def test_a_code_works_once(api: Api, user: User, other: User) -> None:
    code = user.post("/v1/invites")["code"]
    other.post(f"/v1/invites/{code}/redeem")
    with refused(409, "invite_redeemed"):
        api.register().post(f"/v1/invites/{code}/redeem")


def test_of_eight_who_redeem_at_once_one_succeeds(api: Api, user: User, race: Fixture) -> None:
    """Three times over: a race is not lost every time."""
    for _ in range(3):
        code = user.post("/v1/invites")["code"]
        guests = [api.register("guest") for _ in range(8)]
        redeemed = race(*(lambda g=g, c=code: g.post(f"/v1/invites/{c}/redeem") for g in guests))
        redeemed.expect(successes=1, errors=refused_as("invite_redeemed"))
        assert sum(guest.get("/v1/users/me")["invited_by"] == user.id for guest in guests) == 1


def test_a_user_is_invited_once(api: Api, user: User, other: User) -> None:
    first, second = user.post("/v1/invites")["code"], api.register().post("/v1/invites")["code"]
    other.post(f"/v1/invites/{first}/redeem")
    with refused(409, "already_invited"):
        other.post(f"/v1/invites/{second}/redeem")


def test_nobody_invites_themselves(user: User) -> None:
    code = user.post("/v1/invites")["code"]
    with refused(403, "own_invite"):
        user.post(f"/v1/invites/{code}/redeem")


def test_an_expired_code_is_refused(user: User, other: User) -> None:
    code = user.post("/v1/invites", expires_in=0.1)["code"]
    eventually(lambda: status(user, code), lambda it: it == "expired", every=0.05)
    with refused(409, "invite_expired"):
        other.post(f"/v1/invites/{code}/redeem")


@pytest.mark.parametrize("expires_in", [0, -1, 31 * 86400, "soon"])
def test_an_expiry_out_of_range_is_refused(user: User, expires_in: object) -> None:
    with refused(422, "invalid"):
        user.post("/v1/invites", expires_in=expires_in)


def test_an_unknown_code_is_not_found(user: User) -> None:
    with refused(404, "invite_not_found"):
        user.post("/v1/invites/AAAA-BBBB-CCCC/redeem")


def test_a_revoked_code_is_void_and_its_credit_returns(user: User, other: User) -> None:
    code = user.post("/v1/invites")["code"]
    with refused(404, "invite_not_found"):
        other.delete(f"/v1/invites/{code}")
    user.delete(f"/v1/invites/{code}")
    assert credits_of(user) == 3
    with refused(404, "invite_not_found"):
        other.post(f"/v1/invites/{code}/redeem")


def test_a_redeemed_code_cannot_be_revoked(user: User, other: User) -> None:
    code = user.post("/v1/invites")["code"]
    other.post(f"/v1/invites/{code}/redeem")
    with refused(404, "invite_not_found"):
        user.delete(f"/v1/invites/{code}")


def test_the_free_invites_run_out_exactly(user: User, race: Fixture) -> None:
    race(lambda: user.post("/v1/invites"), n=6).expect(successes=3, errors=refused_as("no_invites_left"))
    assert credits_of(user) == 0


def test_a_pack_adds_five_once_it_is_paid(user: User) -> None:
    payment = user.post("/v1/invites/packs")
    assert (payment["status"], payment["amount_cents"]) == ("pending", 200)
    assert credits_of(user) == 3
    paid = user.settle(payment)
    assert (paid["status"], credits_of(user)) == ("settled", 8)


def test_who_has_none_left_can_go_on_after_buying(user: User, other: User) -> None:
    for _ in range(3):
        user.post("/v1/invites")
    payment = user.post("/v1/invites/packs")
    with refused(409, "no_invites_left"):
        user.post("/v1/invites")
    user.settle(payment)
    code = user.post("/v1/invites")["code"]
    assert other.post(f"/v1/invites/{code}/redeem")["invited_by"] == user.handle
    assert credits_of(user) == 4


def test_a_declined_card_adds_none(user: User) -> None:
    failed = user.settle(user.post("/v1/invites/packs", card="card_declined"))
    assert (failed["status"], credits_of(user)) == ("failed", 3)


def test_packs_that_are_paid_at_the_same_time_add_up_without_the_declined_one(user: User) -> None:
    cards = ("card_visa", "card_declined", "card_master")
    packs = [user.post("/v1/invites/packs", card=card) for card in cards]
    settle_all(*((user, pack) for pack in packs))
    assert [user.refresh(pack["id"])["status"] for pack in packs] == ["settled", "failed", "settled"]
    assert credits_of(user) == 13, "asking again adds nothing"
