"""The events of shards as those of one run: what is told once, and what is lost."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ExitCode
from harness.events import (
    AttemptFinished,
    AttemptSpawned,
    AttemptStarted,
    GroupFinished,
    PhaseFinished,
    PhaseStarted,
    RunFinished,
    RunStarted,
    ServiceFailed,
    ServiceReady,
    ServiceStarted,
    SignalReceived,
    Warned,
)
from harness.merging.whole import exit_code
from harness.model import Outcome, Status

from .conftest import ALL, BEGAN, CORE, Writer, first, merged, of, phase, record, second


def test_each_group_is_told_once() -> None:
    made = record(merged(second().run(), first().run()))
    assert {name: group.verdicts for name, group in made.groups.items()} == dict.fromkeys(ALL, 1)
    assert list(made.groups) == list(ALL)
    assert {group.status for group in made.groups.values()} == {Status.PASSED}
    assert all(len(group.attempts) == len(group.tests) == 1 for group in made.groups.values())


def test_start_of_the_merged_run() -> None:
    """It has the jobs and the counted resources of all, since its machines ran side by side."""
    (started,) = of(merged(first().run(), second().run()), RunStarted)
    assert isinstance(started, RunStarted)
    assert [(each.name, each.sequential, [group.name for group in each.groups]) for each in started.phases] == [
        ("core", True, ["core"]),
        ("parallel", False, ["a", "b", "c"]),
        ("complex", False, ["x", "y"]),
    ]
    assert msgspec.structs.replace(started, phases=()) == RunStarted(
        run_id="20250102_040000",
        version="1",
        project="/here",
        environment="local",
        jobs=8,
        parallel=True,
        fail_fast=0,
        log_dir="/here/logs",
        phases=(),
        resources={"api": 10},
        pid=4711,
        commit="abc",
        all_groups=ALL,
        predicted=6.0,
    )


def test_what_only_a_later_shard_knows_is_told_of_the_whole() -> None:
    """It worked on changed files, one of its phases is off, and it was stopped."""
    off = {"stress": "RUN_STRESS_TESTS is not true"}
    one = Writer(1).start(CORE, phase("p", "a"), all_groups=("core", "a", "s")).finish(3)
    two = Writer(2).start(CORE, phase("stress", "s"), all_groups=("core", "a", "s"), off=off, dirty=True)
    two.finish(3, code=130, stopped_by="SIGINT")
    for writer in (one, two):
        writer.events[1:1] = Writer(writer.index).ran(1, 2, "core").events
    (started,) = of(merged(one.run(), two.run()), RunStarted)
    assert isinstance(started, RunStarted)
    assert (started.dirty, started.off) == (True, off)
    (finished,) = of(merged(one.run(), two.run()), RunFinished)
    assert finished == RunFinished(exit_code=130, duration=3.0, stopped_by="SIGINT")


def test_shards_that_ran_one_group_at_a_time_ran_side_by_side() -> None:
    one = Writer(1).start(CORE, phase("p", "a"), jobs=1, parallel=False, all_groups=("core", "a", "b"))
    two = Writer(2).start(CORE, phase("p", "b"), jobs=1, parallel=False, all_groups=("core", "a", "b"))
    for writer, group in ((one, "a"), (two, "b")):
        writer.ran(1, 2, "core").ran(2, 3, group).finish(4)
    assert record(merged(one.run(), two.run())).jobs == 2


def test_end_of_the_merged_run() -> None:
    whole = merged(first().run(), second().run())
    assert whole.events[-1].data == RunFinished(exit_code=0, duration=10.0)
    assert whole.events[-1].elapsed == 12.5  # when the second, which began later, was over
    assert whole.exit_code == 0


def test_the_lower_bound_knows_that_machines_do_not_wait_for_one_another() -> None:
    """One has the long group of the first phase, the other that of the second: they ran side by side."""
    plan = ("core", "a", "x")
    one = Writer(1).start(CORE, phase("parallel", "a"), all_groups=plan).ran(1, 2, "core")
    two = Writer(2).start(CORE, phase("complex", "x"), all_groups=plan).ran(1, 2, "core")
    made = record(merged(one.ran(2, 9, "a").finish(9).run(), two.ran(2, 8, "x").finish(8).run()))
    assert made.lower_bound(made.jobs) == 7.0
    assert made.makespan == 9.0


def test_times_count_from_the_first_start() -> None:
    whole = merged(first().run(), second().run())
    began = {
        stamped.data.group: (stamped.elapsed, stamped.time - BEGAN)
        for stamped in whole.events
        if isinstance(stamped.data, AttemptStarted)
    }
    assert began == {"core": (1, 1), "a": (2, 2), "c": (2, 2), "b": (5.5, 5.5), "x": (6, 6), "y": (7.5, 7.5)}
    assert [stamped.seq for stamped in whole.events] == list(range(1, len(whole.events) + 1))


def test_a_clock_that_was_set_back_does_not_turn_a_shard_round() -> None:
    shard = first()
    shard.events[4:] = [msgspec.structs.replace(stamped, time=stamped.time - 3600) for stamped in shard.events[4:]]
    kinds = [type(event) for event in of(merged(shard.run(), second().run()), AttemptStarted, GroupFinished)]
    assert kinds[:2] == [AttemptStarted, GroupFinished]  # core, which a sort by time would put last


def test_phases_begin_with_the_first_shard_and_end_with_the_last() -> None:
    whole = merged(first().run(), second().run())
    told = [
        (type(stamped.data).__name__, stamped.data.phase, stamped.elapsed)
        for stamped in whole.events
        if isinstance(stamped.data, PhaseStarted | PhaseFinished)
    ]
    assert told == [
        ("PhaseStarted", "core", 1),
        ("PhaseStarted", "parallel", 2),
        ("PhaseFinished", "core", 5.5),
        ("PhaseStarted", "complex", 6),
        ("PhaseFinished", "parallel", 7.5),
        ("PhaseFinished", "complex", 9.5),
    ]


def test_slots_are_numbered_on() -> None:
    started = of(merged(first().run(), second().run()), AttemptStarted)
    slots = {event.group: event.slot for event in started if isinstance(event, AttemptStarted)}
    assert slots == {"core": 0, "a": 0, "c": 1, "x": 0, "b": 4 + 2, "y": 4}


def test_logs_are_those_of_the_merged_run() -> None:
    whole = merged(first().run(), second().run())
    assert record(whole).groups["b"].log == "/here/logs/b_merged.log"
    assert {(log.name, log.run.index, log.path) for log in whole.logs} == {
        ("core", 1, "/here/logs/core_merged.log"),
        *((name, 1, f"/here/logs/{name}_merged.log") for name in "acx"),
        *((name, 2, f"/here/logs/{name}_merged.log") for name in "by"),
    }


def test_a_core_that_failed_anywhere_has_failed() -> None:
    whole = merged(first().run(), second(Status.FAILED).run())
    made = record(whole)
    assert {name: group.status for name, group in made.groups.items() if group.status is not Status.PASSED} == {
        "core": Status.FAILED,
        "b": Status.NOT_RUN,
        "y": Status.NOT_RUN,
    }
    assert made.groups["core"].verdicts == 1
    assert [log.run.index for log in whole.logs if log.name == "core"] == [2]
    assert whole.exit_code == 1


@pytest.mark.parametrize(
    ("one", "two", "told"),
    [
        (Status.PASSED, Status.FLAKY, Status.FLAKY),
        (Status.NOT_RUN, Status.PASSED, Status.PASSED),
        (Status.CACHED, Status.PASSED, Status.PASSED),
        (Status.FAILED, Status.ERROR, Status.ERROR),
        (Status.INTERRUPTED, Status.TIMED_OUT, Status.TIMED_OUT),
    ],
)
def test_worst_of_the_core(one: Status, two: Status, told: Status) -> None:
    shards = []
    for index, status in enumerate((one, two), 1):
        writer = Writer(index).start(CORE, phase("p", f"g{index}"), all_groups=("core", "g1", "g2"))
        shards.append(writer.verdict(1, "core", status).verdict(1, f"g{index}", Status.SKIPPED).finish(2).run())
    assert record(merged(*shards)).groups["core"].status is told


def test_a_failure_that_counts_is_worse_than_one_in_quarantine() -> None:
    shards = []
    for index, (status, excuse) in enumerate(((Status.KILLED, "known"), (Status.FAILED, "")), 1):
        writer = Writer(index).start(CORE, phase("p", f"g{index}"), all_groups=("core", "g1", "g2"))
        writer.verdict(1, "core", status, quarantined=excuse).verdict(1, f"g{index}", Status.SKIPPED)
        shards.append(writer.finish(2).run())
    assert record(merged(*shards)).groups["core"].status is Status.FAILED


def test_later_sequential_phases_of_a_shard_are_no_core() -> None:
    """Shard 2 has nothing of the parallel phase, so all of its phases are sequential."""
    plan = ("core", "a", "x", "y")
    one = Writer(1).start(CORE, phase("parallel", "a"), phase("last", "x", sequential=True), all_groups=plan)
    two = Writer(2).start(CORE, phase("last", "y", sequential=True), all_groups=plan)
    one.ran(1, 2, "core").ran(2, 3, "a").ran(3, 4, "x").finish(5)
    two.ran(1, 2, "core").ran(2, 3, "y", Status.FAILED).finish(4, code=1)
    made = record(merged(one.run(), two.run()))
    assert {name: (group.status, group.verdicts) for name, group in made.groups.items()} == {
        **dict.fromkeys(("core", "a", "x"), (Status.PASSED, 1)),
        "y": (Status.FAILED, 1),
    }


def test_services_are_those_of_the_first_shard_and_all_that_failed() -> None:
    one, two = first(), second()
    for writer in (one, two):
        log = "/shard/logs/run/service-db.log"
        writer.events[1:1] = (
            Writer(writer.index, late=writer.late)
            .add(0.5, ServiceStarted(service="db", pid=1, port=5, log=log), ServiceReady(service="db", seconds=0.5))
            .events
        )
    two.events[3:3] = Writer(2, late=2.5).add(0.5, ServiceFailed(service="web", reason="died", log="/w.log")).events
    whole = merged(one.run(), two.run())
    assert [type(event).__name__ for event in of(whole, ServiceStarted, ServiceReady, ServiceFailed)] == [
        "ServiceStarted",
        "ServiceReady",
        "ServiceFailed",
    ]
    services = record(whole).services
    assert (services["db"].log, services["web"].log) == (
        "/here/logs/service-db.log",
        "/here/logs/service-web.shard-2.log",
    )
    assert {(log.name, log.run.index) for log in whole.logs if log.of_service} == {("db", 1), ("web", 2)}


def test_warnings_and_signals_are_kept() -> None:
    two = second()
    two.events[2:2] = (
        Writer(2, late=2.5)
        .add(0.6, Warned(message="slow disk"), SignalReceived(signal="SIGTERM", response="stopping"))
        .events
    )
    whole = merged(first().run(), two.run())
    assert record(whole).warnings == ["shard 2/2: slow disk"]
    assert len(of(whole, SignalReceived)) == 1


# --- a shard whose harness died


def died() -> Writer:
    """In the middle of b, before y."""
    shard = second()
    place = next(
        place
        for place, stamped in enumerate(shard.events)
        if isinstance(stamped.data, AttemptSpawned) and stamped.data.group == "b"
    )
    del shard.events[place + 1 :]
    return shard


def test_a_lost_group_has_taken_all_the_time_that_is_known_of() -> None:
    """An attempt that failed, and two seconds of the next one."""
    shard = died()
    failed = Outcome(group="b", attempt=1, status=Status.FAILED, started_at=BEGAN, duration=1.5)
    shard.add(4.5, AttemptFinished(outcome=failed), AttemptStarted(group="b", attempt=2, slot=0, log="/b.log"))
    shard.add(6.5, Warned(message="the last word"))
    lost = record(merged(first().run(), shard.run())).groups["b"].result
    assert lost
    assert (lost.attempts, lost.duration, lost.started_at) == (2, 3.5, BEGAN + 5.5)


def test_of_a_lost_group_all_files_that_ran_have_taken_time() -> None:
    shard = died()
    failed = Outcome(group="b", attempt=1, status=Status.FAILED, started_at=BEGAN, duration=1.5)
    shard.add(4.5, AttemptFinished(outcome=failed))
    for at, file in ((4.5, "x.py"), (5.5, "y.py")):
        shard.add(at, AttemptStarted(group="b", part=file, attempt=1, slot=0, log="/b.log"))
    shard.add(6.5, Warned(message="the last word"))
    lost = record(merged(first().run(), shard.run())).groups["b"].result
    assert lost
    assert (lost.attempts, lost.duration) == (1, 1.5 + 2.0 + 1.0)


def test_what_ran_when_a_harness_died_is_lost() -> None:
    whole = merged(first().run(), died().run())
    made = record(whole)
    lost, left = made.groups["b"].result, made.groups["y"].result
    assert lost
    assert left
    assert (lost.status, lost.reason, lost.attempts) == (Status.LOST, "the harness of shard 2/2 died", 1)
    assert (left.status, left.reason, left.attempts) == (Status.NOT_RUN, "the harness of shard 2/2 died", 0)
    assert made.warnings == ["shard 2/2: its harness died before the end of the run"]
    assert whole.exit_code == ExitCode.INFRASTRUCTURE


# --- exit codes


@pytest.mark.parametrize(
    ("codes", "whole"),
    [
        ([0, 0], 0),
        ([0, 1], 1),
        ([3, 1, 0], 1),
        ([0, 3], 3),
        ([1, 70], 70),
        ([70, 143, 1], 143),
        ([143, 130], 143),
        ([4, 4], 4),
        ([0, 4], 1),
        ([4, 3], 3),
    ],
)
def test_exit_codes(codes: list[int], whole: int) -> None:
    assert exit_code(codes) == whole


# --- whatever the shards


@given(
    groups=st.lists(st.integers(1, 4), min_size=1, max_size=12),
    late=st.lists(st.floats(-50, 50), min_size=4, max_size=4),
    data=st.data(),
)
def test_any_shards_make_a_run_in_order(groups: list[int], late: list[float], data: st.DataObject) -> None:
    """However their clocks differ and wherever one died: an event a group, in an order that can be replayed."""
    names = [f"g{place}" for place in range(len(groups))]
    runs = []
    for index in range(1, 5):
        mine = [name for name, place in zip(names, groups, strict=True) if place == index]
        writer = Writer(index, count=4, late=late[index - 1])
        writer.start(CORE, *([phase("p", *mine)] if mine else []), all_groups=("core", *names))
        writer.add(1, PhaseStarted(phase="core")).ran(1, 2, "core").add(2, PhaseFinished(phase="core"))
        if mine:
            writer.add(2, PhaseStarted(phase="p"))
            for place, name in enumerate(mine, 2):
                writer.ran(place, place + 1, name)
            writer.add(2 + len(mine), PhaseFinished(phase="p"))
        writer.finish(2 + len(mine))
        del writer.events[data.draw(st.integers(1, len(writer.events))) :]
        runs.append(writer.run())
    whole = merged(*runs)
    elapsed = [stamped.elapsed for stamped in whole.events]
    assert elapsed == sorted(elapsed)
    assert {name: group.verdicts for name, group in record(whole).groups.items()} == dict.fromkeys(["core", *names], 1)
    phases = [event.phase for event in of(whole, PhaseFinished) if isinstance(event, PhaseFinished)]
    assert len(phases) == len(set(phases))
    for name in ("core", "p"):
        told = [event for event in of(whole, PhaseStarted, PhaseFinished) if getattr(event, "phase", "") == name]
        assert told[:1] == [] or isinstance(told[0], PhaseStarted)
