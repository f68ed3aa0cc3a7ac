"""The documentation is the fixture: what docs/plan.md shows is what the code does."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from harness.planning.describe import PAGE, SCHEMA, json_schema, page, titles
from harness.planning.kinds import CREATE, DELETE, GUARD, KINDS
from harness.planning.schema import PLAN, TABLES

TEXT = PAGE.read_text(encoding="utf-8")
ABOUT, _, REFUSED = TEXT.partition("\n## Wrong plans\n")
WRONG = re.findall(r"### (.+?)\n\n```toml\n(.*?)```\n\n```text\n(.*?)```", REFUSED, re.DOTALL)
RIGHT = re.findall(r"```toml\n(.*?)```", ABOUT, re.DOTALL)
FILES = ("test_a.py", "test_b.py", "sub/test_deposits.py")
AGAIN = "run `python -m harness.planning.describe` and look at the difference"


@pytest.mark.parametrize(("title", "plan", "problems"), WRONG, ids=[title for title, _, _ in WRONG])
def test_wrong_plans_are_refused_as_documented(
    title: str, plan: str, problems: str, tmp_path: Path, refused: Any
) -> None:
    assert title
    (tmp_path / "sub").mkdir()
    for name in FILES:
        (tmp_path / name).write_text("")
    assert refused(plan) == problems.splitlines()


def test_there_are_enough_wrong_plans() -> None:
    assert len(WRONG) >= 25
    assert TEXT.count("```toml") == len(WRONG) + len(RIGHT)


def test_the_example_plan_loads(tmp_path: Path, load: Any) -> None:
    for name in ("test_integration.py", "test_deposits.py", "test_withdrawals.py", "search/deep/test_x.py"):
        (tmp_path / "integration-tests" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "integration-tests" / name).write_text("")
    plan = load(RIGHT[0])
    assert [group.name for group in plan.groups] == ["core", "financial", "search"]


def test_the_example_of_a_tenant_loads(load: Any) -> None:
    plan = load(RIGHT[1] + '[[phases]]\nname = "p"\n[[phases.groups]]\nname = "a"\ncommand = "x"\nisolate = "tenant"')
    assert plan.groups[0].isolate == ("tenant",)
    assert plan.isolation[0].options["guard"] == {
        "method": "GET",
        "path": "/v1/platform/organizations/{name}",
        "body": {},
        "never_where": {"live": True},
    }


def test_every_table_of_keys_is_on_the_page() -> None:
    expected = {table.title for table in (PLAN, *TABLES, *KINDS.values(), CREATE, DELETE, GUARD)}
    assert sorted(titles(TEXT)) == sorted(expected)


def test_the_page_is_current() -> None:
    assert page(TEXT) == TEXT, AGAIN


def test_the_schema_is_current() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == json_schema(), AGAIN


def test_every_key_has_a_meaning() -> None:
    for table in (PLAN, *TABLES, *KINDS.values(), CREATE, DELETE, GUARD):
        for key in table.keys.values():
            assert key.doc.endswith("."), (table.title, key.name)
            assert key.default is not None or key.otherwise, (table.title, key.name)


def test_the_schema_accepts_right_plans_and_refuses_wrong_keys() -> None:
    schema = json.loads(json_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for text in RIGHT:
        validator.validate(tomllib.loads(text))
    for wrong in (
        "timeout = 1",
        "[run]\nretries = true",
        "[run]\nmax_parallel_jobs = 0",
        "[[phases]]\nsequential = true",
        "[[phases]]\nname = 'p'\n[[phases.groups]]\nname = 'a'\nslotz = 1",
        "[[phases]]\nname = 'p'\n[[phases.groups]]\nname = 'a'\nneeds = { x = 'mine' }",
        "[isolation.x]\nkind = 'tmpdir'\nhouse = true",
        "[[services]]\nname = 'a b'",
    ):
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(tomllib.loads(wrong))
