"""The rules of [[quarantine]]: what is listed exists, and no entry is forgotten: after its last day it is wrong."""

from collections.abc import Iterable
from datetime import date

from harness.planning.compound import Row
from harness.planning.problems import Problems
from harness.values import quoted


def check_quarantine(entries: Iterable[Row], groups: Iterable[str | None], today: date, problems: Problems) -> None:
    """`groups` are the names of all groups of the plan, None where one could not be read."""
    known = {name for name in groups if name is not None}
    seen = set()
    for row in entries:
        named = [key for key in ("group", "test") if key in row.written]
        if len(named) != 1:
            problems.add(row.path, f"has {' and '.join(named) or 'neither'}; write one of group and test")
            continue
        (key,) = named
        name = row[key]
        if name is None:  # of a wrong type, which has been said
            continue
        if not name:
            problems.add(row.at(key), "is empty; write the id of a test, as the reports show it")
        elif key == "group" and name not in known:
            problems.unknown_name(row.at(key), "group", name, known)
        elif (key, name) in seen:
            problems.add(row.at(key), f"{quoted(name)} is listed twice")
        seen.add((key, name))
        _check_expiry(row, name, today, problems)


def _check_expiry(row: Row, name: str, today: date, problems: Problems) -> None:
    if row["expires"] is None:
        return
    days = (today - date.fromisoformat(row["expires"])).days
    if days > 0:
        ago = "yesterday" if days == 1 else f"{days} days ago"
        problems.add(
            row.at("expires"),
            f"the quarantine of {quoted(name)} expired {ago}: mend it and take it out, or give it a later day",
        )
