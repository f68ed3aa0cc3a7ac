"""The loop: one queue, one decider, one place where a run happens.

Whatever happens, a signal, the end of an attempt, a line of a test, a service that died, arrives on one queue. The loop
hands inputs to the dispatcher (scheduling/dispatch.py), performs the actions that it answers with, and hands every
event, stamped with its order and its time, to the reporters. Attempts, services and the services' start-up have threads
of their own; all else of a run happens in the thread that calls `execute`, which must be the main one, because signals
arrive there.

Nothing is decided here. If a line here begins with "if" and is about tests, it belongs to the dispatcher.
"""

import contextlib
import heapq
import math
import os
import platform
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from harness import __version__
from harness.attempt import Output
from harness.errors import HarnessError
from harness.events import (
    AnyEvent,
    AttemptFinished,
    AttemptStarted,
    RunFinished,
    RunStarted,
    ServiceFailed,
    Stamped,
    Warned,
)
from harness.executors import EXECUTORS
from harness.files import RunFiles
from harness.model import Job, Outcome, Phase, Plan
from harness.planning.substitute import substitute
from harness.planning.variables import group_variables
from harness.reporters import Reporters
from harness.runners import PytestOptions, runner_for
from harness.scheduling.dispatch import Dispatcher
from harness.scheduling.messages import (
    AttemptEnded,
    Begin,
    Cancel,
    Emit,
    Input,
    JournalLost,
    Kill,
    RetryDue,
    ServiceDown,
    SignalCame,
    Start,
    StartupFailed,
    Stop,
    TimeUp,
    Wake,
)
from harness.services import Services

# Where nobody says otherwise. Without it a log ends in mid-line when its group is killed.
DEFAULTS = {"PYTHONUNBUFFERED": "1"}
LOOK = None  # in the inbox: something urgent has come
Arrival = Input | AnyEvent | Output | None
STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Request:
    """A run as it was asked for: everything decided that can be decided before it starts."""

    plan: Plan
    phases: tuple[Phase, ...]  # what is to run, after selection
    off: Mapping[str, str]  # phases that are not to run, and why
    deselected: int
    services: tuple[str, ...]  # to be started, dependencies included
    environment: str
    parallel: bool
    jobs: int
    max_failures: int  # 0: failures stop nothing
    global_timeout: float | None
    shell: dict[str, str]  # the variables that the harness was called with
    dotenv: dict[str, str]  # those of the plan's env_files
    pytest: PytestOptions
    python: str
    shows_output: bool  # what groups print is shown as it comes
    estimates: Mapping[str, float] = field(default_factory=dict)  # expected seconds of every group
    cached: Mapping[str, str] = field(default_factory=dict)  # groups that need not run -> the run in which they passed
    filters: str = ""  # the options that leave tests out of groups, as they would be typed
    seed: int = 0  # of all that is random
    shuffle: bool = False
    shard: str = ""  # "2/4"; empty: the whole
    all_groups: tuple[str, ...] = ()  # with a shard: what all the shards run together
    predicted: float | None = None  # seconds
    commit: str = ""
    dirty: bool = False


def execute(request: Request, files: RunFiles, reporters: Reporters) -> int:
    """Runs what was asked for, to its end, whatever happens, and returns the exit code. Call it in the main thread.

    No process and no service is left when it returns or raises.
    """
    return _Run(request, files, reporters).execute()


