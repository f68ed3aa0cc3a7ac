"""What --last-failed runs: what failed the last time, what did not come to its end, and what never ran.

Of a pytest group that came to its end only the failed tests run again, if they can still be found; in doubt the whole
group does. The history says how each group stands; nothing here reads it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.model import Group, Plan, Status
from harness.past import Latest
from harness.planning.search import defined, file_of


def rerun(plan: Plan, latest: Mapping[str, Latest]) -> dict[str, tuple[str, ...] | None]:
    """For every group that is to run, in plan order, the tests to run of it; None: all of it.

    `latest` has no entry for a group that never ran. A parametrised test runs with all of its parameters, because
    those that it failed with may not exist any more, and pytest then runs nothing at all.
    """
    return {
        group.name: _tests(plan, group, latest[group.name]) if group.name in latest else None
        for group in plan.groups
        if group.name not in latest or _must_run(plan, latest[group.name])
    }


def _must_run(plan: Plan, latest: Latest) -> bool:
    if not latest.whole or latest.failed_tests:
        return True
    if latest.status is Status.FLAKY:
        return plan.flaky == "fail"
    # Of one that failed, each failed test has passed since in a run of its own.
    return not latest.status.succeeded and latest.status is not Status.FAILED


def _tests(plan: Plan, group: Group, latest: Latest) -> tuple[str, ...] | None:
    """The failed tests as pytest takes them; None where running these alone could miss something."""
    if not latest.whole or not latest.failed_tests:
        return None
    wanted: dict[str, list[str]] = {}  # file -> names in it
    for test in latest.failed_tests:
        name, _, rest = test.partition("::")
        file = file_of(plan, group, name)
        within = rest.partition("[")[0]
        if not within or not file or not _is_within(group.tests, f"{file}::{within}"):
            return None
        wanted.setdefault(file, []).append(within)
    for file, names in wanted.items():
        if len(defined(Path(plan.project, plan.test_root, file), names)) < len(set(names)):
            return None
    return tuple(dict.fromkeys(f"{file}::{name}" for file, names in wanted.items() for name in names))


def _is_within(entries: Iterable[str], test: str) -> bool:
    return any(test == entry or test.startswith(f"{entry}::") for entry in entries)
