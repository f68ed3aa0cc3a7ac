"""What follows from an input: the only place where a run is decided. Pure: no clock, no process, no thread.

Everything that happens to a run arrives as one input (`Begin`, `AttemptEnded`, `SignalCame`, …), one at a time;
`Dispatcher.handle` answers with actions (`Start`, `Cancel`, `Kill`, `Emit`, `Stop`), which run.py performs on real
processes and a simulator on a virtual clock. So every rule about retries, fail-fast, skipping and signals stands
here, and a test replays a literal list of inputs. The dispatcher changes itself in place instead of returning a new
state: a copy for each of 10,000 groups would cost more than the run.

What it starts are groups and parts of splittable ones, which parts.py has put in their place; both are called a group
here. Every group of the plan ends in exactly one GroupFinished. `Stop` comes once, after the last of them.
"""

import signal
from collections.abc import Iterable, Mapping, Sequence

from harness.errors import ExitCode, InternalError
from harness.events import AnyEvent, GroupFinished, PhaseFinished, PhaseStarted, RetryScheduled, SignalReceived
from harness.model import Group, GroupResult, Outcome, Phase, Quarantine, Status
from harness.scheduling.backoff import retry_delay
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
    StartupFailed,
    Stop,
    Supply,
    TimeUp,
    Wake,
)
from harness.scheduling.schedule import Schedule
from harness.scheduling.together import Together
from harness.scheduling.verdict import Running, final_result, is_excused, said

