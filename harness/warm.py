"""Warm parents: pytest is loaded once, and forked for each attempt that would load the same.

Protocol: `Warm` is made once a run, with all that it may be asked for; `launch` says how one attempt is started, which
is by a fork where that is right and as a pytest of its own where it is not, and `stop` and `close` end the parents. The
other side, what it must not share and how it finds out, is harness/pytest_plugin/harness_warm, with the messages.

A parent is started when the first attempt wants it, in the directory and with the words of that attempt's pytest, and
only if more than one process can come of it. It is given the run's variables, which no group's own are among, and none
that is hidden from any group.

A fork becomes our child, because we are a subreaper: whoever ends and reaps it need not know where it came from. That
makes it Linux only; elsewhere every attempt has a pytest of its own. It waits until we have its pid: if that never
comes to be, it ends.
"""

import array
import contextlib
import json
import os
import socket
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from harness import clock
from harness.errors import SHORTAGES
from harness.process import SIDE_VARIABLE, Adoption, Launch, Leader

LOADS_WITHIN = 60.0  # seconds
_LONGEST_ANSWER = 1 << 20  # bytes
_ANSWERS_WITHIN = 30.0  # seconds: of a parent that only has to fork
_AT_LEAST = 0.001  # seconds: with none, a socket does not wait but fails
_ROOM = "x" * 16_384  # where the kernel shows a parent's variables, its children have room for theirs
_SETTINGS = (
    "pytest.toml",
    ".pytest.toml",
    "pytest.ini",
    ".pytest.ini",
    "pyproject.toml",
    "tox.ini",
    "setup.cfg",
    "setup.py",
)


class Cold(Exception):
    """Why a process is no fork; empty: that is nobody's concern."""


@dataclass(frozen=True, slots=True)
class Pytest:
    """One process of pytest as data: `PYTHON -m pytest WORDS… TESTS…`."""

    argv: tuple[str, ...]  # without the tests
    tests: tuple[str, ...]
    directory: str

    @property
    def loads(self) -> tuple[object, ...]:
        """Equal for those that load the same settings and the same conftests before they collect.

        pytest looks for them from its arguments upward: for conftests from each, for settings from their common
        directory.
        """
        places = {Path(self.directory, test.partition("::")[0]).parent for test in self.tests}
        common = os.path.commonpath(places)
        conftests = {conftest for place in places for conftest in _above(place, ("conftest.py",))}
        return self.argv, self.directory, frozenset(conftests), _above(Path(common), _SETTINGS) or common


