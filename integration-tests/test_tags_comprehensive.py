"""Hierarchical tags: paths, moves, cycles that are refused, and a search that includes what is below."""

from dataclasses import dataclass

import pytest
from client import Api, Fixture, Json, User, eventually, refused, refused_as, settle_all, unique


@dataclass
class Forest:
    """music > jazz > bebop, music > classical, sports; and a published thing for each tag but music."""

    owner: User
    tags: dict[str, Json]
    beside: User
    untagged: Json
    """Published by somebody else; tagged by one test."""

    def __getitem__(self, name: str) -> int:
        return self.tags[name]["id"]


@pytest.fixture(scope="module")
def forest(api: Api) -> Forest:
    owner, tags = api.register("gardener"), {}
    for name, parent in {"music": "", "jazz": "music", "bebop": "jazz", "classical": "music", "sports": ""}.items():
        tags[name] = api.tag(owner, unique(name), tags[parent]["id"] if parent else None)
    things = [owner.offer(title=f"About {name}") for name in ("jazz", "bebop", "classical", "sports")]
    for thing in things:
        name = thing["title"].removeprefix("About ")
        owner.put(f"/v1/searchables/{thing['id']}/tags", tag_ids=[tags[name]["id"]])
    beside = api.register("beside")
    untagged = beside.offer(title="Untagged at first")
    settle_all((owner, owner.publish(*things)), (beside, beside.publish(untagged)))
    for who, count in ((owner, 4), (beside, 1)):
        eventually(lambda: api.search(owner=who.handle)["total"], lambda total: total == count)  # noqa: B023
    return Forest(owner, tags, beside, untagged)


def chain(api: Api, user: User, length: int) -> list[Json]:
    """Tags, each below the one before."""
    tags: list[Json] = []
    for _ in range(length):
        tags.append(api.tag(user, parent=tags[-1]["id"] if tags else None))
    return tags


def move(user: User, tag: Json, parent: Json | None) -> Json:
    return user.patch(f"/v1/tags/{tag['id']}", parent_id=parent and parent["id"])


def below(api: Api, tag: Json) -> list[str]:
    return [item["name"] for item in api.get(f"/v1/tags/{tag['id']}/descendants")["items"]]


def test_a_path_leads_from_the_root(api: Api, user: User) -> None:
    tags = chain(api, user, 5)
    assert api.get(f"/v1/tags/{tags[-1]['id']}")["path"] == [tag["name"] for tag in tags]


def test_descendants_come_by_depth_and_name(api: Api, user: User) -> None:
    root = api.tag(user)
    children = sorted((api.tag(user, parent=root["id"]) for _ in range(3)), key=lambda tag: tag["name"])
    grandchild = api.tag(user, parent=children[0]["id"])
    assert below(api, root) == [*(tag["name"] for tag in children), grandchild["name"]]
    assert below(api, grandchild) == []


def test_a_name_may_occur_under_different_parents(api: Api, user: User) -> None:
    one, two = api.tag(user), api.tag(user)
    name = unique("same")
    assert api.tag(user, name, one["id"])["name"] == api.tag(user, name, two["id"])["name"]
    with refused(409, "tag_exists"):
        api.tag(user, name, one["id"])


def test_a_move_takes_along_what_is_below(api: Api, user: User) -> None:
    trunk, branch = chain(api, user, 2), chain(api, user, 3)
    move(user, branch[1], trunk[1])
    assert below(api, branch[0]) == []
    assert api.get(f"/v1/tags/{branch[2]['id']}")["path"] == [
        tag["name"] for tag in (trunk[0], trunk[1], branch[1], branch[2])
    ]


def test_a_tag_can_become_a_root(api: Api, user: User) -> None:
    tags = chain(api, user, 3)
    assert move(user, tags[1], None)["parent_id"] is None
    assert below(api, tags[0]) == []
    assert below(api, tags[1]) == [tags[2]["name"]]


@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_cycle_is_refused(api: Api, user: User, length: int) -> None:
    tags = chain(api, user, length)
    with refused(409, "tag_cycle"):
        move(user, tags[0], tags[-1])
    assert api.get(f"/v1/tags/{tags[0]['id']}")["parent_id"] is None


