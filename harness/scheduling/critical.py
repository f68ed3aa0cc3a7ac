"""What a simulated run waited for: the groups without which its phases would have ended earlier.

The walk goes back from the last end of each phase: a group that did not start with its phase started when something
else ended, and that is followed in turn (J. E. Kelley and M. R. Walker, "Critical-path planning and scheduling", 1959,
with what is held besides dependencies). Sequential phases are left out: nothing but shorter groups makes them shorter.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from harness.model import Group, Phase
from harness.scheduling.resources import SLOTS, demand_of
from harness.scheduling.simulate import Span


class Link(NamedTuple):
    """One critical group, and what it may have waited for."""

    group: Group
    waited_for: tuple[str, ...]  # the dependencies that ended as it started
    held_before: tuple[str, ...]  # what it needs and another gave back as it started, as resources.py names it


def critical_links(phases: Sequence[Phase], spans: Sequence[Span]) -> list[Link]:
    """Phase by phase, the last group first. Where several ended at once, all of them are followed."""
    links: list[Link] = []
    for phase in phases:
        if not phase.sequential:
            inside = {group.name: group for group in phase.groups}
            links += _links(inside, [span for span in spans if span.group in inside])
    return links


def _links(groups: dict[str, Group], spans: Sequence[Span]) -> Iterator[Link]:
    if not spans:
        return
    ended: defaultdict[float, list[Span]] = defaultdict(list)
    for span in spans:
        ended[span.end].append(span)
    ahead = list(ended[max(ended)])
    seen = {span.group for span in ahead}
    while ahead:
        span = ahead.pop()
        group = groups[span.group]
        before = [other for other in ended[span.start] if other.group != span.group]
        link = _link(group, [groups[other.group] for other in before])
        yield link
        because = [other for other in before if other.group in link.waited_for or _held(groups[other.group], link)]
        for other in because or before:
            if other.group not in seen:
                seen.add(other.group)
                ahead.append(other)


def _link(group: Group, before: Sequence[Group]) -> Link:
    needed = {dependency.group for dependency in group.depends_on}
    mine = _resources(group)
    held = {resource for other in before for resource in _resources(other) & mine}
    return Link(group, tuple(other.name for other in before if other.name in needed), tuple(sorted(held)))


def _held(group: Group, link: Link) -> bool:
    return not _resources(group).isdisjoint(link.held_before)


def _resources(group: Group) -> set[str]:
    """All that it needs but slots, of which everything needs some."""
    return {resource for resource, _ in demand_of(group, jobs=1, sequential=False)} - {SLOTS}
