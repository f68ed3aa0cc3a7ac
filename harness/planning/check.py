"""What only the whole plan can tell: names that must exist, be unique or form no cycle.

Works on the rows that schema.py read, before any noun is made. Everything is added to the problems; nothing raises.
"""

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from harness.model import Budget, Dependency, LockMode
from harness.planning.compound import Row
from harness.planning.cycles import find_cycles
from harness.planning.kinds import handed_over
from harness.planning.problems import Path, Problems, did_you_mean, show, show_path
from harness.planning.substitute import KEYS, PLACEHOLDER, references
from harness.planning.types import INVALID
from harness.values import quoted, read_count, read_switch

_LONGEST_CYCLE = 20  # names of it that are shown


def rows(items: Iterable[Any]) -> list[Row]:
    """The tables of a list that could be read."""
    return [item for item in items if item is not INVALID]


def named_rows(items: Mapping[str, Any]) -> dict[str, Row]:
    return {name: item for name, item in items.items() if item is not INVALID}


def check(plan: Row, problems: Problems) -> None:
    """All rules that concern more than one key, except those about files."""
    services = rows(plan["services"])
    phases = rows(plan["phases"])
    groups = [group for phase in phases for group in rows(phase["groups"])]
    for what, items in (("phase", phases), ("group", groups), ("service", services), ("stage", rows(plan["pipeline"]))):
        _check_unique(what, items, problems)
    readable = not any(phase is INVALID or phase.written.get("groups") for phase in plan["phases"])
    if not groups and readable and isinstance(plan.written.get("phases", []), list):
        problems.add(("phases",), "the plan has no groups: write [[phases]] and, below it, [[phases.groups]]")
    names = {service["name"] for service in services if service["name"]}
    _check_references(plan, names, problems)
    _check_services(services, names, problems)
    for environment in named_rows(plan["environments"]).values():
        _check_known("service", environment, "services", names, problems)
    _check_variables(plan, phases, problems)
    _check_stages(rows(plan["pipeline"]), problems)
    for group in groups:
        _check_group(group, plan, names, problems)
    _check_names_of_parts(groups, problems)
    _check_dependencies(phases, problems)


def _check_unique(what: str, items: list[Row], problems: Problems) -> None:
    first: dict[str, Path] = {}
    for row in items:
        name = row["name"]
        if name is not None and first.setdefault(name, row.path) != row.path:
            problems.add(row.at("name"), f"there is a {what} {quoted(name)} already: {show_path(first[name])}")


def _check_names_of_parts(groups: list[Row], problems: Problems) -> None:
    """Where they compete with groups, parts are called GROUP/FILE (model.py: part_name), so that no group may be."""
    for name in (row["name"] for row in groups if row["splittable"] and row["name"]):
        for row in groups:
            if (row["name"] or "").startswith(f"{name}/"):
                problems.add(
                    row.at("name"), f"may be that of a file of the splittable group {quoted(name)}; drop the /"
                )


def _check_known(what: str, row: Row, key: str, known: Iterable[str], problems: Problems) -> None:
    known = set(known)
    seen = set()
    for path, name in row.items_of(key):
        if name not in known:
            problems.unknown_name(path, what, name, known)
        elif name in seen:
            problems.add(path, f"{quoted(name)} is named twice")
        seen.add(name)


def texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Every string in a value, however deep, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict | list | tuple):
        for at, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from texts(item, (*path, at))


def _check_references(plan: Row, services: set[str], problems: Problems) -> None:
    """Every {NAME.port}, wherever one is replaced, names a service."""
    places: list[tuple[Path, Any]] = [(("run", "env"), plan["run"]["env"])]
    places += [(row.at("env"), row["env"]) for row in named_rows(plan["environments"]).values()]
    places += [(row.path, row) for row in named_rows(plan["isolation"]).values()]
    groups = [group for phase in rows(plan["phases"]) for group in rows(phase["groups"])]
    for row in (*rows(plan["services"]), *groups):
        places += [(row.at(key), row[key]) for key in ("env", "command")]
    for place, value in places:
        for path, text in texts(value, place):
            for name, key in PLACEHOLDER.findall(text):
                if name and key in KEYS and name not in services:
                    problems.unknown_name(path, "service", name, services)
                elif name in services and key not in KEYS:
                    hint = did_you_mean(key, KEYS) or f"it has {', '.join(KEYS)}"
                    problems.add(path, f"a service has no {quoted(key)}; {hint}")


