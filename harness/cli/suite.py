"""The suite as a list of verbs, for `test` and for the suite stage of `cicd`: run, verify, remember.

It decides nothing about a run: what is refused is refused while the run is prepared (prepare.py).
"""

import os
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from harness.cli.door import Door, caution
from harness.cli.prepare import Prepared
from harness.config.options import Settings
from harness.errors import InfrastructureError, InternalError, shortage
from harness.files import WRITER, RunFiles, open_run, unwritable
from harness.fingerprint import store_passes, to_withdraw
from harness.guarded import guarded
from harness.record import RunRecord
from harness.reporters import Context, Detail, Reporters, standard
from harness.reporters.text import decide_colour, decide_live
from harness.run import execute
from harness.unfinished import Facts
from harness.verify import verify

SIGNALLED = 128  # exit codes above it: a signal stopped the run, which counts more than any report


@dataclass(frozen=True)
class Finished:
    exit_code: int
    record: RunRecord


def run(door: Door, prepared: Prepared) -> Finished:
    """Runs the suite and checks that what it left behind adds up. Raises InternalError where it does not."""
    files = open_run(prepared.log_dir, datetime.now())
    record = RunRecord()
    context = Context(
        files=files,
        record=record,
        stream=sys.stdout,
        colour=decide_colour(os.environ, sys.stdout.isatty()),
        detail=_detail(prepared.settings),
        here=Path.cwd(),
        door=door.command().strip(),
        step_summary=_path(os.environ.get("GITHUB_STEP_SUMMARY")),
        workspace=_path(os.environ.get("GITHUB_WORKSPACE")),
        test_root=Path(prepared.request.plan.project, prepared.request.plan.test_root),
    )
    github = os.environ.get("GITHUB_ACTIONS") == "true"
    try:
        each = standard(context, live=decide_live(os.environ, sys.stdout.isatty()), github=github)
    except OSError as error:  # those that are written from the beginning
        raise unwritable(files.log_dir, error) from error
    reporters = Reporters(record, each)
    withdrawn = to_withdraw(prepared.taken, prepared.request.cached)
    prepared.history.withdraw(withdrawn, files.run_id, time.time())

    def is_whole() -> bool:
        return record.finished is not None and not reporters.failures

    with guarded(_facts(prepared, context), is_whole, lambda said: caution([said])):
        try:
            exit_code = execute(prepared.request, files, reporters)
        finally:
            reporters.close()
        # A run whose journal is torn is remembered by whoever makes it whole, as its reports then say.
        if record.finished and not reporters.has_failed("journal"):
            remember(prepared, record, files)
    if reporters.failures and exit_code <= SIGNALLED:
        raise InfrastructureError(
            "a report of this run could not be written:\n" + "\n".join(reporters.failures),
            f"Free some space, or make {files.log_dir} writable: the next run, or `gc`, then makes the reports whole. "
            f"What the tests did is in {files.run_dir}.",
        )
    problems = [] if reporters.failures else _verified(files, record)
    if problems:
        raise InternalError(
            "the results of this run contradict each other:\n" + "\n".join(problems),
            f"This is a bug of the harness; the logs are good. Please report it with {files.events}.",
        )
    return Finished(exit_code, record)


def _verified(files: RunFiles, record: RunRecord) -> list[str]:
    try:
        return verify(files, record)
    except OSError as error:
        why = shortage(error) or f"what this run has left behind cannot be read: {error}"
        raise InfrastructureError(why, f"The disk of {files.log_dir} may be damaged.") from error


def _facts(prepared: Prepared, context: Context) -> Facts:
    plan = prepared.request.plan
    return Facts(
        run_id=context.files.run_id,
        log_dir=str(context.files.log_dir),
        project=plan.project,
        test_root=str(context.test_root),
        here=str(context.here),
        door=context.door,
        history_runs=plan.history_runs,
        writer=WRITER,
    )


def remember(prepared: Prepared, record: RunRecord, files: RunFiles) -> None:
    """Puts the run into the history. The history is derived: what goes wrong with it is told, and changes nothing."""
    history, plan = prepared.history, prepared.request.plan
    history.record(record, keep=plan.history_runs)
    results = [group.result for group in record.groups.values() if group.result]
    again = prepared.fingerprints.again()
    moved = store_passes(history, results, prepared.taken, again, run_id=files.run_id, at=time.time())
    history.close()
    changed = [f"{group} will run again, though it passed: {why} while it ran" for group, why in moved.items()]
    caution([*history.warnings, *changed])


def _detail(settings: Settings) -> Detail:
    if settings.verbose or settings.tests:
        return Detail.VERBOSE
    return Detail.COMPACT if settings.compact else Detail.NORMAL


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
