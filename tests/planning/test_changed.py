"""Which groups a set of changed files concerns; and that globs mean on names what they mean on the disk."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.model import Group, Phase, Plan
from harness.planning.changed import changed_groups, matches
from harness.planning.files import Tree

GROUPS = (
    Group(name="api", phase="p", tests=("api/test_a.py", "api/test_b.py::TestB"), inputs=("src/api/**", "data.json")),
    Group(name="web", phase="p", tests=("web/test_w.py",), inputs=("./src/web/*.ts",)),
    Group(name="build", phase="p", command="make", inputs=("Makefile", "src/**/*.c")),
    Group(name="unknown", phase="p", tests=("test_u.py",)),
)
PLAN = Plan(project="/project", test_root="it", phases=(Phase(name="p", groups=GROUPS),))
ALL = {group.name for group in GROUPS}


@pytest.mark.parametrize(
    ("file", "groups"),
    [
        # tests
        ("it/api/test_a.py", {"api"}),
        ("it/api/test_b.py", {"api"}),
        ("it/web/test_w.py", {"web"}),
        ("api/test_a.py", set()),
        # what pytest reads around them
        ("it/api/conftest.py", {"api"}),
        ("it/conftest.py", {"api", "web"}),
        ("conftest.py", {"api", "web"}),
        ("pyproject.toml", {"api", "web"}),
        ("it/pytest.ini", {"api", "web"}),
        ("it/other/conftest.py", set()),
        ("src/conftest.py", set()),
        # inputs
        ("src/api/deep/er/x.py", {"api"}),
        ("src/api/x.py", {"api"}),
        ("data.json", {"api"}),
        ("src/web/x.ts", {"web"}),
        ("src/web/deep/x.ts", set()),
        ("src/x.c", {"build"}),
        ("Makefile", {"build"}),
        ("it/Makefile", set()),
        ("README.md", set()),
        # what all depend on
        ("harness.toml", ALL),
        ("uv.lock", ALL),
        (".env", ALL),
        ("it/harness.toml", set()),
    ],
)
def test_one_file(file: str, groups: set[str]) -> None:
    assert changed_groups(PLAN, {file}) == groups | {"unknown"}


def test_nothing_changed_leaves_what_is_unknown() -> None:
    assert changed_groups(PLAN, frozenset()) == {"unknown"}


def test_lock_files_of_the_plan_replace_the_usual_names() -> None:
    plan = Plan(project="/project", phases=PLAN.phases, lock_files=("deps/my.lock",), env_files=("deps/env",))
    assert changed_groups(plan, {"uv.lock", ".env"}) == {"unknown"}
    assert changed_groups(plan, {"deps/my.lock"}) == changed_groups(plan, {"deps/env"}) == ALL


NAMES = st.sampled_from(["a", "b", "ab", ".a", "__pycache__", "a[b]", "A"])
PARTS = st.sampled_from(["a", "b", "*", "**", "?", "a*", "[ab]", ".a", "[!a]", "__pycache__", ".*", "*b", "a[b]"])
FILES = st.lists(st.lists(NAMES, min_size=1, max_size=4).map("/".join), min_size=1, max_size=6)
GLOBS = st.lists(PARTS, min_size=1, max_size=5).map("/".join)


@settings(max_examples=300)
@example(["a"], "a/**")
@example([".a/b"], ".a/*")
@example(["a/__pycache__/b"], "a/**/__pycache__/*")
@given(FILES, GLOBS)
def test_globs_mean_on_names_what_they_mean_on_the_disk(names: list[str], glob: str) -> None:
    with TemporaryDirectory() as directory:
        made = set()
        for name in names:
            path = Path(directory, name)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            except OSError:  # a file where this one needs a directory
                continue
            if path.is_file():
                made.add(name)
        tree = Tree(Path(directory), "")
        found = {glob} if tree.is_file(glob) else set(tree.glob(glob))
        # On names alone nobody knows whether the glob is a file's very name, so it may stand for more, never for less.
        matching = {name for name in made if matches(name, glob)}
        assert found <= matching
        if not tree.is_file(glob):
            assert matching == found


def test_many_double_stars_take_no_time() -> None:
    assert not matches("/".join("a" * 60), "**/" * 30 + "b")
    assert matches("/".join("a" * 60), "**/" * 30 + "a")