def implied_services(row: Row) -> list[str]:
    """The services that a service's or a group's own texts refer to."""
    found = [name for key in ("env", "command") for _, text in texts(row[key], ()) for name, _ in references(text)]
    return [name for name in dict.fromkeys(found) if name != row["name"]]


def _check_services(services: list[Row], names: set[str], problems: Problems) -> None:
    for row in services:
        _check_known("service", row, "depends_on", names, problems)
        if row["kind"] == "command":
            if "command" not in row.written:
                problems.add(row.path, "command is missing")
        else:
            for key in ("command", "directory", "ready"):
                if key in row.written:
                    problems.add(row.at(key), f"the harness knows this of a {row['kind']} itself; leave it out")
        _check_ready(row["ready"], problems)
    named = {row["name"]: row for row in services if row["name"]}
    edges = {
        name: [other for _, other in row.items_of("depends_on")] + implied_services(row) for name, row in named.items()
    }
    for cycle in find_cycles(edges):
        problems.add(named[cycle[0]].at("depends_on"), _show_cycle("services", cycle))


def _show_cycle(what: str, cycle: list[str]) -> str:
    waits = "waits for itself" if len(cycle) == 2 else f"{what} wait for one another"
    shown = [quoted(name)[1:-1] for name in cycle]
    if len(cycle) > _LONGEST_CYCLE:
        half = _LONGEST_CYCLE // 2
        shown[half:-half] = [f"… {len(cycle) - 2 * half} more …"]
    return f"{waits}: {' → '.join(shown)}"


def _check_ready(ready: Row, problems: Problems) -> None:
    ways = [key for key in ("http", "tcp", "log") if ready[key]]
    if len(ways) > 1:
        problems.add(ready.path, f"has {' and '.join(ways)}; keep one of them")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a pattern of doubtful style is still a pattern
            re.compile(ready["log"] or "")
    except (re.error, OverflowError, RecursionError) as error:
        problems.add(ready.at("log"), f"{show(ready['log'])} is not a regular expression: {error}")


def _check_variables(plan: Row, phases: list[Row], problems: Problems) -> None:
    declared = named_rows(plan["variables"])
    readers: dict[str, Callable[[str], object]] = {"count": read_count, "switch": read_switch, "text": str}
    for row in declared.values():
        if row["default"] is not None:
            try:
                readers[row["type"]](row["default"])
            except ValueError as error:
                problems.add(row.at("default"), str(error))
    for phase in phases:
        variable = declared.get(phase["when"])
        if variable is not None and variable["type"] != "switch":
            problems.add(phase.at("when"), f"{phase['when']} is declared as a {variable['type']}, not as a switch")


def _check_stages(stages: list[Row], problems: Problems) -> None:
    for row in stages:
        if row["suite"] and "command" in row.written:
            problems.add(row.path, "has both command and suite; keep one of them")
        elif "command" not in row.written and "suite" not in row.written:
            problems.add(row.path, "has neither command nor suite = true")
        elif row.written.get("suite") is False and "command" not in row.written:
            problems.add(row.at("suite"), "is false, and there is no command; write one, or suite = true")
    for row in [row for row in stages if row["suite"]][1:]:
        problems.add(row.at("suite"), "the suite is a stage already; it runs once")


def _check_group(row: Row, plan: Row, services: set[str], problems: Problems) -> None:
    if "tests" in row.written and "command" in row.written:
        problems.add(row.path, "has both tests and command; keep one of them")
    elif "tests" not in row.written and "command" not in row.written:
        problems.add(row.path, "has neither tests nor command; it needs one of them")
    if row["results"] and "command" not in row.written:
        problems.add(row.at("results"), "pytest reports its tests by itself; leave it out, or write a command")
    if row["workers"] and "tests" not in row.written:
        problems.add(row.at("workers"), "only pytest has workers, and this group has no tests")
    if "dist" in row.written and "workers" not in row.written:
        problems.add(row.at("dist"), "means nothing without workers")
    if row["process"] == "file" and "tests" not in row.written:
        problems.add(row.at("process"), "only a group with tests has files; leave it out")
    if row["process"] == "file" and row["workers"]:
        problems.add(row.at("process"), "goes with no workers, which take several files each; keep one of the two")
    if row["warm"] is not None and "tests" not in row.written:
        problems.add(row.at("warm"), "only pytest is forked, and this group has no tests")
    if row["splittable"]:
        _check_splittable(row, plan["resources"], problems)
    _check_known("service", row, "services", services, problems)
    _check_known("[isolation.NAME] called", row, "isolate", plan["isolation"], problems)
    _check_needs(row, plan["resources"], problems)
    _check_environments(row, named_rows(plan["isolation"]), problems)


