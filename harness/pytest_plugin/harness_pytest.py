"""Tells the harness of each test, from inside the users' pytest. Loaded with `-p harness_pytest`.

The harness puts the number of an open pipe into HARNESS_TEST_EVENTS_FD; into it goes one JSON object a line, as
described in harness/teststream.py: `begin`, then for each test one `start` and one `finish`, then `end`. Setup, call
and teardown are one test. A file that cannot be collected, or is skipped whole, is one `finish` without a `start`.

It runs in an interpreter that is not the harness's: nothing but the standard library and pytest (7 or later, Python 3.8
or later), and milliseconds to load. It must not change what pytest does or prints, and does nothing where there is no
pipe: the workers of pytest-xdist (their controller reports for them), pytest started by a test, forked children.

One thing it adds: SIGTERM ends pytest as Ctrl-C does, so that fixtures are torn down when the harness stops a group. A
handler that the users installed themselves stays.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_MOST_DETAILS = 64 * 1024  # characters
_RANKS = {"skipped": 0, "passed": 1, "xfailed": 1, "xpassed": 1, "error": 2, "failed": 3}


class _Pipe:
    """The harness's end of it. Falls silent when it is closed, and in every process but the one that opened it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._process = os.getpid()
        os.set_inheritable(descriptor, False)
        self._identity = self._identify()

    def _identify(self) -> tuple[int, int]:
        status = os.fstat(self._descriptor)
        return status.st_dev, status.st_ino

    def send(self, event: str, **fields: object) -> None:
        if os.getpid() != self._process:
            return
        # The empty line first: a line that a signal tore then spoils nothing but itself.
        line = "\n" + json.dumps({"event": event, **fields}) + "\n"
        rest = line.encode()
        try:
            # A test may have closed every descriptor, and the number may be a file of its own by now.
            while rest and self._identify() == self._identity:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            self._process = 0


def _usage() -> tuple[float, int]:
    """CPU seconds of this process and its ended children so far, and its peak memory in bytes."""
    if not resource:
        return time.process_time(), 0
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime, _peak_memory()


