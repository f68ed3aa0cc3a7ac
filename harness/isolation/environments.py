"""The environments of a run: makes what each group was promised before it starts, and removes it after it ended.

Protocol. `open` once, before anything starts; `ready` once the services are up: it sweeps what dead runs left, makes
the sentinels and says how much there is of what leases use up. Then `enter` and `leave` around every attempt, from the
attempts' threads; `close` at the end removes what was handed from group to group.

It knows attempts, and nothing of why they run or what follows from their ending.
"""

import json
import shlex
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from harness.attempt import Left
from harness.errors import HarnessError, InfrastructureError
from harness.events import AnyEvent, Warned
from harness.files import PRIVATE_DIRECTORY, safe_name, write_atomically
from harness.isolation import kind_of
from harness.isolation.journal import LEASES, Journal
from harness.isolation.kept import forget_environment, keep_environment
from harness.isolation.lease import Capacity, Context, Kind, Lease, Made, new_token, project_id
from harness.isolation.leases import Leases
from harness.isolation.options import origin_of, secret_variables_of, services_of, variables_of
from harness.isolation.shared import Shared
from harness.isolation.sweep import sweep
from harness.isolation.watch import Watch
from harness.masking import Secrets
from harness.model import Isolation, Job, Plan, Status
from harness.process import Control
from harness.process.bearers import attempt_marks, end, leftovers
from harness.pytest_plugin.harness_fixtures.meeting import WITHIN, hold_shared

_WORTH_KEEPING = frozenset({Status.FAILED, Status.TIMED_OUT, Status.KILLED})


@dataclass(frozen=True)
class _Held:
    """A lease, and what it handed over."""

    lease: Lease
    made: Made


@dataclass
class _Inside:
    """What an attempt that has entered holds."""

    held: list[_Held] = field(default_factory=list)
    exits: ExitStack = field(default_factory=ExitStack)


class _Found(NamedTuple):
    told: list[str]  # contamination, for people
    leaked: bool  # a process outlived it


