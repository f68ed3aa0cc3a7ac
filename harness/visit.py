"""A visit to a group's environment: what a run would have made for it, with a program of the user's in it.

Services and leases are started and made as in a run, and stopped and released when the program has ended, however that
was. Nothing is recorded: there is no run.
"""

import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from harness.events import AnyEvent
from harness.files import RunFiles, private_directory
from harness.isolation.environments import Environments
from harness.isolation.kept import Kept
from harness.isolation.shared import Shared
from harness.jobs import DEFAULTS, make_job, marks, run_variables
from harness.model import Group, Job, Plan, Status
from harness.process import Control
from harness.process.bearers import attempt_marks, end
from harness.request import Request
from harness.services import Services


def visit(request: Request, group: Group, inside: Callable[[Job], int], notify: Callable[[AnyEvent], None]) -> int:
    """What `inside` returns, which gets the attempt that would run; 128 + the signal that ended the visit.

    Raises InfrastructureError where nothing can be made.
    """
    try:
        with _ending_in_order():
            return _visit(request, group, inside, notify)
    except _Ended as ended:
        return 128 + ended.number


def revisit(plan: Plan, kept: Kept, inside: Callable[[Mapping[str, str]], int]) -> int:
    """What `inside` returns, which gets the variables of an environment that stands; 128 + the signal that ended it.

    The place where the processes of its run met is gone with that run, so they meet in another one.
    """
    shared = Shared(Path(plan.project), kept.run_id)
    try:
        env = {**kept.env, **shared.open(plan, needed=False)}
        if "HARNESS_RUN_DIR" in env:  # by another name: by its own, whoever finishes that run would end the visit too
            env["HARNESS_RUN_DIR"] += "/."
        with _ending_in_order():
            try:
                return inside(env)
            finally:
                _end(env)
    except _Ended as ended:
        return 128 + ended.number
    finally:
        shared.close()


def _end(env: Mapping[str, str]) -> None:
    """Ends what the visitor's program has left running: it was in an environment that goes, or among its processes."""
    end(attempt_marks(env))


def _visit(request: Request, group: Group, inside: Callable[[Job], int], notify: Callable[[AnyEvent], None]) -> int:
    run_id = f"{datetime.now():%Y%m%d_%H%M%S}-visit"
    with tempfile.TemporaryDirectory(prefix="harness-") as place:
        files = RunFiles(Path(place), run_id)
        private_directory(files.run_dir)
        services = Services(
            request.plan,
            request.services,
            env=DEFAULTS | request.dotenv | request.shell | marks(request, files),
            files_log=files.service_log,
            notify=notify,
            run_id=run_id,
            secrets=request.secrets,
        )
        environments = Environments(
            request.plan,
            group.isolate,
            run_id=run_id,
            variables=lambda: run_variables(request, files, services.values),
            services=services.values,
            notify=notify,
            secrets=request.secrets,
        )
        with ExitStack() as exits:
            exits.callback(services.stop)
            exits.callback(environments.close)
            environments.open()
            services.start()
            environments.ready()
            job = environments.enter(make_job(request, files, group, services.values, attempt=1, slot=0), Control())
            exits.callback(environments.leave, job, Status.PASSED)
            exits.callback(_end, job.env)
            return inside(job)


class _Ended(BaseException):
    """A signal came that is to end us. No error, so that nobody takes it for one."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """SIGTERM and SIGHUP (the terminal was closed) raise _Ended, once, so that all is taken down on the way out."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}

    def stop(number: int, _frame: object) -> None:
        for other in before:
            signal.signal(other, signal.SIG_IGN)
        raise _Ended(number)

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # under nohup
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
