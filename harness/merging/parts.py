"""Which of the runs that were found are the shards of one suite, and whether they add up to the whole.

Protocol: `ShardRun.of` the events of every run, then `choose`. Pure: nothing here reads a file.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from harness.errors import ExitCode, InfrastructureError
from harness.events import (
    AnyEvent,
    AttemptFinished,
    AttemptSpawned,
    AttemptStarted,
    GroupFinished,
    RetryScheduled,
    RunStarted,
    Stamped,
)
from harness.record import RunRecord

_SHARD = re.compile(r"[1-9]\d{0,3}/[1-9]\d{0,3}", re.ASCII)
ONE_RUN = (
    "Merge only the log directories of one run: its shards share the plan, the commit and all options but --shard."
)


@dataclass(frozen=True)
class ShardRun:
    """The run of one shard, as it was found."""

    events: tuple[Stamped, ...]  # the first is its RunStarted
    log_dir: str  # where its logs lie now
    record: RunRecord = field(compare=False)  # of these events

    @classmethod
    def of(cls, events: Sequence[Stamped], log_dir: str) -> "ShardRun":
        """Raises KeyError or ValueError for events that are not those of a run."""
        record = RunRecord()
        for stamped in events:
            if (name := _goes_on(stamped.data)) and record.groups[name].result is not None:
                raise ValueError(f"group {name!r} goes on after its end")
            record.apply(stamped)
        if not events or not isinstance(events[0].data, RunStarted):
            raise ValueError("it does not begin with the start of a run")
        if events[0].data.shard and not _SHARD.fullmatch(events[0].data.shard):
            raise ValueError(f"{events[0].data.shard!r} is no shard")
        return cls(tuple(events), log_dir, record)

    @property
    def started(self) -> RunStarted:
        assert self.record.started is not None  # by `of`
        return self.record.started

    @property
    def name(self) -> str:
        return f"shard {self.started.shard}"

    @property
    def index(self) -> int:
        """From 1."""
        return int(self.started.shard.partition("/")[0])

    @property
    def exit_code(self) -> int:
        """That of a run without an end is what `lost` groups come to."""
        return self.record.finished.exit_code if self.record.finished else ExitCode.INFRASTRUCTURE


def _goes_on(event: AnyEvent) -> str:
    """The group of which the event says that it has not ended before; empty: none."""
    match event:
        case AttemptStarted(group=name) | AttemptSpawned(group=name) | RetryScheduled(group=name):
            return name
        case AttemptFinished(outcome=outcome):
            return outcome.group
        case GroupFinished(result=result):
            return result.group
    return ""


def choose(runs: Sequence[ShardRun]) -> tuple[tuple[ShardRun, ...], tuple[str, ...]]:
    """One run for each shard, in their order, and warnings about what was passed over.

    Raises InfrastructureError where they are not the parts of one whole: no shard at all, one missing, two that claim
    to be the same, shards of different runs, or a group that is not in exactly one of them.
    """
    shards = [run for run in runs if run.started.shard]
    # A merged run that lies beside its shards is no mistake; a whole run is, if it is all there is.
    if not shards:
        raise _no_shards(runs)
    warnings = []
    chosen: dict[int, ShardRun] = {}
    for run in sorted(shards, key=lambda run: (run.index, run.record.started_at, run.started.run_id)):
        before = chosen.get(run.index)
        if before is not None and before.log_dir != run.log_dir:
            raise InfrastructureError(
                f"two runs claim to be {run.name}: {_place(before)} and {_place(run)}", "Leave out the older one."
            )
        if before is not None:
            warnings.append(f"{run.name}: took {_place(run)}, not the older run {before.started.run_id} beside it")
        chosen[run.index] = run
    _check_run(list(chosen.values()))
    _check_complete(chosen)
    _check_groups(list(chosen.values()))
    return tuple(chosen.values()), tuple(warnings)


def _no_shards(runs: Sequence[ShardRun]) -> InfrastructureError:
    if not runs:
        return InfrastructureError(
            "there is no run in these directories",
            "Give the log directories of the shards: those with a run_TIMESTAMP/events.jsonl in or below them.",
        )
    return InfrastructureError(
        f"{_place(runs[0])} is no shard but a whole run", "There is nothing to merge: its reports lie beside its logs."
    )


def _place(run: ShardRun) -> str:
    return f"{run.log_dir}/run_{run.started.run_id}"


def _check_run(runs: Sequence[ShardRun]) -> None:
    """That all are shards of one run, as far as that can be known."""
    first = runs[0]
    told: list[tuple[str, Callable[[ShardRun], object]]] = [
        ("number of shards", lambda run: run.started.shard.partition("/")[2]),
        ("environment", lambda run: run.started.environment),
        ("selection of tests", lambda run: run.started.filters),
        ("commit", lambda run: run.started.commit),
        ("plan, or the selection of groups,", lambda run: run.started.all_groups),
    ]
    for what, value in told:
        for run in runs:
            if value(run) != value(first):
                raise InfrastructureError(
                    f"{first.name} and {run.name} are not of one run, their {what} differs: "
                    f"{_place(first)} and {_place(run)}",
                    ONE_RUN,
                )


def _check_complete(chosen: Mapping[int, ShardRun]) -> None:
    count = next(iter(chosen.values())).started.shard.partition("/")[2]
    missing = [f"{index}/{count}" for index in range(1, int(count) + 1) if index not in chosen]
    cure = "Upload the log directory of every shard, also of one that failed, and give merge all of them."
    if len(missing) == 1:
        message = f"shard {missing[0]} is missing: its job did not finish or its logs were not uploaded"
        raise InfrastructureError(message, cure)
    if missing:
        message = f"shards {', '.join(missing)} are missing: their jobs did not finish or their logs were not uploaded"
        raise InfrastructureError(message, cure)


def _check_groups(runs: Sequence[ShardRun]) -> None:
    core = core_groups(runs)
    counts = Counter(name for run in runs for name in run.record.groups if name not in core)
    twice = [name for name, count in counts.items() if count > 1]
    wanted = dict.fromkeys(runs[0].started.all_groups)
    never = [name for name in wanted if name not in counts and name not in core]
    strange = [name for name in counts if name not in wanted]
    told = [("in two shards", twice), ("in no shard", never), ("in a shard, but not of this run", strange)]
    if problems := [f"{', '.join(names)}: {what}" for what, names in told if names]:
        raise InfrastructureError(
            "the shards do not add up to the whole:\n" + "\n".join(problems),
            "They were split by different histories: give every shard the same history file, or none.",
        )


def core_groups(runs: Sequence[ShardRun]) -> frozenset[str]:
    """Those of the leading sequential phases that every shard has.

    A shard that has nothing of the phase after them may begin with more sequential phases, which are not repeated.
    """
    leading = [{phase.name for phase in takewhile(lambda p: p.sequential, run.started.phases)} for run in runs]
    repeated = set.intersection(*leading)
    return frozenset(group.name for phase in runs[0].started.phases if phase.name in repeated for group in phase.groups)
