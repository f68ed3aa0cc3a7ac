"""Runs attempts on this machine, each in a thread of a pool. Knows nothing of groups, plans or what follows."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from harness.attempt import Output, Surroundings, run_attempt
from harness.events import AnyEvent
from harness.masking import Secrets
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
        secrets: Secrets | None = None,
    ) -> None:
        """`notify` gets the events and output of all attempts, from their threads; `surroundings` are made around
        each; `warm` may fork their processes; `secrets` are masked in their logs."""
        self._notify = notify
        self._surroundings = surroundings
        self._warm = warm
        self._secrets = secrets
        self._pool = ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="attempt")
        self._lock = threading.Lock()
        self._controls: dict[str, Control] = {}  # by attempt id, of those that have not ended

    def submit(self, job: Job) -> Future[Outcome]:
        """Raises RuntimeError after `close`."""
        control = Control()
        with self._lock:
            self._controls[job.attempt_id] = control
        return self._pool.submit(self._run, job, control)

    def cancel(self, attempt_id: str) -> None:
        if control := self._control(attempt_id):
            control.cancel()

    def kill(self, attempt_id: str) -> None:
        if control := self._control(attempt_id):
            control.kill()

    def close(self) -> None:
        with self._lock:
            left = list(self._controls.values())
        for control in left:
            control.kill()
        self._pool.shutdown()

    def _control(self, attempt_id: str) -> Control | None:
        with self._lock:
            return self._controls.get(attempt_id)

    def _run(self, job: Job, control: Control) -> Outcome:
        try:
            return run_attempt(job, self._notify, control, self._surroundings, self._warm, self._secrets)
        finally:
            with self._lock:
                del self._controls[job.attempt_id]
