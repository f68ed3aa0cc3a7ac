"""Splittable groups as the scheduler sees them: a group for each of their files, called a part.

A part needs all that its group needs, each part for itself: slots, resources, environments, retries, a timeout. What
depends on the group depends on all of its parts, and they all on what it depends on. So nothing that schedules, ranks,
bounds or simulates knows of them; their results are put together again in together.py.

A group of one file is its own only part, and stays as it is.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from harness.model import Dependency, Group, Phase, part_name


def parts_of(group: Group) -> tuple[Group, ...]:
    """The parts in the order of the plan; the group itself if it has none."""
    files = group.files
    if not group.splittable or len(files) < 2:
        return (group,)
    return tuple(
        msgspec.structs.replace(
            group,
            name=part_name(group.name, file),
            part_of=group.name,
            tests=tuple(test for test in group.tests if test.partition("::")[0] == file),
        )
        for file in files
    )


def split(phases: Sequence[Phase], whole: Collection[str] = ()) -> tuple[Phase, ...]:
    """The phases with the parts of every splittable group in its place, but for those that stay `whole`."""
    parts = {
        group.name: (group,) if group.name in whole else parts_of(group) for phase in phases for group in phase.groups
    }
    return tuple(
        msgspec.structs.replace(
            phase, groups=tuple(_needing(part, parts) for group in phase.groups for part in parts[group.name])
        )
        for phase in phases
    )


def _needing(part: Group, parts: Mapping[str, Sequence[Group]]) -> Group:
    """With its dependencies on parts. The same object where that changes nothing: of 10,000 groups a copy shows."""
    needs = tuple(_needs(part, parts))
    return part if needs == part.depends_on else msgspec.structs.replace(part, depends_on=needs)


def _needs(part: Group, parts: Mapping[str, Sequence[Group]]) -> Iterator[Dependency]:
    for need in part.depends_on:
        for other in parts.get(need.group, ()):
            yield Dependency(group=other.name, after=need.after)
