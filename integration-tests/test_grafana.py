"""Grafana: the dashboards are whole, and each expression of each panel is one that has an answer."""

import json
import re
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
from client import Api, eventually, settle_all
from monitoring import (
    DASHBOARDS,
    Exposition,
    Json,
    Prometheus,
    check_names,
    dashboard,
    expressions,
    promtool,
    substitute,
    tool,
)

Check = Callable[[str, str], None]

EMPTY_IS_FINE = {"payments/Calls refused by the network/A"}
"""Where no data is the good news. Everywhere else the traffic below must show."""


@pytest.fixture(scope="module")
def exposition(url: str, slug: str, api: Api) -> Exposition:
    """What is exposed after something of everything that a dashboard shows."""
    seller, buyer = api.register("seller"), api.register("buyer")
    things = [seller.offer(price_cents=500) for _ in range(2)]
    settle_all(
        (seller, seller.deposit(100, card="card_declined")),
        (buyer, buyer.deposit(2000)),
        (seller, seller.publish(*things)),
    )
    for thing in things:
        buyer.buy(thing)
        buyer.rate(thing, 5)
    api.search()
    seller.upload()
    buyer.post(f"/v1/invites/{seller.post('/v1/invites')['code']}/redeem")
    return Exposition.of(url, slug)


@pytest.fixture(scope="module")
def run(
    exposition: Exposition,  # noqa: ARG001, there must have been traffic
    prometheus: Prometheus | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Check:
    """Runs an expression by the best means that this machine has."""
    if prometheus:
        eventually(prometheus.is_scraping, bool, within=20)
        return lambda where, expression: answered(prometheus, where, expression)
    if binary := tool("promtool", "PROMTOOL_BIN"):
        folder = tmp_path_factory.mktemp("promtool")
        return lambda _, expression: check_grammar(binary, expression, folder)
    return lambda _, __: None  # the names and labels, which the test checks anyway, are all that can be checked


def answered(prometheus: Prometheus, where: str, expression: str) -> None:
    """A new series takes two scrapes until it has a rate."""
    if where in EMPTY_IS_FINE:
        prometheus.query(expression)
    else:
        eventually(lambda: prometheus.query(expression), bool)


def check_grammar(binary: str, expression: str, folder: Path) -> None:
    rules = folder / "rules.json"
    rules.write_text(json.dumps({"groups": [{"name": "g", "rules": [{"record": "panel:value", "expr": expression}]}]}))
    promtool(binary, "check", "rules", str(rules))


@pytest.mark.parametrize(("where", "expression"), list(expressions()), ids=[where for where, _ in expressions()])
def test_each_expression_has_an_answer(
    slug: str, exposition: Exposition, run: Check, where: str, expression: str
) -> None:
    complete = substitute(expression, slug)
    check_names(complete, exposition, may_be_empty=where in EMPTY_IS_FINE)
    run(where, complete)


@pytest.fixture(params=DASHBOARDS, ids=lambda path: path.stem)
def board(request: pytest.FixtureRequest) -> Json:
    return dashboard(request.param)


def test_a_dashboard_says_what_it_is_for(board: Json) -> None:
    assert board["title"].startswith("Searchable: ")
    assert board["description"]
    for panel in board["panels"]:
        assert panel["title"], panel["id"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]


def test_panels_have_ids_of_their_own_and_do_not_overlap(board: Json) -> None:
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, two in combinations(panels, 2):
        a, b = one["gridPos"], two["gridPos"]
        apart = (
            a["x"] + a["w"] <= b["x"]
            or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"]
            or b["y"] + b["h"] <= a["y"]
        )
        assert apart, f"{one['title']} and {two['title']} overlap"
        assert a["x"] + a["w"] <= 24, f"{one['title']} is beyond the edge"


def test_a_panel_asks_the_chosen_source_about_the_chosen_organization(board: Json) -> None:
    assert {variable["name"] for variable in board["templating"]["list"]} == {"datasource", "organization"}
    for panel in board["panels"]:
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == panel["datasource"]["uid"] == "${datasource}"
            selectors = re.findall(r"searchable_\w+(\{[^}]*\})?", target["expr"])
            if target["expr"] != "searchable_organizations":
                assert all('organization=~"$organization"' in selector for selector in selectors), panel["title"]


def test_dashboards_are_told_apart() -> None:
    boards = [dashboard(path) for path in DASHBOARDS]
    assert len(boards) >= 3
    assert len({board["uid"] for board in boards}) == len({board["title"] for board in boards}) == len(boards)


def test_whatever_the_service_counts_is_on_a_dashboard(url: str) -> None:
    shown = " ".join(expression for _, expression in expressions())
    assert [name for name in Exposition.of(url).families if name not in shown] == []
