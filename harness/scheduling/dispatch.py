"""What follows from an input: the only place where a run is decided. Pure: no clock, no process, no thread.

Everything that happens to a run arrives as one input (`Begin`, `AttemptEnded`, `SignalCame`, …), one at a time;
`Dispatcher.handle` answers with actions (`Start`, `Cancel`, `Kill`, `Emit`, `Stop`), which run.py performs on real
processes and a simulator on a virtual clock. So every rule about retries, fail-fast, skipping and signals stands
here, and a test replays a literal list of inputs. The dispatcher changes itself in place instead of returning a new
state: a copy for each of 10,000 groups would cost more than the run.

Every group ends in exactly one GroupFinished. `Stop` comes once, after the last of them.
"""

import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.errors import ExitCode, InternalError
from harness.events import AnyEvent, GroupFinished, PhaseFinished, PhaseStarted, SignalReceived
from harness.model import Group, GroupResult, Outcome, Phase, Status
from harness.scheduling.messages import (
    Action,
    AttemptEnded,
    Begin,
    Cancel,
    Emit,
    Input,
    JournalLost,
    Kill,
    ServiceDown,
    SignalCame,
    Start,
    StartupFailed,
    Stop,
    TimeUp,
)
from harness.scheduling.schedule import Doomed, Schedule

# What a run can be stopped by, besides a signal.
FAIL_FAST = "fail-fast"
GLOBAL_TIMEOUT = "global timeout"
JOURNAL = "journal"


@dataclass
class Running:
    """A group whose attempt is under way, and what becomes of it if that attempt is ended by us."""

    group: Group
    attempt: int
    slot: int
    past: list[Outcome] = field(default_factory=list)  # earlier attempts
    fate: tuple[Status, str] | None = None  # set when it is cancelled

    @property
    def attempt_id(self) -> str:
        return f"{self.group.name}#{self.attempt}"


