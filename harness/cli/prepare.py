"""A run before it starts, as a list of verbs: plan, options, selection, shard, what is cached, what is to be expected.

Everything that can be refused is refused here, before anything starts. It decides nothing about a run.
"""

import os
import secrets
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cli.door import Door, caution
from harness.config.dotenv import read_env_files
from harness.config.options import ANY_SEED, MAX_SEED, Settings, apply, resolve
from harness.descriptors import room_for
from harness.errors import UsageError
from harness.files import safe_name
from harness.fingerprint import Fingerprint, Fingerprints, cached_groups, take
from harness.git import changed_files, head
from harness.history import HISTORY_FILE, History
from harness.isolation.options import problem_of
from harness.masking.choice import unshown
from harness.model import Group, Phase, Plan
from harness.planning.changed import changed_groups
from harness.planning.estimate import Estimates, estimate_plan, splittable
from harness.planning.rerun import rerun
from harness.planning.select import Selection, select
from harness.planning.shard import shard
from harness.planning.variables import run_variables
from harness.recovery import finish_abandoned
from harness.request import Request
from harness.runners import PytestOptions
from harness.scheduling.parts import split
from harness.scheduling.predict import predict, taking_part
from harness.values import quoted


@dataclass(frozen=True)
class Prepared:
    """A run that could start now."""

    request: Request
    settings: Settings
    log_dir: Path
    history: History
    fingerprints: Fingerprints
    taken: Mapping[str, Fingerprint]  # of the groups that run whole, before the run


def prepare(door: Door, given: Mapping[str, Any]) -> Prepared:
    """Reads the plan, the variables and the options, and selects what is to run. Raises HarnessErrors."""
    shell = dict(os.environ)
    plan = door.plan
    _refuse_shared_files(plan)
    dotenv = read_env_files(door.project, plan.env_files)
    variables = run_variables(plan, door.environment, shell, dotenv)
    door.secrets.learn(variables)
    for group in plan.groups:
        door.secrets.learn(group.env)
    settings = resolve(given, variables, plan, unshown(variables, shell, dotenv))
    plan = apply(plan, settings)
    _refuse_unwritable_names(door.project, _log_dir(door, settings), Path.cwd())
    will_run = not (settings.list or settings.dry_run)
    if will_run:
        caution(finish_abandoned(door.project))  # before the history is asked
    history = History.open(door.project / HISTORY_FILE, make=will_run)
    selected = select(plan, _selection(settings, plan, history, door.environment), variables, door.environment)
    estimates = estimate_plan(
        plan,
        history.durations(door.environment, (group.name for group in plan.groups)),
        history.test_durations(door.environment, splittable(plan)),
    )
    phases = _sharded(selected.phases, selected.off, settings, plan, estimates)
    fingerprints = Fingerprints(plan, door.environment, shell, dotenv)
    running = [group for phase in phases if phase.name not in selected.off for group in phase.groups]
    taken = take(fingerprints, running)
    # Who names a test, or wants to see it pass again and again, wants it to run.
    # And where a failure could not be kept, an older pass must not stand for it.
    asked_to_run = (
        not history.is_durable or settings.no_cache or settings.last_failed or settings.tests or settings.repeat > 1
    )
    cached = {} if asked_to_run else cached_groups(taken, history.fingerprints())
    expected = estimates.seconds | dict.fromkeys(cached, 0.0)
    to_run = [group for group in running if group.name not in cached]
    services = _services(plan, selected.services, to_run)
    _refuse_impossible(plan, running, variables, services)
    jobs, crowded = room_for(to_run, settings.jobs if settings.parallel else 1, len(services))
    predicted = None
    if settings.shuffle is None and _is_foreseeable(running, estimates):
        predicted = predict(
            split(taking_part(phases, selected.off), whole=cached),
            expected,
            jobs=jobs,
            resources=plan.resources,
            apart=sum(history.apart(door.environment) or (0.0,)) if services else 0.0,
            cached=cached,
        ).makespan
    commit = head(door.project, ignoring=(plan.log_dir, ".harness"))
    seed = settings.shuffle if settings.shuffle not in (None, ANY_SEED) else secrets.randbelow(MAX_SEED) + 1
    request = Request(
        plan=plan,
        phases=phases,
        off=selected.off,
        deselected=selected.deselected,
        services=services,
        environment=door.environment,
        parallel=settings.parallel,
        jobs=jobs,
        max_failures=settings.stop_after,
        global_timeout=settings.global_timeout,
        shell=shell,
        dotenv=dotenv,
        filters=_filters(settings),
        pytest=PytestOptions(markers=settings.markers, keyword=settings.keyword),
        python=str(door.project / plan.python) if plan.python else sys.executable,
        secrets=door.secrets,
        shows_output=settings.verbose or bool(settings.tests),
        estimates=expected,
        cached=cached,
        seed=seed,
        shuffle=settings.shuffle is not None,
        shard=str(settings.shard or ""),
        all_groups=tuple(group.name for phase in selected.phases for group in phase.groups) if settings.shard else (),
        predicted=predicted,
        commit=commit.commit,
        dirty=commit.dirty,
        warnings=(crowded,) if crowded else (),
        keep_environment=settings.keep_environment,
    )
    return Prepared(request, settings, _log_dir(door, settings), history, fingerprints, taken)


