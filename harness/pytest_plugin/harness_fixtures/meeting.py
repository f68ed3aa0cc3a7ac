"""Where the processes of a run meet: tests that may not run side by side, and who runs now.

    with around_test(item.nodeid, {"serial"}):       # the whole of setup, call and teardown
        …
    others()                                         # [("search", "gw1", "test_a.py::test_b", 1.5, False, ())]

They meet in a directory: HARNESS_SHARED, which the harness makes for each run; else, in the workers of pytest-xdist,
one in the system's temporary directory, which the controller chooses (`temporary_directory`), hands to its workers
(`hand_over`) and removes (`remove`). Elsewhere all of this does nothing.

A test takes what it needs in this order, whatever its markers, and lets go of all of it when it is over:

1. `heavy_resource`: one of HARNESS_HEAVY places (`heavy/`).
2. `redis_isolated`: the lock `redis`, unless its environment has a Redis of its own.
3. `serial`: the lock `queue`, so that only one serial test at a time does what follows.
4. The lock `alone`: for itself if it is `serial`, else shared with the others. All come to it through the turnstile
   `gate`, one at a time, so that tests which run side by side cannot keep a serial one waiting for ever.

Of these locks alone no deadlock comes: a process waits only for what comes later in this order than all it holds, and
`alone` is the last. But a running test may wait for a lock of the users' own, which a fixture of a module or a session
holds until the next tests of its process have run. So a serial test keeps the gate closed for PATIENCE seconds, lets
the others through for BREATH, and tries again with a little more patience: it waits longer, and nobody for ever. What
cannot be resolved is a serial test that itself stands between: one that needs such a lock, or whose process holds one.

A killed process holds nothing, nor do its forked children (locks.py).

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
from collections.abc import Callable, Generator, Iterable, Set
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from .locks import POLL, Lock, take_place

SERIAL, REDIS, HEAVY = "serial", "redis_isolated", "heavy_resource"
MARKERS = frozenset({SERIAL, REDIS, HEAVY})
PATIENCE = 5.0
"""Seconds for which a serial test that waits keeps others from beginning; half as much again with each try."""
BREATH = 0.5
"""Seconds for which it then lets them begin."""
WITHIN = "HARNESS_WITHIN"
"""The directories that a process and those which it starts do not enter, because it is already inside."""

_LONGEST = 500  # characters of a test's id


class MeetingError(Exception):
    """What a marker promises cannot be kept. The message says which, why and what to do."""


class Other(NamedTuple):
    """What another process is doing. `test` is empty for a group that is no pytest; `markers` are those of MARKERS."""

    group: str
    worker: str
    test: str
    seconds: float
    waits: bool
    """It has not begun, because it may not run beside another test."""
    markers: tuple[str, ...]

    @property
    def name(self) -> str:
        return " · ".join(filter(None, (self.group, self.worker.replace("master", ""), self.test)))


class Waited(KeyboardInterrupt):
    """A test was interrupted before it could begin. The message says how long it waited, and for whom."""


@contextmanager
def around_test(nodeid: str, markers: Set[str]) -> Generator[None, None, None]:
    """To be held around all that belongs to a test, its fixtures included. Waits for as long as it may not run.

    Markers other than MARKERS mean nothing here. Inside another test of this process it does nothing. Raises
    MeetingError where the directory cannot be used and the test has such a marker; without one the test just runs, with
    a warning. A KeyboardInterrupt while it waits becomes Waited.
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
        row = _Row(Path(directory))
        held.callback(row.close)
        row.write(group, "", "", waits=True)
        gate, alone = (held.enter_context(closing(Lock(Path(directory, name)))) for name in ("gate", "alone"))
        for lock in (gate, alone):
            while not lock.try_take(shared=lock is alone):
                if stop():
                    held.close()
                    yield False
                    return
                time.sleep(POLL * 4)
        gate.let_go()
        row.write(group, "", "")
        yield True


