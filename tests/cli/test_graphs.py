"""`plan` as a picture: whole outputs compared, and names that would break the languages."""

import json
import re
from pathlib import Path

import pytest

from harness.cli.graphs import as_json, dot, mermaid
from harness.cli.plan import plan
from harness.model import Dependency, Group, Phase, Plan
from harness.planning.estimate import estimate

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


def test_tree(call) -> None:
    assert call(plan).output == GRAPH


def test_tree_shows_what_else_a_group_asks_for(call, project: Path) -> None:
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
        splittable = true
        services = ["database"]
        isolate = ["tenant"]
        """
    )
    lines = call(plan).output.splitlines()
    assert lines[1:8] == [
        "└── a",
        "    ├── takes 2 slots",
        "    ├── its files by themselves, side by side",
        "    ├── with database",
        "    ├── its own tenant",
        "    ├── at most 5 min 00 s",
        "    └── test_a.py",
    ]


def test_command_cannot_act_on_the_terminal(call, project: Path) -> None:
    text = (project / "harness.toml").read_text()
    (project / "harness.toml").write_text(text.replace('"true"', r'"printf \u001b]0;owned"', 1))
    output = call(plan).output
    assert "\x1b" not in output
    assert r"$ printf \x1b]0;owned" in output


MERMAID = """\
flowchart LR
  subgraph p1["core (one at a time, a failure ends the run)"]
    g1["core"]
  end
  subgraph p2["parallel"]
    g2["search"]
    g3["financial"]
  end
  subgraph p3["stress (only with RUN_STRESS_TESTS=true)"]
    g4["withdrawals"]
  end
  p1 ==> p2
  p2 ==> p3
  g3 -.-> g2
"""

DOT = """\
digraph plan {
  rankdir=LR; compound=true; node [shape=box];
  subgraph cluster_1 {
    label="core (one at a time, a failure ends the run)";
    g1 [label="core"];
  }
  subgraph cluster_2 {
    label="parallel";
    g2 [label="search"];
    g3 [label="financial"];
  }
  subgraph cluster_3 {
    label="stress (only with RUN_STRESS_TESTS=true)";
    g4 [label="withdrawals"];
  }
  g1 -> g2 [style=bold, ltail=cluster_1, lhead=cluster_2];
  g3 -> g4 [style=bold, ltail=cluster_2, lhead=cluster_3];
  g3 -> g2 [style=dotted];
}
"""

WILD = ['say "hi"', "a]b[c{d}", "1. one", "- two", "x\ny", "back\\slash\\", "`code`", "a;b#c&d<e>", "ü–ß", "*b* _i_"]


def test_mermaid(call) -> None:
    assert call(plan, "--format", "mermaid").output == MERMAID


def test_dot(call) -> None:
    assert call(plan, "--format", "dot").output == DOT


def test_an_arrow_leads_to_what_waits() -> None:
    made = plan_of("a", Group(name="b", phase="p", command="true", depends_on=(Dependency(group="a"),)))
    assert "  g1 --> g2" in mermaid(made)
    assert "  g1 -> g2;" in dot(made)


def test_a_phase_without_groups_is_in_no_picture() -> None:
    made = Plan(project="/p", phases=(*plan_of("a").phases, Phase(name="none"), *plan_of("b").phases))
    assert [line for line in mermaid(made) if "==>" in line] == ["  p1 ==> p3"]
    assert [line for line in dot(made) if "style=bold" in line] == [
        "  g1 -> g2 [style=bold, ltail=cluster_1, lhead=cluster_3];"
    ]
    assert "none" not in "".join([*mermaid(made), *dot(made)])


@pytest.mark.parametrize("name", WILD)
def test_mermaid_labels_hold_nothing_that_means_something(name: str) -> None:
    (line,) = [line for line in mermaid(plan_of(name)) if line.startswith("    g1")]
    label = re.fullmatch(r'    g1\["(.*)"\]', line)[1]
    assert not re.search(r"[\"`<>&\[\]{}\\;*](?<!\d;)|^(\d+\.|-) ", label)
    shown = re.sub(r"#(\d+);", lambda code: chr(int(code[1])), label)
    assert shown == name.replace("\n", r"\n")


@pytest.mark.parametrize("name", WILD)
def test_dot_labels_are_one_string(name: str) -> None:
    (line,) = [line for line in dot(plan_of(name)) if line.startswith("    g1")]
    label = re.fullmatch(r'    g1 \[label="((?:[^"\\]|\\["\\])*)"\];', line)[1]
    assert re.sub(r"\\(.)", r"\1", label) == name.replace("\n", r"\n")


def test_json(call, project: Path) -> None:
    content = json.loads(call(plan, "--format", "json").output)
    assert content["project"] == str(project)
    assert (content["jobs"], content["resources"]) == (4, {"payments_api": 20})
    assert [phase["name"] for phase in content["phases"]] == ["core", "parallel", "stress"]
    assert content["groups"][2]["needs"] == {"payments_api": 5, "settings": "shared"}
    assert content["edges"] == [{"from": "financial", "to": "search", "after": "any"}]
    assert content["estimates"]["core"] == {"seconds": 1.0, "guess": True}


def test_json_says_what_is_a_guess() -> None:
    made = plan_of("a", "b")
    content = json.loads(as_json(made, estimate(["a", "b"], {"a": [3.0]})))
    assert content["estimates"] == {"a": {"seconds": 3.0, "guess": False}, "b": {"seconds": 3.0, "guess": True}}


def plan_of(*groups: Group | str) -> Plan:
    made = tuple(Group(name=g, phase="p", command="true") if isinstance(g, str) else g for g in groups)
    return Plan(project="/p", phases=(Phase(name="p", groups=made),))