def _refuse_shared_files(plan: Plan) -> None:
    """Two names of which the files would be called the same: rare, since what is replaced in a name leaves a hash."""
    owners: dict[str, str] = {}
    for group in plan.groups:
        file = safe_name(group.name)
        if (owner := owners.setdefault(file, group.name)) != group.name:
            raise UsageError(
                f"the groups {quoted(owner)} and {quoted(group.name)} would have one log, {file}_….log",
                "Rename one of them.",
            )


def _refuse_unwritable_names(*directories: Path) -> None:
    """Of those that stand in reports and journals, which are UTF-8."""
    for directory in directories:
        try:
            str(directory).encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"the path {directory} is not UTF-8, so no report can name it", "Rename the directory."
            ) from None


def _selection(settings: Settings, plan: Plan, history: History, environment: str) -> Selection:
    return Selection(
        groups=settings.groups,
        categories=settings.categories,
        phases=settings.phases,
        tests=settings.tests,
        markers=settings.markers,
        keyword=settings.keyword,
        rerun=rerun(plan, history.latest(environment)) if settings.last_failed else None,
        changed=changed_groups(plan, changed_files(Path(plan.project), settings.changed)) if settings.changed else None,
    )


def _filters(settings: Settings) -> str:
    """What leaves tests out of the groups that run, as it would be typed."""
    given = [("--markers", settings.markers), ("-k", settings.keyword), *(("--t", name) for name in settings.tests)]
    return shlex.join(word for option, value in given if value for word in (option, value))


def _sharded(
    phases: tuple[Phase, ...], off: Collection[str], settings: Settings, plan: Plan, estimates: Estimates
) -> tuple[Phase, ...]:
    """The part of this machine. By the plan's own jobs, because the option's need not be the same on all machines."""
    if settings.shard is None:
        return phases
    asleep = {group.name for phase in phases if phase.name in off for group in phase.groups}
    seconds = {name: 0.0 if name in asleep else expected for name, expected in estimates.seconds.items()}
    return shard(phases, seconds, settings.shard.index, settings.shard.count, jobs=plan.max_parallel_jobs)


def _services(plan: Plan, selected: Collection[str], running: Sequence[Group]) -> tuple[str, ...]:
    """What must be started for these groups, in the order of the plan."""
    needed = {service for group in running for service in group.services}
    return tuple(service.name for service in plan.services if service.name in needed and service.name in selected)


def _is_foreseeable(running: Sequence[Group], estimates: Estimates) -> bool:
    """Whether anything is known of what will run: not of parts of groups."""
    return any(group.name not in estimates.unknown for group in running) and not any(group.partial for group in running)


def _log_dir(door: Door, settings: Settings) -> Path:
    """A directory given at the door is meant from where the user stands, one of the plan from the project."""
    if settings.origin("log_dir").startswith("--"):
        return Path.cwd() / settings.log_dir
    return door.project / settings.log_dir


def _refuse_impossible(
    plan: Plan, running: Sequence[Group], variables: Mapping[str, str], services: Sequence[str]
) -> None:
    """Environments that cannot be made in this run, whatever the tests do. Raises UsageError with all of them."""
    used = {name for group in running for name in group.isolate}
    found = [problem_of(entry, variables, services) for entry in plan.isolation if entry.name in used]
    if problems := [problem for problem in found if problem]:
        cures = dict.fromkeys(cure for _, cure in problems)
        raise UsageError("\n".join(message for message, _ in problems), "\n".join(cures))