def temporary_directory(testrun: str) -> Path:
    """Where the workers of a pytest-xdist without the harness are to meet, by the id of its run. Makes nothing."""
    return Path(tempfile.gettempdir(), f"harness-meeting-{hashlib.sha256(testrun.encode()).hexdigest()[:32]}")


def hand_over(directory: Path) -> None:
    """For a worker of pytest-xdist: without the harness, it meets the others there. Makes nothing."""
    global _handed_over
    _handed_over = directory


def remove(directory: Path) -> None:
    """For the controller of a pytest-xdist without the harness, when its workers have ended."""
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
        running.mkdir(mode=0o700, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=str(running))
        os.close(handle)
        self.path = Path(name)
        self._lock = Lock(self.path)
        self._lock.take()

    def write(self, group: str, worker: str, test: str, *, waits: bool = False, markers: Iterable[str] = ()) -> None:
        if not self._lock.is_open():
            self._lock.reopen()
            self._lock.take()
        line = json.dumps([group, worker, test[:_LONGEST], time.monotonic(), waits, sorted(markers)]) + "\n"
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
            group, worker, test, since, waits, markers = json.loads(line)
            yield Other(group, worker, test, now - since, waits, tuple(markers))


class _Meeting:
    """This process's part in it. Files stay open from test to test, so that a test costs a few system calls."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.row = _Row(directory)
        self._process = os.getpid()
        self._locks = {name: Lock(directory / name) for name in ("gate", "alone", "queue", "redis")}
        self._group = os.environ.get("HARNESS_GROUP", "")
        self._worker = os.environ.get("PYTEST_XDIST_WORKER", "master")
        self._place: Lock | None = None
        self._step = ""
        self._depth = 0

    def enter(self, nodeid: str, markers: Set[str]) -> None:
        if os.getpid() != self._process:
            return
        self._depth += 1
        if self._depth > 1:
            return
        began = time.monotonic()
        try:
            self.row.write(self._group, self._worker, nodeid, waits=True, markers=markers & MARKERS)
            self._take_all(markers)
            self.row.write(self._group, self._worker, nodeid, markers=markers & MARKERS)
        except KeyboardInterrupt:
            message = f"{nodeid} waited {time.monotonic() - began:.0f} s for {self._awaited(markers)}"
            self.leave()
            raise Waited(message) from None
        except BaseException:  # the others must not wait for what is torn down
            self.leave()
            raise

    def _take_all(self, markers: Set[str]) -> None:
        self._step = HEAVY
        if HEAVY in markers:
            self._place = _take_heavy(self.directory / "heavy")
        self._step = REDIS
        if REDIS in markers and not _has_redis():
            self._take("redis")
        self._step = SERIAL
        if SERIAL in markers:
            self._take_alone()
        else:
            self._take("gate")
            self._take("alone", shared=True)
            self._locks["gate"].let_go()

    def _take_alone(self) -> None:
        self._take("queue")
        gate, alone = self._locks["gate"], self._locks["alone"]
        alone.reopen()
        patience = PATIENCE
        while True:
            self._take("gate")
            until = time.monotonic() + patience
            while not (taken := alone.try_take()) and time.monotonic() < until:
                time.sleep(POLL)
            gate.let_go()
            if taken:
                return
            time.sleep(BREATH)
            patience *= 1.5

    def _awaited(self, markers: Set[str]) -> str:
        """Whom a test with these markers waits for at this step."""
        for_all = self._step == SERIAL and SERIAL in markers
        found = [other for other in _running(self.directory, self.row.path) if for_all or self._step in other.markers]
        names = [other.name for other in found if not other.waits]
        if not names:  # then it waits behind others that wait
            names = [f"{other.name}, which waits too" for other in found]
        return ("" if for_all else f"{self._step} ") + (", ".join(sorted(names)) or "a test that is over by now")

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
    directory.mkdir(mode=0o700, exist_ok=True)
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
_handed_over: Path | None = None


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
    directory = _handed_over
    if directory is None or str(directory) in within:
        return None
    directory.mkdir(mode=0o700, exist_ok=True)
    if not _is_ours(directory):
        raise OSError(f"{directory} belongs to somebody else")
    return directory
