"""How long groups took of late, for their estimates: asked for before every run, of all of its groups.

The newest runs of an environment tell of nearly every group, so only the others are looked for one by one. To sort all
passes of all groups would take as long as the whole rest of a start, once there are a hundred runs.
"""

from collections import defaultdict
from collections.abc import Collection
from typing import TYPE_CHECKING

from harness.history.rows import typed
from harness.model import Status
from harness.past import Measured

if TYPE_CHECKING:
    import sqlite3

WINDOW = 5  # runs that tell how long something takes

_WHOLE_PASSES = f"g.status = '{Status.PASSED.value}' AND NOT g.partial"


def durations(connection: "sqlite3.Connection", environment: str, groups: Collection[str]) -> dict[str, list[float]]:
    """Seconds of the last WINDOW passes of each of these groups there, at once and with all of its tests; newest first.
    Groups that never passed are not in it. Raises DamagedError."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    query = "SELECT id FROM runs WHERE environment = ? ORDER BY started_at DESC, id DESC LIMIT ?"
    newest = typed(tuple[int], connection.execute(query, (environment, WINDOW + 1)))
    for run in newest[:WINDOW]:
        query = f'SELECT g."group", g.duration FROM group_runs g WHERE g.run = ? AND {_WHOLE_PASSES}'
        for group, seconds in typed(tuple[str, Measured], connection.execute(query, run)):
            found[group].append(seconds)
    if len(newest) > WINDOW:  # there are older ones
        for group in groups:
            if len(found[group]) < WINDOW:
                found[group] = _of_one(connection, environment, group)
    return {group: found[group] for group in groups if found[group]}


def _of_one(connection: "sqlite3.Connection", environment: str, group: str) -> list[float]:
    query = f"""
        SELECT g.duration FROM group_runs g JOIN runs r ON r.id = g.run
        WHERE g."group" = ? AND {_WHOLE_PASSES} AND r.environment = ? ORDER BY r.started_at DESC, r.id DESC LIMIT ?
    """
    return [seconds for (seconds,) in typed(tuple[Measured], connection.execute(query, (group, environment, WINDOW)))]
