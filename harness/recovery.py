"""Finishes a run whose harness has died: its processes are ended, and what it left behind is made whole.

Whatever was running is `lost`, whatever had not started is `not_run`. These verdicts are appended to the run's journal,
and all reports are made from that again, so a recovery that is itself killed is simply made once more. Isolated
environments are not touched here: they stand in a journal of their own, and the next run or `gc` sweeps them.
"""

import contextlib
import io
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.errors import ExitCode
from harness.events import AnyEvent, AttemptFinished, GroupFinished, LeaseEnded, LeaseMade, RunFinished, Stamped, decode
from harness.files import RunFiles, all_runs, remove_temporary, write_atomically
from harness.history import HISTORY_FILE, History
from harness.isolation.shared import SHARED, remove_leftovers
from harness.model import GroupResult, Outcome, Status
from harness.partlog import with_log_in_place
from harness.process import read_sessions
from harness.process.bearers import end
from harness.record import GroupRecord, RunRecord
from harness.reporters import REPORTERS, Context, Detail
from harness.reporters.junit import build
from harness.reporters.report_json import render
from harness.services.postgres import remove_homes
from harness.unfinished import Facts, Unfinished, abandoned, attend

DIED = "the death of the harness"
_LOST = "how it ended is not known: the harness died, or could not write it down"
_NOT_RUN = "the run ended before it could start"


def take_over(path: str, lock: int, sessions: int) -> None:
    """The guardian's part, at once: `sessions` are those that the harness had when it died."""
    died_at = time.time()
    unfinished = attend(Path(path), lock)
    if unfinished and unfinished.is_elsewhere:
        _end_processes(unfinished, read_sessions(sessions))
    elif unfinished:
        _finish(unfinished, read_sessions(sessions), died_at)


def finish_abandoned(project: Path) -> list[str]:
    """Finishes the runs of the project that nobody attends to, and returns what there is to say of it."""
    said: list[str] = []
    try:
        found = abandoned(project, said.append)
    except OSError as error:
        return [f"cannot look for runs that have died: {error}"]
    for unfinished in found:
        try:
            said += _finish(unfinished)
        # Whatever is wrong with what an earlier run has left, it is no reason not to run.
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            said.append(
                f"run {unfinished.facts.run_id} had died, and its reports cannot be made whole: {why}; "
                f"its logs are good; remove {unfinished.path} to hear no more of it"
            )
        finally:
            unfinished.close()
    return said


def _finish(
    unfinished: Unfinished, sessions: Mapping[int, float] | None = None, died_at: float | None = None
) -> list[str]:
    """`died_at`: wall time; where nobody knows, the run's last event is taken for its end."""
    facts = unfinished.facts
    immortal = _end_processes(unfinished, sessions)
    remove_leftovers(Path(facts.project, SHARED))
    said = [f"run {facts.run_id} had died, and {it} could not be ended" for it in immortal]
    remove_temporary(facts.files, facts.writer)
    events = _whole_events(facts.files.events)
    if events:
        record = _finish_files(facts, events, died_at)
        history = History.open(Path(facts.project, HISTORY_FILE))
        history.record(record, keep=facts.history_runs)
        history.close()
        statuses = ", ".join(f"{count} {status}" for status, count in record.statuses.items())
        said += [
            f"run {facts.run_id} had not come to its end ({statuses}): its reports are whole now",
            *history.warnings,
        ]
    else:
        _forget(facts.files)
    unfinished.finished()
    return said


def _end_processes(unfinished: Unfinished, sessions: Mapping[int, float] | None) -> list[str]:
    """Those that could not be ended are returned, for people."""
    immortal = end({"HARNESS_RUN_DIR": unfinished.run_dir}, sessions)
    remove_homes(unfinished.run_dir)
    return immortal


def _whole_events(journal: Path) -> list[Stamped]:
    """Those of the run, without the one that was being written. Raises ValueError for anything else."""
    try:
        data = journal.read_bytes()
    except FileNotFoundError:
        return []
    whole, _, torn = data.rpartition(b"\n")
    if torn:
        os.truncate(journal, len(data) - len(torn))
    return [decode(line) for line in whole.splitlines()]


