"""Where the processes of a run meet: tests that may not run side by side, and who runs now.

    with around_test(item.nodeid, {"serial"}):       # the whole of setup, call and teardown
        …
    others()                                         # [("search", "gw1", "test_a.py::test_b", 1.5)]

They meet in a directory: HARNESS_SHARED, which the harness makes for each run; else, in the workers of pytest-xdist,
one in the system's temporary directory, which the controller removes (`remove`). Elsewhere all of this does nothing.

A test takes what it needs in this order, whatever its markers, and lets go of all of it when it is over:

1. `heavy_resource`: one of HARNESS_HEAVY places (`heavy/`).
2. `redis_isolated`: the lock `redis`, unless its environment has a Redis of its own.
3. The lock `alone`: for itself if it is `serial`, else shared with the others. All come to it through the turnstile
   `gate`, one at a time, so that tests which run side by side cannot keep a serial one waiting for ever.

No deadlock is possible: a process waits only for what comes later in this order than all it holds, and whoever holds
the last waits for nothing. As `alone` is the last, no test holds it that waits for the others. A killed process holds
nothing.

Whoever is inside says so in HARNESS_WITHIN, so that a pytest which a test starts does not wait for that test.

Runs under the users' interpreter: the standard library only, Python 3.8 or later. The harness uses `hold_shared`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
import time
import warnings
from collections.abc import Callable, Generator, Set
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from .locks import POLL, Lock, take_place

MARKERS = frozenset({"serial", "redis_isolated", "heavy_resource"})
WITHIN = "HARNESS_WITHIN"
"""The directories that a process and those which it starts do not enter, because it is already inside."""

_LONGEST = 500  # characters of a test's id


class MeetingError(Exception):
    """What a marker promises cannot be kept. The message says which, why and what to do."""


class Other(NamedTuple):
    """What another process is doing. `test` is empty for a group that is no pytest."""

    group: str
    worker: str
    test: str
    seconds: float


@contextmanager
def around_test(nodeid: str, markers: Set[str]) -> Generator[None, None, None]:
    """To be held around all that belongs to a test, its fixtures included. Waits for as long as it may not run.

    Markers other than MARKERS mean nothing here. Inside another test of this process it does nothing. Raises
    MeetingError where the directory cannot be used and the test has such a marker; without one the test just runs, with
    a warning.
    """
    meeting = None
    try:
        meeting = _joined()
        if meeting:
            meeting.enter(nodeid, markers)
    except (OSError, NotImplementedError) as error:
        _complain(error, markers & MARKERS)
        meeting = None
    try:
        yield
    finally:
        if meeting:
            meeting.leave()


def _complain(error: Exception, markers: Set[str]) -> None:
    said = f"the tests of this run cannot see one another: {error}"
    if markers:
        raise MeetingError(f"{said}; so {', '.join(sorted(markers))} cannot be kept") from error
    warnings.warn(said, stacklevel=4)


def others() -> list[Other]:
    """What the other living processes of the run are doing now, by group and worker. Raises OSError."""
    # Without joining: the controller of pytest-xdist asks, and runs no test.
    directory = _meeting.directory if _meeting else _find()
    return sorted(_running(directory, _meeting.row.path if _meeting else None)) if directory else []


@contextmanager
def hold_shared(directory: Path, stop: Callable[[], bool], group: str = "") -> Generator[bool, None, None]:
    """For the harness: while a group runs that is no pytest, no `serial` test does, and `others` tells of the group.

    Waits until no serial test runs; or until `stop`, and then gives False and holds nothing. Raises OSError. What the
    group starts must have `directory` in WITHIN, or a serial test in it would wait for the group that it is in.
    """
    with ExitStack() as held:
        gate, alone = (held.enter_context(closing(Lock(Path(directory, name)))) for name in ("gate", "alone"))
        for lock in (gate, alone):
            while not lock.try_take(shared=lock is alone):
                if stop():
                    held.close()
                    yield False
                    return
                time.sleep(POLL * 4)
        gate.let_go()
        row = _Row(Path(directory))
        held.callback(row.close)
        row.write(group, "", "")
        yield True


def temporary_directory(testrun: str) -> Path:
    """Where the workers of a pytest-xdist without the harness meet, by PYTEST_XDIST_TESTRUNUID. Makes nothing."""
    return Path(tempfile.gettempdir(), f"harness-meeting-{hashlib.sha256(testrun.encode()).hexdigest()[:32]}")


def remove(testrun: str) -> None:
    """For the controller of a pytest-xdist without the harness, when its workers have ended."""
    directory = temporary_directory(testrun)
    with suppress(OSError):
        if _is_ours(directory):
            shutil.rmtree(str(directory), ignore_errors=True)


def _is_ours(directory: Path) -> bool:
    """Anybody may have made it, in a directory that all users share."""
    status = os.lstat(str(directory))
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


class _Row:
    """A file in `running/` that says what this process does; locked for as long as it lives."""

    def __init__(self, directory: Path) -> None:
        running = directory / "running"
        running.mkdir(exist_ok=True)
        handle, name = tempfile.mkstemp(dir=str(running))
        os.close(handle)
        self.path = Path(name)
        self._lock = Lock(self.path)
        self._lock.take()

    def write(self, group: str, worker: str, test: str) -> None:
        if not self._lock.is_open():
            self._lock.reopen()
            self._lock.take()
        line = json.dumps([group, worker, test[:_LONGEST], time.monotonic()]) + "\n"
        os.pwrite(self._lock.descriptor, line.encode(), 0)

    def clear(self) -> None:
        """Between two tests: the first line is empty."""
        if self._lock.is_open():
            os.pwrite(self._lock.descriptor, b"\n", 0)

    def close(self) -> None:
        self._lock.close()
        self.path.unlink()


def _running(directory: Path, own: Path | None) -> Generator[Other, None, None]:
    now = time.monotonic()
    for path in (directory / "running").glob("*"):
        if path == own:
            continue
        with suppress(OSError, ValueError):  # gone meanwhile; or between two tests; or read while it was written
            with closing(Lock(path)) as lock:
                is_dead = lock.try_take(shared=True)
                line = b"" if is_dead else os.pread(lock.descriptor, 16 * _LONGEST, 0).partition(b"\n")[0]
            group, worker, test, since = json.loads(line)
            yield Other(group, worker, test, now - since)


class _Meeting:
    """This process's part in it. Files stay open from test to test, so that a test costs a few system calls."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.row = _Row(directory)
        self._process = os.getpid()
        self._locks = {name: Lock(directory / name) for name in ("gate", "alone", "redis")}
        self._group = os.environ.get("HARNESS_GROUP", "")
        self._worker = os.environ.get("PYTEST_XDIST_WORKER", "master")
        self._place: Lock | None = None
        self._depth = 0

    def enter(self, nodeid: str, markers: Set[str]) -> None:
        if os.getpid() != self._process:
            return
        self._depth += 1
        if self._depth > 1:
            return
        try:
            self._take_all(markers)
            self.row.write(self._group, self._worker, nodeid)
        except BaseException:  # also an interrupt while it waited: the others must not wait for what is torn down
            self.leave()
            raise

    def _take_all(self, markers: Set[str]) -> None:
        if "heavy_resource" in markers:
            self._place = _take_heavy(self.directory / "heavy")
        if "redis_isolated" in markers and not _has_redis():
            self._take("redis")
        self._take("gate")
        self._take("alone", shared="serial" not in markers)
        self._locks["gate"].let_go()

    def leave(self) -> None:
        if os.getpid() != self._process:
            return
        self._depth -= 1
        if self._depth:
            return
        try:
            self.row.clear()
        finally:
            for lock in self._locks.values():
                lock.let_go()
            if self._place:
                self._place.close()
                self._place = None

    def _take(self, name: str, *, shared: bool = False) -> None:
        lock = self._locks[name]
        lock.reopen()
        lock.take(shared=shared)


