"""How each group stands after all its runs: what --last-failed goes by.

A run that got to the end of a group's tests settles what was before it. After it only runs of some of its tests count,
one test at a time; what cut such a run off, other than a person, makes the group one to run again whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.history.rows import typed
from harness.model import Status, TestStatus
from harness.past import Latest, Measured

if TYPE_CHECKING:
    import sqlite3

CUT_OFF = frozenset({Status.FAILED, Status.TIMED_OUT, Status.KILLED, Status.LOST})
FAILED_TESTS = frozenset({TestStatus.FAILED, TestStatus.ERROR})

Moment = tuple[float, int]  # when a run began, and its id, for two that began at once


@dataclass
class _Standing:
    status: Status | None = None  # None: it only ever ran in part
    since: Moment = (0.0, 0)  # the latest run that got to its end; before the first run, if none did
    whole: bool = True
    settled: bool = True  # no test of it can be failing


def latest(connection: "sqlite3.Connection", environment: str) -> dict[str, Latest]:
    """Group -> how it stands in that environment; groups that never ran whole are not in it."""
    standings: dict[str, _Standing] = {}
    for group, moment, status, partial, complete in _events(connection, environment):
        standing = standings.setdefault(group, _Standing())
        if partial:
            standing.settled = False
            standing.whole = standing.whole and (complete or status not in CUT_OFF)
            continue
        standing.status, standing.whole = status, complete
        standing.settled = status is Status.PASSED
        if complete:
            standing.since = moment
    return {
        group: Latest(
            status=standing.status,
            failed_tests=() if standing.settled else _failed_tests(connection, environment, group, standing.since),
            whole=standing.whole,
        )
        for group, standing in standings.items()
        if standing.status
    }


def _events(connection: "sqlite3.Connection", environment: str) -> Iterator[tuple[str, Moment, Status, bool, bool]]:
    """All that befell the groups, the oldest first: group, when, status, whether in part, whether to the end."""
    query = """
        SELECT g."group", r.started_at, r.id, g.status, g.partial, g.complete
        FROM group_runs g JOIN runs r ON r.id = g.run WHERE r.environment = ?1
        UNION ALL
        SELECT u."group", r.started_at, r.id, u.status, 0, 0 FROM unrun u JOIN runs r ON r.id = u.run
        WHERE r.environment = ?1
        ORDER BY 2, 3
    """
    for group, started_at, run, status, partial, complete in typed(
        tuple[str, Measured, int, Status, bool, bool], connection.execute(query, (environment,))
    ):
        yield group, (started_at, run), status, partial, complete


def _failed_tests(connection: "sqlite3.Connection", environment: str, group: str, since: Moment) -> tuple[str, ...]:
    """Whose latest outcome since then is a failure, in the order in which they first failed or passed."""
    outcomes = connection.execute(
        """
        SELECT n.test, t.status FROM test_names n JOIN test_runs t ON t.name = n.id JOIN runs r ON r.id = t.run
        WHERE n."group" = ? AND r.environment = ? AND (r.started_at, r.id) >= (?, ?)
        ORDER BY r.started_at, r.id, t.attempt, n.id
        """,
        (group, environment, *since),
    )
    last = dict(typed(tuple[str, TestStatus], outcomes))
    return tuple(test for test, status in last.items() if status in FAILED_TESTS)