def _finish_files(facts: Facts, events: list[Stamped], died_at: float | None) -> RunRecord:
    """Reports are written when RunFinished comes, status files at the end: until a group ended, its own says so."""
    files, record = facts.files, RunRecord()
    context = _context(facts, record)
    trace = REPORTERS["trace"](context)
    for stamped in events:
        record.apply(stamped)
        trace.handle(stamped)
    if not record.finished:
        last = events[-1]
        elapsed = last.elapsed + max(0.0, (died_at or last.time) - last.time)
        record.elapsed = elapsed
        log = [REPORTERS["journal"](context), REPORTERS["mainlog"](context)]
        for seq, event in enumerate(_missing(record, events, files), last.seq + 1):
            stamped = Stamped(seq, time.time(), elapsed, event)
            events.append(stamped)
            record.apply(stamped)
            for reporter in (*log, trace):
                reporter.handle(stamped)
        for reporter in log:
            reporter.close()
    statuses = REPORTERS["status"](context)
    for stamped in events:
        if isinstance(stamped.data, GroupFinished):
            statuses.handle(stamped)
    report = render(record)
    write_atomically(files.report, report)
    if all_runs(files.log_dir)[0] == files:
        write_atomically(files.test_report, report)
    write_atomically(files.junit, build(record))
    return record


def _context(facts: Facts, record: RunRecord) -> Context:
    return Context(
        files=facts.files,
        record=record,
        stream=io.StringIO(),
        colour=False,
        detail=Detail.NORMAL,
        here=Path(facts.here),
        door=facts.door,
        test_root=Path(facts.test_root),
    )


def _missing(record: RunRecord, events: list[Stamped], files: RunFiles) -> Iterator[AnyEvent]:
    """What would have been told of the run, had its harness lived. The record is brought up to date between two."""
    # Those of which somebody could say so before he died: the harness, or an earlier recovery.
    ended = (stamped.data for stamped in events)
    leaking = {event.group for event in ended if isinstance(event, LeaseEnded) and event.ending == "leaked"}
    for lease in _standing(events):
        leaking.add(lease.group)
        yield LeaseEnded(
            token=lease.token,
            entry=lease.entry,
            group=lease.group,
            part=lease.part,
            ending="leaked",
            reason="its run is over; the next one tries again, or `gc`",
        )
    for name, group in record.groups.items():
        if group.result is None:
            for file in group.running:
                yield AttemptFinished(outcome=with_log_in_place(_lost(record, group, file), files))
            yield GroupFinished(result=_result(group, leaked=name in leaking))
    yield RunFinished(exit_code=ExitCode.INFRASTRUCTURE, duration=record.elapsed, stopped_by=DIED)


def _standing(events: list[Stamped]) -> list[LeaseMade]:
    """The leases that were made and not removed."""
    made: dict[str, LeaseMade] = {}
    for stamped in events:
        match stamped.data:
            case LeaseMade() as lease:
                made[lease.token] = lease
            case LeaseEnded(token=token):
                made.pop(token, None)
    return list(made.values())


def _lost(record: RunRecord, group: GroupRecord, file: str) -> Outcome:
    part = group.parts[file]
    since = record.elapsed if part.running_since is None else part.running_since
    return Outcome(
        group=group.group.name,
        part=file,
        attempt=part.attempt,
        status=Status.LOST,
        reason=_LOST,
        started_at=record.started_at + since,
        duration=record.elapsed - since,
    )


def _result(group: GroupRecord, *, leaked: bool) -> GroupResult:
    if not group.parts:
        return GroupResult(group=group.group.name, status=Status.NOT_RUN, reason=_NOT_RUN)
    return GroupResult(
        group=group.group.name,
        status=Status.LOST,
        reason=_LOST,
        attempts=group.attempt,
        started_at=group.started_at,
        duration=sum(outcome.duration for outcome in group.attempts),
        cpu_seconds=sum(outcome.cpu_seconds for outcome in group.attempts),
        peak_memory=max((outcome.peak_memory for outcome in group.attempts), default=0),
        leaked=leaked or any(outcome.leaked for outcome in group.attempts),
    )


def _forget(files: RunFiles) -> None:
    """A run that had not begun when its harness died."""
    for path in (files.events, files.main_log):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # whatever else there is, somebody may want it
        files.run_dir.rmdir()
