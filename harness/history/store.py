"""The history of a project's runs: what they took, how they ended, what it says about the next one.

Protocol: `open` it, ask, `record` each run once it has ended, `close`. Whatever is wrong with the file costs a line in
`warnings` and never the run (database.py). One process may write while others read and write; nothing is kept open
between two calls but the connection.

It must not decide anything: what an estimate or a flaky test is, is said elsewhere.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from harness.errors import UsageError
from harness.history.database import CURE, Database, sound_uri, transaction
from harness.history.durations import WINDOW, durations
from harness.history.fold import fold
from harness.history.latest import latest
from harness.history.rows import absorb, insert, prune, stored_fingerprints, typed, unfit
from harness.history.schema import quoted_columns
from harness.model import Status, TestStatus
from harness.past import Latest, Measured, PastGroup, PastRun, PastTest, SlowTest, StoredFingerprint
from harness.record import RunRecord

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")

HISTORY_FILE = ".harness/history.sqlite3"  # in the project
UNFINISHED = '{"why":"did not come to its end"}'
SLOWEST_OF = 20  # runs of a group whose tests are compared

_RUN = quoted_columns(PastRun)
_GROUP = quoted_columns(PastGroup, frozenset({"run"}))
_SELECT_RUNS = f"SELECT {', '.join(f'r.{column}' for column in _RUN)} FROM runs r"
_SELECT_GROUPS = f"""
    SELECT r.key, {", ".join(f"g.{column}" for column in _GROUP)} FROM group_runs g JOIN runs r ON r.id = g.run