def _take_heavy(directory: Path) -> Lock:
    directory.mkdir(exist_ok=True)
    count = int(os.environ.get("HARNESS_HEAVY", "1"))
    steps = take_place(directory, count, blocking=True)
    with closing(steps):
        while True:
            try:
                time.sleep(next(steps))
            except StopIteration as stop:
                place: Lock = stop.value
                return place


def _has_redis() -> bool:
    """Whether the group, or this worker, has a Redis lease of its own."""
    return any(lease["kind"] == "redis" for lease in json.loads(os.environ.get("HARNESS_LEASES") or "[]"))


_meeting: _Meeting | None = None
_asked = False


def _joined() -> _Meeting | None:
    """Joins once, and from then on says what came of it. Raises OSError, and NotImplementedError without flock."""
    global _meeting, _asked
    if not _asked:
        directory = _find()
        if directory:
            _meeting = _Meeting(directory)
            os.environ[WITHIN] = os.pathsep.join(filter(None, [os.environ.get(WITHIN), str(directory)]))
        _asked = True
    return _meeting


def _find() -> Path | None:
    """The first place to meet in which no process is that started this one. Raises OSError."""
    within = os.environ.get(WITHIN, "").split(os.pathsep)
    shared = os.environ.get("HARNESS_SHARED")
    if shared and shared not in within:
        return Path(shared)
    testrun = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    directory = temporary_directory(testrun) if testrun else None
    if directory is None or str(directory) in within:
        return None
    directory.mkdir(mode=0o700, exist_ok=True)
    if not _is_ours(directory):
        raise OSError(f"{directory} belongs to somebody else")
    return directory