def _peak_memory() -> int:
    try:
        # Linux's ru_maxrss begins with the peak of whoever started the process.
        status = Path("/proc/self/status").read_bytes().splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith(b"VmHWM:")) * 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class _Test:
    """What is known so far of one test. `elsewhere`: it runs in another process, which is not measured."""

    def __init__(self, elsewhere: bool = False) -> None:
        self.before = None if elsewhere else _usage()
        self.status = ""
        self.duration = 0.0
        self.message = ""
        self.details = ""

    def add(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        self.duration += getattr(report, "duration", 0.0)
        status = _status(report)
        # The worst counts, except that a test which goes on after a skipped subtest was not skipped.
        if status and (not self.status or _RANKS[status] > _RANKS[self.status]):
            self.status = status
            self.message = _message(report)
            self.details = _details(report) if status in ("failed", "error") else ""

    def used(self) -> dict[str, float]:
        if not self.before:
            return {}
        (cpu_before, peak_before), (cpu, peak) = self.before, _usage()
        # The kernel's figure is an estimate, and was seen to fall.
        return {"cpu_seconds": round(cpu - cpu_before, 6), "memory_growth": max(peak - peak_before, 0)}


def _status(report: pytest.TestReport | pytest.CollectReport) -> str:
    """What a report says of its whole test; empty: nothing."""
    expected = hasattr(report, "wasxfail")
    if report.outcome == "failed":
        # "???" is pytest-xdist's: a worker crashed during the test.
        return "failed" if report.when in ("call", "???") else "error"
    if report.outcome == "skipped":
        return "xfailed" if expected else "skipped"
    if report.outcome == "passed" and report.when == "call":
        return "xpassed" if expected else "passed"
    return ""


def _message(report: Any) -> str:
    """One line: why."""
    if hasattr(report, "wasxfail"):
        text = report.wasxfail
    elif hasattr(report.longrepr, "reprcrash") and report.longrepr.reprcrash:
        text = report.longrepr.reprcrash.message
    elif isinstance(report.longrepr, tuple):  # a skip: file, line, reason
        text = report.longrepr[2]
        text = text[len("Skipped: ") :] if text.startswith("Skipped: ") else text
    else:
        # Of a collection error, the last line names the exception.
        text = str(report.longrepr or "").strip().rpartition("\n")[2]
        text = text[1:] if text.startswith("E ") else text
    return _clean(text.strip().partition("\n")[0])


def _details(report: Any) -> str:
    sections = [f"--- {title} ---\n{text}" for title, text in report.sections]
    text = _clean("\n".join([str(report.longrepr or ""), *sections]))
    if len(text) <= _MOST_DETAILS:
        return text
    half = _MOST_DETAILS // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"


def _clean(text: str) -> str:
    """Without lone surrogates, which are not valid in JSON."""
    return text.encode("utf-8", "backslashreplace").decode()


class _Reporter:
    """The hooks that report tests."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._tests: dict[str, _Test] = {}
        # A file that pytest-xdist's workers all fail to collect, a test that it gives to the next worker after it
        # crashed one: told once, as what came first.
        self._finished: set[str] = set()

    # First, because some end the process in this hook; the tests are over by then.
    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        _send("end")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.outcome != "passed" and report.nodeid not in self._finished:
            test = _Test(elsewhere=True)
            test.add(report)
            self._send_finish(report.nodeid, test)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if nodeid not in self._finished:
            # pytest-xdist's controller only tells of the tests that its workers run.
            self._tests[nodeid] = _Test(elsewhere=self._config.pluginmanager.hasplugin("dsession"))
            _send("start", id=_clean(nodeid))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.nodeid in self._tests:
            self._tests[report.nodeid].add(report)
            if report.when not in ("setup", "call", "teardown"):  # its worker crashed: no logfinish will come
                self.pytest_runtest_logfinish(report.nodeid)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        test = self._tests.pop(nodeid, None)
        if test:
            self._send_finish(nodeid, test)

    def _send_finish(self, nodeid: str, test: _Test) -> None:
        self._finished.add(nodeid)
        _send(
            "finish",
            id=_clean(nodeid),
            status=test.status or "passed",  # --setup-only has no call
            duration=test.duration,
            message=test.message,
            details=test.details,
            **test.used(),
        )


class _Stopper:
    """The hooks that let SIGTERM end pytest as Ctrl-C does."""

    def __init__(self) -> None:
        self._masks: dict[int, Any] = {}  # by thread: that before the fork

    def begin(self) -> None:
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            if hasattr(os, "register_at_fork"):  # not on Windows
                os.register_at_fork(
                    before=self._hold_back, after_in_parent=self._let_through, after_in_child=self._die_of_it
                )

    def pytest_unconfigure(self) -> None:
        if signal.getsignal(signal.SIGTERM) is signal.default_int_handler:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    # What a test forks, as with multiprocessing, dies of SIGTERM as usual. One that came before Python has made the
    # child whole would be forgotten, since it has a handler; so it waits until it has none.

    def _hold_back(self) -> None:
        self._masks[threading.get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def _let_through(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._masks.pop(threading.get_ident()))

    def _die_of_it(self) -> None:
        handler = signal.getsignal(signal.SIGTERM)
        if handler is signal.default_int_handler or hasattr(handler, "harness_stops"):  # that of harness_fixtures
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._let_through()


def _open_pipe() -> _Pipe | None:
    # Taken out of the environment, so that a pytest that a test starts does not report as well.
    number = os.environ.pop("HARNESS_TEST_EVENTS_FD", "")
    try:
        return _Pipe(int(number))
    except (ValueError, OSError):
        return None


def _send(event: str, **fields: object) -> None:
    if _pipe:
        _pipe.send(event, **fields)


# When this is loaded, because a conftest may end the process.
_pipe = _open_pipe()
_stopper = _Stopper()
_send("begin")


def register(config: pytest.Config) -> None:
    """Before `begin`; in a warm parent (harness_warm) so much earlier that its forks need not."""
    config.pluginmanager.register(_Reporter(config), "harness_reporter")
    config.pluginmanager.register(_stopper, "harness_stopper")


def begin() -> None:
    """In a fork of a process that had no pipe: looks for its own, and says that a session begins."""
    global _pipe
    _pipe = _open_pipe()
    _send("begin")
    if _pipe:
        _stopper.begin()


def pytest_configure(config: pytest.Config) -> None:
    if _pipe:
        register(config)
        _stopper.begin()
