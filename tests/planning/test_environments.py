"""What a plan says of isolated environments and of budgets, beyond single keys."""

from typing import Any

import pytest

from harness.model import Budget

GROUP = """
[[phases]]
name = "p"
[[phases.groups]]
name = "a"
command = "true"
"""
TWO = """
[isolation.one]
kind = "postgres"
dsn = "${ADMIN}"
[isolation.two]
kind = "postgres"
dsn = "${ADMIN}"
"""


def test_two_environments_of_a_group_must_not_hand_over_one_variable(load: Any, refused: Any) -> None:
    assert refused((TWO + GROUP + 'isolate = ["one", "two"]').encode()) == [
        'harness.toml:14: phases[0].groups[0].isolate[1]: "two" hands over DATABASE_URL, as "one" does; '
        "name another variable",
        'harness.toml:14: phases[0].groups[0].isolate[1]: "two" hands over POSTGRES_SCHEMA, as "one" does; '
        "name another variable",
    ]
    other = TWO + 'variable = "SECOND_URL"\nschema_variable = "SECOND_SCHEMA"\n'
    assert load((other + GROUP + 'isolate = ["one", "two"]').encode()).groups[0].isolate == ("one", "two")


def test_a_table_of_bounds_is_a_budget_and_a_number_is_a_count(load: Any) -> None:
    plan = load(
        b'[resources]\napi = { concurrent = 20, rate = "600/m" }\nmail = { rate = "5/s" }\nlicenses = 3\n'
        + GROUP.encode()
    )
    assert plan.resources == {"licenses": 3}
    assert plan.budgets == (
        Budget(name="api", concurrent=20, requests=600, window=60.0),
        Budget(name="mail", concurrent=None, requests=5, window=1.0),
    )


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ("{}", 'resources.api: has no bound; write { concurrent = 20, rate = "25/s" }, or one of the two'),
        ('{ rate = "fast" }', 'resources.api.rate: "fast" is not a rate: write 25/s, 600/m or 1000/h'),
        ('{ rate = "0/s" }', 'resources.api.rate: "0/s" is not a rate: write 25/s, 600/m or 1000/h'),
        ("{ concurrent = 0 }", "resources.api.concurrent: 0 is not a whole number from 1"),
        ("{ limit = 3 }", "resources.api.limit: unknown key"),
    ],
)
def test_a_wrong_budget_is_refused(refused: Any, bounds: str, message: str) -> None:
    assert any(message in problem for problem in refused(f"[resources]\napi = {bounds}\n{GROUP}".encode()))


def test_a_group_cannot_need_a_budget(refused: Any) -> None:
    text = '[resources]\napi = { rate = "5/s" }\n' + GROUP + "needs = { api = 1 }"
    assert refused(text.encode()) == [
        'harness.toml:9: phases[0].groups[0].needs.api: "api" is a budget: requests are taken from it one by one, '
        "with `harness hold`"
    ]
