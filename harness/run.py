"""The loop: one queue, one decider, one place where a run happens.

Whatever happens, a signal, the end of an attempt, a line of a test, a service that died, arrives on one queue. The loop
hands inputs to the dispatcher (scheduling/dispatch.py), performs the actions that it answers with, and hands every
event, stamped with its order and its time, to the reporters. Attempts, services, and what the run stands on (ground.py)
have threads of their own; all else of a run happens in the thread that calls `execute`, which must be the main one,
because signals are handled there.

Nothing is decided here. If a line here begins with "if" and is about tests, it belongs to the dispatcher.
"""

import contextlib
import gc
import heapq
import math
import os
import platform
import queue
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from harness import __version__, clock, signals
from harness.attempt import Output
from harness.backlog import Backlog
from harness.errors import InfrastructureError
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
from harness.files import RunFiles
from harness.ground import Ground
from harness.jobs import make_job
from harness.masking.events import masked
from harness.model import Outcome
from harness.partlog import with_log_in_place
from harness.process import standing_still
from harness.reporters import Reporters
from harness.request import Request
from harness.scheduling.dispatch import Dispatcher
from harness.scheduling.messages import (
    AttemptEnded,
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
from harness.scheduling.parts import split

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
        self.urgent: deque[Input] = deque()  # what does not stand in line behind the output of groups
        self.backlog = Backlog()
        self.wakes: list[tuple[float, str]] = []  # a heap: time of the clock, attempt id
        self.ground = Ground(request, files, self.inbox.put, self.observed)
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
                self.ground.open()
                self.emit(self.run_started())
                for warning in (*self.request.warnings, *self.request.secrets.warnings()):
                    self.emit(Warned(message=warning))
                self.begin()
                self.loop(lambda: self.stopped)
            finally:
                self.ground.end(self.loop if self.stopped else lambda _: None)  # or the loop is broken
            self.drain()
            self.emit(
                RunFinished(
                    exit_code=self.dispatcher.exit_code,
                    duration=clock.now() - self.began,
                    stopped_by=self.dispatcher.stopped_by,
                )
            )
        return self.dispatcher.exit_code

    def begin(self) -> None:
        try:
            self.ground.begin()
        except InfrastructureError as error:
            self.decide(StartupFailed(error.message))

    # --- in

    def signal_came(self, number: int) -> None:
        """The signal handler: it may run between any two lines of the main thread, so it only leaves word."""
        self.signals += 1
        self.urgent.append(SignalCame(number))
        self.inbox.put(LOOK)
        if self.signals > 1:
            self.ground.services.hurry()

    def pause_asked(self, is_wanted: bool) -> None:
        """Likewise. Asked twice is asked once."""
        self.pause_wanted = is_wanted
        self.inbox.put(LOOK)

    def observed(self, arrival: AnyEvent | Output) -> None:
        """Called in the threads of attempts. Output that nobody looks at must not pile up in the inbox."""
        if not isinstance(arrival, Output):
            self.inbox.put(arrival)
        elif self.request.shows_output and (output := self.backlog.let_in(arrival)):
            self.inbox.put(output)

    def loop(self, is_over: Callable[[], bool]) -> None:
        while not is_over():
            self.take(self.next_arrival())
            if self.pause_wanted and not self.urgent:
                self.pause()

    def pause(self) -> None:
        """Stops all that attempts run, and then us, until somebody continues us."""
        self.emit(RunPaused())
        began = time.monotonic()
        with standing_still(self.ground.marks):
            signals.stand_still(self.pause_taken)
        self.emit(RunResumed(seconds=time.monotonic() - began))

    def pause_taken(self) -> bool:
        """Whether it is still wanted. From here on it may be asked for anew, also while all goes on again."""
        is_wanted, self.pause_wanted = self.pause_wanted, False
        return is_wanted

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
            self.show(arrival.group, bytes(arrival.data))
            self.backlog.out(arrival)
        elif isinstance(arrival, Input):
            if isinstance(arrival, AttemptEnded):
                self.show(arrival.outcome.name, self.backlog.end(arrival.outcome.name))
                self.emit(AttemptFinished(outcome=arrival.outcome))
            self.decide(arrival)
        else:
            self.emit(arrival)
            if isinstance(arrival, ServiceFailed):
                self.decide(ServiceDown(arrival.service, arrival.reason))

    def show(self, group: str, output: bytes) -> None:
        # Of a run that stops it is in the logs; what a flood has left in the inbox would be shown for minutes.
        if output and not self.dispatcher.stopped_by:
            for warning in self.reporters.output(group, output):
                self.emit(warning)

    def drain(self) -> None:
        """Takes what arrived while things were put away, so that no event is lost."""
        with contextlib.suppress(queue.Empty):
            while True:
                self.take(self.urgent.popleft() if self.urgent else self.inbox.get_nowait())

    # --- out

    def decide(self, given: Input) -> None:
        actions = self.dispatcher.handle(given, clock.now() - self.began)
        if self.dispatcher.stopped_by:
            self.ground.stop_making()
        for action in actions:
            match action:
                case Start():
                    self.start(action)
                case Cancel(attempt_id):
                    self.ground.executor.cancel(attempt_id)
                case Kill(attempt_id):
                    self.ground.executor.kill(attempt_id)
                case Wake(attempt_id, after):
                    heapq.heappush(self.wakes, (clock.now() + after, attempt_id))
                case Emit(event):
                    self.emit(event)
                case Stop():
                    self.stopped = True

    def start(self, action: Start) -> None:
        values = self.ground.services.values
        job = make_job(self.request, self.files, action.group, values, attempt=action.attempt, slot=action.slot)
        log = str(self.files.group_log(job.group)) if job.part else job.log
        self.emit(AttemptStarted(group=job.group, part=job.part, attempt=job.attempt, slot=job.slot, log=log))
        self.ground.executor.submit(job).add_done_callback(self.attempt_ended)

    def attempt_ended(self, future: Future[Outcome]) -> None:
        """Called in the attempt's thread."""
        self.inbox.put(AttemptEnded(with_log_in_place(future.result(), self.files)))

    def emit(self, event: AnyEvent) -> None:
        self.seq += 1
        event = event if self.request.secrets.is_empty else masked(event, self.request.secrets)
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
