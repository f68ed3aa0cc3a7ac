"""What the README shows is true of the code."""

import re
import tomllib
from datetime import date
from pathlib import Path

from harness.cli.main import COMMANDS
from harness.planning.load import load_plan

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_plan_for_another_repository_is_right(tmp_path: Path) -> None:
    (plan,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "harness.toml").write_text(plan)
    root = tmp_path / tomllib.loads(plan)["run"]["test_root"]
    root.mkdir(parents=True)
    for name in ("test_core.py", "test_orders_new.py"):
        (root / name).touch()
    interpreter = tmp_path / ".venv/bin/python"
    interpreter.parent.mkdir(parents=True)
    interpreter.touch(mode=0o755)
    assert [group.name for group in load_plan(tmp_path, date(2026, 1, 31)).groups] == ["core", "orders", "frontend"]


def test_the_commands_that_it_shows_exist() -> None:
    shown = re.findall(r"^\./exec\.sh local (\w+)", README, re.MULTILINE)
    assert len(shown) > 5
    assert set(shown) <= set(COMMANDS)


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []
