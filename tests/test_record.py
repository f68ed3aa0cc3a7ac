from collections.abc import Iterable

import pytest

from harness.events import (
    AnyEvent,
    AttemptFinished,
    AttemptSpawned,
    AttemptStarted,
    GroupFinished,
    PhaseStarted,
    RunFinished,
    RunStarted,
    ServiceFailed,
    ServiceReady,
    ServiceStarted,
    Stamped,
    TestFinished,
    TestStarted,
    encode,
)
from harness.model import Dependency, Group, GroupResult, LockMode, Outcome, Phase, Status, TestResult, TestStatus
from harness.record import PartRecord, RunRecord, ServiceRecord, replay


def group(name: str, **more: object) -> Group:
    return Group(name=name, phase="p", command="true", **more)  # type: ignore[arg-type]


def started(*phases: Phase, **more: object) -> RunStarted:
    values: dict[str, object] = {
        "run_id": "r", "version": "1", "project": "/p", "environment": "local", "jobs": 4, "parallel": True,
        "fail_fast": 0, "log_dir": "/p/logs", "phases": phases,
    }  # fmt: skip
    return RunStarted(**{**values, **more})  # type: ignore[arg-type]


def finished(name: str, duration: float = 0.0, status: Status = Status.PASSED) -> GroupFinished:
    return GroupFinished(result=GroupResult(group=name, status=status, duration=duration, attempts=1))


def stamped(events: Iterable[tuple[float, AnyEvent]]) -> list[Stamped]:
    return [Stamped(seq, 1000.0 + at, at, event) for seq, (at, event) in enumerate(events, 1)]


def folded(*events: tuple[float, AnyEvent]) -> RunRecord:
    record = RunRecord()
    for event in stamped(events):
        record.apply(event)
    return record


def test_a_group_is_followed_from_its_start_to_its_verdict() -> None:
    record = RunRecord()
    result = TestResult(id="t1", status=TestStatus.FAILED, duration=1.0)
    outcome = Outcome(group="a", attempt=1, status=Status.FAILED, started_at=1001.0, duration=2.0)
    again = AttemptStarted(group="a", attempt=2, slot=1, log="/p/logs/a.log")
    seen = []
    for event in stamped(
        [
            (0.0, started(Phase(name="p", groups=(group("a"), group("b"))))),
            (1.0, AttemptStarted(group="a", attempt=1, slot=1, log="/p/logs/a.log")),
            (1.1, AttemptSpawned(group="a", attempt=1, pid=42, argv=("true",))),
            (1.2, TestStarted(group="a", attempt=1, test="t1")),
            (2.2, TestFinished(group="a", attempt=1, result=result)),
            (3.0, AttemptFinished(outcome=outcome)),
            (4.0, again),
            (6.0, finished("a", 4.0, Status.FLAKY)),
        ]
    ):
        record.apply(event)
        a = record.groups["a"]
        part = a.parts.get("", PartRecord())
        seen.append((a.attempt, a.pid, part.running_since, part.current_test, len(a.tests), len(a.attempts), a.status))
    assert seen == [
        (0, None, None, "", 0, 0, None),
        (1, None, 1.0, "", 0, 0, None),
        (1, 42, 1.0, "", 0, 0, None),
        (1, 42, 1.0, "t1", 0, 0, None),
        (1, 42, 1.0, "", 1, 0, None),
        (1, None, None, "", 1, 1, None),
        (2, None, 4.0, "", 0, 1, None),
        (2, None, 4.0, "", 0, 1, Status.FLAKY),
    ]
    assert (a.started_at, a.finished_at, a.verdicts, part.slot, a.log) == (1001.0, 1006.0, 1, 1, "/p/logs/a.log")
    assert record.succeeded == [a]
    assert record.groups["b"].result is None


def test_the_parts_of_a_group_are_followed_one_by_one() -> None:
    whole = Group(name="s", phase="p", tests=("a.py", "b.py"), splittable=True)

    def test(part: str, at: float) -> tuple[float, TestFinished]:
        result = TestResult(id=f"{part}::t{at}", status=TestStatus.PASSED, duration=1.0)
        return at, TestFinished(group="s", part=part, attempt=1, result=result)

    def ends(part: str, attempt: int, at: float, duration: float) -> tuple[float, AttemptFinished]:
        values = {"group": "s", "part": part, "attempt": attempt, "status": Status.PASSED, "started_at": 0.0}
        return at, AttemptFinished(outcome=Outcome(duration=duration, **values))  # type: ignore[arg-type]

    running = [
        (0.0, started(Phase(name="p", groups=(whole, group("other"))))),
        (1.0, AttemptStarted(group="s", part="b.py", attempt=1, slot=2, log="/s.log")),
        (1.0, AttemptStarted(group="s", part="a.py", attempt=1, slot=1, log="/s.log")),
        (1.5, TestStarted(group="s", part="b.py", attempt=1, test="b.py::t2.0")),
    ]
    record = folded(*running)
    assert list(record.running) == ["s/b.py", "s/a.py"]
    assert {name: part.slot for name, part in record.groups["s"].running.items()} == {"a.py": 1, "b.py": 2}
    assert [part.current_test for part in record.running.values()] == ["b.py::t2.0", ""]
    after = [test("b.py", 2.0), test("a.py", 3.0), ends("b.py", 1, 4.0, 3.0)]
    again = AttemptStarted(group="s", part="b.py", attempt=2, slot=2, log="/s.log")
    record = folded(*running, *after, (5.0, again), test("b.py", 6.0))
    s = record.groups["s"]
    assert [each.id for each in s.tests] == ["a.py::t3.0", "b.py::t6.0"], "a retry of one file keeps those of the other"
    assert [[each.id for each in tests] for tests in s.parts["b.py"].earlier_tests] == [["b.py::t2.0"]]
    assert (s.attempt, list(record.running)) == (2, ["s/a.py", "s/b.py"])


def test_the_longest_part_is_in_the_bound_and_all_of_the_work() -> None:
    whole = Group(name="s", phase="p", tests=("a.py", "b.py", "c.py"), splittable=True)
    events: list[tuple[float, AnyEvent]] = [(0.0, started(Phase(name="p", groups=(whole,)), jobs=2))]
    for file, took in (("a.py", 4.0), ("b.py", 3.0), ("c.py", 1.0)):
        events.append((0.0, AttemptStarted(group="s", part=file, attempt=1, slot=0, log="/s.log")))
        outcome = Outcome(group="s", part=file, attempt=1, status=Status.PASSED, started_at=0.0, duration=took)
        events.append((took, AttemptFinished(outcome=outcome)))
    record = folded(*events, (4.0, finished("s", 8.0)), (4.0, RunFinished(exit_code=0, duration=4.0)))
    assert (record.sequential_time, record.speedup) == (8.0, 2.0)
    assert [record.lower_bound(jobs) for jobs in (1, 2, 3)] == [8.0, 4.0, 4.0]


def test_a_group_that_never_started_has_no_times() -> None:
    record = folded((0.0, started(Phase(name="p", groups=(group("a"),)))), (1.0, finished("a", status=Status.SKIPPED)))
    assert (record.groups["a"].started_at, record.groups["a"].finished_at) == (None, None)


def test_services_are_followed_too() -> None:
    record = folded(
        (0.0, started()),
        (0.1, ServiceStarted(service="postgres", pid=1, port=5555, log="/pg.log")),
        (0.5, ServiceReady(service="postgres", seconds=0.4)),
        (0.6, ServiceFailed(service="redis", reason="no such program", log="/redis.log")),
    )
    assert record.services == {
        "postgres": ServiceRecord(log="/pg.log", port=5555, seconds=0.4),
        "redis": ServiceRecord(log="/redis.log", failure="no such program"),
    }