class _Run:
    def __init__(self, request: Request, files: RunFiles, reporters: Reporters) -> None:
        self.request = request
        self.files = files
        self.reporters = reporters
        self.inbox: queue.SimpleQueue[Arrival] = queue.SimpleQueue()
        self.began = time.monotonic()
        self.seq = 0
        self.stopped = False
        self.signals = 0
        self.urgent: deque[Input] = deque()  # what does not stand in line behind the output of groups
        self.wakes: list[tuple[float, str]] = []  # a heap: monotonic time, attempt id
        self.marks = _marks(request, files)
        self.services = Services(
            request.plan,
            request.services,
            env=DEFAULTS | request.dotenv | request.shell | self.marks,
            files_log=files.service_log,
            notify=self.inbox.put,
            run_id=files.run_id,
        )
        self.executor = EXECUTORS["local"](request.jobs, self.observed)
        self.dispatcher = Dispatcher(
            request.phases,
            jobs=request.jobs,
            resources=request.plan.resources,
            off=request.off,
            max_failures=request.max_failures,
            estimates=request.estimates,
            cached=request.cached,
            quarantine=request.plan.quarantine,
            flaky_fails=request.plan.flaky == "fail",
            seed=request.seed,
            shuffle=request.shuffle,
            may_be_empty=bool(request.shard),
        )

    def execute(self) -> int:
        with _handling_signals(self.signal_came):
            start_up = threading.Thread(target=self.start_services, name="services")
            try:
                self.emit(self.run_started())
                start_up.start()
                self.loop()
            finally:
                self.executor.close()
                self.services.stop()
                if start_up.ident is not None:
                    start_up.join()
            self.drain()
            self.emit(
                RunFinished(
                    exit_code=self.dispatcher.exit_code,
                    duration=time.monotonic() - self.began,
                    stopped_by=self.dispatcher.stopped_by,
                )
            )
        return self.dispatcher.exit_code

    # --- in

    def signal_came(self, number: int) -> None:
        """The signal handler: it may run between any two lines of the main thread, so it only leaves word."""
        self.signals += 1
        self.urgent.append(SignalCame(number))
        self.inbox.put(LOOK)
        if self.signals > 1:
            self.services.hurry()

    def observed(self, arrival: AnyEvent | Output) -> None:
        """Called in the threads of attempts. Output that nobody looks at must not pile up in the inbox."""
        if self.request.shows_output or not isinstance(arrival, Output):
            self.inbox.put(arrival)

    def loop(self) -> None:
        while not self.stopped:
            self.take(self.next_arrival())

    def next_arrival(self) -> Arrival:
        """What comes next: out of the inbox, or because its time has come."""
        limit = self.request.global_timeout
        over = self.began + limit if limit is not None and not self.dispatcher.stopped_by else math.inf
        due = self.wakes[0][0] if self.wakes else math.inf
        while not self.urgent:
            deadline = min(over, due)
            left = deadline - time.monotonic()
            if left <= 0:
                return (
                    RetryDue(heapq.heappop(self.wakes)[1])
                    if due <= over
                    else TimeUp(f"the run's time of {limit:g} s was over")
                )
            try:
                return self.inbox.get(timeout=None if deadline == math.inf else left)
            except queue.Empty:
                continue
        return self.urgent.popleft()

    def take(self, arrival: Arrival) -> None:
        if arrival is LOOK:
            return
        if isinstance(arrival, Output):
            if self.dispatcher.stopped_by:
                return  # it is in the log; what a flood has left in the inbox would be shown for minutes
            for warning in self.reporters.output(arrival.group, arrival.data):
                self.emit(warning)
        elif isinstance(arrival, Input):
            if isinstance(arrival, AttemptEnded):
                self.emit(AttemptFinished(outcome=arrival.outcome))
            self.decide(arrival)
        else:
            self.emit(arrival)
            if isinstance(arrival, ServiceFailed):
                self.decide(ServiceDown(arrival.service, arrival.reason))

    def drain(self) -> None:
        """Takes what arrived while things were put away, so that no event is lost."""
        with contextlib.suppress(queue.Empty):
            while True:
                self.take(self.urgent.popleft() if self.urgent else self.inbox.get_nowait())

    # --- out

    def decide(self, given: Input) -> None:
        for action in self.dispatcher.handle(given, time.monotonic() - self.began):
            match action:
                case Start():
                    self.start(action)
                case Cancel(attempt_id):
                    self.executor.cancel(attempt_id)
                case Kill(attempt_id):
                    self.executor.kill(attempt_id)
                case Wake(attempt_id, after):
                    heapq.heappush(self.wakes, (time.monotonic() + after, attempt_id))
                case Emit(event):
                    self.emit(event)
                case Stop():
                    self.stopped = True

    def start(self, action: Start) -> None:
        job = self.make_job(action)
        self.emit(AttemptStarted(group=job.group, attempt=job.attempt, slot=job.slot, log=job.log))
        self.executor.submit(job).add_done_callback(self.attempt_ended)

    def attempt_ended(self, future: Future[Outcome]) -> None:
        """Called in the attempt's thread."""
        self.inbox.put(AttemptEnded(future.result()))

    def emit(self, event: AnyEvent) -> None:
        self.seq += 1
        stamped = Stamped(self.seq, time.time(), time.monotonic() - self.began, event)
        failures = len(self.reporters.failures)
        for warning in self.reporters.handle(stamped):
            self.inbox.put(warning)
        if len(self.reporters.failures) > failures:
            self.inbox.put(JournalLost(self.reporters.failures[-1]))

    # --- made once

    def run_started(self) -> RunStarted:
        request = self.request
        return RunStarted(
            run_id=self.files.run_id,
            version=__version__,
            project=request.plan.project,
            environment=request.environment,
            jobs=request.jobs,
            parallel=request.parallel,
            fail_fast=request.max_failures,
            log_dir=str(self.files.log_dir),
            phases=request.phases,
            deselected=request.deselected,
            off=dict(request.off),
            resources=request.plan.resources,
            pid=os.getpid(),
            host=platform.node(),
            cores=os.cpu_count() or 1,
            commit=request.commit,
            dirty=request.dirty,
            seed=request.seed,
            shuffled=request.shuffle,
            shard=request.shard,
            filters=request.filters,
            all_groups=request.all_groups,
            predicted=request.predicted,
        )

    def start_services(self) -> None:
        """Runs in a thread, so that signals are heard while services take their time."""
        try:
            self.services.start()
        except HarnessError as error:
            if error.cure:
                self.inbox.put(Warned(message=error.cure))
            self.inbox.put(StartupFailed(error.message.splitlines()[0]))
        else:
            self.inbox.put(Begin())

    def make_job(self, action: Start) -> Job:
        """An attempt as data: what to run, where, with which variables, until when."""
        group, request = action.group, self.request
        launch = runner_for(group).command(group, python=request.python, options=request.pytest)
        variables = group_variables(
            request.plan, request.environment, group, request.shell, request.dotenv, self.services.values
        )
        env = DEFAULTS | variables | self.marks | launch.env
        argv = launch.argv if group.tests else tuple(substitute(word, {}, self.services.values) for word in launch.argv)
        if launch.pythonpath:
            env["PYTHONPATH"] = os.pathsep.join(filter(None, [launch.pythonpath, env.get("PYTHONPATH", "")]))
        env["HARNESS_GROUP"] = group.name
        env["HARNESS_ATTEMPT"] = str(action.attempt)
        env["HARNESS_SLOT"] = str(action.slot)
        directory = Path(request.plan.project, request.plan.test_root if group.tests else "")
        return Job(
            run_id=self.files.run_id,
            group=group.name,
            attempt=action.attempt,
            slot=action.slot,
            argv=argv,
            env=env,
            directory=str(directory),
            log=str(self.files.group_log(group.name)),
            timeout=group.timeout,
            grace=group.grace,
            statuses=launch.statuses,
            reports_tests=launch.reports_tests,
            results=group.results,
        )


def _marks(request: Request, files: RunFiles) -> dict[str, str]:
    """What every process of the run is given, over all else: by it a process is known to belong to the run."""
    programs = [str(Path(request.python).parent), request.shell.get("PATH", os.defpath)]
    return {
        "PATH": os.pathsep.join(programs),  # so that `pytest` or `uvicorn` is the one beside the interpreter
        "HARNESS_RUN_ID": files.run_id,
        "HARNESS_ENVIRONMENT": request.environment,
    }


@contextlib.contextmanager
def _handling_signals(handle: Callable[[int], None]) -> Iterator[None]:
    """Hands SIGINT, SIGTERM and SIGHUP to `handle`.

    Under nohup SIGHUP stays ignored. SIGINT is handled even where a shell started us in the background and had it
    ignored: tests inherit what is ignored, and some of them send themselves a SIGINT.
    """
    before = {number: signal.getsignal(number) for number in STOPPING_SIGNALS}
    for number, handler in before.items():
        if number != signal.SIGHUP or handler is not signal.SIG_IGN:
            signal.signal(number, lambda received, _frame: handle(received))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
