"""The table of docs/performance.md, made from what benchmarks/results/ keeps: `python -m benchmarks report`.

A claim in that page is a row here, and so never without the rounds behind it.
"""

from benchmarks.measure import RESULTS, Result, compared, cores_of_others, described, load
from benchmarks.tools import ROOT

PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- results -->\n", "<!-- end -->\n"


def render(results: list[Result]) -> str:
    """One table of all comparisons; then when, on what and with which versions each was measured."""
    lines = ["| benchmark | what | median | least to most | goal | met |", "| --- | --- | --- | --- | --- | --- |"]
    for measured in results:
        for row in compared(measured):
            lines.append(f"| {' | '.join([f'`{measured.name}`', *row])} |")
    lines.append("")
    conditions: dict[str, list[str]] = {}
    versions: dict[str, set[str]] = {}
    for measured in results:
        when = f"{measured.date}, {described(measured.machine)}"
        conditions.setdefault(when, []).append(f"`{measured.name}` {cores_of_others(measured)}")
        for tool, version in measured.versions.items():
            versions.setdefault(tool, set()).add(version)
    lines += [f"- {when}, of which others took meanwhile: {', '.join(names)}" for when, names in conditions.items()]
    lines.append("- " + described({tool: " and ".join(sorted(every)) for tool, every in versions.items()}))
    return "\n".join(lines) + "\n"


def written_into(page: str, table: str) -> str:
    """The page with this table between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def update_page(names: tuple[str, ...]) -> str:
    """Puts the results of these benchmarks, where there are some, into the page. Gives the table."""
    table = render([load(name) for name in names if (RESULTS / f"{name}.json").exists()])
    PAGE.write_text(written_into(PAGE.read_text(), table))
    return table