def test_two_moves_at_once_do_not_close_a_cycle(api: Api, user: User, race: Fixture) -> None:
    """Each is fine alone; it is both together that must not happen."""
    for _ in range(5):
        one, two = api.tag(user), api.tag(user)
        moved = race(lambda: move(user, one, two), lambda: move(user, two, one))  # noqa: B023
        moved.expect(successes=1, errors=refused_as("tag_cycle"))


def test_a_move_beside_a_twin_is_refused(api: Api, user: User) -> None:
    one, two, name = api.tag(user), api.tag(user), unique("twin")
    tag, _ = api.tag(user, name, one["id"]), api.tag(user, name, two["id"])
    with refused(409, "tag_exists"):
        move(user, tag, two)


def test_leaves_go_before_their_parents(api: Api, user: User) -> None:
    parent, leaf = chain(api, user, 2)
    with refused(409, "tag_has_children"):
        user.delete(f"/v1/tags/{parent['id']}")
    for tag in (leaf, parent):
        user.delete(f"/v1/tags/{tag['id']}")
    with refused(404, "tag_not_found"):
        api.get(f"/v1/tags/{parent['id']}/descendants")


def test_children_added_at_once_are_all_there(api: Api, user: User, race: Fixture) -> None:
    root = api.tag(user)
    made = race(lambda: api.tag(user, parent=root["id"]), n=6)
    made.expect(successes=6)
    assert sorted(tag["name"] for tag in made.succeeded) == below(api, root)


@pytest.mark.parametrize(
    ("tag", "titles"),
    [
        ("music", ["About jazz", "About bebop", "About classical"]),
        ("jazz", ["About jazz", "About bebop"]),
        ("bebop", ["About bebop"]),
        ("sports", ["About sports"]),
    ],
)
def test_a_search_by_tag_includes_what_is_below(api: Api, forest: Forest, tag: str, titles: list[str]) -> None:
    assert api.found(tag=forest[tag], sort="relevance") == titles
    assert api.get(f"/v1/tags/{forest[tag]}")["used"] == len(titles)


def test_a_search_by_an_unknown_tag_finds_nothing(api: Api) -> None:
    assert api.search(tag=999999999)["total"] == 0


def test_the_name_of_a_tag_is_found_as_a_word(api: Api, forest: Forest) -> None:
    assert api.found(q=forest.tags["bebop"]["name"]) == ["About bebop"]


def test_new_tags_count_at_once_as_a_filter_and_later_as_a_word(api: Api, forest: Forest) -> None:
    owner, tag = forest.beside, api.tag(forest.beside, unique("late"))
    owner.put(f"/v1/searchables/{forest.untagged['id']}/tags", tag_ids=[tag["id"]])
    assert api.found(tag=tag["id"]) == ["Untagged at first"]
    assert api.found(q=tag["name"]) == []
    eventually(lambda: api.found(q=tag["name"]), lambda titles: titles == ["Untagged at first"])


def test_a_tag_taken_off_is_gone_at_once_as_a_filter_and_later_as_a_word(api: Api, forest: Forest) -> None:
    owner, path = forest.beside, f"/v1/searchables/{forest.untagged['id']}/tags"
    kept, taken = (api.tag(owner, unique(name)) for name in ("kept", "taken"))
    title = [forest.untagged["title"]]
    owner.put(path, tag_ids=[kept["id"], taken["id"]])
    eventually(lambda: api.found(q=taken["name"]), lambda titles: titles == title)
    owner.put(path, tag_ids=[kept["id"]])
    assert (api.found(tag=taken["id"]), api.found(q=taken["name"])) == ([], title)
    eventually(lambda: api.found(q=taken["name"]), lambda titles: titles == [])
    assert api.found(tag=kept["id"]) == api.found(q=kept["name"]) == title


def test_a_tag_that_moves_is_found_below_its_new_parent(api: Api, forest: Forest) -> None:
    """By a search for the new parent, at once and without any indexing."""
    new = api.tag(forest.owner)
    assert api.search(tag=new["id"])["total"] == 0
    leaf = api.tag(forest.owner, parent=forest["sports"])
    thing = next(item for item in api.search(tag=forest["sports"])["items"])
    forest.owner.put(f"/v1/searchables/{thing['id']}/tags", tag_ids=[forest["sports"], leaf["id"]])
    move(forest.owner, leaf, new)
    assert api.found(tag=new["id"]) == api.found(tag=forest["sports"]) == ["About sports"]