class Environments:
    """Those of one run: the Surroundings of its attempts."""

    def __init__(
        self,
        plan: Plan,
        used: Collection[str],
        *,
        run_id: str,
        variables: Callable[[], Mapping[str, str]],
        services: Mapping[str, Mapping[str, str]],
        notify: Callable[[AnyEvent], None],
        has_tests: bool = True,
        keep: bool = False,
        left_behind: Callable[[], bool] = lambda: False,
        secrets: Secrets,
    ) -> None:
        """`used`: the entries that groups of this run have. `variables` are the run's, and `services` says where each
        stands: both are asked once the services are up. `has_tests`: some group is run by pytest, so that a test may
        want to run alone. `keep`: the environments of groups that fail stay. `left_behind`: whether any process has
        outlived an attempt; whose it was is found by its marks. `secrets` learns what leases hand over."""
        project = Path(plan.project)
        self._plan = plan
        self._entries: dict[str, Isolation] = {entry.name: entry for entry in plan.isolation if entry.name in used}
        self._run_id = run_id
        self._services = services
        self._notify = notify
        self._has_tests = has_tests
        self._keep = keep
        self._left_behind = left_behind
        self._secrets = secrets
        self._project = project
        self._stopping = threading.Event()
        self._kept: dict[str, list[Lease]] = {}  # by group or part: of its last attempt that failed
        self._variables = variables
        self._journals = project / LEASES
        self._shared = Shared(project, run_id)
        self._paths: dict[str, str] = {}
        self._given: Mapping[str, str] = {}  # the variables, once they are known
        self._kinds: dict[str, Kind] = {}
        self._leases: Leases | None = None
        self._watch = Watch({}, {}, self._warn)
        self._idle: dict[str, list[_Held]] = {}  # by entry: reused ones that nobody has now
        self._inside: dict[str, _Inside] = {}  # by attempt id
        self._lock = threading.Lock()

    def open(self) -> None:
        """Makes the place where the run's processes meet, and the journal. Raises InfrastructureError."""
        self._paths = self._shared.open(self._plan, needed=bool(self._entries))
        if not self._entries:
            return
        try:
            self._leases = Leases(Journal.open(self._journals, self._run_id), self._kinds, self._notify, self._secrets)
        except OSError as error:
            raise InfrastructureError(
                f"cannot write the journal of leases in {self._journals}: {error.strerror or error}",
                "Make the project's directory .harness writable, or free some space.",
            ) from error

    def ready(self) -> dict[str, Capacity]:
        """How much there is for the leases of each entry that uses something up.

        Raises InfrastructureError where an entry cannot work.
        """
        self._given = self._variables()
        context = Context(self._project, project_id(self._project), self._run_id, self._given, stopping=self._stopping)
        for name, entry in self._entries.items():
            self._kinds[name] = kind_of(entry, context, self._services)
            self._secrets.learn_given(self._given, secret_variables_of(entry) & self._given.keys())
        if self._leases:
            self._sweep()
        capacities = {name: kind.capacity() for name, kind in self._kinds.items()}
        checked = {name: kind for name, kind in self._kinds.items() if self._entries[name].check}
        sentinels = {name: self._make(name).lease for name, kind in checked.items() if kind.wants_sentinel}
        self._watch = Watch(checked, sentinels, self._warn)
        return {name: capacity for name, capacity in capacities.items() if capacity is not None}

    @property
    def marks(self) -> dict[str, str]:
        """The variables that all attempts of this run bear, once this is open, and nothing else does."""
        return {"HARNESS_RUN_ID": self._run_id, "HARNESS_SHARED": self._paths["HARNESS_SHARED"]}

    @property
    def hidden(self) -> frozenset[str]:
        """The variables that some group is not given; known once they are `ready`."""
        return frozenset().union(*(self._hidden(name) for name in self._entries))

    def stop_making(self) -> None:
        """What is not made yet is not wanted any more. From any thread, also before `ready`; releasing goes on."""
        self._stopping.set()

    def close(self) -> None:
        """Releases what is still out: what is reused, the sentinels. Once more is no harm."""
        leases, self._leases = self._leases, None
        if leases:
            leases.close()
        while self._kinds:
            self._kinds.popitem()[1].close()
        self._shared.close()

    # --- around an attempt

    def enter(self, job: Job, control: Control) -> Job:
        """As in Surroundings."""
        inside = self._inside[job.attempt_id] = _Inside()
        self._watch.came(job.attempt_id, job.name, self._checked(job))
        try:
            if self._has_tests and not job.reports_tests:  # a test that runs alone waits for those too, and they for it
                inside.exits.enter_context(
                    hold_shared(self._shared.directory, lambda: bool(control.request), job.group)
                )
            workers = [self._take_all(job, worker, control, inside) for worker in range(max(job.workers, 1))]
            env = self._environment(job, workers)
        except BaseException as error:
            leaked = self._give_back(job.attempt_id, reusable=True)
            self._watch.went(job.attempt_id)
            if isinstance(error, InfrastructureError):
                error.leaked |= leaked
            raise
        return msgspec.structs.replace(job, env=env)

    def leave(self, job: Job, status: Status) -> Left:
        """As in Surroundings."""
        try:
            found = self._look_after(job)
            if self._keep:
                self._release_kept(job.name)
            if self._keep and status in _WORTH_KEEPING and self._inside[job.attempt_id].held:
                self._keep_environment(job, self._inside[job.attempt_id])
        finally:
            leaked = self._give_back(job.attempt_id, reusable=status is Status.PASSED)
        return Left(leaked or found.leaked, tuple(found.told))

    def _look_after(self, job: Job) -> _Found:
        """What the attempt left behind that is not to be there, and what was touched while it ran."""
        checked = self._checked(job)
        told: list[str] = []
        # Sessions first: they close when the processes that hold them are ended.
        for held in self._inside[job.attempt_id].held:
            if held.lease.entry in checked:
                told += self._leftovers(held.lease)
        processes = self._end_processes(job) if checked or self._left_behind() else []
        if checked:
            told += processes
        elif processes:
            self._warn(f"{job.name} left running, and it was ended: {'; '.join(processes)}")
        told += self._watch.went(job.attempt_id)
        return _Found(told, bool(processes))

    def _end_processes(self, job: Job) -> list[str]:
        """What the attempt left running, for people."""
        marks = attempt_marks(job.env)
        found = leftovers(marks)
        for process in end(marks) if found else ():
            self._warn(f"{job.name} left {process} running, and it could not be ended")
        return found

    def _checked(self, job: Job) -> tuple[str, ...]:
        return tuple(name for name in job.isolate if self._entries[name].check)

    def _take_all(self, job: Job, worker: int, control: Control, inside: _Inside) -> list[_Held]:
        """One of each entry, made or used before; fewer if the attempt is asked to stop: then it does not start."""
        taken = []
        for name in job.isolate:
            if control.request:
                break
            with self._lock:
                idle = self._idle.get(name)
                held = idle.pop() if idle else None
            held = held or self._make(name, job, worker)
            inside.held.append(held)
            taken.append(held)
        return taken

    def _make(self, name: str, job: Job | None = None, worker: int = 0) -> _Held:
        """A new lease: for an attempt, or for nobody."""
        assert self._leases is not None
        lease = Lease(
            token=new_token(),
            entry=name,
            kind=self._entries[name].kind,
            run_id=self._run_id,
            group=job.group if job else "",
            part=job.part if job else "",
            attempt=job.attempt if job else 0,
            slot=job.slot if job else 0,
            worker=worker,
            services=services_of(self._entries[name], self._given),
            origin=origin_of(self._entries[name], self._given),
        )
        return _Held(*self._leases.make(lease))

    def _give_back(self, attempt: str, *, reusable: bool) -> bool:
        """Takes down what an attempt holds, the last made first. Whether something of it is still there."""
        leaked = False
        inside = self._inside.pop(attempt)
        for held in reversed(inside.held):
            if self._entries[held.lease.entry].reuse and reusable:
                with self._lock:
                    self._idle.setdefault(held.lease.entry, []).append(held)
            elif self._leases:
                leaked |= not self._leases.release(held.lease)
        inside.exits.close()
        return leaked

    # --- variables

    def _environment(self, job: Job, workers: Sequence[Sequence[_Held]]) -> dict[str, str]:
        env = dict(job.env)
        for hidden in (variable for name in job.isolate for variable in self._hidden(name)):
            env.pop(hidden, None)
        env |= self._paths | _variables(workers[0])
        if not job.reports_tests:
            env[WITHIN] = str(self._shared.directory)
        if job.workers and job.isolate:
            directory = self._shared.directory / f"workers-{safe_name(job.group)}-{job.attempt}"
            directory.mkdir(mode=PRIVATE_DIRECTORY)
            for worker, held in enumerate(workers):
                write_atomically(directory / f"{worker}.json", json.dumps(_variables(held)).encode(), durable=False)
            env["HARNESS_WORKERS"] = str(directory)
        return env

    def _hidden(self, name: str) -> frozenset[str]:
        """What would let tests reach beyond what is their own."""
        return self._kinds[name].hidden | variables_of(self._entries[name])

    # --- what outlives a run

    def _sweep(self) -> None:
        """Of the entries that this run has; the time of others comes with a run that has them, or with `gc`."""

        def find(name: str, kind: str) -> Kind | None:
            return self._kinds[name] if name in self._entries and self._entries[name].kind == kind else None

        origins = {name: origin_of(entry, self._given) for name, entry in self._entries.items()}
        swept = sweep(self._journals, find, origins=origins, stop=self._stopping.is_set)
        if swept.released:
            self._warn(f"removed what earlier runs had left behind: {count(swept.released)}")
        for lease, why in swept.left:
            if why:
                self._warn(f"a lease of [isolation.{lease.entry}] of run {lease.run_id} is still there: {why}")

    def _keep_environment(self, job: Job, inside: _Inside) -> None:
        assert self._leases is not None
        ending = [held.lease for held in inside.held if held.lease.services]
        if ending:
            services = ", ".join(sorted({service for lease in ending for service in lease.services}))
            self._warn(f"the environment of {job.name} is not kept: it ends with the service {services} of this run")
            return
        try:
            for held in inside.held:
                self._leases.keep(held.lease)
            keep_environment(self._project, job)
        except (OSError, HarnessError) as error:
            self._warn(f"the environment of {job.name} could not be kept: {error}")
            return
        self._kept[job.name] = [held.lease for held in inside.held]
        inside.held.clear()
        name = shlex.quote(job.name)
        self._warn(f"the environment of {job.name} is kept: `enter {name}` opens it, `gc --kept` removes it")

    def _release_kept(self, group: str) -> None:
        """Those of an earlier attempt: only the last one is kept, and none if that passed."""
        kept = self._kept.pop(group, [])
        for lease in reversed(kept):
            if self._leases:
                self._leases.release(lease)
        if kept:
            with suppress(OSError):
                forget_environment(self._project, group)

    def _leftovers(self, lease: Lease) -> Sequence[str]:
        try:
            return self._kinds[lease.entry].leftovers(lease)
        except HarnessError as error:
            self._warn(f"[isolation.{lease.entry}] could not be checked for contamination: {error.message}")
            return ()

    def _warn(self, message: str) -> None:
        self._notify(Warned(message=message))


def count(leases: Sequence[Lease]) -> str:
    """As "2 of [isolation.db], 1 of [isolation.mail]"."""
    entries = [lease.entry for lease in leases]
    return ", ".join(f"{entries.count(name)} of [isolation.{name}]" for name in dict.fromkeys(entries))


def _variables(held: Sequence[_Held]) -> dict[str, str]:
    """All that these leases hand over, and which variable is for what."""
    variables = {name: value for it in held for name, value in it.made.variables.items()}
    if held:
        roles = [
            {
                "entry": it.lease.entry,
                "kind": it.lease.kind,
                "roles": dict(it.made.roles),
                "variables": list(it.made.variables),
            }
            for it in held
        ]
        variables["HARNESS_LEASES"] = json.dumps(roles)
    return variables
