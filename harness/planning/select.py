"""Which groups run: the plan cut down to what the options ask for.

Every filter is a reason to leave a group out, so filters intersect. What is left keeps the order of the plan. A
dependency on a group that is left out counts as met: who asks for one group wants to run it now. A phase whose `when`
is not true stays, and its groups are `skipped` with the reason in `off`; naming the phase or a group in it turns it on.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from harness.errors import NothingToRun, UsageError
from harness.model import Group, Phase, Plan
from harness.planning.markers import matches_unmarked
from harness.planning.problems import did_you_mean
from harness.planning.search import find_tests
from harness.planning.variables import environment_of
from harness.values import parse_switch, quoted

_SHOWN_NAMES = 30


@dataclass(frozen=True)
class Selection:
    """What the options ask for; empty means all."""

    groups: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    phases: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()  # names given to --t
    markers: str = ""
    keyword: str = ""
    rerun: Mapping[str, tuple[str, ...] | None] | None = None  # group -> its tests to run; None: all of them
    changed: Collection[str] | None = None  # groups


@dataclass(frozen=True)
class Selected:
    """What is to run. `off` has the reason for every phase whose groups will be skipped."""

    phases: tuple[Phase, ...]
    off: dict[str, str]
    deselected: int
    services: tuple[str, ...]  # what must be started, in the order of the plan


def select(plan: Plan, selection: Selection, variables: Mapping[str, str], environment: str = "local") -> Selected:
    """The part of the plan that the selection asks for.

    Raises UsageError for a name that the plan does not have and for a bad `when` variable, NothingToRun when no group
    is left or all that are left would be skipped.
    """
    _check_names(plan, selection)
    found = _tests(plan, selection.tests)
    unmarked = not selection.markers or matches_unmarked(selection.markers)

    def wanted(group: Group) -> bool:
        return (
            (not selection.groups or group.name in selection.groups)
            and (not selection.categories or group.category in selection.categories)
            and (not selection.phases or group.phase in selection.phases)
            and (not selection.tests or group.name in found)
            and (unmarked or bool(group.tests))
            and (selection.rerun is None or group.name in selection.rerun)
            and (selection.changed is None or group.name in selection.changed)
        )

    chosen = {group.name for group in plan.groups if wanted(group)}
    started = environment_of(plan, environment).services
    again = {group: tests for group, tests in (selection.rerun or {}).items() if tests is not None}
    filtered = bool(selection.markers or selection.keyword)
    waited_for = set() if found else chosen  # who asks for one test wants it now
    phases = tuple(
        msgspec.structs.replace(
            phase, groups=tuple(_cut(group, waited_for, again | found, filtered, started) for group in groups)
        )
        for phase in plan.phases
        if (groups := [group for group in phase.groups if group.name in chosen])
    )
    off = _off(phases, {*selection.groups, *found}, selection.phases, variables)
    running = [group for phase in phases if phase.name not in off for group in phase.groups]
    if not running:
        raise _nothing(selection, chosen, off)
    needed = {service for group in running for service in group.services}
    services = tuple(service.name for service in plan.services if service.name in needed)
    return Selected(phases, off, len(plan.groups) - len(chosen), services)


def _check_names(plan: Plan, selection: Selection) -> None:
    categories = dict.fromkeys(group.category for group in plan.groups if group.category)
    known: tuple[tuple[str, str, Sequence[str], Collection[str]], ...] = (
        ("--groups", "group", selection.groups, [group.name for group in plan.groups]),
        ("--categories", "category", selection.categories, categories),
        ("--phases", "phase", selection.phases, [phase.name for phase in plan.phases]),
    )
    messages, cures = [], []
    for option, what, names, choices in known:
        for name in names:
            if name not in choices:
                hint = did_you_mean(name, choices)
                messages.append(f"{option}: there is no {what} {quoted(name)}" + (f"; {hint}" if hint else ""))
                cures.append(f"{option} may name: {_listed(choices)}")
    if messages:
        raise UsageError("\n".join(messages), "\n".join(dict.fromkeys(cures)))


def _listed(names: Collection[str]) -> str:
    shown = list(names)[:_SHOWN_NAMES]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "") if shown else "nothing, the plan has none"


def _tests(plan: Plan, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """For every group that --t asks for, the tests of it to run."""
    found: dict[str, tuple[str, ...]] = {}
    for name in names:
        for group, tests in find_tests(plan, name).items():
            found[group] = tuple(dict.fromkeys((*found.get(group, ()), *tests)))
    return found


def _cut(
    group: Group,
    waited_for: Collection[str],
    found: Mapping[str, tuple[str, ...]],
    filtered: bool,
    started: Collection[str],
) -> Group:
    """`found` has the tests of the groups of which only these are to run; `filtered`: pytest leaves some out itself."""
    tests = found.get(group.name, group.tests)
    cut = msgspec.structs.replace(
        group,
        depends_on=tuple(dependency for dependency in group.depends_on if dependency.group in waited_for),
        services=tuple(service for service in group.services if service in started),
        tests=tests,
        partial=bool(group.tests) and (filtered or tests != group.tests),
    )
    return group if cut == group else cut  # of 10,000 groups, two of each would be a pity


def _off(
    phases: Sequence[Phase], named: Collection[str], named_phases: Collection[str], variables: Mapping[str, str]
) -> dict[str, str]:
    off = {}
    for phase in phases:
        # Read before it is known whether it matters: a bad value is refused in any case.
        on = not phase.when or parse_switch(variables.get(phase.when, ""), phase.when)
        if not on and phase.name not in named_phases and not any(group.name in named for group in phase.groups):
            off[phase.name] = f"phase {phase.name} is off: set {phase.when}=true"
    return off


def _nothing(selection: Selection, chosen: Collection[str], off: Mapping[str, str]) -> NothingToRun:
    if chosen:
        return NothingToRun("nothing to run: every selected group is in a phase that is off", "\n".join(off.values()))
    if selection.rerun is not None and not selection.rerun:
        return NothingToRun("nothing to run: every group has passed since it failed last", "Leave --last-failed out.")
    if selection.changed is not None and not selection.changed:
        return NothingToRun("nothing to run: no group's tests or inputs have changed", "Leave --changed out.")
    return NothingToRun(
        "nothing to run: no group fits all of the options", "`--list` shows the groups with their categories and phases"
    )
