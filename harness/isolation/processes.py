"""What a group's attempt left running, wherever it hides: processes whose environment bears the attempt's marks.

A process that leads a session of its own (`setsid`, a daemon) survives the SIGKILL to its attempt's process group. It
inherits its environment all the same, and in it the run's id, the names of group and part, and the number of the
attempt. Found are those whose environment we may read: those of the same user, or all for root. What cleared its
environment escapes.

To be called when the attempt has ended and its process group was killed. This process itself is never found.
"""

import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

_MOMENT = 0.2  # seconds that what was killed takes to disappear
_GRACE = 1.0  # seconds between SIGTERM and SIGKILL
_LIMIT = 5.0  # seconds after which what does not end is let be
_LONGEST = 60  # characters of a command line that are shown


def leftover_processes(run_id: str, group: str, attempt: int, shared: str | Path, part: str = "") -> list[str]:
    """What the attempt left running, and the ports on which that listens, one line each, for people.

    `shared` is its HARNESS_SHARED, the directory of the run: the id alone is a second, which other projects may share.
    """
    marks = _marks(run_id, group, attempt, shared, part)
    limit = time.monotonic() + _MOMENT
    # Members of the killed process group may not be gone yet.
    while (found := _bearers(marks)) and time.monotonic() < limit:
        time.sleep(_MOMENT / 10)
    return [line for process in found for line in _told(process)]


def end(run_id: str, group: str, attempt: int, shared: str | Path, part: str = "") -> list[str]:
    """Ends what `leftover_processes` finds: SIGTERM, a grace, SIGKILL. Returns what is there after five seconds."""
    import psutil

    marks = _marks(run_id, group, attempt, shared, part)
    limit = time.monotonic() + _LIMIT
    number = signal.SIGTERM
    # Again and again, for each may have started another one between our look and its end.
    while found := _bearers(marks):
        if time.monotonic() > limit:
            return [describe(process) for process in found]
        for process in found:
            # psutil sends nothing to a process that got the number of one that is gone.
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)
                process.send_signal(signal.SIGCONT)  # a stopped process takes SIGTERM only then
        psutil.wait_procs(found, timeout=_GRACE)
        number = signal.SIGKILL
    return []


def describe(process: "psutil.Process") -> str:
    """As `process 4711 (sleep 1000)`; without its command, where the system does not tell."""
    import psutil

    command = ""
    with contextlib.suppress(psutil.Error):
        command = " ".join(process.cmdline()) or process.name()
    if len(command) > _LONGEST:
        command = f"{command[: _LONGEST - 1]}…"
    printable = "".join(char if char.isprintable() else repr(char)[1:-1] for char in command)
    return f"process {process.pid} ({printable})" if printable else f"process {process.pid}"


def listeners(ports: Collection[int]) -> dict[int, str]:
    """Who listens on each of these TCP ports, as `describe` says it; those of whom the system tells."""
    import psutil

    found: dict[int, str] = {}
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            port = connection.laddr[1] if connection.laddr else 0
            if connection.status == psutil.CONN_LISTEN and port in ports and connection.pid:
                with contextlib.suppress(psutil.NoSuchProcess):
                    found[port] = describe(psutil.Process(connection.pid))
    return found


def _marks(run_id: str, group: str, attempt: int, shared: str | Path, part: str) -> dict[str, str]:
    marks = {
        "HARNESS_SHARED": str(shared),
        "HARNESS_RUN_ID": run_id,
        "HARNESS_GROUP": group,
        "HARNESS_ATTEMPT": str(attempt),
    }
    return marks | {"HARNESS_PART": part} if part else marks


def _bearers(marks: Mapping[str, str]) -> list["psutil.Process"]:
    """All processes that bear these marks but this one, by pid. The dead that nobody waited for bear none."""
    import psutil

    found = []
    for pid in psutil.pids():  # and not process_iter, which keeps what it saw in one place for all threads
        if pid == os.getpid():
            continue
        with contextlib.suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            if marks.items() <= process.environ().items():
                found.append(process)
    return found


def _told(process: "psutil.Process") -> Iterator[str]:
    """Nothing, if it ends meanwhile."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        named = describe(process)
        age = max(0.0, time.time() - process.create_time())
        where = ", in a session of its own" if os.getsid(process.pid) == process.pid else ""
        yield f"{named}{where}, started {age:.0f} s before"
        connections = process.net_connections("tcp")
        for port in sorted({it.laddr[1] for it in connections if it.status == psutil.CONN_LISTEN}):
            yield f"port {port} is listened on by {named}"
