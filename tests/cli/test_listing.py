"""`list` and `plan`: whole outputs compared."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli.listing import list_groups, plan, show
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

GRAPH = """\
1. core (one at a time, a failure ends the run)
└── core core
    ├── at most 5 min 00 s
    └── $ true

2. parallel
├── search
│   ├── after financial (however it ends)
│   ├── at most 5 min 00 s
│   └── $ pytest -k 'a or b'
└── financial acceptance
    ├── never beside another of ledger
    ├── needs 5 × payments_api, settings shared
    ├── at most 1 min 30 s, 3 attempts
    └── $ true

3. stress (only with RUN_STRESS_TESTS=true)
└── withdrawals acceptance
    ├── at most 5 min 00 s
    └── $ true

3 phases, 4 groups, 0 test files; at most 4 groups at a time
"""


def test_list(call) -> None:
    assert call(list_groups).output == CATALOGUE


def test_plan(call) -> None:
    assert call(plan).output == GRAPH


def test_plan_shows_what_else_a_group_asks_for(call, project: Path) -> None:
    (project / "test_a.py").touch()
    (project / "harness.toml").write_text(
        """
        [[services]]
        name = "database"
        kind = "postgres"
        [isolation.tenant]
        kind = "tmpdir"
        [[phases]]
        name = "only"
        [[phases.groups]]
        name = "a"
        tests = ["test_a.py"]
        slots = 2
        services = ["database"]
        isolate = ["tenant"]
        """
    )
    lines = call(plan).output.splitlines()
    assert lines[1:7] == [
        "└── a",
        "    ├── takes 2 slots",
        "    ├── with database",
        "    ├── its own tenant",
        "    ├── at most 5 min 00 s",
        "    └── test_a.py",
    ]


def test_json_has_every_group_with_all_its_keys(call, project: Path) -> None:
    content = json.loads(call(list_groups, "--format", "json").output)
    assert content["project"] == str(project)
    assert [phase["name"] for phase in content["phases"]] == ["core", "parallel", "stress"]
    financial = content["groups"][2]
    assert financial["name"] == "financial"
    assert financial["timeout"] == 90
    assert financial["needs"] == {"payments_api": 5, "settings": "shared"}


def test_command_cannot_act_on_the_terminal(call, project: Path) -> None:
    text = (project / "harness.toml").read_text()
    (project / "harness.toml").write_text(text.replace('"true"', r'"printf \u001b]0;owned"', 1))
    output = call(plan).output
    assert "\x1b" not in output
    assert r"$ printf \x1b]0;owned" in output


def test_wrong_plan_is_refused(call, project: Path) -> None:
    (project / "harness.toml").write_text("[[phase]]")
    with pytest.raises(PlanError):
        call(list_groups)


def test_console_without_our_glyphs_gets_plainer_ones(capfd: pytest.CaptureFixture[str]) -> None:
    sys.stdout.reconfigure(encoding="ascii")
    show(["├── a", "│   └── b", "  • 2 × c", "ü"])
    assert capfd.readouterr().out.splitlines() == ["|-- a", "|   `-- b", "  * 2 x c", "\\xfc"]


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
