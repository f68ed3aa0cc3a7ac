"""The loop: one queue, one decider, one place where a run happens.

Whatever happens, a signal, the end of an attempt, a line of a test, a service that died, arrives on one queue. The loop
hands inputs to the dispatcher (scheduling/dispatch.py), performs the actions that it answers with, and hands every
event, stamped with its order and its time, to the reporters. Attempts and services have threads of their own, and so
has the keeper, which makes what the run stands on and puts it away; all else of a run happens in the thread that calls
`execute`, which must be the main one, because signals are handled there.

Nothing is decided here. If a line here begins with "if" and is about tests, it belongs to the dispatcher.
"""

import contextlib
import gc
import heapq
import math
import os
import platform
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future

from harness import __version__, clock, signals, threads
from harness.attempt import Output
from harness.errors import HarnessError, InfrastructureError, shortage
from harness.events import (
    AnyEvent,
    AttemptFinished,
    AttemptStarted,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    ServiceFailed,
    Stamped,
    Warned,
)
from harness.executors import EXECUTORS
from harness.files import RunFiles
from harness.isolation.environments import Environments
from harness.jobs import DEFAULTS, make_job, marks, parent_variables, run_variables, warm_processes
from harness.model import Group, Outcome
from harness.partlog import with_log_in_place
from harness.process import standing_still
from harness.reporters import Reporters
from harness.request import Request
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
    Supply,
    TimeUp,
    Wake,
)
from harness.scheduling.parts import split
from harness.services import Services
from harness.warm import Warm

LOOK = None  # in the inbox: something urgent has come
Arrival = Input | AnyEvent | Output | None


def execute(request: Request, files: RunFiles, reporters: Reporters) -> int:
    """Runs what was asked for, to its end, whatever happens, and returns the exit code. Call it in the main thread.

    No process and no service is left when it returns or raises.
    """
    # What was made up to here, the plan above all, stays to the end: the collector need not look through it every time.
    gc.freeze()
    try:
        return _Run(request, files, reporters).execute()
    finally:
        gc.unfreeze()  # or what an earlier run of --repeat has left would stay for good