class Dispatcher:
    """One run. `handle` is called by one thread, one input at a time."""

    def __init__(
        self,
        phases: Sequence[Phase],
        *,
        jobs: int,
        resources: Mapping[str, int],
        off: Mapping[str, str] | None = None,
        max_failures: int = 0,
        estimates: Mapping[str, float] | None = None,
    ) -> None:
        """`off` maps a phase that will not run to the reason; `max_failures` 0 means that failures stop nothing."""
        self._schedule = Schedule(phases, jobs=jobs, resources=resources, estimates=estimates)
        self._groups = {group.name: group for phase in phases for group in phase.groups}
        self._ahead = list(reversed(phases))  # phases not yet begun, the next one last
        self._phase: Phase | None = None
        self._left_in_phase: set[str] = set()
        self._off = dict(off or {})
        self._max_failures = max_failures
        self._running: dict[str, Running] = {}
        self._failures = 0
        self._signals = 0
        self._stopping = False
        self._stopped = False
        self._actions: list[Action] = []
        self.results: dict[str, GroupResult] = {}
        self.stopped_by = ""
        self.stop_signal: int | None = None

    def handle(self, given: Input) -> list[Action]:
        """Takes one input and returns what is to be done, in order."""
        match given:
            case Begin():
                self._advance()
            case AttemptEnded(outcome):
                self._attempt_ended(outcome)
            case SignalCame(number):
                self._signal_came(number)
            case ServiceDown(service, reason):
                self._service_down(service, reason)
            case StartupFailed(reason):
                self._startup_failed(reason)
            case TimeUp(reason):
                self._halt(GLOBAL_TIMEOUT, fate=(Status.TIMED_OUT, reason), unstarted=reason)
            case JournalLost(reason):
                self._halt(JOURNAL, fate=(Status.INTERRUPTED, reason), unstarted=reason)
        self._settle()
        actions, self._actions = self._actions, []
        return actions

    @property
    def exit_code(self) -> int:
        """What the results mean for the shell, once the run has stopped (SPEC.md, section 3)."""
        if self.stop_signal is not None:
            return 128 + self.stop_signal
        statuses = {result.status for result in self.results.values()} - {Status.SKIPPED}
        broken = {Status.ERROR, Status.LOST}
        if self.stopped_by == JOURNAL:
            return ExitCode.INFRASTRUCTURE
        if statuses <= {Status.NO_TESTS}:
            return ExitCode.NOTHING_TO_RUN
        if self.stopped_by == GLOBAL_TIMEOUT or any(s.is_failure and s not in broken for s in statuses):
            return ExitCode.TESTS_FAILED
        if statuses & broken:
            return ExitCode.INFRASTRUCTURE
        return ExitCode.OK

    # --- one handler for one input

    def _attempt_ended(self, outcome: Outcome) -> None:
        running = self._running.get(outcome.group)
        if running is None or running.attempt_id != outcome.attempt_id:
            return  # a duplicate from an executor that had given the attempt up for lost
        running.past.append(outcome)
        if self._deserves_retry(running, outcome):
            running.attempt += 1
            self._actions.append(Start(running.group, running.attempt, running.slot))
            return
        del self._running[outcome.group]
        self._finish(running.group, _final(running))

    def _signal_came(self, number: int) -> None:
        name = signal.Signals(number).name
        self._signals += 1
        if self._stopped:
            self._emit(SignalReceived(signal=name, response="the run is over, cleaning up"))
            return
        if self._signals > 1:
            self._emit(SignalReceived(signal=name, response="killing what still runs"))
            self._actions.extend(Kill(running.attempt_id) for running in self._running.values())
            return
        self._emit(SignalReceived(signal=name, response="stopping; once more kills at once"))
        self.stop_signal = number
        reason = f"stopped by {name}"
        self._halt(name, fate=(Status.INTERRUPTED, reason), unstarted=reason)

    def _service_down(self, service: str, reason: str) -> None:
        why = f"service {service} {reason}"
        for running in self._running.values():
            if service in running.group.services:
                self._cancel(running, (Status.ERROR, why))
        victims = [group for group in self._groups.values() if service in group.services]
        self._finish_unstarted(victims, Status.ERROR, why)

    def _startup_failed(self, reason: str) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._finish_unstarted(self._groups.values(), Status.ERROR, reason)

    # --- the rules

    def _deserves_retry(self, running: Running, outcome: Outcome) -> bool:
        retryable = outcome.status in (Status.FAILED, Status.TIMED_OUT, Status.KILLED)
        asked_to_end = self._stopping or running.fate is not None
        return retryable and not asked_to_end and running.attempt <= running.group.retries

    def _finish(self, group: Group, result: GroupResult) -> None:
        """Records the end of a group and all that follows from it."""
        self._record(result)
        self._follow(group, result)

    def _finish_unstarted(self, groups: Iterable[Group], status: Status, reason: str) -> None:
        """Ends those of `groups` that have not started, for one reason. It stands before any that follows from it."""
        ending = [group for group in groups if group.name not in self.results and group.name not in self._running]
        for group in ending:
            self._record(GroupResult(group=group.name, status=status, reason=reason))
        for group in ending:
            self._follow(group, self.results[group.name])

    def _record(self, result: GroupResult) -> None:
        self.results[result.group] = result
        self._left_in_phase.discard(result.group)
        self._failures += result.status.is_failure
        self._emit(GroupFinished(result=result))

    def _follow(self, group: Group, result: GroupResult) -> None:
        """What the end of a group means for others: who is skipped, and whether the run goes on."""
        for doomed in self._schedule.end(group.name, succeeded=result.status.succeeded):
            self._skip_doomed(doomed)
        if self._stopping or not result.status.is_failure:
            return
        if self._phase is not None and self._phase.sequential and group.phase == self._phase.name:
            reason = f"{group.name} {_said(result.status)} in the sequential phase {group.phase}"
            self._finish_unstarted(self._groups.values(), Status.SKIPPED, reason)
        if self._max_failures and self._failures >= self._max_failures:
            reason = f"stopped after {group.name} {_said(result.status)}"
            self._halt(FAIL_FAST, fate=(Status.INTERRUPTED, reason), unstarted=reason)

    def _skip_doomed(self, doomed: Doomed) -> None:
        if doomed.group.name in self.results:
            return
        reason = f"depends on {doomed.cause}, which {_said(self.results[doomed.cause].status)}"
        self._finish(doomed.group, GroupResult(group=doomed.group.name, status=Status.SKIPPED, reason=reason))

    def _halt(self, by: str, *, fate: tuple[Status, str], unstarted: str) -> None:
        """Stops the run: cancels what runs, and lets nothing start."""
        if self._stopped:
            return
        self._stopping = True
        self.stopped_by = by
        for running in self._running.values():
            self._cancel(running, fate)
        self._finish_unstarted(self._groups.values(), Status.NOT_RUN, unstarted)

    def _cancel(self, running: Running, fate: tuple[Status, str]) -> None:
        running.fate = running.fate or fate
        self._actions.append(Cancel(running.attempt_id))

    def _settle(self) -> None:
        """Moves on as far as possible: the next phase, the next groups, the end."""
        if self._stopped:
            return
        if self._phase is not None and not self._stopping:
            self._start_what_fits()
        while not self._running and not self._stopping and self._phase is not None and not self._left_in_phase:
            self._leave_phase()
            self._advance()
            self._start_what_fits()
        if self._running:
            return
        if len(self.results) == len(self._groups):
            self._leave_phase()
            self._stopped = True
            self._actions.append(Stop())
        elif self._phase is not None:
            stuck = sorted(self._groups.keys() - self.results.keys())
            raise InternalError(f"the scheduler is stuck: nothing runs and {', '.join(stuck)} cannot start")

    def _advance(self) -> None:
        """Begins the next phase, if there is one with something to do."""
        while self._ahead and not self._stopping:
            phase = self._ahead.pop()
            left = {group.name for group in phase.groups} - self.results.keys()
            if phase.name in self._off:
                self._finish_unstarted(phase.groups, Status.SKIPPED, self._off[phase.name])
            elif left:
                self._phase, self._left_in_phase = phase, left
                self._emit(PhaseStarted(phase=phase.name))
                self._schedule.open(phase)
                return

    def _leave_phase(self) -> None:
        if self._phase is not None:
            self._emit(PhaseFinished(phase=self._phase.name))
            self._phase = None

    def _start_what_fits(self) -> None:
        for group, slot in self._schedule.start():
            self._running[group.name] = Running(group, 1, slot)
            self._actions.append(Start(group, 1, slot))

    def _emit(self, event: AnyEvent) -> None:
        self._actions.append(Emit(event))


