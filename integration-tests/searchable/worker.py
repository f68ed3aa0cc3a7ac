"""Work that a request leaves for later: indexing, scanning, moderating.

A job is a row written in the request's own transaction, so it exists exactly if what it is about exists. A thread
sleeps until the first job is due, then does all due jobs of that organization in one transaction. The queue is in the
database and the wake-ups are in memory: after a restart every organization is looked at once.
"""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

import psycopg

from searchable.database import Database, Organization, Tx

log = logging.getLogger("searchable.worker")

Handler = Callable[[Tx, list[int]], None]
HANDLERS: dict[str, Handler] = {}


def job(kind: str) -> Callable[[Handler], Handler]:
    """Registers what does the jobs of a kind; it is given the ids of all subjects that are due."""

    def register(handler: Handler) -> Handler:
        HANDLERS[kind] = handler
        return handler

    return register


class Worker:
    """One thread for all organizations."""

    def __init__(self, database: Database, delay: float) -> None:
        self.database, self.delay = database, delay
        self.wakeups: list[tuple[float, int, Organization]] = []
        self.order = itertools.count()
        self.changed = threading.Condition()
        self.stopped = False
        self.thread = threading.Thread(target=self.loop, name="worker", daemon=True)

    def enqueue(self, tx: Tx, kind: str, subject_id: int) -> None:
        """Has `subject_id` seen to after the delay, if `tx` commits."""
        tx.run(
            "INSERT INTO jobs (kind, subject_id, due_at)"
            " VALUES (%s, %s, clock_timestamp() + make_interval(secs => %s))",
            [kind, subject_id, self.delay],
        )
        tx.after_commit(lambda: self.wake(tx.organization, self.delay))

    def wake(self, organization: Organization, after: float) -> None:
        with self.changed:
            heapq.heappush(self.wakeups, (time.monotonic() + after, next(self.order), organization))
            self.changed.notify()

    def stop(self) -> None:
        with self.changed:
            self.stopped = True
            self.changed.notify()
        self.thread.join(timeout=5)

    def loop(self) -> None:
        while (organization := self.next_due()) is not None:
            try:
                with self.database.inside(organization) as tx:
                    self.run_due(tx)
            except psycopg.errors.UndefinedTable:
                log.info("%s was deleted with jobs left", organization.slug)
            except Exception:
                log.exception("jobs of %s failed, and are tried again", organization.slug)
                self.wake(organization, 1.0)

    def next_due(self) -> Organization | None:
        """Sleeps until an organization's job is due; None when the service stops."""
        with self.changed:
            while not self.stopped:
                if not self.wakeups:
                    self.changed.wait()
                elif (wait := self.wakeups[0][0] - time.monotonic()) > 0:
                    self.changed.wait(wait)
                else:
                    return heapq.heappop(self.wakeups)[2]
            return None

    @staticmethod
    def run_due(tx: Tx) -> None:
        due: dict[str, list[int]] = {}
        for row in tx.all("DELETE FROM jobs WHERE due_at <= clock_timestamp() RETURNING kind, subject_id"):
            due.setdefault(row["kind"], []).append(row["subject_id"])
        for kind, subjects in due.items():
            HANDLERS[kind](tx, subjects)
