"""A finished run as rows of the history.

The same record always makes the same rows, and the same key, so that a run that is told of twice is kept once. It reads
no clock and no file.
"""

import hashlib
import math
import re
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar

from harness.model import GroupResult, Status, TestResult, TestStatus
from harness.past import PastGroup, PastRun, PastTest
from harness.record import FAILED_TESTS, GroupRecord, RunRecord
from harness.scheduling.parts import parts_of

Number = TypeVar("Number", int, float)

DID_NOT_RUN = frozenset({Status.SKIPPED, Status.NOT_RUN, Status.CACHED})
_TO_THE_END = frozenset({Status.PASSED, Status.NO_TESTS, Status.SKIPPED})  # of the attempts of parts
EXAMPLE_LIMIT = 200  # characters

# What differs between two sightings of one failure, the longer patterns first.
_VARYING = re.compile(
    r"""
      (['"])\d[\d.,:]*\1                                                # digits in quotes
    | \b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b  # UUID
    | 0x[0-9a-f]+                                                       # address
    | \b(?=[a-f]*[0-9])[0-9a-f]{8,}\b                                   # hash, trace id
    | \d+(?:\.\d+)?(?:e[+-]?\d+)?                                       # number
    """,
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True)
class Rows:
    run: PastRun
    whole: bool  # all of the plan ran, and all of its tests
    groups: list[PastGroup]
    complete: frozenset[str]  # groups that got to the end of their tests
    unrun: list[tuple[str, Status]]  # groups that should have run, whole, and did not
    tests: list[PastTest]
    examples: dict[str, str] = field(default_factory=dict)  # hash of an error -> one such message


def fold(record: RunRecord) -> Rows:
    """Raises ValueError for a run that has not ended."""
    started, finished = record.started, record.finished
    if started is None or finished is None:
        raise ValueError("only a run that has ended can be kept")
    key = run_key(started.run_id, started.host, started.pid, record.started_at)
    examples: dict[str, str] = {}
    ran = {name: group for name, group in record.groups.items() if group.result and group.status not in DID_NOT_RUN}
    groups = [_group(key, group, group.result, record.started_at, examples) for group in ran.values() if group.result]
    off = {group.name for phase in started.phases if phase.name in started.off for group in phase.groups}
    run = PastRun(
        key=key,
        run_id=started.run_id,
        started_at=record.started_at,
        commit=started.commit,
        dirty=started.dirty,
        host=started.host,
        cores=started.cores,
        jobs=record.jobs,
        seed=started.seed,
        shard=started.shard,
        environment=started.environment,
        duration=finished.duration,
        exit_code=finished.exit_code,
        stopped_by=finished.stopped_by,
        sequential_time=record.sequential_time,
        lower_bound=record.lower_bound(record.jobs),
        predicted=started.predicted,
        services_seconds=record.services_seconds or 0.0,
        wind_down=max(0.0, finished.duration - record.last_verdict) if record.last_verdict is not None else 0.0,
        groups=len(groups),
        failed=sum(group.result.counts_as_failure for group in ran.values() if group.result),
    )
    whole = not (started.shard or started.deselected) and all(
        group.status is not Status.CACHED and not group.group.partial for group in record.groups.values()
    )
    return Rows(
        run=run,
        whole=whole,
        groups=groups,
        complete=frozenset(name for name, group in ran.items() if _got_to_the_end(group)),
        unrun=[
            (name, group.status)
            for name, group in record.groups.items()
            if group.status in {Status.SKIPPED, Status.NOT_RUN} and name not in off and not group.group.partial
        ],
        tests=[test for name, group in ran.items() for test in _tests(key, name, group, examples)],
        examples=examples,
    )


def run_key(run_id: str, host: str, pid: int, started_at: float) -> str:
    """What tells a run from those of other machines, where run ids may be the same."""
    return hashlib.sha256(f"{run_id}\0{host}\0{pid}\0{started_at!r}".encode()).hexdigest()[:16]


def error_hash(message: str) -> str:
    """The same for two messages that differ only in numbers, addresses, UUIDs, hashes and white space."""
    normal = " ".join(_VARYING.sub("#", message).split())
    return hashlib.sha256(normal.encode("utf-8", "replace")).hexdigest()[:12]


def _noted(message: str, examples: dict[str, str]) -> str:
    digest = error_hash(message)
    examples.setdefault(digest, message[:EXAMPLE_LIMIT])
    return digest


def _group(
    key: str, record: GroupRecord, result: GroupResult, run_started_at: float, examples: dict[str, str]
) -> PastGroup:
    started_at = result.started_at if result.started_at is not None else record.started_at
    failed = result.status.is_failure or result.status is Status.FLAKY
    return PastGroup(
        run=key,
        group=result.group,
        started_at=run_started_at if started_at is None else started_at,
        duration=result.duration,
        slot=next((part.slot for part in record.parts.values()), 0),
        status=result.status,
        attempts=result.attempts,
        cpu_seconds=result.cpu_seconds,
        peak_memory=result.peak_memory,
        partial=record.group.partial,
        quarantined=bool(result.quarantined),
        waited=math.fsum(result.waited.values()),
        error=_noted(_why(record, result), examples) if failed else "",
    )


def _why(record: GroupRecord, result: GroupResult) -> str:
    """What its latest failed test said, or else how its latest failed attempt ended; also where a retry passed."""
    earlier = [tests for part in record.parts.values() for tests in part.earlier_tests]
    for tests in reversed([*earlier, record.tests]):
        for test in tests:
            if test.status in FAILED_TESTS and test.message:
                return test.message
    reasons = [outcome.reason for outcome in record.attempts if outcome.status is not Status.PASSED and outcome.reason]
    return reasons[-1] if reasons else result.reason or result.status.value


def _got_to_the_end(record: GroupRecord) -> bool:
    """Whether all of its tests have a result: a failure must be that of tests that are known."""
    if record.status is Status.FAILED:
        ends = [part.attempts[-1] for part in record.parts.values() if part.attempts]
        all_ended = len(ends) == len(parts_of(record.group))
        return all_ended and all(end.failed_tests for end in ends if end.status not in _TO_THE_END)
    return record.status in {Status.PASSED, Status.FLAKY}


def _tests(key: str, name: str, record: GroupRecord, examples: dict[str, str]) -> list[PastTest]:
    return list(
        chain.from_iterable(
            _of_attempt(key, name, attempt, tests, examples)
            for part in record.parts.values()
            for attempt, tests in enumerate([*part.earlier_tests, part.tests], 1)
        )
    )


def _of_attempt(
    key: str, group: str, attempt: int, tests: list[TestResult], examples: dict[str, str]
) -> list[PastTest]:
    """One row a test. Where a report names two tests alike they count as one, which failed if either did."""
    rows: dict[str, PastTest] = {}
    for test in tests:
        error = _noted(test.message or test.status.value, examples) if test.status in FAILED_TESTS else ""
        status, duration, cpu, memory = test.status, test.duration, test.cpu_seconds, test.memory_growth
        if before := rows.get(test.id):
            duration += before.duration
            cpu = _sum(cpu, before.cpu_seconds)
            memory = _sum(memory, before.memory_growth)
            if before.status in FAILED_TESTS or (status is TestStatus.SKIPPED and not error):
                status, error = before.status, before.error
        rows[test.id] = PastTest(
            run=key,
            group=group,
            attempt=attempt,
            test=test.id,
            status=status,
            duration=duration,
            error=error,
            cpu_seconds=cpu,
            memory_growth=memory,
        )
    return list(rows.values())


def _sum(one: Number | None, other: Number | None) -> Number | None:
    return one if other is None else other if one is None else one + other