"""
_NEWEST_FIRST = "ORDER BY r.started_at DESC, r.id DESC"
_OLDEST_FIRST = "ORDER BY r.started_at, r.id"
_RUN_FIELDS, _GROUP_FIELDS = PastRun.__struct_fields__, PastGroup.__struct_fields__


class History:
    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, path: Path, *, make: bool = True) -> "History":
        """The history in this file, which is made if it is not there, unless all that is wanted is a look; see
        `warnings`.

        Raises InfrastructureError only where this Python has no SQLite.
        """
        return cls(Database(path, make=make))

    @property
    def is_durable(self) -> bool:
        """Whether what is written will be there the next time."""
        return self._database.is_durable

    @property
    def warnings(self) -> list[str]:
        """What was wrong with the file so far, for people."""
        return self._database.warnings

    def close(self) -> None:
        self._database.close()

    def _rows(self, row: type[T], query: str, *values: object, names: Sequence[str] = ()) -> list[T]:
        return self._database.read(lambda connection: typed(row, connection.execute(query, values), names))

    # Writing

    def record(self, record: RunRecord, *, keep: int) -> str:
        """Adds a run that has ended, once, and forgets the oldest beyond `keep` runs. Returns the run's key.

        Raises ValueError for a run that has not ended.
        """
        rows = fold(record)
        if problem := unfit(rows):
            self.warnings.append(f"run {rows.run.run_id} is not added to {self._database.path}: {problem}")
            return rows.run.key

        def add(connection: "sqlite3.Connection") -> None:
            if connection.execute("SELECT 1 FROM runs WHERE key = ?", (rows.run.key,)).fetchone() is None:
                insert(connection, rows)
                prune(connection, keep, rows.run.key)

        self._database.write(add)
        return rows.run.key

    def absorb(self, other: Path) -> int:
        """Adds what the history of another machine has; returns how many runs were new.

        Raises UsageError where the other file is no history that can be read. `keep` of the next `record` prunes.
        """
        uri = sound_uri(other)

        def add(connection: "sqlite3.Connection") -> int:
            connection.execute("ATTACH ? AS other", (uri,))
            try:
                with transaction(connection):
                    return absorb(connection)
            except connection.IntegrityError as error:
                raise UsageError(f"{other} contradicts itself: {error}", CURE) from error
            finally:
                connection.execute("DETACH other")

        return self._database.read(add)

    def store_fingerprint(self, group: str, digest: str, parts: Mapping[str, str], run_id: str, at: float) -> None:
        """What the group depended on in this run; replaces what is known of it. An empty digest equals nothing, and the
        part "why" says then why not."""
        values = (group, digest, msgspec.json.encode(parts).decode(), run_id, at)
        self._database.write(
            lambda connection: connection.execute("INSERT OR REPLACE INTO fingerprints VALUES (?, ?, ?, ?, ?)", values)
        )

    def withdraw(self, groups: Iterable[str], run_id: str, at: float) -> None:
        """Before a run: what its groups passed with counts no more, whatever becomes of the run."""
        rows = [(group, "", UNFINISHED, run_id, at) for group in groups]
        if rows:
            self._database.write(
                lambda connection: connection.executemany(
                    "INSERT OR REPLACE INTO fingerprints VALUES (?, ?, ?, ?, ?)", rows
                )
            )

    def store_pass(self, group: str, digest: str, parts: Mapping[str, str], run_id: str, at: float) -> None:
        """After a run that has withdrawn it, what the group passed with. A run that began since has the last word."""
        values = (digest, msgspec.json.encode(parts).decode(), at, group, run_id)
        self._database.write(
            lambda connection: connection.execute(
                "UPDATE fingerprints SET digest = ?, parts = ?, at = ?"
                """ WHERE "group" = ? AND run = ? AND digest = ''""",
                values,
            )
        )

    # Reading

    def durations(self, environment: str, groups: Iterable[str]) -> dict[str, list[float]]:
        """Seconds of the last five passes of each of these groups there, at once and with all of its tests; newest
        first. Groups that never passed are not in it."""
        wanted = list(groups)
        return self._database.read(lambda connection: durations(connection, environment, wanted))

    def test_durations(self, environment: str, groups: Iterable[str]) -> dict[str, dict[str, float]]:
        """Of each of these groups the medians of its tests' seconds in the passes that `durations` tells of."""
        return {group: self._test_durations(environment, group) for group in groups}

    def _test_durations(self, environment: str, group: str) -> dict[str, float]:
        durations: defaultdict[str, list[float]] = defaultdict(list)
        for test, seconds in self._rows(
            tuple[str, Measured],
            f"""
            SELECT n.test, t.duration FROM test_names n JOIN test_runs t ON t.name = n.id
            WHERE n."group" = ? AND t.run IN (
                SELECT r.id FROM group_runs g JOIN runs r ON r.id = g.run
                WHERE g."group" = ? AND g.status = ? AND NOT g.partial AND r.environment = ? {_NEWEST_FIRST} LIMIT ?
            )
            """,
            group,
            group,
            Status.PASSED.value,
            environment,
            WINDOW,
        ):
            durations[test].append(seconds)
        return {test: statistics.median(each) for test, each in durations.items()}

    def apart(self, environment: str) -> tuple[float, float] | None:
        """Seconds until the first phase begins, and from the end of the last group to the end of the run.

        Medians of the last five runs of the whole plan that passed there; None where there is none.
        """
        rows = self._rows(
            tuple[Measured, Measured],
            "SELECT r.services_seconds, r.wind_down FROM runs r"
            f" WHERE r.whole AND r.exit_code = 0 AND r.environment = ? {_NEWEST_FIRST} LIMIT ?",
            environment,
            WINDOW,
        )
        if not rows:
            return None
        before, after = zip(*rows, strict=True)
        return statistics.median(before), statistics.median(after)

    def runs(self, limit: int) -> list[PastRun]:
        """The newest first."""
        return self._rows(PastRun, f"{_SELECT_RUNS} {_NEWEST_FIRST} LIMIT ?", limit, names=_RUN_FIELDS)

    def groups(self, name: str, limit: int) -> list[PastGroup]:
        """The runs of one group, the newest first."""
        query = f'{_SELECT_GROUPS} WHERE g."group" = ? {_NEWEST_FIRST} LIMIT ?'
        return self._rows(PastGroup, query, name, limit, names=_GROUP_FIELDS)

    def group_names(self) -> list[str]:
        """All groups that ever ran, by name."""
        query = 'SELECT DISTINCT g."group" FROM group_runs g ORDER BY g."group"'
        return [name for (name,) in self._rows(tuple[str], query)]

    def failed_groups(self, limit: int) -> dict[str, list[str]]:
        """Key of each of the newest runs -> its groups that failed, quarantine apart, in order of their start."""
        failed: defaultdict[str, list[str]] = defaultdict(list)
        for group in self._rows(
            PastGroup,
            f"""
            {_SELECT_GROUPS} WHERE NOT g.quarantined
            AND r.id IN (SELECT r.id FROM runs r {_NEWEST_FIRST} LIMIT ?) ORDER BY g.started_at, g."group"
            """,
            limit,
            names=_GROUP_FIELDS,
        ):
            if group.status.is_failure:
                failed[group.run].append(group.group)
        return dict(failed)

    def slowest_tests(self, group: str, limit: int) -> list[SlowTest]:
        """The slowest first, over the group's last twenty runs."""
        used: dict[tuple[str, int], tuple[float, float | None, int | None]] = {}
        for test, run, seconds, cpu, memory in self._rows(
            tuple[str, int, Measured, Measured | None, int | None],
            """
            SELECT n.test, t.run, t.duration, t.cpu_seconds, t.memory_growth
            FROM test_names n JOIN test_runs t ON t.name = n.id
            WHERE n."group" = ? AND t.status <> ? AND t.run IN (
                SELECT r.id FROM group_runs g JOIN runs r ON r.id = g.run WHERE g."group" = ?
                ORDER BY r.started_at DESC, r.id DESC LIMIT ?
            ) ORDER BY t.attempt
            """,
            group,
            TestStatus.SKIPPED.value,
            group,
            SLOWEST_OF,
        ):
            used[test, run] = seconds, cpu, memory  # of its last attempt
        by_test: defaultdict[str, list[tuple[float, float | None, int | None]]] = defaultdict(list)
        for (test, _), each in used.items():
            by_test[test].append(each)
        found = [_slow_test(test, *zip(*each, strict=True)) for test, each in by_test.items()]
        return sorted(found, key=lambda test: (-test.seconds, test.test))[:limit]

    def all_groups(self) -> list[PastGroup]:
        """Every group of every run, the oldest first."""
        query = f'{_SELECT_GROUPS} {_OLDEST_FIRST}, g.started_at, g."group"'
        return self._rows(PastGroup, query, names=_GROUP_FIELDS)

    def all_tests(self) -> list[PastTest]:
        """Every attempt of every test, the oldest first."""
        query = f"""
            SELECT r.key, n."group", t.attempt, n.test, t.status, t.duration, t.error, t.cpu_seconds, t.memory_growth
            FROM test_runs t JOIN test_names n ON n.id = t.name JOIN runs r ON r.id = t.run
            {_OLDEST_FIRST}, t.attempt, n.id
        """
        return self._rows(PastTest, query, names=PastTest.__struct_fields__)

    def examples(self) -> dict[str, str]:
        """Hash of an error -> a message that has this hash."""
        return dict(self._rows(tuple[str, str], "SELECT hash, example FROM errors"))

    def latest(self, environment: str) -> dict[str, Latest]:
        """How each group stands after all its runs there; groups that never ran whole are not in it."""
        return self._database.read(lambda connection: latest(connection, environment))

    def fingerprints(self) -> dict[str, StoredFingerprint]:
        """What each group depended on when it last passed, as `store_fingerprint` was told."""
        return self._database.read(stored_fingerprints)


def _slow_test(
    test: str, seconds: Sequence[float], cpu: Sequence[float | None], memory: Sequence[int | None]
) -> SlowTest:
    measured = [each for each in cpu if each is not None]
    grown = [each for each in memory if each is not None]
    return SlowTest(
        test=test,
        seconds=statistics.median(seconds),
        runs=len(seconds),
        cpu_seconds=statistics.median(measured) if measured else None,
        memory_growth=round(statistics.median(grown)) if grown else None,
    )
