"""Where attempts run. To add a place, write an Executor in a file of its own and name it here.

tests/executors/ holds the contract that every one must keep.
"""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from harness.attempt import Output, Surroundings
from harness.events import AnyEvent
from harness.executors.local import LocalExecutor
from harness.masking import Secrets
from harness.model import Job, Outcome
from harness.warm import Warm


class Executor(Protocol):
    """A maker of futures. An attempt never raises, so neither does a future."""

    def submit(self, job: Job) -> Future[Outcome]:
        """Run one attempt. Its id must not be that of one which has not ended."""
        ...

    def cancel(self, attempt_id: str) -> None:
        """Let it end: SIGTERM, the job's grace, SIGKILL; if it has not started, it never does. Returns at once."""
        ...

    def kill(self, attempt_id: str) -> None:
        """End it now. Neither this nor `cancel` minds an attempt that has ended, or that it has never heard of."""
        ...

    def close(self) -> None:
        """End what still runs, now, and wait for it; take no more."""
        ...


EXECUTORS: dict[str, Callable[[int, Callable[[AnyEvent | Output], None], Surroundings, Warm, Secrets], Executor]] = {
    "local": LocalExecutor
}
