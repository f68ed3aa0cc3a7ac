"""A compact way to write down the runs of shards, and what becomes of them."""

from dataclasses import dataclass, field

from harness.events import (
    AnyEvent,
    AttemptFinished,
    AttemptSpawned,
    AttemptStarted,
    GroupFinished,
    PhaseFinished,
    PhaseStarted,
    RunFinished,
    RunStarted,
    Stamped,
    TestFinished,
)
from harness.merging import Merged, ShardRun, choose, merge
from harness.model import Group, GroupResult, Outcome, Phase, Status, TestResult, TestStatus
from harness.record import RunRecord

BEGAN = 1_735_787_045.0
ALL = ("core", "a", "b", "c", "x", "y")


def phase(name: str, *groups: str, sequential: bool = False) -> Phase:
    made = tuple(Group(name=group, phase=name, command="true") for group in groups)
    return Phase(name=name, sequential=sequential, groups=made)


CORE = phase("core", "core", sequential=True)


@dataclass
class Writer:
    """The journal of one shard, event by event, at so many seconds since it began."""

    index: int
    count: int = 2
    late: float = 0.0  # seconds after the first shard
    events: list[Stamped] = field(default_factory=list)

    def add(self, at: float, *events: AnyEvent) -> "Writer":
        for event in events:
            self.events.append(Stamped(len(self.events) + 1, BEGAN + self.late + at, at, event))
        return self

    def start(self, *phases: Phase, **more: object) -> "Writer":
        values: dict[str, object] = {
            "run_id": f"20250102_03040{self.index}",
            "version": "1",
            "project": "/shard",
            "environment": "local",
            "jobs": 4,
            "parallel": True,
            "fail_fast": 0,
            "log_dir": "/shard/logs",
            "phases": phases,
            "shard": f"{self.index}/{self.count}",
            "all_groups": ALL,
            "commit": "abc",
            "resources": {"api": 5},
        }
        return self.add(0.0, RunStarted(**(values | more)))  # type: ignore[arg-type]

    def begins(self, at: float, group: str, slot: int = 0) -> "Writer":
        started = AttemptStarted(group=group, attempt=1, slot=slot, log=f"/shard/logs/{group}.log")
        return self.add(at, started, AttemptSpawned(group=group, attempt=1, pid=7, argv=("true",)))

    def ends(self, at: float, group: str, status: Status = Status.PASSED, took: float = 1.0) -> "Writer":
        outcome = Outcome(group=group, attempt=1, status=status, started_at=BEGAN + at - took, duration=took)
        test = TestResult(id=f"{group}::test", status=TestStatus.PASSED, duration=0.1)
        self.add(at, TestFinished(group=group, attempt=1, result=test), AttemptFinished(outcome=outcome))
        return self.verdict(at, group, status, attempts=1, started_at=outcome.started_at, duration=took)

    def verdict(self, at: float, group: str, status: Status, **more: object) -> "Writer":
        return self.add(at, GroupFinished(result=GroupResult(group=group, status=status, **more)))  # type: ignore[arg-type]

    def ran(self, begin: float, end: float, group: str, status: Status = Status.PASSED, slot: int = 0) -> "Writer":
        return self.begins(begin, group, slot).ends(end, group, status, end - begin)

    def finish(self, at: float, code: int = 0, stopped_by: str = "") -> "Writer":
        return self.add(at, RunFinished(exit_code=code, duration=at, stopped_by=stopped_by))

    def run(self, log_dir: str = "") -> ShardRun:
        return ShardRun.of(self.events, log_dir or f"/here/{self.index}")


def first(core: Status = Status.PASSED) -> Writer:
    made = Writer(1).start(CORE, phase("parallel", "a", "c"), phase("complex", "x"))
    made.add(1, PhaseStarted(phase="core")).ran(1, 2, "core", core).add(2, PhaseFinished(phase="core"))
    made.add(2, PhaseStarted(phase="parallel")).begins(2, "a").begins(2, "c", slot=1).ends(5, "a", took=3.0)
    made.ends(6, "c", took=4.0).add(6, PhaseFinished(phase="parallel"))
    made.add(6, PhaseStarted(phase="complex")).ran(6, 8, "x").add(8, PhaseFinished(phase="complex"))
    return made.finish(9)


def second(core: Status = Status.PASSED) -> Writer:
    made = Writer(2, late=2.5).start(CORE, phase("parallel", "b"), phase("complex", "y"), predicted=6.0)
    made.add(0.5, PhaseStarted(phase="core")).ran(1, 3, "core", core).add(3, PhaseFinished(phase="core"))
    if core.is_failure:
        made.verdict(3, "b", Status.NOT_RUN).verdict(3, "y", Status.NOT_RUN)
        return made.finish(4, code=1)
    made.add(3, PhaseStarted(phase="parallel")).ran(3, 5, "b", slot=2).add(5, PhaseFinished(phase="parallel"))
    made.add(5, PhaseStarted(phase="complex")).ran(5, 7, "y").add(7, PhaseFinished(phase="complex"))
    return made.finish(10)


def merged(*runs: ShardRun) -> Merged:
    chosen, warnings = choose(runs)
    return merge(
        chosen,
        run_id="20250102_040000",
        project="/here",
        log_dir="/here/logs",
        pid=4711,
        group_log=lambda name: f"/here/logs/{name}_merged.log",
        service_log=lambda name: f"/here/logs/service-{name}.log",
        warnings=warnings,
    )


def record(whole: Merged) -> RunRecord:
    made = RunRecord()
    for stamped in whole.events:
        made.apply(stamped)
    return made


def of(whole: Merged, *kinds: type) -> list[AnyEvent]:
    return [stamped.data for stamped in whole.events if isinstance(stamped.data, kinds)]
