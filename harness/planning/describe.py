"""The plan's keys for people and for editors: the tables of docs/plan.md, and docs/harness.schema.json.

Both are made from the declarations in schema.py and kinds.py. `python -m harness.planning.describe` writes them anew;
a test fails while they are not current. On the page a table stands between `<!-- keys: [run] -->` and `<!-- end -->`;
what is around them is written by hand.
"""

import json
import re
from pathlib import Path

from harness.planning.compound import REQUIRED, Key, Table
from harness.planning.kinds import CREATE, DELETE, GUARD, KINDS
from harness.planning.schema import PLAN, TABLES

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "plan.md"
SCHEMA = DOCS / "harness.schema.json"

_REGION = re.compile(r"(<!-- keys: (.+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def json_schema() -> str:
    """The JSON schema of harness.toml, for editors."""
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "harness.toml",
        "description": "The plan of a run of the harness: phases, groups, services, resources, environments.",
    }
    return json.dumps(head | PLAN.json, indent=2, ensure_ascii=False) + "\n"


def page(text: str) -> str:
    """The page with every table of keys made anew. KeyError for a title that no table has."""
    tables = {table.title: table for table in (PLAN, *TABLES, *KINDS.values(), CREATE, DELETE, GUARD)}
    return _REGION.sub(lambda match: match[1] + "\n" + key_table(tables[match[2]]) + "\n" + match[4], text)


def titles(text: str) -> list[str]:
    """Which tables the page shows."""
    return [match[2] for match in _REGION.finditer(text)]


def key_table(table: Table) -> str:
    """A Markdown table of one table's keys."""
    rows = [(f"`{key.name}`", _cell(key.type.label), _default(key), _cell(key.doc)) for key in table.keys.values()]
    lines = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows]) + "\n"


def _default(key: Key) -> str:
    if key.default is REQUIRED:
        return "**required**"
    if key.default is None:
        return _cell(key.otherwise)
    return f"`{json.dumps(key.default)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    SCHEMA.write_text(json_schema(), encoding="utf-8")


if __name__ == "__main__":
    main()
