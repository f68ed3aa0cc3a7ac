"""Runs attempts on this machine, each in a thread of a pool. Knows nothing of groups, plans or what follows."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from harness.attempt import Output, Surroundings, not_started, run_attempt
from harness.events import AnyEvent, Warned
from harness.masking import Secrets
from harness.model import Job, Outcome
from harness.process import Control
from harness.threads import NO_MORE
from harness.warm import Warm


class LocalExecutor:
    """At most `jobs` attempts at a time; more wait for a thread. Threads start as they are needed and are kept.

    Where the system allows no more threads, attempts wait for those that there are.
    """

    def __init__(
        self,
        jobs: int,
        notify: Callable[[AnyEvent | Output], None],
        surroundings: Surroundings | None = None,
        warm: Warm | None = None,
        secrets: Secrets | None = None,
    ) -> None:
        """`notify` gets the events and output of all attempts, from their threads; `surroundings` are made around
        each; `warm` may fork their processes; `secrets` are masked in their logs."""
        self._notify = notify
        self._surroundings = surroundings
        self._warm = warm
        self._secrets = Secrets() if secrets is None else secrets
        self._pool = ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="attempt")
        self._has_threads = False
        self._lock = threading.Lock()
        self._closed = False
        self._controls: dict[str, Control] = {}  # by attempt id, of those that have not ended

    def submit(self, job: Job) -> Future[Outcome]:
        """Raises RuntimeError after `close`."""
        control = Control()
        outcome: Future[Outcome] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("closed")
            self._controls[job.attempt_id] = control
        try:
            self._pool.submit(self._run, job, control, outcome)
            self._has_threads = True
        except RuntimeError:  # no thread could be started; the work is in the pool's queue all the same
            if self._has_threads:
                self._notify(Warned(message=f"{job.name} waits for another group to end: {NO_MORE}"))
            else:
                outcome.set_result(not_started(job, f"could not be started: {NO_MORE}", self._secrets))
        return outcome

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
        self._pool.shutdown()

    def _control(self, attempt_id: str) -> Control | None:
        with self._lock:
            return self._controls.get(attempt_id)

    def _run(self, job: Job, control: Control, outcome: Future[Outcome]) -> None:
        if outcome.done():  # it was given up
            return
        try:
            ended = run_attempt(job, self._notify, control, self._surroundings, self._warm, self._secrets)
        finally:
            with self._lock:
                del self._controls[job.attempt_id]
        outcome.set_result(ended)
