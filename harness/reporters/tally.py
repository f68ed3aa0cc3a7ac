"""How a run's groups are counted for people: what ran and passed, what needed no run, what failed, what is excused.

Pure: a RunRecord in, lists of its groups out, in plan order.
"""

from dataclasses import dataclass

from harness.model import Status
from harness.record import GroupRecord, RunRecord


@dataclass(frozen=True)
class Tally:
    """Every group that succeeded or failed, in exactly one of these. All others were skipped, stopped or never ran."""

    passed: list[GroupRecord]  # they ran in this run; the flaky ones are among them
    cached: list[GroupRecord]
    failed: list[GroupRecord]  # these decide
    excused: list[GroupRecord]  # failed in quarantine


def tally(record: RunRecord) -> Tally:
    groups = [(group, group.result) for group in record.groups.values() if group.result]
    return Tally(
        passed=[group for group, result in groups if result.status in (Status.PASSED, Status.FLAKY)],
        cached=[group for group, result in groups if result.status is Status.CACHED],
        failed=[group for group, result in groups if result.counts_as_failure],
        excused=[group for group, result in groups if result.status.is_failure and not result.counts_as_failure],
    )
