"""Status files: what became of each group, for bash to `source`.

Protocol: one `KEY=value` a line, every key always there, values quoted so that nothing in them acts; `running` with the
PID while an attempt has a process, then the group's final status. Each is replaced atomically and without an fsync: at
two a group, that would be the dearest thing that the harness does. A power cut can take the newest ones; the journal,
which is fsynced when the run ends, has the same statuses.
"""

import re
import shlex
from typing import ClassVar

from harness.events import AttemptFinished, AttemptSpawned, GroupFinished, RetryScheduled, Stamped
from harness.files import write_atomically
from harness.reporters.base import Context, Quiet, iso_time
from harness.reporters.text import printable

RUNNING = "running"
NOTHING = "''"
_PLAIN = re.compile(r"[A-Za-z0-9@%+=:,./_-]+")  # what shlex.quote leaves as it is


class StatusFiles(Quiet):
    name: ClassVar[str] = "status files"
    durable: ClassVar[bool] = True

    def __init__(self, context: Context) -> None:
        self._files = context.files
        self._record = context.record

    def handle(self, stamped: Stamped) -> None:
        match stamped.data:
            case AttemptSpawned(group=group) | RetryScheduled(group=group):
                self._running(group)
            case AttemptFinished(outcome=outcome) if outcome.part:
                self._running(outcome.group)
            case GroupFinished() as event:
                result = event.result
                self._write(
                    result.group,
                    status=result.status.value,
                    exit_code=NOTHING if result.exit_code is None else str(result.exit_code),
                    duration=f"{result.duration:.3f}",
                    attempts=result.attempts,
                    finished_at=iso_time(stamped.time),
                    reason=result.reason,
                )

    def _running(self, group: str) -> None:
        """With the number of a process of its own, while there is one: afterwards it is free for others."""
        record = self._record.groups[group]
        self._write(group, status=RUNNING, attempts=record.attempt, pid=record.pid)

    def _write(
        self,
        group: str,
        *,
        status: str,
        attempts: int,
        exit_code: str = NOTHING,
        duration: str = NOTHING,
        finished_at: str = NOTHING,
        reason: str = "",
        pid: int | None = None,
    ) -> None:
        record = self._record.groups[group]
        # Whatever is not a number, a time or a word of ours is quoted.
        lines = (
            f"GROUP={_quoted(group)}\n"
            f"STATUS={status}\n"
            f"EXIT_CODE={exit_code}\n"
            f"DURATION={duration}\n"
            f"ATTEMPTS={attempts}\n"
            f"STARTED_AT={NOTHING if record.started_at is None else iso_time(record.started_at)}\n"
            f"FINISHED_AT={finished_at}\n"
            f"LOG={_quoted(record.log)}\n"
            f"REASON={_quoted(reason)}\n"
        )
        if pid is not None:
            lines += f"PID={pid}\n"
        path = f"{self._files.log_dir}/{self._files.status_name(group)}"  # not by pathlib, which takes its time
        write_atomically(path, lines.encode("utf-8"), durable=False)


def _quoted(text: str) -> str:
    """On one line, whatever stands in it: a name with a newline must not bring a line of its own."""
    return text if _PLAIN.fullmatch(text) else shlex.quote(printable(text, None))