def _check_splittable(row: Row, resources: Mapping[str, Any], problems: Problems) -> None:
    """One command has no files, and of files that exclude one another no two ever run side by side."""
    path = row.at("splittable")
    if "tests" not in row.written:
        problems.add(path, "only a group with tests has files that could be split; leave it out")
    if row["workers"]:
        problems.add(path, "goes with no workers, which share out its files already; keep one of the two")
    never = "its files would never run side by side"
    for _, name in row.items_of("parallel_group"):
        problems.add(path, f"{never}: all are of the parallel group {quoted(name)}; leave one of the two out")
    for name, need in row["needs"].items():
        count = resources.get(name)
        if need is LockMode.EXCLUSIVE:
            problems.add(path, f"{never}: each needs {quoted(name)} for itself; share it, or leave this out")
        elif isinstance(need, int) and isinstance(count, int) and need <= count < 2 * need:
            problems.add(path, f"{never}: each needs {need} of {count} {quoted(name)}; need less, or leave this out")


def _check_environments(row: Row, entries: Mapping[str, Row], problems: Problems) -> None:
    """No two of a group's environments hand over the same variable: the group would see only one of them."""
    given: dict[str, str] = {}  # variable -> entry
    for path, name in row.items_of("isolate"):
        entry = entries.get(name)
        if entry is None or not _is_whole(entry):
            continue
        for variable in handed_over(entry["kind"], entry):
            other = given.setdefault(variable, name)
            if other != name:
                problems.add(
                    path, f"{quoted(name)} hands over {variable}, as {quoted(other)} does; name another variable"
                )


def _is_whole(entry: Row) -> bool:
    """Whether nothing in an entry of [isolation.NAME] is wrong or missing, so that it can be read."""
    create = entry.get("create", {})
    return create is not None and not any(value is INVALID for value in (*entry.values(), *create.values()))


def _check_needs(row: Row, resources: Mapping[str, Any], problems: Problems) -> None:
    for name, need in row["needs"].items():
        path = row.at("needs", name)
        count = resources.get(name)
        if need is INVALID or count is INVALID:
            continue
        if isinstance(count, Budget):
            problems.add(
                path, f"{quoted(name)} is a budget: requests are taken from it one by one, with `harness hold`"
            )
        elif isinstance(need, LockMode):
            if count is not None:
                problems.add(path, f"{quoted(name)} is counted: write how many of the {count}, not {quoted(need)}")
        elif count is None:
            problems.unknown_name(path, "counted resource", name, resources)
        elif need > count:
            problems.add(path, f"asks for {need} of {quoted(name)}, and there are {count}")


def _check_dependencies(phases: list[Row], problems: Problems) -> None:
    """Dependencies exist, lead backward or sideways, and form no cycle."""
    phase_of: dict[str, int] = {}
    place: dict[str, int] = {}
    for index, phase in enumerate(phases):
        for group in rows(phase["groups"]):
            if group["name"]:
                phase_of.setdefault(group["name"], index)
                place.setdefault(group["name"], len(place))
    for index, phase in enumerate(phases):
        groups = {group["name"]: group for group in rows(phase["groups"]) if phase_of.get(group["name"]) == index}
        in_cycle = _check_cycles(groups, problems)
        for group in rows(phase["groups"]):
            seen = set()
            for path, dependency in group.items_of("depends_on"):
                name = dependency.group
                if name not in phase_of:
                    problems.unknown_name(path, "group", name, phase_of)
                elif name in seen:
                    problems.add(path, f"{quoted(name)} is named twice")
                elif phase_of[name] > index:
                    later = phases[phase_of[name]]["name"]
                    problems.add(
                        path, f"{quoted(name)} is in the later phase {quoted(later or '')}; wait for an earlier one"
                    )
                elif (
                    phase["sequential"] and place[name] > place.get(group["name"], len(place)) and name not in in_cycle
                ):
                    problems.add(path, f"{quoted(name)} comes later in this sequential phase; put it first")
                seen.add(name)


def _check_cycles(groups: Mapping[str, Row], problems: Problems) -> set[str]:
    """Reports the cycles among the groups of one phase; returns the groups that are in one."""

    def names(row: Row) -> list[str]:
        found: list[Dependency] = [dependency for _, dependency in row.items_of("depends_on")]
        return [dependency.group for dependency in found if dependency.group in groups]

    in_cycle = set()
    for cycle in find_cycles({name: names(row) for name, row in groups.items()}):
        in_cycle.update(cycle)
        problems.add(groups[cycle[0]].at("depends_on"), _show_cycle("groups", cycle))
    return in_cycle
