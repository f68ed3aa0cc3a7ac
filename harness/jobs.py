"""Attempts as data: which command, where, with which variables. What is made for a group (isolation/) is not in them
yet."""

import functools
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from harness.files import RunFiles
from harness.model import Group, Job
from harness.planning.substitute import references, substitute
from harness.planning.variables import environment_of, group_variables
from harness.request import Request
from harness.runners import PLUGIN_DIRECTORY, runner_for
from harness.scheduling.parts import parts_of
from harness.warm import Pytest

# Where nobody says otherwise. Without it a log ends in mid-line when its group is killed.
DEFAULTS = {"PYTHONUNBUFFERED": "1"}

Values = Mapping[str, Mapping[str, str]]
"""Where each service stands, as {"postgres": {"port": "5433"}}; known once they are up."""


def marks(request: Request, files: RunFiles) -> dict[str, str]:
    """What every process of the run is given, over all else: by it a process is known to belong to the run."""
    programs = [_directory_of(request.python), request.shell.get("PATH", os.defpath)]
    return {
        "PATH": os.pathsep.join(programs),  # so that `pytest` or `uvicorn` is the one beside the interpreter
        "HARNESS_RUN_ID": files.run_id,
        "HARNESS_RUN_DIR": str(files.run_dir),  # no two runs of a machine have the same
        "HARNESS_ENVIRONMENT": request.environment,
    }


def variables(request: Request, group: Group, files: RunFiles, values: Values) -> dict[str, str]:
    """Those of a group's process."""
    own = group_variables(request.plan, request.environment, group, request.shell, request.dotenv, values)
    return DEFAULTS | own | marks(request, files)


def run_variables(request: Request, files: RunFiles, values: Values) -> dict[str, str]:
    """Those of the whole run, which no group's own are among."""
    return variables(request, Group(name="", phase="", services=request.services), files, values)


def learn_secrets(request: Request, values: Values) -> None:
    """Those among the variables of groups in which the plan speaks of services, once these are up."""
    own = [group.env for phase in request.phases for group in phase.groups if group.env]
    for env in (request.plan.env, environment_of(request.plan, request.environment).env, *own):
        request.secrets.learn({name: substitute(text, {}, values) for name, text in env.items() if references(text)})


def parent_variables(request: Request, files: RunFiles, values: Values, hidden: Collection[str]) -> dict[str, str]:
    """Those of a process that is forked for groups of the run: none that one of them is not given."""
    own = run_variables(request, files, values)
    shown = {name: value for name, value in own.items() if name not in hidden}
    return _with_pythonpath(shown, str(PLUGIN_DIRECTORY))


def warm_processes(request: Request, groups: Iterable[Group]) -> Iterator[Pytest]:
    """Every process of these groups that may be a fork, but for retries."""
    for group in (part for whole in groups for part in parts_of(whole)):
        launch = runner_for(group).command(group, python=request.python, options=request.pytest)
        if launch.warm:
            words = launch.argv[: len(launch.argv) - len(group.tests)]
            for tests in [(test,) for test in group.tests] if group.process == "file" else [group.tests]:
                yield Pytest(words, tests, _directory(request, group))


def make_job(request: Request, files: RunFiles, group: Group, values: Values, *, attempt: int, slot: int) -> Job:
    """An attempt of `group`: what to run, where, with which variables, until when."""
    launch = runner_for(group).command(group, python=request.python, options=request.pytest)
    env = variables(request, group, files, values) | launch.env
    argv = launch.argv if group.tests else tuple(substitute(word, {}, values) for word in launch.argv)
    if launch.pythonpath:
        env = _with_pythonpath(env, launch.pythonpath)
    env |= {"HARNESS_GROUP": group.whole, "HARNESS_PART": group.part}
    env |= {"HARNESS_ATTEMPT": str(attempt), "HARNESS_SLOT": str(slot)}
    return Job(
        run_id=files.run_id,
        group=group.whole,
        part=group.part,
        attempt=attempt,
        slot=slot,
        argv=argv,
        env=env,
        directory=_directory(request, group),
        log=str(files.part_log(group.name) if group.part else files.group_log(group.name)),
        timeout=group.timeout,
        grace=group.grace,
        statuses=launch.statuses,
        tests=group.tests,
        process=group.process,
        warm=launch.warm,
        reports_tests=launch.reports_tests,
        results=group.results,
        isolate=group.isolate,
        workers=group.workers,
        log_limit=request.plan.log_limit,
    )


def _directory(request: Request, group: Group) -> str:
    return _path(request.plan.project, request.plan.test_root if group.tests else "")


def _with_pythonpath(env: dict[str, str], first: str) -> dict[str, str]:
    return env | {"PYTHONPATH": os.pathsep.join(filter(None, [first, env.get("PYTHONPATH", "")]))}


# The same few in every job, and pathlib takes its time.
@functools.cache
def _path(directory: str, name: str) -> str:
    return str(Path(directory, name))


@functools.cache
def _directory_of(file: str) -> str:
    return str(Path(file).parent)
