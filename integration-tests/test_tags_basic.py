"""Tags: made, named, looked at, put on things, removed."""

import pytest
from client import Api, Fixture, User, refused, refused_as, word


def test_a_tag_has_a_name_and_a_path(api: Api, user: User) -> None:
    name = word()
    tag = api.tag(user, name)
    shown = api.get(f"/v1/tags/{tag['id']}")
    assert (shown["name"], shown["parent_id"], shown["path"], shown["used"]) == (name, None, [name], 0)


def test_names_are_trimmed_and_lower_case(api: Api, user: User) -> None:
    name = word()
    assert api.tag(user, f"  {name.upper()} ")["name"] == name
    with refused(409, "tag_exists"):
        api.tag(user, name.title())


@pytest.mark.parametrize("name", ["", "   ", "x" * 41, "-leading", "semi;colon", "new\nline"])
def test_a_name_that_could_not_be_shown_is_refused(api: Api, user: User, name: str) -> None:
    with refused(422, "invalid"):
        api.tag(user, name)


@pytest.mark.parametrize("suffix", [" & co", "++", "#", ".js", " größe", "-2"])
def test_names_may_have_what_real_tags_have(api: Api, user: User, suffix: str) -> None:
    name = word() + suffix
    assert api.tag(user, name)["name"] == name


def test_making_a_tag_takes_a_user(api: Api) -> None:
    with refused(401, "no_token"):
        api.post("/v1/tags", name=word())


def test_an_unknown_tag_is_not_found(api: Api, user: User) -> None:
    with refused(404, "tag_not_found"):
        api.get("/v1/tags/999999999")
    with refused(404, "tag_not_found"):
        api.tag(user, parent=999999999)


def test_of_many_who_make_the_same_tag_one_does(api: Api, user: User, race: Fixture) -> None:
    name = word()
    race(lambda: api.tag(user, name), n=6).expect(successes=1, errors=refused_as("tag_exists"))


def test_a_tag_can_be_renamed_but_not_to_a_twins_name(api: Api, user: User) -> None:
    tag, twin, fresh = api.tag(user), api.tag(user), word()
    assert user.patch(f"/v1/tags/{tag['id']}", name=fresh)["name"] == fresh
    with refused(409, "tag_exists"):
        user.patch(f"/v1/tags/{tag['id']}", name=twin["name"])
    with refused(422, "invalid"):
        user.patch(f"/v1/tags/{tag['id']}", name=None)


def test_a_thing_carries_tags_in_alphabetical_order(api: Api, user: User) -> None:
    tags = [api.tag(user) for _ in range(3)]
    thing = user.offer()
    path = f"/v1/searchables/{thing['id']}/tags"
    ids = [tag["id"] for tag in tags]
    assert user.put(path, tag_ids=[*ids, ids[0]])["tags"] == sorted(tag["name"] for tag in tags)
    assert user.put(path, tag_ids=ids[:1])["tags"] == [tags[0]["name"]]
    assert user.put(path, tag_ids=[])["tags"] == []


def test_only_its_owner_tags_a_thing(api: Api, user: User, other: User) -> None:
    thing, tag = user.offer(), api.tag(other)
    with refused(404, "searchable_not_found"):
        other.put(f"/v1/searchables/{thing['id']}/tags", tag_ids=[tag["id"]])
    with refused(404, "tag_not_found"):
        user.put(f"/v1/searchables/{thing['id']}/tags", tag_ids=[tag["id"], 999999999])
    assert user.get(f"/v1/searchables/{thing['id']}")["tags"] == []


def test_a_tag_in_use_stays(api: Api, user: User) -> None:
    tag, thing = api.tag(user), user.offer()
    user.put(f"/v1/searchables/{thing['id']}/tags", tag_ids=[tag["id"]])
    assert api.get(f"/v1/tags/{tag['id']}")["used"] == 1
    with refused(409, "tag_in_use"):
        user.delete(f"/v1/tags/{tag['id']}")
    user.put(f"/v1/searchables/{thing['id']}/tags", tag_ids=[])
    user.delete(f"/v1/tags/{tag['id']}")
    with refused(404, "tag_not_found"):
        api.get(f"/v1/tags/{tag['id']}")
