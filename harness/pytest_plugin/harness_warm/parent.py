"""The parent: it takes requests, one at a time, and forks a child for each.

A child is born through a process between, which ends at once: so it becomes the child of the harness, which is a
subreaper, and which ends and reaps it as it does any other. Its pid is told only when that is so.
"""

from __future__ import annotations

import array
import gc
import json
import os
import signal
import socket
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from . import child, preload
from .watching import Watch, is_foreign, shared, where


class Parent:
    """Of one set of command line words. `is_child` in what it has forked; `wanted` are then the paths of its tests."""

    def __init__(
        self, control: socket.socket, watch: Watch, skipped: list[str], words: list[str], environment: dict[str, str]
    ) -> None:
        """`environment`: with which to begin again."""
        self.is_child = False
        self.reason = ""  # why nothing is forked
        self.wanted: set[Path] | None = None
        self._control = control
        self.watch = watch
        self._skipped = skipped
        self._words = words
        self._environment = environment
        self._postponed: list[Any] = []  # pytest_sessionstart of the project
        self._said_before = 0

    def refuse(self) -> None:
        """There will be no children, and all that was loaded has ended. Does not return."""
        if not self.reason:
            last = _printed().decode(errors="replace").strip().rpartition("\n")[2]
            self.reason = f"pytest did not come to its tests: {last[:200]}"
        self._send({"cold": self.reason})
        os._exit(0)

    def postpone(self, config: pytest.Config) -> None:
        """What the project does when a session starts is done in each child, whose session it is."""
        hook: Any = config.hook.pytest_sessionstart
        for each in reversed(hook.get_hookimpls()):  # in the order in which they are called
            code = getattr(each.function, "__code__", None)
            if code and not is_foreign(code.co_filename):
                if each.wrapper or each.hookwrapper:
                    self.watch.own = (
                        f"{where(code.co_filename, code.co_firstlineno)} is a wrapper of pytest_sessionstart"
                    )
                else:
                    self._postponed.append(each)
                    hook._remove_plugin(each.plugin)

    def begin_session(self) -> None:
        """The session starts: what was printed until now comes before what the project does then."""
        self._said_before = len(_printed())

    def serve(self, session: Any) -> None:
        """Returns in every child, and never in the parent."""
        tests = self._receive()[0]["tests"]
        self.watch.loaded()
        reason = self.watch.own or self._shared() or _own_start(session.config)
        if reason:
            self.reason = reason
            pytest.exit(reason)  # so that what was begun is ended: the next pytest begins it too
        self._load_ahead(tests)
        birth = child.Birth(session, self.watch)
        said = _printed()
        gc.collect()
        gc.freeze()  # or the collector of each child would copy all that is here
        self._send({})
        while True:
            request, descriptors = self._receive()
            reason, ahead = self.watch.against(request["env"])
            if ahead:
                self._begin_again(ahead)
            pid = 0 if reason else self._fork()
            if self.is_child:
                self._control.close()
                waits = descriptors.pop(1)
                if not os.read(waits, 1):  # nobody attends us
                    os._exit(0)
                os.close(waits)
                self.watch.end()
                self.wanted = birth.become(request, descriptors)
                child.write(said[: self._said_before])
                for each in self._postponed:
                    each.function(*(session for _ in each.argnames))
                    sys.stdout.flush()
                child.write(said[self._said_before :])
                return
            for descriptor in descriptors:
                os.close(descriptor)
            self._send({"pid": pid} if pid else {"cold": reason or "there can be no more processes"})

    def _shared(self) -> str:
        return shared({0, 1, 2, self._control.fileno(), *child.copies_of(1)})

    def _load_ahead(self, tests: list[str]) -> None:
        """Imports what the tests are going to. What leaves a trace is left to them: all begins again without it; so
        is what reads a variable that one of them sets first."""
        names, variables = preload.look(tests)
        for name in names:
            if name in sys.modules or any(f"{name}.".startswith(f"{skipped}.") for skipped in self._skipped):
                continue
            self.watch.ahead = name
            before = _trace()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                is_clean = preload.load(name)
            is_clean = is_clean and not self.watch.has_read_ahead(variables)
            if not is_clean or caught or self._shared() or _trace() != before:
                self._begin_again(name)

    def _begin_again(self, skipped: str) -> None:
        self._send({"again": True})
        os.ftruncate(1, 0)
        os.lseek(1, 0, os.SEEK_SET)
        words = [sys.executable, "-m", "harness_warm", str(self._control.fileno())]
        os.execve(sys.executable, [*words, ",".join([*self._skipped, skipped]), *self._words], self._environment)

    def _fork(self) -> int:
        """The pid of a new child, which leads a session of its own. 0 in the child, and where there can be none."""
        reading, writing = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the threads of a library, see watching.py
            between = _try_fork()
            if between == 0:
                child_pid = _try_fork()
                if child_pid:
                    os._exit(0)
        if between == 0:
            self.is_child = True
            os.setsid()
            os.write(writing, str(os.getpid()).encode())
        os.close(writing)
        told = b""
        if between > 0:
            os.waitpid(between, 0)
            told = os.read(reading, 32)
        os.close(reading)
        return int(told or 0)

    # --- messages

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps(message).encode()
        try:
            self._control.sendall(len(body).to_bytes(8, "big") + body)
        except OSError:  # the harness is gone
            os._exit(0)

    def _receive(self) -> tuple[dict[str, Any], list[int]]:
        """The next message and its descriptors. Does not return when the harness is gone."""
        head, descriptors = _receive_some(self._control, 8)
        body, _ = _receive_some(self._control, int.from_bytes(head, "big"))
        return json.loads(body), descriptors


def _own_start(config: pytest.Config) -> str:
    """Why a child cannot go on as a session of its own from here; empty: it can."""
    asked = len(config.args)
    if tuple(config.invocation_params.args[-asked:]) != tuple(config.args):
        return "the settings name tests themselves"
    if getattr(config.pluginmanager.get_plugin("_cov"), "cov_controller", None):
        return "pytest-cov forgets what was measured before when a session starts"
    return ""


def _printed() -> bytes:
    """All that this process has printed."""
    sys.stdout.flush()
    sys.stderr.flush()
    return os.pread(1, os.fstat(1).st_size, 0)


def _trace() -> object:
    """What a module may change of its process when it is imported."""
    handlers = [signal.getsignal(number) for number in range(1, signal.NSIG)]
    return len(_printed()), handlers, dict(os.environ), list(sys.path), Path.cwd()


def _try_fork() -> int:
    """As os.fork; -1 where there can be no more processes."""
    try:
        return os.fork()
    except OSError:
        return -1


def _receive_some(control: socket.socket, most: int) -> tuple[bytes, list[int]]:
    """Exactly so many bytes, and the descriptors that came with them. Ends the process when the harness is gone."""
    data = b""
    descriptors = array.array("i")
    while len(data) < most:
        try:
            room = socket.CMSG_SPACE(3 * descriptors.itemsize)
            some, ancillary, _, _ = control.recvmsg(most - len(data), room, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            some, ancillary = b"", []
        if not some:
            os._exit(0)
        for _, _, packed in ancillary:
            descriptors.frombytes(packed)
        data += some
    return data, list(descriptors)


here: Parent | None = None
"""That of this process; None: it is no warm parent, and came of none."""
