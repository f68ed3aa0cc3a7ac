"""The events of the shards of one suite as those of one run, which the reporters take like those of any other.

Protocol: `merge` takes what `choose` returned. It is as if one machine had had the jobs and the counted resources of
all: slots are numbered on from shard to shard. The core ran in every shard and is counted once, by the worst that
became of it. Wall clocks of machines differ: the order inside a shard stays what it was, whatever its clock says.

Pure: where logs shall lie is told by the caller, who also brings them there.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from harness.errors import ExitCode
from harness.events import (
    AnyEvent,
    AttemptFinished,
    AttemptStarted,
    GroupFinished,
    PhaseFinished,
    PhaseStarted,
    RunFinished,
    RunStarted,
    ServiceFailed,
    ServiceReady,
    ServiceStarted,
    ServiceStopped,
    Stamped,
    Warned,
)
from harness.merging.parts import ShardRun, core_groups
from harness.model import Group, GroupResult, Phase, Status

# From the worst. Of the same group in two shards, one that ran tells more than one that did not.
WORST_FIRST = (
    *(Status.ERROR, Status.LOST, Status.KILLED, Status.TIMED_OUT, Status.FAILED, Status.NO_TESTS, Status.INTERRUPTED),
    *(Status.FLAKY, Status.PASSED, Status.CACHED, Status.SKIPPED, Status.NOT_RUN),
)


@dataclass(frozen=True)
class Log:
    """A log of a shard that the merged run has as its own: of a group or of a service, as `path`."""

    run: ShardRun
    name: str
    of_service: bool
    path: str


@dataclass(frozen=True)
class Merged:
    events: tuple[Stamped, ...]
    logs: tuple[Log, ...]

    @property
    def exit_code(self) -> int:
        last = self.events[-1].data
        assert isinstance(last, RunFinished)
        return last.exit_code


def merge(
    runs: Sequence[ShardRun],
    *,
    run_id: str,
    project: str,
    log_dir: str,
    pid: int,
    group_log: Callable[[str], str],
    service_log: Callable[[str], str],
    warnings: Sequence[str] = (),
) -> Merged:
    """The run of this id that `runs`, as `choose` returned them, are together.

    `project` and `log_dir` are the absolute directories on this machine, `pid` is this process. The two functions name
    the merged run's log of a group or service. `warnings` are told at its start.
    """
    runs = [_completed(run) for run in runs]
    began = min(run.record.started_at for run in runs)
    keep = _Keeper(runs)
    logs: dict[str, Log] = {}

    def events(run: ShardRun, first_slot: int) -> Iterator[tuple[float, Stamped]]:
        late = run.record.started_at - began
        for stamped in run.events:
            if keep(run, stamped):
                event = _moved(run, stamped.data, first_slot, group_log, service_log, logs)
                yield late + stamped.elapsed, msgspec.structs.replace(stamped, data=event)

    slots = [sum(run.record.jobs for run in runs[:place]) for place in range(len(runs))]
    told = heapq.merge(*map(events, runs, slots), key=lambda item: item[0])
    whole: list[tuple[float, float, AnyEvent]] = [(0.0, began, _started(runs, run_id, project, log_dir, pid))]
    whole += [(0.0, began, Warned(message=message)) for message in warnings]
    whole += [(elapsed, stamped.time, stamped.data) for elapsed, stamped in told]
    end = max(run.record.started_at - began + run.record.elapsed for run in runs)
    whole.append((end, max(run.events[-1].time for run in runs), _finished(runs)))
    return Merged(
        tuple(Stamped(seq, time, elapsed, event) for seq, (elapsed, time, event) in enumerate(whole, 1)),
        tuple(logs.values()),
    )


def _completed(run: ShardRun) -> ShardRun:
    """A run whose harness died, with an end for every group: what was running is lost."""
    if run.record.finished:
        return run
    last, reason = run.events[-1], f"the harness of {run.name} died"
    events: list[AnyEvent] = [Warned(message="its harness died before the end of the run")]
    for record in run.record.groups.values():
        if record.result is None:
            ran = sum(outcome.duration for outcome in record.attempts)
            running = sum(last.elapsed - (part.running_since or 0.0) for part in record.running.values())
            result = GroupResult(
                group=record.group.name,
                status=Status.LOST if record.attempt else Status.NOT_RUN,
                reason=reason,
                attempts=record.attempt,
                started_at=record.started_at,
                duration=ran + running,
            )
            events.append(GroupFinished(result=result))
    added = [Stamped(last.seq + place, last.time, last.elapsed, event) for place, event in enumerate(events, 1)]
    return ShardRun.of([*run.events, *added], run.log_dir)


def ended(run: ShardRun) -> ShardRun:
    """The run with an end of its own, also if its harness died, as the history keeps it."""
    if run.record.finished:
        return run
    run = _completed(run)
    last = run.events[-1]
    end = RunFinished(exit_code=run.exit_code, duration=last.elapsed)
    return ShardRun.of([*run.events, Stamped(last.seq + 1, last.time, last.elapsed, end)], run.log_dir)


class _Keeper:
    """Which events of the shards are told: all, but for what happened in several of them and is to be counted once."""

    def __init__(self, runs: Sequence[ShardRun]) -> None:
        self._first = runs[0]
        self._core = {name: _worst(runs, name) for name in core_groups(runs)}
        starts: dict[str, tuple[float, int]] = {}
        ends: dict[str, tuple[float, int]] = {}
        for run in runs:
            for stamped in run.events:
                at = run.record.started_at + stamped.elapsed, run.index
                match stamped.data:
                    case PhaseStarted(phase=phase):
                        starts[phase] = min(starts.get(phase, at), at)
                    case PhaseFinished(phase=phase):
                        ends[phase] = max(ends.get(phase, at), at)
        self._starts = {phase: index for phase, (_, index) in starts.items()}
        self._ends = {phase: index for phase, (_, index) in ends.items()}

    def __call__(self, run: ShardRun, stamped: Stamped) -> bool:
        match stamped.data:
            case RunStarted() | RunFinished():
                return False
            case PhaseStarted(phase=phase):
                return self._starts[phase] == run.index
            case PhaseFinished(phase=phase):
                return self._ends[phase] == run.index
            case ServiceStarted() | ServiceReady() | ServiceStopped():
                return run is self._first
            case event:
                return self._core.get(_group_of(event), run.index) == run.index


def _group_of(event: AnyEvent) -> str:
    match event:
        case AttemptFinished(outcome=outcome):
            return outcome.group
        case GroupFinished(result=result):
            return result.group
    return getattr(event, "group", "")


def _worst(runs: Sequence[ShardRun], group: str) -> int:
    """The index of the shard whose result of a group of the core is told: of equals the first."""

    def badness(run: ShardRun) -> tuple[bool, int]:
        result = run.record.groups[group].result
        assert result is not None  # by _completed, and the contract of a run that has finished
        return not result.counts_as_failure, WORST_FIRST.index(result.status)

    return min(runs, key=badness).index


def _moved(
    run: ShardRun,
    event: AnyEvent,
    first_slot: int,
    group_log: Callable[[str], str],
    service_log: Callable[[str], str],
    logs: dict[str, Log],
) -> AnyEvent:
    """The event as one of the merged run; a log that it names is noted in `logs`."""
    match event:
        case AttemptStarted(group=group, slot=slot):
            path = group_log(group)
            logs[path] = Log(run, group, False, path)
            return msgspec.structs.replace(event, log=path, slot=first_slot + slot)
        case ServiceStarted(service=service) | ServiceFailed(service=service) if event.log:
            # The same service ran in every shard: a log of its own for each that is told of.
            path = service_log(service if run.index == 1 else f"{service}.shard-{run.index}")
            logs[path] = Log(run, service, True, path)
            return msgspec.structs.replace(event, log=path)
        case Warned(message=message):
            return Warned(message=f"{run.name}: {message}")
    return event


def _started(runs: Sequence[ShardRun], run_id: str, project: str, log_dir: str, pid: int) -> RunStarted:
    first = runs[0].started
    predicted = [run.started.predicted for run in runs if run.started.predicted is not None]
    return msgspec.structs.replace(
        first,
        run_id=run_id,
        project=project,
        log_dir=log_dir,
        jobs=sum(run.record.jobs for run in runs),
        parallel=first.parallel or len(runs) > 1,
        phases=_phases(runs),
        off={phase: why for run in reversed(runs) for phase, why in run.started.off.items()},
        resources={name: count * len(runs) for name, count in first.resources.items()},
        pid=pid,
        dirty=any(run.started.dirty for run in runs),
        shard="",
        predicted=max(predicted, default=None),
    )


def _phases(runs: Sequence[ShardRun]) -> tuple[Phase, ...]:
    """All phases with all their groups, in the order of the plan, which `all_groups` has."""
    groups: dict[str, tuple[Phase, Group]] = {}
    for run in runs:
        for phase in run.started.phases:
            groups |= {group.name: (phase, group) for group in phase.groups if group.name not in groups}
    phases: dict[str, tuple[Phase, list[Group]]] = {}
    for name in runs[0].started.all_groups:
        phase, group = groups[name]
        phases.setdefault(phase.name, (phase, []))[1].append(group)
    return tuple(msgspec.structs.replace(phase, groups=tuple(members)) for phase, members in phases.values())


def _finished(runs: Sequence[ShardRun]) -> RunFinished:
    """The machines ran side by side, so the whole took as long as the longest of them."""
    stops = [run.record.finished.stopped_by for run in runs if run.record.finished]
    return RunFinished(
        exit_code=exit_code([run.exit_code for run in runs]),
        duration=max(run.record.makespan for run in runs),
        stopped_by=next(filter(None, stops), ""),
    )


def exit_code(codes: Sequence[int]) -> int:
    """That of the whole, by the order of docs/exit-codes.md: a signal, 70, failed tests, then what could not run.

    Where some shards had nothing to run and the others passed, those groups had no test where others had: a failure.
    """
    signals = [code for code in codes if code > 128]
    for code in (*signals, ExitCode.INTERNAL, ExitCode.TESTS_FAILED, ExitCode.INFRASTRUCTURE):
        if code in codes:
            return code
    if ExitCode.NOTHING_TO_RUN not in codes:
        return ExitCode.OK
    return ExitCode.NOTHING_TO_RUN if set(codes) == {ExitCode.NOTHING_TO_RUN} else ExitCode.TESTS_FAILED