@lru_cache(maxsize=10_000)
def _above(place: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """The files of these names in a directory and in those above it."""
    directories = (place, *place.parents)
    return tuple(path for directory in directories for name in names if (path := directory / name).is_file())


class Warm:
    """The parents of a run. Thread-safe."""

    def __init__(
        self,
        expected: Iterable[Pytest],
        *,
        adoption: Adoption,
        variables: Callable[[], Mapping[str, str]],
        warn: Callable[[str], None],
    ) -> None:
        """`expected`: every process of the run that may be a fork, which `adoption` makes ours. `variables` are those
        of a parent, asked for when it starts. `warn` is told, once for each reason, why some are none."""
        self._variables = variables
        self._warn = warn
        self._lock = threading.Lock()
        self._told: set[str] = set()
        counts: Counter[tuple[object, ...]] = Counter()
        tests: dict[tuple[object, ...], list[str]] = {}
        for each in expected if sys.platform == "linux" else ():
            counts[each.loads] += 1
            tests.setdefault(each.loads, []).extend(each.tests)
        self._parents = {
            loads: _Parent(tuple(dict.fromkeys(tests[loads])), adoption) for loads, count in counts.items() if count > 1
        }

    def launch(self, pytest: Pytest, group: str, note: Callable[[str], None]) -> Launch:
        """How to start this process. `note` is told why it is no fork, where it could have been one."""

        def start(
            argv: Sequence[str],
            *,
            env: Mapping[str, str],
            directory: str | Path,
            output: int,
            inherited: Sequence[int],
            grace: float,
        ) -> Leader:
            if parent := self._parents.get(pytest.loads):
                try:
                    return parent.fork(pytest, self._variables, env, output, inherited, grace)
                except Cold as cold:
                    if reason := str(cold):
                        note(reason)
                        self._tell(group, reason)
            return Leader.start(argv, env=env, directory=directory, output=output, inherited=inherited, grace=grace)

        return start

    def stop(self) -> None:
        """Whoever waits for a parent waits no longer. From any thread."""
        for parent in self._parents.values():
            parent.stop()

    def close(self) -> None:
        """End the parents. Their children are not theirs any more."""
        self.stop()
        for parent in self._parents.values():
            parent.close()

    def _tell(self, group: str, reason: str) -> None:
        with self._lock:
            if reason in self._told:
                return
            self._told.add(reason)
        self._warn(
            f"{group} has a pytest of its own, as may others: {reason}. "
            "If that is as it should be, say `warm = false` in [run] or at the group"
        )


class _Parent:
    """One parent, started when it is first wanted."""

    def __init__(self, tests: tuple[str, ...], adoption: Adoption) -> None:
        """`tests`: all that it may be asked for."""
        self._tests = tests
        self._adoption = adoption
        self._asking = threading.Lock()
        self._ending = threading.Lock()
        self._control: socket.socket | None = None
        self._leader: Leader | None = None
        self._is_stopped = False
        self._cold = ""  # why it will never fork anything

    def fork(
        self,
        pytest: Pytest,
        variables: Callable[[], Mapping[str, str]],
        env: Mapping[str, str],
        output: int,
        inherited: Sequence[int],
        grace: float,
    ) -> Leader:
        """A child that is ours and leads a session of its own.

        Raises Cold where there can be none, OSError where there is not enough of what we need ourselves.
        """
        with self._asking:
            if self._cold or self._is_stopped:
                raise Cold("" if self._is_stopped else self._cold)
            request = {"tests": pytest.tests, "env": {name: env[name] for name in env if name != SIDE_VARIABLE}}
            answer: dict[str, object] = {}

            def born() -> int | None:
                nonlocal answer
                answer = self._ask(request, (output, waits, *inherited))
                return None if answer.keys() & {"cold", "again"} else _child(answer.get("pid"))

            try:
                if not self._leader:
                    self._start(pytest, variables())
                waits, goes = os.pipe()
                try:
                    while not (leader := Leader.adopt(born, grace)) and "again" in answer:
                        self._introduce()
                    if leader:
                        os.write(goes, b"!")
                        return leader
                finally:
                    os.close(waits)
                    os.close(goes)
            except (OSError, ValueError, Cold) as error:
                self._end()
                if isinstance(error, OSError) and error.errno in SHORTAGES:
                    raise  # that is nothing of the parent's, and the next attempt may have more luck
                gone = "the process in which pytest is loaded has ended, or does not answer"
                self._cold = str(error) if isinstance(error, Cold) else gone
                raise Cold("" if self._is_stopped else self._cold) from error
            raise Cold(str(answer["cold"]))

    def stop(self) -> None:
        with self._ending:
            self._is_stopped = True
            if self._control:
                with contextlib.suppress(OSError):
                    self._control.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with self._asking:
            self._cold = self._cold or "the run is over"
            self._end()

    def _start(self, pytest: Pytest, variables: Mapping[str, str]) -> None:
        if not self._adoption.is_on:
            raise Cold("this system lets nobody adopt the processes that its children leave behind")
        ours, theirs = socket.socketpair()
        with self._ending:
            self._control = ours
            if self._is_stopped:
                theirs.close()
                raise Cold
        python, _, _, *words = pytest.argv
        start = [python, "-m", "harness_warm", str(theirs.fileno()), "", "-p", "harness_warm.hooks"]
        # What it prints until it forks, each child says again.
        with theirs, tempfile.TemporaryFile() as said:
            self._leader = Leader.start(
                [*start, *words, *pytest.tests],
                env={**variables, "HARNESS_ROOM": _ROOM},
                directory=pytest.directory,
                output=said.fileno(),
                inherited=(theirs.fileno(),),
            )
        self._introduce()

    def _end(self) -> None:
        """Ends the parent, if there is one, and what it has started itself; its children are not its own any more."""
        with self._ending:
            if self._control:
                self._control.close()
            self._control = None
        if self._leader:
            self._leader.reap()
        self._leader = None

    def _introduce(self) -> None:
        answer: dict[str, object] = {"again": True}
        while answer.get("again"):
            self._send({"tests": self._tests}, ())
            answer = self._receive(LOADS_WITHIN)
        if "cold" in answer:
            raise Cold(str(answer["cold"]))

    def _ask(self, request: Mapping[str, object], descriptors: Sequence[int]) -> dict[str, object]:
        self._send(request, descriptors)
        return self._receive(_ANSWERS_WITHIN)

    def _send(self, message: Mapping[str, object], descriptors: Sequence[int]) -> None:
        assert self._control
        self._control.settimeout(_ANSWERS_WITHIN)
        body = json.dumps(message).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        self._control.sendmsg([len(body).to_bytes(8, "big")], rights)
        self._control.sendall(body)

    def _receive(self, within: float) -> dict[str, object]:
        limit = clock.now() + within
        size = int.from_bytes(self._exactly(8, limit), "big")
        if size <= _LONGEST_ANSWER:
            with contextlib.suppress(RecursionError):
                answer = json.loads(self._exactly(size, limit))
                if isinstance(answer, dict):
                    return answer
        raise ValueError("no answer")

    def _exactly(self, count: int, limit: float) -> bytes:
        assert self._control
        data = b""
        while len(data) < count:
            self._control.settimeout(max(limit - clock.now(), _AT_LEAST))
            try:
                some = self._control.recv(count - len(data))
            except TimeoutError:
                if clock.now() >= limit:
                    raise
                continue  # the run was paused, and so was the parent
            if not some:
                raise OSError("it has ended")
            data += some
        return data


def _child(pid: object) -> int:
    """The pid that an answer names, if it is one that we may signal. Raises ValueError or OSError for any other."""
    if not isinstance(pid, int) or not 1 < pid < 1 << 31:
        raise ValueError("no pid")
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # ChildProcessError: it is none of ours
    return pid
