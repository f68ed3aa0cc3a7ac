"""docs/fixtures.md: its examples run, and its table names the fixtures that there are."""

import re
from pathlib import Path

from plugin_suites import PluginSuite

from harness.pytest_plugin.harness_fixtures.hooks import _FIXTURES

DOC = (Path(__file__).parent.parent.parent / "docs" / "fixtures.md").read_text()


def test_the_examples(plugged: PluginSuite, postgres_url: str) -> None:
    examples = re.findall(r"```python\n(.*?)```", DOC, re.DOTALL)
    for number, example in enumerate(examples):
        plugged.write(**{f"test_{number}": example})
    ran = plugged.run(DATABASE_URL=postgres_url)
    tests = len(re.findall(r"^def test_", "\n".join(examples), re.MULTILINE))
    assert ran.outcomes == {"passed": tests}, ran.output
    assert len(examples) == 3


def test_the_table() -> None:
    table = DOC.partition("| fixture | is |")[2].partition("\n\n")[0]
    named = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == {name for names in _FIXTURES.values() for name in names if name[0] != "_"}
