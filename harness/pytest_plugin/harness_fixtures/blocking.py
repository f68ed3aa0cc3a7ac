"""Who blocks whom in Postgres at this moment, as a tree: the sessions that hold, under them those that wait.

Read from pg_stat_activity, pg_locks and pg_blocking_pids(). Trees without a session of the own role are left out: they
are other groups' affairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

_QUERY_WIDTH = 120  # characters

_SESSIONS = """
    SELECT a.pid, coalesce(a.application_name, ''), coalesce(a.usename, ''), a.usename = current_user,
        coalesce(a.state, ''), coalesce(a.query, ''),
        coalesce(extract(epoch FROM clock_timestamp() - coalesce(a.state_change, a.backend_start)), 0)::float,
        CASE WHEN a.wait_event_type = 'Lock' THEN pg_blocking_pids(a.pid) ELSE '{}' END,
        coalesce((SELECT string_agg(mode || ' on ' || coalesce(relation::regclass::text, locktype), ', ')
            FROM pg_locks WHERE pg_locks.pid = a.pid AND NOT granted), '')
    FROM pg_stat_activity a
    WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
"""


class Session(NamedTuple):
    """One session of Postgres. `since`: seconds in its state; `blockers`: pids, 0 is a prepared transaction."""

    pid: int
    application: str
    role: str
    own: bool
    state: str
    query: str
    since: float
    blockers: tuple[int, ...] = ()
    waits_for: str = ""


def read_sessions(dsn: str) -> list[Session]:
    """The sessions of the database; none where there is no psycopg. Raises psycopg's errors."""
    try:
        import psycopg
    except ImportError:
        return []
    bounds = "-c statement_timeout=1500 -c lock_timeout=500"
    with psycopg.connect(
        dsn, autocommit=True, connect_timeout=2, options=bounds, application_name="harness: who blocks whom"
    ) as connection:
        rows = connection.execute(_SESSIONS).fetchall()
    return [Session._make((*row[:7], tuple(dict.fromkeys(row[7])), row[8])) for row in rows]


def blocking_tree(sessions: Iterable[Session]) -> str:
    """The tree, in lines; empty where nobody of the own role blocks or waits."""
    by_pid = {session.pid: session for session in sessions}
    waiting: dict[int, list[int]] = {}  # pids by the pid that blocks them
    for session in by_pid.values():
        for blocker in session.blockers:
            waiting.setdefault(blocker, []).append(session.pid)
    told: set[int] = set()
    lines: list[str] = []
    holders = [pid for pid in waiting if pid not in by_pid or not by_pid[pid].blockers]
    # After the roots, what is left blocks itself in a circle: any of it may stand at the top.
    for root in [*sorted(holders), *sorted(waiting)]:
        if root not in told:
            tree = list(_tree(root, waiting, by_pid, told, 0))
            if any(pid in by_pid and by_pid[pid].own for pid, _ in tree):
                lines += [line for _, line in tree]
    return "\n".join(lines)


def _tree(
    pid: int, waiting: Mapping[int, list[int]], by_pid: Mapping[int, Session], told: set[int], depth: int
) -> Iterator[tuple[int, str]]:
    indent = "   " * (depth - 1) + "└─ " if depth else ""
    if pid in told:
        yield pid, f"{indent}pid {pid}: see above"
        return
    told.add(pid)
    yield pid, indent + _line(pid, by_pid.get(pid))
    for waiter in sorted(waiting.get(pid, ())):
        yield from _tree(waiter, waiting, by_pid, told, depth + 1)


def _line(pid: int, session: Session | None) -> str:
    if session is None:
        return "a prepared transaction" if pid == 0 else f"pid {pid}, of another database or just ended"
    who = ", ".join(filter(None, (session.application, f"role {session.role}" if session.role else "")))
    state = f"waits for {session.waits_for or 'a lock'}" if session.blockers else session.state or "state unknown"
    query = " ".join(session.query.split())
    query = query if len(query) <= _QUERY_WIDTH else query[: _QUERY_WIDTH - 1] + "…"
    return f"pid {pid} ({who}) {state}, for {session.since:.1f} s: {query}"
