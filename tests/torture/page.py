"""The last result of each part, kept as JSON, and the table of docs/reliability.md that is made of it."""

import json
import os
import platform
import subprocess
from datetime import date
from pathlib import Path

from torture.trials import Result

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "reliability.md"
LAST = Path(__file__).parent / "last.json"
BEGIN, END = "<!-- torture -->\n", "<!-- end -->\n"


def note(part: str, results: list[Result], seed: int) -> None:
    """Remembers them as the last of their part, and puts all parts' into the page."""
    last = json.loads(LAST.read_text()) if LAST.exists() else {}
    last[part] = {
        "date": date.today().isoformat(),
        "commit": _commit(),
        "machine": f"{platform.system()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "seed": seed,
        "rows": [result.row for result in results],
    }
    LAST.write_text(json.dumps(last, indent=2, ensure_ascii=False) + "\n")
    PAGE.write_text(written_into(PAGE.read_text(), render(last)))


def render(last: dict[str, dict]) -> str:
    lines = ["| what | times | failed | took | when |", "| --- | --- | --- | --- | --- |"]
    for part in last.values():
        lines += [f"| {' | '.join(row)} | {part['date']}, {part['commit']} |" for row in part["rows"]]
    machines = sorted({part["machine"] for part in last.values()})
    seeds = sorted({str(part["seed"]) for part in last.values()})
    return "\n".join([*lines, "", f"On {'; '.join(machines)}. Seed {', '.join(seeds)}."]) + "\n"


def written_into(page: str, table: str) -> str:
    """The page with this table between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def _commit() -> str:
    said = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return said.stdout.strip()
