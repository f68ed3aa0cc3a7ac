"""Attempts as data: which command, where, with which variables. What is made for a group (isolation/) is not in them
yet."""

import os
from collections.abc import Mapping
from pathlib import Path

from harness.files import RunFiles
from harness.model import Group, Job
from harness.planning.substitute import substitute
from harness.planning.variables import group_variables
from harness.request import Request
from harness.runners import runner_for

# Where nobody says otherwise. Without it a log ends in mid-line when its group is killed.
DEFAULTS = {"PYTHONUNBUFFERED": "1"}

Values = Mapping[str, Mapping[str, str]]
"""Where each service stands, as {"postgres": {"port": "5433"}}; known once they are up."""


def marks(request: Request, run_id: str) -> dict[str, str]:
    """What every process of the run is given, over all else: by it a process is known to belong to the run."""
    programs = [str(Path(request.python).parent), request.shell.get("PATH", os.defpath)]
    return {
        "PATH": os.pathsep.join(programs),  # so that `pytest` or `uvicorn` is the one beside the interpreter
        "HARNESS_RUN_ID": run_id,
        "HARNESS_ENVIRONMENT": request.environment,
    }


def variables(request: Request, group: Group, run_id: str, values: Values) -> dict[str, str]:
    """Those of a group's process."""
    own = group_variables(request.plan, request.environment, group, request.shell, request.dotenv, values)
    return DEFAULTS | own | marks(request, run_id)


def run_variables(request: Request, run_id: str, values: Values) -> dict[str, str]:
    """Those of the whole run, which no group's own are among."""
    return variables(request, Group(name="", phase="", services=request.services), run_id, values)


def make_job(request: Request, files: RunFiles, group: Group, values: Values, *, attempt: int, slot: int) -> Job:
    """An attempt of `group`: what to run, where, with which variables, until when."""
    launch = runner_for(group).command(group, python=request.python, options=request.pytest)
    env = variables(request, group, files.run_id, values) | launch.env
    argv = launch.argv if group.tests else tuple(substitute(word, {}, values) for word in launch.argv)
    if launch.pythonpath:
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [launch.pythonpath, env.get("PYTHONPATH", "")]))
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
        directory=str(Path(request.plan.project, request.plan.test_root if group.tests else "")),
        log=str(files.part_log(group.name) if group.part else files.group_log(group.name)),
        timeout=group.timeout,
        grace=group.grace,
        statuses=launch.statuses,
        reports_tests=launch.reports_tests,
        results=group.results,
        isolate=group.isolate,
        workers=group.workers,
    )
