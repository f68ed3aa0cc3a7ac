"""What docs/isolation.md shows is true of the code."""

import re
from pathlib import Path

import pytest

from harness.cli.main import COMMANDS
from harness.planning.kinds import KINDS

from .conftest import Load

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/isolation.md").read_text()
BUNDLED, *OTHERS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)

SERVICES = "".join(
    f'\n[[services]]\nname = "{name}"\ncommand = "serve {{port}}"\n' for name in ("postgres", "redis", "searchable")
)
GROUP = '\n[[phases]]\nname = "p"\n[[phases.groups]]\nname = "g"\ncommand = "true"\nisolate = ["{entry}"]\n'


@pytest.mark.parametrize("entry", [BUNDLED, *OTHERS])
def test_its_entries_are_right(entry: str, load: Load) -> None:
    (name,) = re.findall(r"^\[isolation\.(\w+)\]", entry, re.MULTILINE)
    plan = load(entry + SERVICES + GROUP.format(entry=name))
    assert plan.groups[0].isolate == (name,)


def test_every_kind_is_shown() -> None:
    assert re.findall(r"^### `(\w+)`", PAGE, re.MULTILINE) == list(KINDS)
    assert len(OTHERS) == len(KINDS) - 1


def test_the_bundled_suite_has_the_lines_that_it_says() -> None:
    plan = (ROOT / "harness.toml").read_text()
    assert BUNDLED in plan
    (isolate,) = re.findall(r"and `(isolate = .*?)` in each group", PAGE)
    assert plan.count(isolate) == plan.count("[[phases.groups]]") - 1, "all but the group platform"


def test_its_commands_and_links_lead_somewhere() -> None:
    commands = re.findall(r"\./exec\.sh local (\w+)", PAGE)
    assert len(commands) >= 4
    assert set(commands) <= set(COMMANDS)
    links = re.findall(r"\]\(([^)#:]+)", PAGE)
    assert len(links) >= 2
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
