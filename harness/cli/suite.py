"""The suite as a list of verbs, for `test` and for the suite stage of `cicd`: prepare, run, verify.

It decides nothing about a run: what is refused is refused by the parts that it calls, before anything starts.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.cli.door import Door
from harness.config.dotenv import read_env_files
from harness.config.options import Settings, apply, resolve
from harness.errors import InternalError, UsageError
from harness.files import open_run
from harness.planning.select import Selection, select
from harness.planning.variables import run_variables
from harness.record import RunRecord
from harness.reporters import Context, Detail, Reporters, standard
from harness.reporters.text import decide_colour, decide_live
from harness.run import Request, execute
from harness.runners import PytestOptions
from harness.verify import verify


@dataclass(frozen=True)
class Prepared:
    """A run that could start now."""

    request: Request
    settings: Settings
    log_dir: Path


@dataclass(frozen=True)
class Finished:
    exit_code: int
    record: RunRecord


def prepare(door: Door, given: Mapping[str, Any]) -> Prepared:
    """Reads the plan, the variables and the options, and selects what is to run. Raises HarnessErrors."""
    shell = dict(os.environ)
    plan = door.plan
    dotenv = read_env_files(door.project, plan.env_files)
    variables = run_variables(plan, door.environment, shell, dotenv)
    settings = resolve(given, variables, plan)
    plan = apply(plan, settings)
    selected = select(plan, _selection(settings), variables, door.environment)
    request = Request(
        plan=plan,
        phases=selected.phases,
        off=selected.off,
        deselected=selected.deselected,
        services=selected.services,
        environment=door.environment,
        parallel=settings.parallel,
        jobs=settings.jobs if settings.parallel else 1,
        max_failures=settings.stop_after,
        global_timeout=settings.global_timeout,
        shell=shell,
        dotenv=dotenv,
        pytest=PytestOptions(markers=settings.markers),
        python=str(door.project / plan.python) if plan.python else sys.executable,
        shows_output=_detail(settings) is Detail.VERBOSE,
    )
    return Prepared(request, settings, _log_dir(door, settings))


def run(door: Door, prepared: Prepared) -> Finished:
    """Runs the suite and checks that what it left behind adds up. Raises InternalError where it does not."""
    _refuse_what_cannot_run_yet(prepared.request)
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
    reporters = Reporters(record, standard(context, live=decide_live(os.environ, sys.stdout.isatty()), github=github))
    try:
        exit_code = execute(prepared.request, files, reporters)
    finally:
        reporters.close()
    if reporters.failures:
        return Finished(max(exit_code, 3), record)
    problems = verify(files, record)
    if problems:
        raise InternalError(
            "the results of this run contradict each other:\n" + "\n".join(problems),
            f"This is a bug of the harness; the logs are good. Please report it with {files.events}.",
        )
    return Finished(exit_code, record)


def _selection(settings: Settings) -> Selection:
    return Selection(
        groups=settings.groups,
        categories=settings.categories,
        phases=settings.phases,
        tests=settings.tests,
        markers=settings.markers,
    )


def _log_dir(door: Door, settings: Settings) -> Path:
    """A directory given at the door is meant from where the user stands, one of the plan from the project."""
    if settings.origin("log_dir").startswith("--"):
        return Path.cwd() / settings.log_dir
    return door.project / settings.log_dir


def _detail(settings: Settings) -> Detail:
    if settings.verbose or settings.tests:
        return Detail.VERBOSE
    return Detail.COMPACT if settings.compact else Detail.NORMAL


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _refuse_what_cannot_run_yet(request: Request) -> None:
    """The plan may speak of isolated environments already; running without them would break what they promise."""
    waiting = [group.name for phase in request.phases for group in phase.groups if group.isolate]
    if waiting:
        raise UsageError(
            f"`isolate` is checked but not yet carried out: {', '.join(waiting)}",
            "Leave the key out until it is, and let the tests make unique data.",
        )