def _final(running: Running) -> GroupResult:
    """The group's result out of its attempts: a pass after a failure is flaky, and what we ended has its fate."""
    last = running.past[-1]
    status, reason = last.status, last.reason
    if status is Status.INTERRUPTED and running.fate is not None:
        status, reason = running.fate
    elif status is not Status.PASSED and running.fate is not None and running.fate[0] is Status.ERROR:
        status, reason = running.fate  # it failed because its service did, whichever was seen first
    elif status is Status.PASSED and running.attempt > 1:
        status = Status.FLAKY
        reason = f"passed on attempt {running.attempt}; attempt {running.attempt - 1}: {running.past[-2].reason}"
    return GroupResult(
        group=running.group.name,
        status=status,
        reason=reason,
        attempts=running.attempt,
        started_at=running.past[0].started_at,
        duration=sum(outcome.duration for outcome in running.past),
        exit_code=last.exit_code,
        cpu_seconds=sum(outcome.cpu_seconds for outcome in running.past),
        peak_memory=max(outcome.peak_memory for outcome in running.past),
        leaked=any(outcome.leaked for outcome in running.past),
    )


def _said(status: Status) -> str:
    """A status as the end of a sentence about a group: "core failed", "core was skipped"."""
    return {
        Status.ERROR: "could not run",
        Status.NO_TESTS: "had no tests",
        Status.TIMED_OUT: "timed out",
        Status.KILLED: "was killed",
        Status.SKIPPED: "was skipped",
        Status.INTERRUPTED: "was interrupted",
        Status.NOT_RUN: "did not run",
        Status.LOST: "was lost",
    }.get(status, status.value)