def test_sequential_time_and_speedup_come_from_the_groups_durations() -> None:
    run = [
        (0.0, started(Phase(name="p", groups=(group("a"), group("b"))))),
        (1.0, PhaseStarted(phase="p")),
        (5.0, finished("a", 4.0)),
        (6.0, finished("b", 5.0)),
    ]
    record = folded(*run)
    assert (record.makespan, record.sequential_time, record.speedup) == (6.0, 9.0, 1.5)
    record = folded(*run, (6.0, RunFinished(exit_code=0, duration=7.5)))
    assert (record.makespan, record.speedup) == (7.5, 1.2)


CHAIN = (group("b", depends_on=(Dependency(group="a"), Dependency(group="elsewhere"))), group("a"), group("c"))


@pytest.mark.parametrize(
    ("groups", "durations", "jobs", "expected"),
    [
        ((group("a"), group("b"), group("c")), (4, 4, 4), 2, 6.0),  # work / jobs
        ((group("a", slots=2), group("b"), group("c")), (4, 4, 4), 2, 8.0),  # slots weigh
        ((group("a", slots=8),), (4,), 2, 4.0),  # more slots than jobs: all of them
        ((group("a"), group("b"), group("c")), (1, 9, 1), 4, 9.0),  # the longest group
        (CHAIN, (5, 3, 1), 4, 8.0),  # the longest chain, whatever the order in the plan
        ((group("a", parallel_group=("l", "k")), group("b", parallel_group=("l",)), group("c")), (2, 3, 1), 4, 5.0),
        ((group("a", needs={"db": LockMode.EXCLUSIVE}), group("b", needs={"db": LockMode.SHARED}),
          group("c", needs={"db": LockMode.SHARED})), (2, 3, 1), 4, 5.0),  # sharers together, beside nobody alone
        ((group("a", needs={"api": 3}), group("b", needs={"api": 3}), group("c", needs={"api": 2})),
         (4, 4, 2), 4, 10.0),  # none of them fits beside another
        ((group("a"), group("b"), group("c")), (4, 4, 4), 1, 12.0),
    ],
)  # fmt: skip
def test_the_lower_bound_of_a_phase(
    groups: tuple[Group, ...], durations: tuple[float, ...], jobs: int, expected: float
) -> None:
    record = folded(
        (0.0, started(Phase(name="p", groups=groups), resources={"api": 4})),
        (0.0, PhaseStarted(phase="p")),
        *((1.0, finished(each.name, took)) for each, took in zip(groups, durations, strict=True)),
    )
    assert record.lower_bound(jobs) == expected


def test_the_lower_bound_of_a_run_adds_its_phases_and_its_services() -> None:
    core = Phase(name="core", sequential=True, groups=(group("a"), group("b")))
    record = folded(
        (0.0, started(core, Phase(name="p", groups=(group("c"), group("d"))))),
        (1.5, PhaseStarted(phase="core")),
        (9.0, PhaseStarted(phase="p")),
        *((9.0, finished(name, 2.0)) for name in "abcd"),
    )
    assert record.lower_bound(2) == 1.5 + 4.0 + 2.0


def test_a_chain_of_thousands_is_no_trouble() -> None:
    groups = tuple(group(str(n), depends_on=(Dependency(group=str(n + 1)),) * (n < 4999)) for n in range(5000))
    record = folded((0.0, started(Phase(name="p", groups=groups))), *((0.0, finished(g.name, 1.0)) for g in groups))
    assert record.lower_bound(64) == 5000.0


HISTORY = stamped(
    [(0.0, started(Phase(name="p", groups=(group("a"), group("b"))))), (1.0, finished("a")), (2.0, finished("b"))]
)
LINES = [encode(event) + b"\n" for event in HISTORY]


def test_a_replay_makes_the_same_record() -> None:
    assert replay(LINES).groups == folded(*((event.elapsed, event.data) for event in HISTORY)).groups


def test_a_line_that_was_being_written_is_left_out() -> None:
    record = replay([*LINES[:2], LINES[2][:20]])
    assert [each.status for each in record.groups.values()] == [Status.PASSED, None]


@pytest.mark.parametrize("line", [b"\n", b"garbage\n", b"{}\n", LINES[1][:20] + b"\n"])
def test_any_other_line_that_is_no_event_is_an_error(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        replay([LINES[0], line, LINES[2]])