class _Run:
    def __init__(self, request: Request, files: RunFiles, reporters: Reporters) -> None:
        self.request = request
        self.files = files
        self.reporters = reporters
        self.inbox: queue.SimpleQueue[Arrival] = queue.SimpleQueue()
        self.began = clock.now()
        self.seq = 0
        self.stopped = False
        self.signals = 0
        self.pause_wanted = False
        self.services_up = False
        self.keeper: threading.Thread | None = None
        self.over = threading.Event()  # nothing is to run any more
        self.closed: Future[None] = Future()
        self.urgent: deque[Input] = deque()  # what does not stand in line behind the output of groups
        self.wakes: list[tuple[float, str]] = []  # a heap: time of the clock, attempt id
        self.services = Services(
            request.plan,
            request.services,
            env=DEFAULTS | request.dotenv | request.shell | marks(request, files.run_id),
            files_log=files.service_log,
            notify=self.inbox.put,
            run_id=files.run_id,
        )
        self.environments = Environments(
            request.plan,
            {name for group in self.starting() for name in group.isolate},
            run_id=files.run_id,
            variables=lambda: run_variables(request, files.run_id, self.services.values),
            services=self.services.values,
            notify=self.inbox.put,
            has_tests=any(group.tests for group in self.starting()),
            keep=request.keep_environment,
        )
        self.warm = Warm(
            warm_processes(request, self.starting()),
            variables=lambda: parent_variables(request, files.run_id, self.services.values, self.environments.hidden),
            warn=lambda message: self.inbox.put(Warned(message=message)),
        )
        self.executor = EXECUTORS["local"](request.jobs, self.observed, self.environments, self.warm)
        self.dispatcher = Dispatcher(
            split(request.phases, whole=request.cached.keys()),
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
        with signals.handling(self.signal_came, self.pause_asked, lambda: self.inbox.put(LOOK)):
            try:
                self.environments.open()
                self.emit(self.run_started())
                for warning in self.request.warnings:
                    self.emit(Warned(message=warning))
                self.begin()
                self.loop(lambda: self.stopped)
            finally:
                self.end()
            self.drain()
            self.emit(
                RunFinished(
                    exit_code=self.dispatcher.exit_code,
                    duration=clock.now() - self.began,
                    stopped_by=self.dispatcher.stopped_by,
                )
            )
        return self.dispatcher.exit_code

    # --- what the run stands on

    def begin(self) -> None:
        try:
            self.keeper = threads.start(self.keep, name="keeper")
        except InfrastructureError as error:
            self.decide(StartupFailed(error.message))

    def keep(self) -> None:
        """Makes what the run stands on, and puts it away. In a thread of its own, so that the loop hears of signals
        meanwhile."""
        self.start_services()
        self.over.wait()
        try:
            self.put_away()
        except BaseException as error:  # raised again by `end`
            self.closed.set_exception(error)
        else:
            self.closed.set_result(None)
        self.inbox.put(LOOK)

    def end(self) -> None:
        self.environments.stop_making()
        self.warm.stop()
        if not self.services_up:
            self.services.interrupt()  # or their start would not end
        if self.keeper is None:
            self.put_away()
            return
        self.over.set()
        try:
            if self.stopped:  # or the loop is broken
                self.loop(self.closed.done)
        finally:
            self.keeper.join()
        self.closed.result()

    def put_away(self) -> None:
        try:
            self.executor.close()
            self.warm.close()
            self.environments.close()
        finally:
            self.services.stop()

    # --- in

    def signal_came(self, number: int) -> None:
        """The signal handler: it may run between any two lines of the main thread, so it only leaves word."""
        self.signals += 1
        self.urgent.append(SignalCame(number))
        self.inbox.put(LOOK)
        if self.signals > 1:
            self.services.hurry()

    def pause_asked(self, is_wanted: bool) -> None:
        """Likewise. Asked twice is asked once."""
        self.pause_wanted = is_wanted
        self.inbox.put(LOOK)

    def observed(self, arrival: AnyEvent | Output) -> None:
        """Called in the threads of attempts. Output that nobody looks at must not pile up in the inbox."""
        if self.request.shows_output or not isinstance(arrival, Output):
            self.inbox.put(arrival)

    def loop(self, is_over: Callable[[], bool]) -> None:
        while not is_over():
            self.take(self.next_arrival())
            if self.pause_wanted and not self.urgent:
                self.pause()

    def pause(self) -> None:
        """Stops all that attempts run, and then us, until somebody continues us."""
        self.emit(RunPaused())
        began = time.monotonic()
        with standing_still(self.environments.marks):
            signals.stand_still(lambda: self.pause_wanted)
        self.pause_wanted = False
        self.emit(RunResumed(seconds=time.monotonic() - began))

    def next_arrival(self) -> Arrival:
        """What comes next: out of the inbox, or because its time has come."""
        limit = math.inf if self.request.global_timeout is None else self.request.global_timeout
        over = math.inf if self.stopped or self.dispatcher.stopped_by else self.began + limit
        due = self.wakes[0][0] if self.wakes else math.inf
        while not self.urgent:
            deadline = min(over, due)
            left = deadline - clock.now()
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
        actions = self.dispatcher.handle(given, clock.now() - self.began)
        if self.dispatcher.stopped_by:
            self.environments.stop_making()
            self.warm.stop()
        for action in actions:
            match action:
                case Start():
                    self.start(action)
                case Cancel(attempt_id):
                    self.executor.cancel(attempt_id)
                case Kill(attempt_id):
                    self.executor.kill(attempt_id)
                case Wake(attempt_id, after):
                    heapq.heappush(self.wakes, (clock.now() + after, attempt_id))
                case Emit(event):
                    self.emit(event)
                case Stop():
                    self.stopped = True

    def start(self, action: Start) -> None:
        job = make_job(
            self.request, self.files, action.group, self.services.values, attempt=action.attempt, slot=action.slot
        )
        log = str(self.files.group_log(job.group))
        self.emit(AttemptStarted(group=job.group, part=job.part, attempt=job.attempt, slot=job.slot, log=log))
        self.executor.submit(job).add_done_callback(self.attempt_ended)

    def attempt_ended(self, future: Future[Outcome]) -> None:
        """Called in the attempt's thread."""
        self.inbox.put(AttemptEnded(with_log_in_place(future.result(), self.files)))

    def emit(self, event: AnyEvent) -> None:
        self.seq += 1
        stamped = Stamped(self.seq, time.time(), clock.now() - self.began, event)
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
        try:
            self.services.start()
            self.services_up = True
            supplies = {
                name: Supply(it.free, it.free if it.total is None else it.total, it.said, it.server)
                for name, it in self.environments.ready().items()
            }
        except HarnessError as error:
            if error.cure:
                self.inbox.put(Warned(message=error.cure))
            self.inbox.put(StartupFailed(error.message.splitlines()[0]))
        # Whatever it is, nothing can run, and the loop must hear of it.
        except BaseException as error:
            why = shortage(error) or f"the harness failed: {type(error).__name__}: {error}"
            self.inbox.put(StartupFailed(why))
        else:
            self.inbox.put(Begin(supplies))

    def starting(self) -> Iterator[Group]:
        """The groups that are going to run, if nothing stops them."""
        for phase in self.request.phases:
            if phase.name not in self.request.off:
                yield from (group for group in phase.groups if group.name not in self.request.cached)
