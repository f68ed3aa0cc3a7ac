"""`list`: whole outputs compared."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli.listing import list_groups, show
from harness.errors import PlanError

CATALOGUE = """\
Available Test Suites:

CORE:
  • core: What the others rest on

ACCEPTANCE:
  • financial
  • withdrawals

OTHER:
  • search
    Depends on: financial (however it ends)

PHASES:
  1. core (one at a time, a failure ends the run): core
  2. parallel: search, financial
  3. stress (only with RUN_STRESS_TESTS=true): withdrawals
"""


def test_list(call) -> None:
    assert call(list_groups).output == CATALOGUE


def test_json_has_every_group_with_all_its_keys(call, project: Path) -> None:
    content = json.loads(call(list_groups, "--format", "json").output)
    assert content["project"] == str(project)
    assert [phase["name"] for phase in content["phases"]] == ["core", "parallel", "stress"]
    financial = content["groups"][2]
    assert financial["name"] == "financial"
    assert financial["timeout"] == 90
    assert financial["needs"] == {"payments_api": 5, "settings": "shared"}


def test_wrong_plan_is_refused(call, project: Path) -> None:
    (project / "harness.toml").write_text("[[phase]]")
    with pytest.raises(PlanError):
        call(list_groups)


def test_console_without_our_glyphs_gets_plainer_ones(capfd: pytest.CaptureFixture[str]) -> None:
    sys.stdout.reconfigure(encoding="ascii")
    show(["├── a", "│   └── b", "  • 2 × c", "█▓ −1 s a → b", "ü"])
    assert capfd.readouterr().out.splitlines() == ["|-- a", "|   `-- b", "  * 2 x c", "#= -1 s a > b", "\\xfc"]


def test_list_imports_nothing_heavy(project: Path) -> None:
    """What would make it slow, without a clock."""
    heavy = "psutil rich sqlite3 junitparser jinja2 requests tabulate asyncio subprocess harness.run"
    program = (
        "import sys; from harness.cli.main import main; main(); "
        f"print(set({heavy.split()!r}) & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--project", str(project), "list"],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "financial" in done.stdout
    assert done.stderr == "set()\n"
