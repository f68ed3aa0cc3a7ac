"""Parts put together: what people hear of a splittable group, whose files ran one by one.

The group is as bad as the worst of its parts, by WORST_FIRST. A part without tests is nothing bad beside others that
have some, as it is with a file of one pytest process; so it says nothing until all parts have ended.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from harness.model import Group, GroupResult, Status

# Failed tests come before what could not be started, as among groups, so that the exit code is that of failed tests.
WORST_FIRST = (
    *(Status.KILLED, Status.TIMED_OUT, Status.FAILED, Status.ERROR, Status.LOST, Status.INTERRUPTED, Status.NOT_RUN),
    *(Status.FLAKY, Status.PASSED, Status.CACHED, Status.NO_TESTS, Status.SKIPPED),
)
TOLD = 3  # parts that a reason names
TESTS_FAILED = 1  # of pytest's exit codes

_COUNTS, _STOPPED, _EXCUSED, _FINE = range(4)  # kinds of results, the worst first


class Told(NamedTuple):
    """What the end of a group or a part means for others."""

    result: GroupResult
    final: bool  # the group has ended; otherwise it is how it stands so far


class Together:
    """The results of the parts of one run, until their groups are complete."""

    def __init__(self, groups: Iterable[Group]) -> None:
        self._parts: dict[str, dict[str, GroupResult | None]] = {}  # of each group that has any, in plan order
        self._open: Counter[str] = Counter()  # how many parts of each have not ended
        for group in groups:
            if group.part_of:
                self._parts.setdefault(group.part_of, {})[group.part] = None
                self._open[group.part_of] += 1

    def end(self, group: Group, result: GroupResult) -> Told:
        """Takes the result of a group or a part, once."""
        if not group.part_of:
            return Told(result, final=True)
        self._parts[group.part_of][group.part] = result
        self._open[group.part_of] -= 1
        if not self._open[group.part_of]:
            parts = self._parts[group.part_of].items()
            known = {part: ended for part, ended in parts if ended is not None}
            return Told(put_together(group.part_of, known), final=True)
        if result.status is Status.NO_TESTS:
            result = msgspec.structs.replace(result, status=Status.PASSED)  # nothing speaks against the group so far
        return Told(result, final=False)


def put_together(group: str, parts: Mapping[str, GroupResult]) -> GroupResult:
    """The result of a group out of those of all its parts, by their files in the order of the plan."""
    results = list(parts.values())
    started = [result for result in results if result.started_at is not None]
    worst = min(results, key=_badness)
    # It was under way when the run was stopped, though perhaps none of its processes was.
    status = Status.INTERRUPTED if _was_stopped(worst) and started else worst.status
    first = min(started, key=lambda result: result.started_at or 0.0, default=None)
    excuses = dict.fromkeys(result.quarantined for result in results if result.quarantined)
    return GroupResult(
        group=group,
        status=status,
        reason=_reason(parts, worst),
        attempts=max(result.attempts for result in results),
        started_at=first.started_at if first else None,
        duration=sum(result.duration for result in results),
        exit_code=worst.exit_code,
        cpu_seconds=sum(result.cpu_seconds for result in results),
        peak_memory=max(result.peak_memory for result in results),
        leaked=any(result.leaked for result in results),
        contaminates=tuple(dict.fromkeys(found for result in results for found in result.contaminates)),
        waited=first.waited if first else {},
        quarantined="; ".join(excuses) if worst.quarantined else "",
    )


def _badness(result: GroupResult) -> tuple[int, int]:
    """What counts first; then what was stopped, so that it runs again; a failure in quarantine before a success."""
    if result.counts_as_failure and result.status is not Status.NO_TESTS:
        kind = _COUNTS
    elif _was_stopped(result):
        kind = _STOPPED
    else:
        kind = _EXCUSED if result.quarantined else _FINE
    return kind, WORST_FIRST.index(result.status)


def _was_stopped(result: GroupResult) -> bool:
    never_started = result.status in (Status.NOT_RUN, Status.SKIPPED) and not result.attempts
    return result.status is Status.INTERRUPTED or never_started


def _is_of_kind(result: GroupResult, kind: int, worst: GroupResult) -> bool:
    """A file that was flaky may fail the run, though what is told of its group is that another is in quarantine."""
    if kind == _EXCUSED and result.status is Status.FLAKY:
        return True
    return _badness(result)[0] == kind and (kind != _FINE or result.status is worst.status)


def _reason(parts: Mapping[str, GroupResult], worst: GroupResult) -> str:
    """Those of the parts that are of its kind, the worst first, each with its file; once, if all parts say the same."""
    kind, _ = _badness(worst)
    alike = [(part, result) for part, result in parts.items() if result.reason and _is_of_kind(result, kind, worst)]
    reasons = {result.reason for _, result in alike}
    if len(reasons) == 1 and (len(alike) == len(parts) or kind == _STOPPED):
        return alike[0][1].reason
    # Failed tests are listed wherever results are; how else a part failed is told of nowhere else.
    alike.sort(key=lambda item: (_badness(item[1]), item[1].exit_code == TESTS_FAILED))
    told = [f"{part}: {result.reason}" for part, result in alike[:TOLD]]
    more = len(alike) - TOLD
    told += [f"and {more} more"] if more > 0 else []
    # What did not run is nowhere else: the group counts as one that failed, and not as one that is left to run.
    stopped = sum(map(_was_stopped, parts.values())) if kind == _COUNTS else 0
    told += [f"{stopped} of {len(parts)} files did not run to the end"] if stopped else []
    return "; ".join(told)