# What a run can be stopped by, besides a signal.
FAIL_FAST = "fail-fast"
GLOBAL_TIMEOUT = "global timeout"
JOURNAL = "journal"


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
        cached: Mapping[str, str] | None = None,
        quarantine: Sequence[Quarantine] = (),
        flaky_fails: bool = False,
        seed: int = 0,
        shuffle: bool = False,
        may_be_empty: bool = False,
    ) -> None:
        """`off` maps a phase that will not run to the reason, `cached` a group that need not run to the run in which it
        passed. `max_failures` 0 means that failures stop nothing. `seed` is that of all that is random.
        `may_be_empty`: it is no mistake that there is nothing to run."""
        self._cached = dict(cached or {})
        self._schedule = Schedule(
            phases,
            jobs=jobs,
            resources=resources,
            estimates=estimates,
            costless=self._cached.keys(),
            shuffle=seed if shuffle else None,
        )
        self._supplies: dict[str, tuple[tuple[str, ...], Supply]] = {}  # by what is used up, and by which entries
        self._quarantine = tuple(quarantine)
        self._flaky_fails = flaky_fails
        self._seed = seed
        self._may_be_empty = may_be_empty
        self._groups = {group.name: group for phase in phases for group in phase.groups}
        self._ended: set[str] = set()
        self._together = Together(self._groups.values())
        self._ahead = list(reversed(phases))  # phases not yet begun, the next one last
        self._phase: Phase | None = None
        self._left_in_phase = 0  # groups of it that have not ended
        self._off = dict(off or {})
        self._max_failures = max_failures
        self._running: dict[str, Running] = {}
        self._aside: list[str] = []  # groups whose retries wait until nothing else runs
        self._alone = ""  # the one of them that runs
        self._now = 0.0
        self._failures: set[str] = set()  # groups of the plan; one counts once, whichever parts of it fail
        self._flaky_failures = 0
        self._signals = 0
        self._stopping = False
        self._stopped = False
        self._actions: list[Action] = []
        self.results: dict[str, GroupResult] = {}  # of groups of the plan
        self.stopped_by = ""
        self.stop_signal: int | None = None

    def handle(self, given: Input, now: float = 0.0) -> list[Action]:
        """Takes one input and returns what is to be done, in order.

        `now` is seconds on whichever clock drives the run; only how long groups waited is measured by it.
        """
        self._now = now
        match given:
            case Begin(supplies):
                self._bound(supplies)
                self._advance()
            case AttemptEnded(outcome):
                self._attempt_ended(outcome)
            case RetryDue(attempt_id):
                self._retry_due(attempt_id)
            case SignalCame(number):
                self._signal_came(number)
            case ServiceDown(service, reason):
                self._service_down(service, reason)
            case StartupFailed(reason):
                self._startup_failed(reason)
            case TimeUp(reason) if not self._stopping:  # or it would hide why the run stops
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
        failures = {result.status for result in self.results.values() if result.counts_as_failure}
        broken = {Status.ERROR, Status.LOST}
        if self.stopped_by == JOURNAL:
            return ExitCode.INFRASTRUCTURE
        if statuses <= {Status.NO_TESTS}:
            return ExitCode.OK if self._may_be_empty and not statuses else ExitCode.NOTHING_TO_RUN
        if self.stopped_by == GLOBAL_TIMEOUT or failures - broken or self._flaky_failures:
            return ExitCode.TESTS_FAILED
        if failures:
            return ExitCode.INFRASTRUCTURE
        return ExitCode.OK

    # --- one handler for one input

    def _attempt_ended(self, outcome: Outcome) -> None:
        running = self._running.get(outcome.name)
        if running is None or running.attempt_id != outcome.attempt_id:
            return  # a duplicate from an executor that had given the attempt up for lost
        running.past.append(outcome)
        if self._deserves_retry(running, outcome):
            self._rest(running)
        else:
            self._conclude(running)

    def _retry_due(self, attempt_id: str) -> None:
        running = self._running.get(attempt_id.rpartition("#")[0])
        if running is None or running.attempt_id != attempt_id or not running.resting:
            return  # the run was stopped meanwhile
        if running.group.name in self._aside:
            running.due = True
        else:
            self._start_again(running)

    def _signal_came(self, number: int) -> None:
        name = signal.Signals(number).name
        self._signals += 1
        if self._stopped:
            self._emit(SignalReceived(signal=name, response="the run is over, cleaning up"))
            return
        if self._signals > 1:
            self._emit(SignalReceived(signal=name, response="killing what still runs"))
            self._actions.extend(Kill(running.attempt_id) for running in self._running.values() if not running.resting)
            return
        self._emit(SignalReceived(signal=name, response="stopping; once more kills at once"))
        self.stop_signal = number
        reason = f"stopped by {name}"
        self._halt(name, fate=(Status.INTERRUPTED, reason), unstarted=reason)

    def _service_down(self, service: str, reason: str) -> None:
        why = f"service {service} {reason}"
        fate = (Status.ERROR, why)
        self._cancel([running for running in self._running.values() if service in running.group.services], fate)
        victims = [group for group in self._groups.values() if service in group.services]
        self._finish_unstarted(victims, Status.ERROR, why)

    def _startup_failed(self, reason: str) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._finish_unstarted(self._groups.values(), Status.ERROR, reason)

    # --- the rules

    def _bound(self, supplies: Mapping[str, Supply]) -> None:
        """What others hold now comes back: a group that needs that too may try, alone, and waits for it there."""
        for entry, supply in supplies.items():
            entries, _ = self._supplies.get(supply.server or entry, ((), supply))
            self._supplies[supply.server or entry] = ((*entries, entry), supply)
        for name, (entries, supply) in self._supplies.items():
            self._schedule.bound(entries, name, supply.free)

    def _refuse_excessive(self, groups: Iterable[Group]) -> None:
        """Those that need more for their environments than there ever is."""
        for group in groups:
            for entries, supply in self._supplies.values():
                amount = sum(group.holds.get(entry, 0) for entry in entries)
                if amount > supply.total and group.name not in self._cached and group.name not in self._ended:
                    what = ", ".join(f"[isolation.{entry}]" for entry in entries if entry in group.holds)
                    reason = f"needs {amount} of {what}, and there are {supply.total}: {supply.said}"
                    self._finish_unstarted([group], Status.ERROR, reason)

    def _deserves_retry(self, running: Running, outcome: Outcome) -> bool:
        retryable = outcome.status in (Status.FAILED, Status.TIMED_OUT, Status.KILLED)
        asked_to_end = self._stopping or running.fate is not None
        return retryable and not asked_to_end and running.attempt <= running.group.retries

    def _rest(self, running: Running) -> None:
        """Between two attempts a group keeps what it holds, unless it is to run alone: then others go first.

        In a sequential phase it is alone already, and what comes after it rests on it.
        """
        group = running.group
        aside = group.retry_alone and self._phase is not None and not self._phase.sequential
        delay = retry_delay(group, running.attempt, self._seed)
        running.attempt += 1
        running.resting = True
        if aside:
            self._schedule.release(group.name)
            self._alone = ""
            self._aside.append(group.name)
        attempt = running.attempt
        self._emit(RetryScheduled(group=group.whole, part=group.part, attempt=attempt, delay=delay, alone=aside))
        if delay > 0:
            self._actions.append(Wake(running.attempt_id, delay))
        else:
            self._retry_due(running.attempt_id)

    def _start_again(self, running: Running) -> None:
        running.resting = running.due = False
        self._actions.append(Start(running.group, running.attempt, running.slot))

    def _conclude(self, running: Running) -> None:
        name = running.group.name
        del self._running[name]
        self._alone = "" if self._alone == name else self._alone
        if name in self._aside:
            self._aside.remove(name)
        result = final_result(running, self._quarantine)
        if result.status is Status.FLAKY and self._flaky_fails:
            self._flaky_failures += not is_excused(running, self._quarantine)
        self._finish(running.group, result)

    def _finish(self, group: Group, result: GroupResult) -> None:
        """Records the end of a group and all that follows from it."""
        self._follow(group, self._record(group, result))

    def _finish_unstarted(self, groups: Iterable[Group], status: Status, reason: str) -> None:
        """Ends those of `groups` that have not started, for one reason. It stands before any that follows from it."""
        ending = [group for group in groups if group.name not in self._ended and group.name not in self._running]
        told = []
        for group in ending:
            result = GroupResult(group=group.whole, status=status, reason=reason)
            if group.phase in self._off:  # it would not have run in any case
                result = GroupResult(group=group.whole, status=Status.SKIPPED, reason=self._off[group.phase])
            told.append(self._record(group, result))
        for group, result in zip(ending, told, strict=True):
            self._follow(group, result)

    def _record(self, group: Group, result: GroupResult) -> GroupResult:
        """Returns that from which all else follows: of a part, how its group stands with it."""
        self._ended.add(group.name)
        self._left_in_phase -= self._phase is not None and group.phase == self._phase.name
        result, final = self._together.end(group, result)
        if result.counts_as_failure:
            self._failures.add(result.group)
        if final:
            self.results[result.group] = result
            self._emit(GroupFinished(result=result))
        return result

    def _follow(self, group: Group, result: GroupResult) -> None:
        """What the end of a group means for others: who is skipped, and whether the run goes on."""
        self._skip_doomed(group, result)
        if self._stopping or not result.counts_as_failure:
            return
        if self._phase is not None and self._phase.sequential and group.phase == self._phase.name:
            reason = f"{group.whole} {said(result.status)} in the sequential phase {group.phase}"
            self._finish_unstarted(self._groups.values(), Status.SKIPPED, reason)
        if self._max_failures and len(self._failures) >= self._max_failures:
            reason = f"stopped after {group.whole} {said(result.status)}"
            self._halt(FAIL_FAST, fate=(Status.INTERRUPTED, reason), unstarted=reason)

    def _skip_doomed(self, group: Group, result: GroupResult) -> None:
        """Whatever depends on the success of a group that had none, and on those in turn. Chains may be long."""
        ended = [(group, result)]
        for group, result in ended:  # grows while it is read
            for doomed in self._schedule.end(group.name, self._now, succeeded=result.lets_others_start):
                if doomed.name not in self._ended:
                    reason = f"depends on {group.whole}, which {said(result.status)}"
                    skipped = GroupResult(group=doomed.whole, status=Status.SKIPPED, reason=reason)
                    ended.append((doomed, self._record(doomed, skipped)))

    def _halt(self, by: str, *, fate: tuple[Status, str], unstarted: str) -> None:
        """Stops the run: cancels what runs, and lets nothing start."""
        if self._stopped:
            return
        self._stopping = True
        self.stopped_by = by
        self._cancel(list(self._running.values()), fate)
        self._finish_unstarted(self._groups.values(), Status.NOT_RUN, unstarted)

    def _cancel(self, victims: Iterable[Running], fate: tuple[Status, str]) -> None:
        """Ends what runs. A group that rests between two attempts has nothing to end: its last attempt stands."""
        victims = list(victims)
        for running in victims:
            running.fate = running.fate or fate
        for running in victims:
            if not running.resting:
                self._actions.append(Cancel(running.attempt_id))
            elif (
                running.group.name in self._running
            ):  # the end of another may have stopped the run, and this one with it
                self._conclude(running)

    def _settle(self) -> None:
        """Moves on as far as possible: the next phase, the next groups, the end."""
        if self._stopped:
            return
        if self._phase is not None and not self._stopping:
            self._start_what_fits()
            self._start_alone()
        while not self._running and not self._stopping and self._phase is not None and not self._left_in_phase:
            self._leave_phase()
            self._advance()
            self._start_what_fits()
        if self._running:
            return
        if len(self._ended) == len(self._groups):
            self._leave_phase()
            self._stopped = True
            self._actions.append(Stop())
        elif self._phase is not None:
            stuck = sorted(self._groups.keys() - self._ended)
            raise InternalError(f"the scheduler is stuck: nothing runs and {', '.join(stuck)} cannot start")

    def _advance(self) -> None:
        """Begins the next phase, if there is one with something to do."""
        while self._ahead and not self._stopping:
            phase = self._ahead.pop()
            left = sum(group.name not in self._ended for group in phase.groups)
            if phase.name in self._off:
                self._finish_unstarted(phase.groups, Status.SKIPPED, self._off[phase.name])
            elif left:
                self._phase, self._left_in_phase = phase, left
                self._emit(PhaseStarted(phase=phase.name))
                self._schedule.open(phase, self._now)
                self._refuse_excessive(phase.groups)
                return

    def _leave_phase(self) -> None:
        if self._phase is not None:
            self._emit(PhaseFinished(phase=self._phase.name))
            self._phase = None

    def _start_what_fits(self) -> None:
        while not self._alone and (placements := self._schedule.start(self._now)):
            for group, slot, waited in placements:
                if group.name in self._cached:
                    self._finish(group, _cached(group, self._cached[group.name]))
                else:
                    self._running[group.name] = Running(group, 1, slot, waited)
                    self._actions.append(Start(group, 1, slot))

    def _start_alone(self) -> None:
        """Once nothing else runs or can start, one of the retries that wait for that."""
        if self._alone or len(self._running) > len(self._aside):
            return
        if due := next((name for name in self._aside if self._running[name].due), ""):
            self._aside.remove(due)
            self._alone = due
            self._start_again(self._running[due])

    def _emit(self, event: AnyEvent) -> None:
        self._actions.append(Emit(event))


def _cached(group: Group, passed_in: str) -> GroupResult:
    reason = f"nothing has changed since it passed in run {passed_in}"
    return GroupResult(group=group.name, status=Status.CACHED, reason=reason, cached_from=passed_in)
