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
                ending = {
                    "STATUS": result.status.value,
                    "EXIT_CODE": "" if result.exit_code is None else result.exit_code,
                    "DURATION": f"{result.duration:.3f}",
                    "ATTEMPTS": result.attempts,
                    "FINISHED_AT": iso_time(stamped.time),
                    "REASON": result.reason,
                }
                self._write(result.group, ending)

    def _running(self, group: str) -> None:
        """With the number of a process of its own, while there is one: afterwards it is free for others."""
        record = self._record.groups[group]
        pid = {} if record.pid is None else {"PID": record.pid}
        self._write(group, {"STATUS": RUNNING, **pid, "ATTEMPTS": record.attempt})

    def _write(self, group: str, known: dict[str, str | int]) -> None:
        record = self._record.groups[group]
        values: dict[str, str | int] = {
            "GROUP": group,
            "STATUS": "",
            "EXIT_CODE": "",
            "DURATION": "",
            "ATTEMPTS": 0,
            "STARTED_AT": "" if record.started_at is None else iso_time(record.started_at),
            "FINISHED_AT": "",
            "LOG": record.log,
            "REASON": "",
        }
        values.update(known)
        # One line each, whatever stands in it: a name with a newline must not bring a line of its own.
        lines = [f"{key}={_quoted(str(value))}\n" for key, value in values.items()]
        path = f"{self._files.log_dir}/{self._files.status_name(group)}"  # not by pathlib, which takes its time
        write_atomically(path, "".join(lines).encode("utf-8"), durable=False)


def _quoted(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else shlex.quote(printable(text, None))
