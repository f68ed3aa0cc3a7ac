"""Whatever stands in harness.toml, the answer is a Plan or a PlanError with located lines; never another exception."""

import copy
import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hostile_plans import dump
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import PlanError
from harness.model import Plan
from harness.planning.kinds import KINDS
from harness.planning.load import load_plan
from harness.planning.locate import Lines
from harness.planning.schema import PLAN, TABLES

GOOD = r"""
[run]
timeout = "1m"
env = { BASE = "{web.url}" }
env_files = [".env"]

[resources]
api = 20

[variables.COUNT]
type = "count"
default = 5

[environments.local]
services = ["web"]

[isolation.tmpdir]
home = true

[isolation.tenant]
base_url = "{web.url}"
create = { path = "/orgs", body = { slug = "{name}", list = [1, 2.5] }, read = { KEY = "key" } }
delete = { path = "/orgs" }

[[services]]
name = "web"
command = ["web", "{port}"]
ready = { log = "up", timeout = 3 }

[[phases]]
name = "one"
sequential = true

[[phases.groups]]
name = "a"
tests = ["test_a.py", "sub/*.py"]
isolate = ["tmpdir", "tenant"]

[[phases]]
name = "two"
when = "TWO"

[[phases.groups]]
name = "b"
command = "true"
depends_on = ["a", { group = "c", after = "any" }]
needs = { api = 5, lock = "shared" }
parallel_group = "x"

[[phases.groups]]
name = "c"
command = ["x"]

[[pipeline]]
name = "suite"
suite = true
"""

KEYS = sorted({key for table in (PLAN, *TABLES, *KINDS.values()) for key in table.keys} | {"", "x y", "\x00", "é"})
scalars = (
    st.sampled_from(
        ["", "a", "b", "web", "{web.port}", "{no.port}", "5m", "test_a.py", "*", "**", "**x", "[", "..", "\0", "."]
    )
    | st.text(max_size=8)
    | st.integers()
    | st.integers(min_value=2**64, max_value=2**2000)
    | st.booleans()
    | st.floats()
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=6,
)


def ways(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything in a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way] * bool(way) + [inner for key, item in items for inner in ways(item, (*way, key))]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    data = copy.deepcopy(tomllib.loads(GOOD))
    for _ in range(draw(st.integers(1, 4))):
        *way, last = draw(st.sampled_from(ways(data)))
        table: Any = data
        for part in way:
            table = table[part]
        action = draw(st.sampled_from(["replace", "remove", "add"]))
        if action == "replace":
            table[last] = draw(values)
        elif action == "remove":
            del table[last]
        elif isinstance(table, dict):
            table[draw(st.sampled_from(KEYS))] = draw(values)
        else:
            table.append(draw(values))
        if not ways(data):
            break
    return "".join(f"{dump(key)} = {dump(value)}\n" for key, value in data.items())


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fuzz")
    (path / "sub").mkdir()
    for name in ("test_a.py", "sub/test_b.py", ".env"):
        (path / name).write_text("")
    return path


def check(project: Path, content: bytes) -> None:
    (project / "harness.toml").write_bytes(content)
    try:
        loaded = load_plan(project, date(2026, 1, 31))
    except PlanError as error:
        problems = error.problems
    else:
        assert isinstance(loaded, Plan)
        return
    assert problems
    for problem in problems:
        match = re.fullmatch(r"harness\.toml:(\d+): \S.*", problem)
        assert match, problem
        assert 1 <= int(match[1]) <= content.count(b"\n") + 1
        assert problem.isprintable()


def test_the_seed_is_a_good_plan(project: Path) -> None:
    (project / "harness.toml").write_text(GOOD)
    assert [group.name for group in load_plan(project, date(2026, 1, 31)).groups] == ["a", "b", "c"]


@settings(max_examples=300)
@given(text=mutated())
def test_a_plan_with_wrong_values_is_refused_in_lines(project: Path, text: str) -> None:
    # lone surrogates have no UTF-8, and what a file cannot hold need not be tried
    check(project, text.encode("utf-8", "replace"))


@settings(max_examples=200)
@given(data=st.data())
def test_a_plan_with_torn_text_is_refused_in_lines(project: Path, data: st.DataObject) -> None:
    content = GOOD.encode()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(at, min(len(content), at + 30)))
        piece = data.draw(
            st.sampled_from(
                [b"", b'"', b"'", b'"""', b"[", b"[[", b"]", b"{", b"}", b"=", b"\n", b"#", b"\0", b"\xff", b","]
            )
        )
        content = content[:at] + piece + content[end:]  # fmt: skip
    check(project, content)


@settings(max_examples=200)
@given(text=mutated())
def test_every_key_of_a_file_has_a_line(text: str) -> None:
    try:
        data = tomllib.loads(text)
    except ValueError:
        return
    lines = Lines(text)
    for number, key in enumerate(data, 1):  # `dump` writes one line for each key of the top level
        for way in ways(data[key], (key,)):
            assert lines.of(way) == number
