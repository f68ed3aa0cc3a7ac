"""What goes on beside a test at the moment it fails: sessions that block one another in Postgres, and who else runs.

It never hides the failure: it takes two seconds at most, raises nothing, and is silent where there is nothing to say.
"""

from __future__ import annotations

import threading

from . import meeting
from .blocking import blocking_tree, read_sessions
from .postgres import known_dsn, libpq_dsn

BLOCKING = "blocking sessions"
OTHERS = "running at that moment"
WAITED = "a test that could not begin"

_WITHIN = 2.0  # seconds


class Moment:
    """Looks around. A database that once did not answer in time is not asked again."""

    def __init__(self) -> None:
        self._unanswered = False

    def sections(self) -> list[tuple[str, str]]:
        """Titles and texts; those that would be empty are left out."""
        found = [(BLOCKING, self._blocking()), (OTHERS, _others())]
        return [(title, text) for title, text in found if text]

    def _blocking(self) -> str:
        dsn = known_dsn()
        if not dsn or self._unanswered:
            return ""
        answers: list[str] = []

        def ask() -> None:
            try:
                answers.append(blocking_tree(read_sessions(libpq_dsn(dsn))))
            except Exception:  # psycopg's, or of a server that is too old: the test's own failure counts
                answers.append("")

        # In a thread: only so is there a bound to it, also to looking up a name or to a lock of an import.
        asking = threading.Thread(target=ask, name="who-blocks-whom", daemon=True)
        asking.start()
        asking.join(_WITHIN)
        self._unanswered = not answers
        return answers[0] if answers else ""


def _others() -> str:
    try:
        others = meeting.others()
    except OSError:  # the directory may be gone already, at the end of a run
        return ""
    return "\n".join(
        f"{other.group} · {other.worker}: {other.test}, {'waits ' * other.waits}for {other.seconds:.1f} s"
        for other in others
    )
