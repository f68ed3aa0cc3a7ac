"""Social-media links: what each network takes for a handle, and moderation, which comes a moment later."""

import pytest
from client import Api, Json, User, eventually, refused


def link(user: User, network: str, value: str) -> Json:
    return user.put(f"/v1/users/me/links/{network}", value=value)


def links(api: Api, user: User) -> dict[str, str]:
    """Network to status, as everybody sees it."""
    return {item["network"]: item["status"] for item in api.get(f"/v1/users/{user.handle}")["links"]}


@pytest.mark.parametrize(
    ("network", "value", "address"),
    [
        ("github", "octo-cat", "https://github.com/octo-cat"),
        ("github", "https://www.github.com/octo-cat/", "https://github.com/octo-cat"),
        ("instagram", "@some.body_1", "https://instagram.com/some.body_1"),
        ("linkedin", "https://linkedin.com/in/jane-doe", "https://linkedin.com/in/jane-doe"),
        ("x", "https://twitter.com/jane", "https://x.com/jane"),
        ("youtube", "https://www.youtube.com/@jane.plays", "https://youtube.com/@jane.plays"),
        ("youtube", "@jane.plays", "https://youtube.com/@jane.plays"),
    ],
)
def test_a_handle_or_an_address_leads_to_one_canonical_address(
    user: User, network: str, value: str, address: str
) -> None:
    assert link(user, network, value)["url"] == address


@pytest.mark.parametrize(
    ("network", "value"),
    [
        ("github", "double--dash"),
        ("github", "https://gitlab.com/octocat"),
        ("github", "http://github.com/octocat"),
        ("github", "https://github.com/octocat/repository"),
        ("github", "https://github.com.evil.example/octocat"),
        ("instagram", "two..dots"),
        ("instagram", "ends.with."),
        ("linkedin", "https://linkedin.com/company/acme"),
        ("x", "sixteen_letters_"),
        ("youtube", "no spaces"),
    ],
)
def test_what_a_network_would_not_accept_is_refused(user: User, network: str, value: str) -> None:
    with refused(422, "invalid_link"):
        link(user, network, value)


def test_an_unknown_network_is_not_found(user: User) -> None:
    with refused(404, "network_not_found"):
        link(user, "myspace", "tom")


def test_links_take_a_user(api: Api) -> None:
    with refused(401, "no_token"):
        api.send("PUT", "/v1/users/me/links/github", json={"value": "octocat"})


def test_a_link_is_pending_until_it_is_moderated_and_again_when_it_changes(api: Api, user: User, other: User) -> None:
    assert link(user, "github", "octocat")["status"] == "pending"
    link(other, "x", "official_bank")
    assert links(api, user) == {"github": "pending"}
    eventually(lambda: links(api, user), lambda seen: seen == {"github": "verified"})
    eventually(lambda: links(api, other), lambda seen: seen == {"x": "rejected"})
    assert link(other, "x", "just_a_bank")["status"] == "pending"
    eventually(lambda: links(api, other), lambda seen: seen == {"x": "verified"})


def test_a_verified_link_that_changes_for_the_worse_is_rejected_alone(api: Api, user: User) -> None:
    """Good conduct is no pass for later; nor does one bad link count against the others."""
    link(user, "github", "octocat")
    link(user, "youtube", "the.band")
    eventually(lambda: links(api, user), lambda seen: seen == {"github": "verified", "youtube": "verified"})
    link(user, "github", "AdminOfEverything")
    assert links(api, user) == {"github": "pending", "youtube": "verified"}
    eventually(lambda: links(api, user), lambda seen: seen == {"github": "rejected", "youtube": "verified"})


def test_a_user_has_one_link_a_network_and_several_networks(api: Api, user: User) -> None:
    link(user, "github", "first")
    link(user, "github", "second")
    link(user, "x", "jane")
    shown = api.get(f"/v1/users/{user.handle}")["links"]
    assert [(item["network"], item["handle"]) for item in shown] == [("github", "second"), ("x", "jane")]


def test_two_users_may_link_the_same_account(user: User, other: User) -> None:
    assert link(user, "youtube", "theband")["url"] == link(other, "youtube", "theband")["url"]


def test_a_removed_link_is_gone(api: Api, user: User) -> None:
    link(user, "x", "jane")
    user.delete("/v1/users/me/links/x")
    assert links(api, user) == {}
    with refused(404, "link_not_found"):
        user.delete("/v1/users/me/links/x")


def test_a_link_that_is_removed_before_it_is_moderated_does_not_come_back(api: Api, user: User) -> None:
    link(user, "x", "jane")
    user.delete("/v1/users/me/links/x")
    link(user, "github", "octocat")  # moderated after the other would have been
    eventually(lambda: links(api, user), lambda seen: seen == {"github": "verified"})
    assert link(user, "x", "official_jane")["status"] == "pending"
