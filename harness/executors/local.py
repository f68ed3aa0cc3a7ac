"""Runs attempts on this machine, each in a thread. Knows nothing of groups, plans or what follows.

The threads take jobs from one queue. A ThreadPoolExecutor does the same, and keeps books of its idle threads, for its
garbage collection and for the end of Python, at every job.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future

from harness.attempt import Output, Surroundings, run_attempt
from harness.events import AnyEvent
from harness.model import Job, Outcome
from harness.process import Control
from harness.warm import Warm


class LocalExecutor:
    """At most `jobs` attempts at a time; more wait for a thread. Threads start as they are needed and are kept."""

    def __init__(
        self,
        jobs: int,
        notify: Callable[[AnyEvent | Output], None],
        surroundings: Surroundings | None = None,
        warm: Warm | None = None,
    ) -> None:
        """`notify` gets the events and output of all attempts, from their threads; `surroundings` are made around
        each; `warm` may fork their processes."""
        self._notify = notify
        self._surroundings = surroundings
        self._warm = warm
        self._jobs = jobs
        self._waiting: queue.SimpleQueue[tuple[Job, Control, Future[Outcome]] | None] = queue.SimpleQueue()  # None: end
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._controls: dict[str, Control] = {}  # by attempt id, of those that have not ended
        self._closed = False

    def submit(self, job: Job) -> Future[Outcome]:
        """Raises RuntimeError after `close`."""
        control, future = Control(), Future[Outcome]()
        future.set_running_or_notify_cancel()  # to end an attempt is up to its control
        with self._lock:
            if self._closed:
                raise RuntimeError("the executor is closed")
            # While there are fewer attempts than threads, one of these waits already.
            if len(self._threads) < self._jobs and len(self._threads) <= len(self._controls):
                thread = threading.Thread(target=self._work, name=f"attempt_{len(self._threads)}")
                thread.start()
                self._threads.append(thread)
            self._controls[job.attempt_id] = control
            self._waiting.put((job, control, future))
        return future

    def cancel(self, attempt_id: str) -> None:
        if control := self._control(attempt_id):
            control.cancel()

    def kill(self, attempt_id: str) -> None:
        if control := self._control(attempt_id):
            control.kill()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            left = list(self._controls.values())
        for control in left:
            control.kill()
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _control(self, attempt_id: str) -> Control | None:
        with self._lock:
            return self._controls.get(attempt_id)

    def _work(self) -> None:
        while waited := self._waiting.get():
            job, control, future = waited
            try:
                outcome = run_attempt(job, self._notify, control, self._surroundings, self._warm)
            except BaseException as error:  # of a bug of ours: whoever waits for the future must not wait for ever
                self._forget(job)
                future.set_exception(error)
            else:
                self._forget(job)
                future.set_result(outcome)

    def _forget(self, job: Job) -> None:
        with self._lock:
            del self._controls[job.attempt_id]
