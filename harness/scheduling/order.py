"""Orders of groups that follow from their dependencies alone."""

from collections.abc import Iterable

from harness.model import After, Group


def dependants_of(groups: Iterable[Group]) -> dict[str, list[tuple[Group, After]]]:
    """For every group those that wait for it; dependencies on groups that are not among these count as met."""
    groups = list(groups)
    dependants: dict[str, list[tuple[Group, After]]] = {group.name: [] for group in groups}
    for group in groups:
        for dependency in group.depends_on:
            if dependency.group in dependants:
                dependants[dependency.group].append((group, dependency.after))
    return dependants


def in_dependency_order(groups: Iterable[Group]) -> list[Group]:
    """Every group after those it depends on (A. B. Kahn, "Topological sorting of large networks", 1962).

    Groups of a cycle are left out: planning/load.py refuses them before they come here.
    """
    groups = list(groups)
    dependants = dependants_of(groups)
    unmet = {group.name: sum(need.group in dependants for need in group.depends_on) for group in groups}
    ordered = [group for group in groups if not unmet[group.name]]
    for group in ordered:  # grows while it is read
        for dependant, _ in dependants[group.name]:
            unmet[dependant.name] -= 1
            if not unmet[dependant.name]:
                ordered.append(dependant)
    return ordered
