"""Processes that bear marks: whatever a run, or one of its attempts, has started, wherever it hides.

A process that leads a session of its own (`setsid`, a daemon) survives the SIGKILL to its attempt's process group. It
inherits its environment all the same, and in it the directory of the run, the names of group and part, and the number
of the attempt. Found are those whose environment we may read: those of the same user, or all for root. What cleared its
environment escapes. This process itself is never found.
"""

import contextlib
import os
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

GRACE = 1.0  # seconds between SIGTERM and SIGKILL
_MOMENT = 0.2  # seconds that what was killed takes to disappear
_LOOK_AGAIN = 0.02  # seconds
_SURE = 4  # looks in a row that see nobody
_LIMIT = 5.0  # seconds after the last SIGKILL was due, then what does not end is let be
_LONGEST = 60  # characters of a command line that are shown

Marks = Mapping[str, str]
UNIQUE_MARKS = ("HARNESS_RUN_DIR", "HARNESS_SHARED")  # no two runs of a machine have the same
ATTEMPT_MARKS = (*UNIQUE_MARKS, "HARNESS_GROUP", "HARNESS_PART", "HARNESS_ATTEMPT")


def attempt_marks(env: Mapping[str, str]) -> dict[str, str]:
    """Those of the attempt to which this environment was given."""
    return {name: env[name] for name in ATTEMPT_MARKS if name in env}


def leftovers(marks: Marks) -> list[str]:
    """What bears these marks, and the ports on which that listens, one line each, for people.

    To be called when an attempt has ended and its process group was killed: its members may not be gone yet.
    """
    looks = _Looks(marks, {})
    limit = time.monotonic() + _MOMENT
    while (found := list(looks.look())) and time.monotonic() < limit:
        time.sleep(_LOOK_AGAIN)
    return [line for process in reversed(found) for line in _told(process)]


def end(marks: Marks, sessions: Mapping[int, float] | None = None) -> list[str]:
    """Ends all that bears the marks, and all members of `sessions` (leader -> grace in seconds), marks or not.

    SIGTERM, to the leader alone where a session has one; SIGKILL after the session's grace, or one second. Returns what
    is there five seconds later. Nobody may reap a leader meanwhile: its number would be free for others.
    """
    import psutil

    graces = dict(sessions or {})
    looks = _Looks(marks, graces)
    began = time.monotonic()
    limit = began + max((*graces.values(), GRACE)) + _LIMIT
    asked: set[int] = set()
    while True:
        found = []
        for process in looks.look():
            found.append(process)
            # psutil sends nothing to a process that got the number of one that is gone.
            with contextlib.suppress(psutil.Error, OSError):
                session = os.getsid(process.pid)
                if time.monotonic() - began >= graces.get(session, GRACE):
                    process.kill()
                elif process.pid not in asked and (process.pid == session or not psutil.pid_exists(session)):
                    asked.add(process.pid)
                    process.terminate()
                process.resume()  # a stopped process takes SIGTERM only then
        if not found or time.monotonic() > limit:
            return [describe(process) for process in found]
        psutil.wait_procs(found, timeout=_LOOK_AGAIN)


def kill_working_in(directory: Path, name: str) -> None:
    """SIGKILL to the programs called `name` that work in this directory or below; returns when they are gone, at the
    latest after five seconds."""
    import psutil

    found = []
    for pid in psutil.pids():
        with contextlib.suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            if process.name() == name and Path(process.cwd()).is_relative_to(directory):
                process.kill()
                found.append(process)
    psutil.wait_procs(found, timeout=_LIMIT)


def bearers(marks: Marks, sessions: Collection[int]) -> list["psutil.Process"]:
    """All that bear the marks or belong to the sessions, the oldest first: parents before their children."""
    import psutil

    found = []
    for process in _Looks(marks, sessions).look():
        with contextlib.suppress(psutil.Error):
            found.append((process.create_time(), process.pid, process))
    return [process for _, _, process in sorted(found, key=lambda each: each[:2])]


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


class _Looks:
    """Looks for the same processes, again and again: each may have started another one since we saw it.

    Whatever starts the next one and ends is gone soon, so each is told of as soon as it is seen, the newest first.
    """

    _FRESH = 0.2  # seconds for which a stranger stays one: a process becomes another by exec

    def __init__(self, marks: Marks, sessions: Collection[int]) -> None:
        """Raises ValueError for marks that tell of no run: every process of the machine would bear them."""
        if not any(marks.get(name) for name in UNIQUE_MARKS):
            raise ValueError(f"these marks are no run's: {dict(marks)}")
        self._marks = marks.items()
        self._sessions = sessions
        self._strangers = {os.getpid()}
        self._since = time.monotonic()

    def look(self) -> Iterator["psutil.Process"]:
        """All that bear the marks or belong to the sessions, but for the dead that nobody has waited for.

        That there is nobody is believed only after several looks: the later ones take no time, since all are strangers
        by then but the new.
        """
        for _ in range(_SURE):
            nobody = True
            for process in self._look_once():
                nobody = False
                yield process
            if not nobody:
                return

    def _look_once(self) -> Iterator["psutil.Process"]:
        import psutil

        if time.monotonic() - self._since > self._FRESH:
            self._strangers, self._since = {os.getpid()}, time.monotonic()
        for pid in reversed(
            psutil.pids()
        ):  # and not process_iter, which keeps what it saw in one place for all threads
            if pid not in self._strangers:
                with contextlib.suppress(psutil.Error, OSError):
                    process = psutil.Process(pid)
                    if self._is_meant(process):
                        yield process
                        continue
                self._strangers.add(pid)

    def _is_meant(self, process: "psutil.Process") -> bool:
        import psutil

        if self._sessions and os.getsid(process.pid) in self._sessions:
            return bool(process.status() != psutil.STATUS_ZOMBIE)
        return self._marks <= process.environ().items()


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
