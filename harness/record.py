"""The fold: what a run has come to so far, made from its events alone.

Protocol: `apply` every Stamped event once, in order; then read. The same events always make the same record, so a
report made while the run ends and one made later by `replay` agree.

It must not read clocks or files, and it decides nothing about the run. Durations are seconds since the run began.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.events import (
    AttemptFinished,
    AttemptSpawned,
    AttemptStarted,
    GroupFinished,
    PhaseStarted,
    RunFinished,
    RunResumed,
    RunStarted,
    ServiceFailed,
    ServiceReady,
    ServiceStarted,
    SignalReceived,
    Stamped,
    TestFinished,
    TestStarted,
    Warned,
    decode,
)
from harness.model import (
    FAILURES,
    SUCCESSES,
    Group,
    GroupResult,
    Outcome,
    Phase,
    Status,
    TestResult,
    TestStatus,
    part_name,
)
from harness.scheduling.bound import Bound, lower_bound
from harness.scheduling.parts import split

FAILED_TESTS = frozenset({TestStatus.FAILED, TestStatus.ERROR})


@dataclass(slots=True)
class PartRecord:
    """What of a group runs in one process, so far. `tests` and `current_test` are those of its latest attempt."""

    attempts: list[Outcome] = field(default_factory=list)
    attempt: int = 0  # the one that runs or ran last, from 1
    slot: int = 0
    pid: int | None = None  # while it runs
    tests: list[TestResult] = field(default_factory=list)
    earlier_tests: tuple[list[TestResult], ...] = ()  # of the attempts before it, in order
    current_test: str = ""
    running_since: float | None = None  # since the run began; None: no attempt is running


@dataclass(slots=True)
class GroupRecord:
    """One group so far, with all of its parts."""

    group: Group
    result: GroupResult | None = None
    verdicts: int = 0  # how often GroupFinished came: once, or the harness contradicts itself
    parts: dict[str, PartRecord] = field(default_factory=dict)  # that have started; "" is the only one of most groups
    attempts: list[Outcome] = field(default_factory=list)  # of all parts, as they ended
    log: str = ""  # empty: it never started
    started_at: float | None = None  # wall time of its first attempt
    finished_at: float | None = None  # wall time of its GroupFinished, if it had started

    @property
    def status(self) -> Status | None:
        return self.result.status if self.result else None

    @property
    def tests(self) -> list[TestResult]:
        """Those of the latest attempt, part by part in the order of the plan."""
        return [test for _, part in self._in_order() for test in part.tests]

    @property
    def failed_tests(self) -> list[TestResult]:
        return [test for test in self.tests if test.status in FAILED_TESTS]

    @property
    def attempt(self) -> int:
        """The latest one, from 1; of its parts, that which has had most. 0: none has started."""
        return max((part.attempt for part in self.parts.values()), default=0)

    @property
    def running(self) -> dict[str, PartRecord]:
        """The parts of which an attempt runs, in the order of the plan."""
        return {name: part for name, part in self._in_order() if part.running_since is not None}

    @property
    def pid(self) -> int | None:
        """Of a process of its own that runs."""
        return next((part.pid for part in self.parts.values() if part.pid is not None), None)

    @property
    def failed_part(self) -> str:
        """The name of the first of its parts whose latest attempt failed; empty: none did, or it has no parts."""
        failures = FAILURES - {Status.NO_TESTS}
        failed = (name for name, part in self._in_order() if part.attempts and part.attempts[-1].status in failures)
        return part_name(self.group.name, file) if (file := next(failed, "")) else ""

    def part(self, name: str) -> PartRecord:
        part = self.parts.get(name)
        if part is None:
            part = self.parts[name] = PartRecord()
        return part

    def _in_order(self) -> list[tuple[str, PartRecord]]:
        if len(self.parts) < 2:
            return list(self.parts.items())
        place = {file: number for number, file in enumerate(self.group.files)}
        return sorted(self.parts.items(), key=lambda item: place.get(item[0], 0))


@dataclass(slots=True)
class ServiceRecord:
    log: str = ""
    port: int = 0
    seconds: float | None = None  # until it was ready; None: not yet
    failure: str = ""


class RunRecord:
    """One run so far. Reporters share one, which is brought up to date before they are handed the event."""

    def __init__(self) -> None:
        self.started: RunStarted | None = None
        self.started_at = 0.0  # wall time
        self.finished: RunFinished | None = None
        self.groups: dict[str, GroupRecord] = {}  # in plan order
        # Kept up to date rather than counted on demand: the live display asks at every event.
        # Those of which an attempt runs, by the names of groups and of parts, in the order in which they started.
        self.running: dict[str, PartRecord] = {}
        self.statuses: Counter[Status] = Counter()  # of the groups that have ended
        self.services: dict[str, ServiceRecord] = {}
        self.services_seconds: float | None = None  # until the first phase began; None: none has begun
        self.last_verdict: float | None = None  # when the latest group ended
        self.signals: list[SignalReceived] = []
        self.paused = 0.0  # seconds in all
        self.warnings: list[str] = []
        self.elapsed = 0.0  # of the latest event

    def apply(self, stamped: Stamped) -> None:
        """Raises KeyError for an event of a group that RunStarted does not list."""
        self.elapsed = stamped.elapsed
        match stamped.data:
            case RunStarted() as event:
                self.started, self.started_at = event, stamped.time
                self.groups = {group.name: GroupRecord(group) for phase in event.phases for group in phase.groups}
            case PhaseStarted() if self.services_seconds is None:
                self.services_seconds = stamped.elapsed
            case ServiceStarted() as event:
                self.services[event.service] = ServiceRecord(log=event.log, port=event.port)
            case ServiceReady() as event:
                self.services.setdefault(event.service, ServiceRecord()).seconds = event.seconds
            case ServiceFailed() as event:
                service = self.services.setdefault(event.service, ServiceRecord())
                service.log, service.failure = event.log, event.reason
            case SignalReceived() as event:
                self.signals.append(event)
            case RunResumed() as event:
                self.paused += event.seconds
            case Warned() as event:
                self.warnings.append(event.message)
            case RunFinished() as event:
                self.finished = event
            case _:
                self._apply_to_group(stamped)

    def _apply_to_group(self, stamped: Stamped) -> None:
        match stamped.data:
            case AttemptStarted() as event:
                record = self.groups[event.group]
                record.log = event.log
                record.started_at = stamped.time if record.started_at is None else record.started_at
                part = record.part(event.part)
                part.attempt, part.slot, part.running_since = event.attempt, event.slot, stamped.elapsed
                if event.attempt > 1:
                    part.earlier_tests = (*part.earlier_tests, part.tests)
                part.tests, part.current_test = [], ""
                self.running[part_name(event.group, event.part)] = part
            case AttemptSpawned() as event:
                self.groups[event.group].part(event.part).pid = event.pid
            case TestStarted() as event:
                self.groups[event.group].part(event.part).current_test = event.test
            case TestFinished() as event:
                part = self.groups[event.group].part(event.part)
                part.tests.append(event.result)
                if part.current_test == event.result.id:
                    part.current_test = ""
            case AttemptFinished() as event:
                record = self.groups[event.outcome.group]
                record.attempts.append(event.outcome)
                part = record.part(event.outcome.part)
                part.attempts.append(event.outcome)
                part.pid, part.running_since, part.current_test = None, None, ""
                self.running.pop(event.outcome.name, None)
            case GroupFinished() as event:
                self.last_verdict = stamped.elapsed
                record = self.groups[event.result.group]
                if record.result is None:
                    self.statuses[event.result.status] += 1
                record.result = record.result or event.result
                record.verdicts += 1
                record.finished_at = stamped.time if record.started_at is not None else None

    @property
    def jobs(self) -> int:
        """Groups at a time."""
        return self.started.jobs if self.started and self.started.parallel else 1

    @property
    def is_merged(self) -> bool:
        """Whether it is what `merge` made of the runs of shards."""
        return self.started is not None and bool(self.started.all_groups) and not self.started.shard

    def having(self, statuses: frozenset[Status]) -> list[GroupRecord]:
        """The groups that ended in one of these, in plan order."""
        return [record for record in self.groups.values() if record.status in statuses]

    @property
    def succeeded(self) -> list[GroupRecord]:
        return self.having(SUCCESSES)

    @property
    def failed(self) -> list[GroupRecord]:
        return self.having(FAILURES)

    @property
    def makespan(self) -> float:
        """From RunStarted to the end, services included; of a run that has not ended, so far."""
        return self.finished.duration if self.finished else self.elapsed

    @property
    def sequential_time(self) -> float:
        """What its groups would have taken one after another: the sum of their durations, services left out."""
        return sum(self._durations().values())

    @property
    def speedup(self) -> float:
        """Sequential time over makespan. The makespan has the services in it, so this never flatters."""
        return self.sequential_time / self.makespan if self.makespan > 0 else 1.0

    def lower_bound(self, jobs: int) -> float:
        """The least time in which `jobs` at a time could have run these groups, had each taken as long as it did."""
        return self.bound(jobs).seconds

    def bound(self, jobs: int) -> Bound:
        """The same with what sets it, phase by phase. The services' start and the end of the run lie apart."""
        if self.started is None:
            return Bound(0.0, ())
        phases, apart = self.started.phases, self.services_seconds or 0.0
        if self.is_merged:
            # Its machines did not wait for one another: a phase could begin on one before the last had ended elsewhere.
            phases, apart = (Phase(name="all shards", groups=tuple(each.group for each in self.groups.values())),), 0.0
        durations = self._durations() | self._durations_of_parts()
        return lower_bound(split(phases), durations, jobs=jobs, resources=self.started.resources, apart=apart)

    def _durations(self) -> dict[str, float]:
        return {name: record.result.duration if record.result else 0.0 for name, record in self.groups.items()}

    def _durations_of_parts(self) -> dict[str, float]:
        return {
            part_name(name, file): sum(outcome.duration for outcome in part.attempts)
            for name, record in self.groups.items()
            for file, part in record.parts.items()
            if file
        }


def replay(lines: Iterable[bytes]) -> RunRecord:
    """The record of the run whose events.jsonl has these lines.

    A last line without its newline that does not parse was being written when the harness died: it is left out. Raises
    ValueError for any other line that is no event, KeyError for an event of a group that the run lacks.
    """
    record = RunRecord()
    for line in lines:
        try:
            stamped = decode(line)
        except ValueError:
            if line.endswith(b"\n"):
                raise
            break
        record.apply(stamped)
    return record
