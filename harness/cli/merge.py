"""`merge`: the runs of the shards of one suite, made on several machines, as one run with one report.

Reads the shards' journals and logs and writes a run like any other into the project's log directory. It changes nothing
in the shards' own directories and runs no test. Each shard's own run goes into the history; the merged one, in which
the same groups ran, does not.
"""

import contextlib
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import click

from harness.cli.door import Door, pass_door
from harness.cli.runs import is_alive
from harness.errors import InfrastructureError, InternalError
from harness.events import Stamped, decode
from harness.files import PRIVATE_FILE, RunFiles, all_runs, open_run
from harness.fingerprint import why_not
from harness.merging import Log, Merged, ShardRun, choose, ended
from harness.merging import merge as merge_runs
from harness.model import Status
from harness.record import RunRecord
from harness.reporters import Context, Detail, Reporters, standard
from harness.reporters.text import decide_colour
from harness.verify import verify

EXAMPLES = """\b
Examples:
  ./exec.sh local test --parallel --shard 2/4      on the second of four machines
  ./exec.sh local merge shards/*                   once the logs of all four are here"""


@click.command("merge", epilog=EXAMPLES)
@click.argument(
    "directories",
    metavar="DIR...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@pass_door
def merge(door: Door, directories: tuple[Path, ...]) -> int:
    """Make one report of the shards whose logs lie in or below the DIRs; fails when one is missing.

    The exit code is what one run of all groups would have ended with.
    """
    found = read_runs(directories)
    shards, warnings = choose(found)
    _check(shards)
    warnings += _remember(door, [run for run in found if run.started.shard])
    files = open_run(door.log_dir(None), datetime.now())
    merged = merge_runs(
        shards,
        run_id=files.run_id,
        project=str(door.project),
        log_dir=str(files.log_dir),
        pid=os.getpid(),
        group_log=lambda name: str(files.group_log(name)),
        service_log=lambda name: str(files.service_log(name)),
        warnings=warnings,
    )
    _bring(merged.logs)
    record = RunRecord()
    github = os.environ.get("GITHUB_ACTIONS") == "true"
    _report(merged, Reporters(record, standard(_context(door, files, record), live=False, github=github)))
    if problems := verify(files, record):
        raise InternalError(
            "the results of the merged run contradict each other:\n" + "\n".join(problems),
            f"This is a bug of the harness; the shards' own logs are good. Please report it with {files.events}.",
        )
    return merged.exit_code


def read_runs(directories: Iterable[Path]) -> list[ShardRun]:
    """Every run that has begun in or below the directories, by where it lies. Raises InfrastructureError."""
    found: dict[Path, RunFiles] = {}
    for directory in directories:
        top = directory.resolve()
        itself = [files for files in all_runs(top.parent) if files.run_dir == top]
        below = [files for place, _, _ in os.walk(top) for files in _runs_in(Path(place))]
        found |= {files.run_dir: files for files in itself + below if files.events.is_file()}
    runs = [(found[path], list(_events(found[path]))) for path in sorted(found)]
    return [_shard_run(files, events) for files, events in runs if events]


def _runs_in(directory: Path) -> list[RunFiles]:
    """None where the directory cannot be read, or is gone: os.walk passes over it, too."""
    try:
        return all_runs(directory)
    except OSError:
        return []


def _events(files: RunFiles) -> Iterator[Stamped]:
    """A last line without its newline was being written when the harness died: it is left out."""
    with files.events.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.endswith(b"\n"):
                try:
                    yield decode(line)
                except ValueError as error:
                    raise _damaged(f"{files.events}:{number}", error) from error


def _shard_run(files: RunFiles, events: Sequence[Stamped]) -> ShardRun:
    try:
        run = ShardRun.of(events, str(files.log_dir))
        _check_end(run.record)
        return run
    except (ValueError, KeyError) as error:
        raise _damaged(str(files.events), error) from error


def _check_end(record: RunRecord) -> None:
    """Raises ValueError where the end of a run contradicts those of its groups: then it passes for nothing."""
    if record.finished is None:
        return
    code = record.finished.exit_code
    if not 0 <= code <= 255:
        raise ValueError(f"{code} is no exit code")
    for name, group in record.groups.items():
        if group.result is None:
            raise ValueError(f"it is over, and does not say how group {name!r} ended")
        if group.result.counts_as_failure and code == 0:
            raise ValueError(f"it says that it passed, and that group {name!r} {group.result.status}")


def _damaged(place: str, error: Exception) -> InfrastructureError:
    return InfrastructureError(
        f"{place}: not a run of this harness: {error}",
        "It was made by another version, or the file is damaged; use one version of the harness for all shards.",
    )


def _files(run: ShardRun) -> RunFiles:
    return RunFiles(Path(run.log_dir), run.started.run_id)


def _check(shards: Iterable[ShardRun]) -> None:
    """That the shards are over and their logs are here: before anything is written."""
    for run in shards:
        files = _files(run)
        # On another machine the number of its process means nothing.
        if run.record.finished is None and run.started.host in {"", platform.node()} and is_alive(files):
            raise InfrastructureError(
                f"{run.name} still runs: {files.run_dir}, process {run.started.pid}",
                "Merge when all shards have ended.",
            )
        missing = [name for name in run.record.groups if _has_a_log(run, name) and not files.group_log(name).exists()]
        if missing:
            raise InfrastructureError(
                f"{run.name} has no log of {', '.join(missing)} in {files.log_dir}",
                "Upload the whole log directory of each shard, not only its reports.",
            )


def _has_a_log(run: ShardRun, group: str) -> bool:
    """An attempt whose log could not be opened is an `error`; any other has one."""
    record = run.record.groups[group]
    return bool(record.attempts) and record.status is not Status.ERROR


def _remember(door: Door, shards: Iterable[ShardRun]) -> tuple[str, ...]:
    """Records the shards' runs, also those that newer ones replace, and returns warnings.

    The history is no reason to lose the report. What failed on another machine is not `cached` on this one.
    """
    from harness.history import HISTORY_FILE, History

    try:
        history = History.open(door.project / HISTORY_FILE)
    except InfrastructureError as error:
        return (f"the history was not written: {error.message}",)
    with contextlib.closing(history):
        for run in map(ended, shards):
            history.record(run.record, keep=door.plan.history_runs)
            for name, group in run.record.groups.items():
                if group.status and (group.status.is_failure or group.status is Status.FLAKY):
                    why = {"why": f"{why_not(group.status)} in {run.name}"}
                    history.store_fingerprint(name, "", why, run.started.run_id, run.record.started_at)
        return tuple(history.warnings)


def _bring(logs: Iterable[Log]) -> None:
    """Copies the logs, which can hold secrets, for their owner alone. Raises InfrastructureError."""
    for log in logs:
        files = _files(log.run)
        source = files.service_log(log.name) if log.of_service else files.group_log(log.name)
        if not source.exists():  # of a service, or of a group whose log could not be opened
            continue
        try:
            handle = os.open(log.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
            with source.open("rb") as original, os.fdopen(handle, "wb") as copy:
                shutil.copyfileobj(original, copy)
        except OSError as error:
            raise InfrastructureError(
                f"cannot copy {source} to {log.path}: {error.strerror}", "Free some space, or make it readable."
            ) from error


def _context(door: Door, files: RunFiles, record: RunRecord) -> Context:
    return Context(
        files=files,
        record=record,
        stream=sys.stdout,
        colour=decide_colour(os.environ, sys.stdout.isatty()),
        detail=Detail.NORMAL,
        here=Path.cwd(),
        door=door.command().strip(),
        step_summary=_path("GITHUB_STEP_SUMMARY"),
        workspace=_path("GITHUB_WORKSPACE"),
        test_root=door.project / door.plan.test_root,
    )


def _report(merged: Merged, reporters: Reporters) -> None:
    try:
        for stamped in merged.events:
            reporters.handle(stamped)
    finally:
        reporters.close()
    if reporters.failures:
        raise InfrastructureError(
            "the merged reports could not be written:\n" + "\n".join(reporters.failures),
            "Free some space in the log directory, or make it writable, and merge again.",
        )


def _path(variable: str) -> Path | None:
    text = os.environ.get(variable)
    return Path(text) if text else None
