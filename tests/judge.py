"""Random plans on a virtual clock: what must hold at every moment of every run, judged from scratch.

The judge keeps its own books from the actions alone (what runs, what has ended) and works out from the plan, by the
plainest rules, what may run beside what. It shares no code with the scheduler. What it calls a unit is a group, or a
file of a splittable one; all that it is told of is units, but for the ends, which are those of groups.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from hypothesis import strategies as st

from harness.events import GroupFinished, RetryScheduled
from harness.model import After, Dependency, Group, GroupResult, LockMode, Outcome, Phase, Status
from harness.scheduling.dispatch import Dispatcher
from harness.scheduling.messages import (
    Action,
    AttemptEnded,
    Begin,
    Cancel,
    Emit,
    Input,
    JournalLost,
    Kill,
    RetryDue,
    ServiceDown,
    SignalCame,
    Start,
    Stop,
    Supply,
    TimeUp,
    Wake,
)
from harness.scheduling.parts import split

RESOURCES = {"api": 3, "mail": 2}
SUPPLIES = {"redis": Supply(2, 4, "4 databases"), "postgres": Supply(6, 6, "6 sessions")}
BAD = [Status.FAILED, Status.TIMED_OUT, Status.KILLED, Status.ERROR, Status.NO_TESTS, Status.LOST]
ENDINGS = [Status.PASSED] * 7 + BAD
DURATIONS = [1.0, 2.0, 5.0]  # seconds

Choose = Callable[[Sequence[Any]], Any]


def some(choose: Choose, names: Sequence[str], most: int) -> tuple[str, ...]:
    """So many of them at most, each once."""
    return tuple(dict.fromkeys(choose(names) for _ in range(choose(range(most + 1))))) if names else ()


def make_group(choose: Choose, place: int, phase: str, earlier: list[str]) -> Group:
    needs = {name: choose(range(1, count + 1)) for name, count in RESOURCES.items() if choose([True, False])}
    locks = {name: choose(list(LockMode)) for name in ("settings",) if choose([True, False, False])}
    holds = {name: choose(range(1, it.total + 1)) for name, it in SUPPLIES.items() if choose([True, False, False])}
    return Group(
        name=f"g{place}",
        phase=phase,
        command="true",
        depends_on=tuple(Dependency(group=name, after=choose(list(After))) for name in some(choose, earlier, 2)),
        parallel_group=some(choose, ["ledger", "docker"], 2),
        needs=needs | locks,
        holds=holds if choose(range(40)) else {"redis": SUPPLIES["redis"].total + 1},
        slots=choose([1, 1, 1, 2, 5]),
        retries=choose([0, 0, 1, 2]),
        retry_delay=choose([0.0, 1.0, 4.0]),
        retry_alone=choose([True, False]),
        services=some(choose, ["db", "web"], 2),
        splittable=choose([False, False, True]),
        tests=tuple(f"{file}.py" for file in "abcd"[: choose(range(1, 5))]),
    )


def make_plan(choose: Choose) -> list[Phase]:
    phases, names = [], list[str]()
    for number in range(choose(range(1, 4))):
        made = []
        for _ in range(choose(range(1, 9))):
            made.append(make_group(choose, len(names), f"p{number}", list(names)))
            names.append(made[-1].name)
        phases.append(Phase(name=f"p{number}", sequential=choose([False, False, True]), groups=tuple(made)))
    return phases


@st.composite
def plans(draw: st.DrawFn) -> list[Phase]:
    return make_plan(lambda options: draw(st.sampled_from(options)))


def unit_of(group: str, part: str) -> str:
    return f"{group}/{part}" if part else group


class Judge:
    """Keeps the books of one run, performs its actions on a virtual clock, and objects at once."""

    def __init__(self, phases: list[Phase], jobs: int, choose: Choose, **options: object) -> None:
        """`choose` takes one of several: whatever is left to chance in this run."""
        self.phases = {phase.name: phase for phase in phases}
        self.groups = {group.name: group for phase in phases for group in phase.groups}
        self.cached = options.get("cached", {})
        self.units = {name: self.units_of(group) for name, group in self.groups.items()}
        self.group_of = {unit: self.groups[name] for name, units in self.units.items() for unit in units}
        self.done: dict[str, Status] = {}  # units by how their last attempt ended
        self.jobs = jobs
        self.choose = choose
        self.options = options
        self.durations = DURATIONS
        self.endings = ENDINGS
        self.misdelivers = False  # whether outcomes come twice, or late, from an executor that gave the attempt up
        self.given: list[Input] = []  # all but outcomes
        self.clock = 0.0
        self.queue: list[tuple[float, int, Outcome | RetryDue]] = []
        self.running: dict[str, Start] = {}
        self.cancelled: set[str] = set()
        self.ended: dict[str, Status] = {}
        self.results: dict[str, GroupResult] = {}
        self.stopped = False
        self.arrivals = 0
        self.resting: set[str] = set()  # units between two attempts
        self.aside: set[str] = set()  # … that wait until nothing else runs
        self.slots: dict[str, int] = {}  # of every unit that was started
        self.attempts: dict[str, int] = {}
        self.alone = ""  # the unit whose retry runs by itself
        self.ready: dict[str, int] = {}  # unit that could start but for what others hold -> starts since then
        self.excused = {entry.group for entry in options.get("quarantine", [])}
        self.quiet = True  # nothing but outcomes has happened: the run should be making full use of its slots
        parts = split(phases, whole=self.cached)
        self.dispatcher = Dispatcher(parts, jobs=jobs, resources=RESOURCES, **options)  # type: ignore[arg-type]

    def units_of(self, group: Group) -> list[str]:
        if not group.splittable or len(group.tests) == 1 or group.name in self.cached:
            return [group.name]
        return [f"{group.name}/{file}" for file in group.tests]

    def give(self, given: Input) -> None:
        means_nothing = isinstance(given, TimeUp) and bool(self.dispatcher.stopped_by)  # the run stops already
        actions = self.dispatcher.handle(given, self.clock)
        match given:
            case AttemptEnded(outcome) if not self.is_awaited(outcome):
                assert not actions, "what comes twice, or too late, means nothing"
            case AttemptEnded(outcome):
                unit = outcome.attempt_id.partition("#")[0]
                retried = [action.event for action in actions if isinstance(action, Emit)]
                retried = [event for event in retried if isinstance(event, RetryScheduled)]
                if unit not in [unit_of(event.group, event.part) for event in retried]:
                    self.done[unit] = outcome.status
                    self.leaves(unit)
                else:
                    assert outcome.status in (Status.FAILED, Status.TIMED_OUT, Status.KILLED), (
                        "a lost one is not retried"
                    )
            case ServiceDown(service):
                for unit in [unit for unit in self.resting if service in self.group_of[unit].services]:
                    self.leaves(unit)  # its last attempt stands
        if means_nothing:
            assert not actions
        elif not isinstance(given, AttemptEnded | RetryDue):
            self.given.append(given)
        for action in actions:
            self.perform(action)
        if not self.stopped:
            assert self.running or self.resting, "a run that is not over has something running"
            self.check_moment()

    def is_awaited(self, outcome: Outcome) -> bool:
        start = self.running.get(outcome.name)
        return start is not None and start.attempt == outcome.attempt and outcome.name not in self.resting

    def leaves(self, unit: str) -> None:
        self.running.pop(unit, None)
        self.resting.discard(unit)
        self.aside.discard(unit)
        self.alone = "" if self.alone == unit else self.alone

    def perform(self, action: Action) -> None:
        assert not self.stopped, f"{action} after the stop"
        match action:
            case Start(group, attempt, _):
                if attempt > 1:
                    assert self.slots[group.name] == action.slot, "a retry keeps its slot"
                    assert group.name in self.resting
                    if group.name in self.aside:
                        self.aside.remove(group.name)
                        assert not self.running, "a retry alone has nothing beside it"
                        self.alone = group.name
                else:
                    assert group.name not in self.running
                    assert group.name not in self.done
                    assert self.group_of[group.name].name not in {*self.ended, *self.cached}
                    self.check_dependencies(self.group_of[group.name])
                    # Others may have become ready in this moment: what starts in it has overtaken them already.
                    self.now_ready(self.phases[self.group_of[group.name].phase])
                    self.ready.pop(group.name, None)
                    self.ready = {name: starts + 1 for name, starts in self.ready.items()}
                assert self.alone in ("", group.name), "nothing starts beside a retry alone"
                self.resting.discard(group.name)
                self.running[group.name] = action
                self.slots[group.name] = action.slot
                self.attempts[group.name] = attempt
                self.push(group.name, attempt, self.choose(self.endings))
            case Wake(attempt_id, after):
                name, attempt = attempt_id.split("#")
                assert 0 < after <= 60
                assert name in self.resting
                assert int(attempt) == self.attempts[name] + 1
                self.arrive(after, RetryDue(attempt_id))
            case Emit(RetryScheduled(group=whole, part=part, alone=alone)):
                name, group = unit_of(whole, part), self.groups[whole]
                self.resting.add(name)
                assert alone == (group.retry_alone and not self.phases[group.phase].sequential)
                if alone:
                    self.alone = ""
                    self.aside.add(name)
                    del self.running[name]
            case Cancel(attempt_id) | Kill(attempt_id):
                name, attempt = attempt_id.split("#")
                assert self.running[name].attempt == int(attempt)
                self.cancelled.add(attempt_id)
            case Emit(GroupFinished(result=result)):
                assert result.group not in self.ended, "a group ends once"
                self.check_whole(result)
                self.ended[result.group] = result.status
                self.results[result.group] = result
                for unit in self.units[result.group]:
                    self.leaves(unit)
                assert (result.status is Status.CACHED) == (bool(result.cached_from))
                if result.status is Status.CACHED:
                    assert result.group in self.cached
                    self.check_dependencies(self.groups[result.group])
                assert all(seconds > 0 for seconds in result.waited.values())
                assert sum(result.waited.values()) <= self.clock + 1e-9
            case Stop():
                assert not self.running
                assert self.ended.keys() == self.groups.keys(), "every group is accounted for"
                self.stopped = True
                assert self.dispatcher.exit_code == self.exit_code(), self.results

    def push(self, name: str, attempt: int, status: Status) -> None:
        duration = self.choose(self.durations)
        group, _, part = name.partition("/")
        outcome = Outcome(
            group=group, part=part, attempt=attempt, status=status, started_at=self.clock, duration=duration
        )
        if self.misdelivers and not self.choose(range(3)):
            lost = msgspec.structs.replace(outcome, status=Status.LOST, reason="gave no answer")
            outcome, late = self.choose([(outcome, outcome), (lost, outcome), (lost, lost), (outcome, lost)])
            self.arrive(duration + self.choose(self.durations), late)
        self.arrive(duration, outcome)

    def arrive(self, after: float, arrival: Outcome | RetryDue) -> None:
        self.arrivals += 1
        heapq.heappush(self.queue, (self.clock + after, self.arrivals, arrival))

    def next_input(self) -> Input:
        due, _, arrival = heapq.heappop(self.queue)
        self.clock = max(self.clock, due)
        if isinstance(arrival, RetryDue):
            return arrival
        if arrival.attempt_id in self.cancelled and self.choose([True, False]):
            arrival = msgspec.structs.replace(arrival, status=Status.INTERRUPTED)
        return AttemptEnded(arrival)

    # --- the rules, from scratch

    def exit_code(self) -> int:
        """What the shell must hear, by SPEC.md: from the results alone, and from what came from outside."""
        numbers = [given.number for given in self.given if isinstance(given, SignalCame)]
        if numbers:
            return 128 + int(numbers[0])
        if any(isinstance(given, JournalLost) for given in self.given):
            return 3
        results = [result for result in self.results.values() if result.status is not Status.SKIPPED]
        if all(result.status is Status.NO_TESTS for result in results):
            return 4
        counting = {result.status for result in results if not result.quarantined}
        tests_failed = {Status.FAILED, Status.TIMED_OUT, Status.KILLED, Status.NO_TESTS} & counting
        if tests_failed or any(isinstance(given, TimeUp) for given in self.given):
            return 1
        return 3 if {Status.ERROR, Status.LOST} & counting else 0

    def check_dependencies(self, group: Group) -> None:
        for dependency in group.depends_on:
            assert dependency.group in self.ended
            if dependency.after is After.SUCCESS:
                assert self.ended[dependency.group].succeeded or dependency.group in self.excused
        current = list(self.phases).index(group.phase)
        for name, other in self.groups.items():
            if list(self.phases).index(other.phase) < current:
                assert name in self.ended, "a phase begins when the one before it has ended"

    def check_whole(self, result: GroupResult) -> None:
        """A group ends when nothing of it runs any more, and is no better than its files were."""
        units = self.units[result.group]
        assert not [unit for unit in units if unit in self.running and unit not in self.resting]
        ends = [self.done.get(unit) for unit in units]
        if result.status in (Status.PASSED, Status.FLAKY):
            assert Status.PASSED in ends
            assert set(ends) <= {Status.PASSED, Status.NO_TESTS}
        if any(end and end.is_failure and end is not Status.NO_TESTS for end in ends):
            stopped = result.group in self.excused and result.status is Status.INTERRUPTED
            assert result.status.is_failure or stopped, (result, ends)
        assert (result.attempts == 0) == (not any(unit in self.slots for unit in units))

    def check_dependants(self) -> None:
        """Nothing waits for the success of a group of which a file has failed for good."""
        for group in self.groups.values():
            for need in group.depends_on:
                ends = [self.done.get(unit, Status.PASSED) for unit in self.units[need.group]]
                failed = [end for end in ends if end.is_failure and end is not Status.NO_TESTS]
                if need.group in self.excused:
                    failed = [end for end in failed if end is Status.ERROR]
                assert not failed or need.after is After.ANY or group.name in self.ended

    def breaches(self, names: list[str]) -> list[str]:
        """The rules that these units break by running at the same time."""
        groups = [self.group_of[name] for name in names]
        found = []
        if sum(min(group.slots, self.jobs) for group in groups) > self.jobs:
            found.append("jobs")
        exclusive = Counter(name for group in groups for name in group.parallel_group)
        found += [name for name, holders in exclusive.items() if holders > 1]
        for name, count in RESOURCES.items():
            if sum(int(group.needs.get(name, 0)) for group in groups) > count:
                found.append(name)
        holders = [group.needs["settings"] for group in groups if "settings" in group.needs]
        if LockMode.EXCLUSIVE in holders and len(holders) > 1:
            found.append("settings")
        for name, supply in self.supplies().items():
            amounts = [group.holds[name] for group in groups if name in group.holds]
            if sum(amounts) > supply.free and len(amounts) > 1:  # for what others hold, one may wait in its turn
                found.append(name)
        if len(groups) > 1 and any(self.phases[group.phase].sequential for group in groups):
            found.append("sequential")
        return found

    def supplies(self) -> dict[str, Supply]:
        begun = next((given for given in self.given if isinstance(given, Begin)), Begin())
        return dict(begun.supplies)

    def check_moment(self) -> None:
        names = list(self.running)
        assert not self.breaches(names)
        self.check_dependants()
        slots = [start.slot for start in self.running.values()]
        assert len(set(slots)) == len(slots)
        assert all(0 <= slot < self.jobs for slot in slots)
        if self.quiet and names and not self.alone:
            self.check_nothing_idles(self.phases[self.group_of[names[0]].phase], names)

    def now_ready(self, phase: Phase) -> list[str]:
        """The units that could start but for what others hold."""
        found = []
        for unit in (unit for group in phase.groups for unit in self.units[group.name]):
            group = self.group_of[unit]
            if group.name in self.ended or unit in {*self.done, *self.running, *self.resting}:
                continue
            if not any(d.group not in self.ended for d in group.depends_on):
                self.ready.setdefault(unit, 0)
                found.append(unit)
        return found

    def check_nothing_idles(self, phase: Phase, names: list[str]) -> None:
        """Whatever could start has started, unless one that was overtaken often enough has something kept for it."""
        idle = [unit for unit in self.now_ready(phase) if not self.breaches([*names, unit])]
        overtaken = [name for name, starts in self.ready.items() if starts >= 2 * self.jobs and name not in idle]
        assert not idle or overtaken, f"{idle} could have started"
