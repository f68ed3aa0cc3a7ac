"""One attempt of a group: picklable job in, picklable outcome out, on any machine.

`run_attempt` writes the header line into the group's log, runs the job's process, sends its output to the log byte for
byte and to `notify`, follows its tests, and judges how it ended. Deadlines run in here, so that nobody has to reach a
remote machine in time.

It never raises: whatever goes wrong is an outcome. A process that we signalled has never passed, nor has one that ended
in the middle of its tests. It must not decide what follows from an outcome (retry, skip, stop).
"""

import errno
import os
import shlex
import signal
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import msgspec

from harness.errors import HarnessError
from harness.events import AnyEvent, AttemptSpawned
from harness.model import Job, Outcome, Status
from harness.process import Control, Exit, Leader, run
from harness.results import KnownTests, Report, report_of
from harness.teststream import TestStream
from harness.warm import Pytest, Warm

_NAMES_SHOWN = 3
_TESTS_FAILED = 1  # of pytest's exit codes: tests failed, and nothing else went wrong
NO_TESTS_RAN = 5  # of pytest's exit codes

_CURES = {
    errno.ENOEXEC: "neither a program nor a script with a #! line",
    errno.E2BIG: "its arguments and environment are too long together",
    errno.EMFILE: "too many open files: raise `ulimit -n`, or run fewer groups at a time",
    errno.ENFILE: "too many open files on this machine: run fewer groups at a time",
    errno.EAGAIN: "no more processes allowed: raise `ulimit -u`, or run fewer groups at a time",
    errno.ENOMEM: "no memory for another process: run fewer groups at a time",
}


@dataclass(frozen=True, slots=True)
class Output:
    """Live output of a group. Not an event: it is never journalled."""

    group: str
    data: bytes


Notify = Callable[[AnyEvent | Output], None]


class Left(NamedTuple):
    """What became of the surroundings of an attempt that has ended."""

    leaked: bool = False  # something of theirs is still there
    contaminates: tuple[str, ...] = ()  # as in Outcome


class Surroundings(Protocol):
    """What is made around an attempt: its isolated environments. Called in the attempt's thread."""

    def enter(self, job: Job, control: Control) -> Job:
        """Makes them, and returns the job with their variables. Raises HarnessError when it cannot; nothing is left.

        Making is not broken off by `control`, but what has not begun when it is asked to stop is not made any more.
        """
        ...

    def leave(self, job: Job, status: Status) -> Left:
        """Takes down what `enter` made. Called once for every job that entered, however its attempt ended."""
        ...


def run_attempt(
    job: Job,
    notify: Notify,
    control: Control | None = None,
    surroundings: Surroundings | None = None,
    warm: Warm | None = None,
) -> Outcome:
    """Run `job` to its end. `notify` gets its events and output, from this thread; `control` stops it; `warm` may fork
    its processes."""
    control = control or Control()
    if surroundings is None:
        return _run(job, notify, control, warm)
    started_at, started = time.time(), time.monotonic()
    try:
        inside = surroundings.enter(job, control)
    except Exception as error:  # as below
        why = _one_line(error) if isinstance(error, HarnessError) else _failure(error)
        status, reason = Status.ERROR, why
        if control.request:
            status, reason = Status.INTERRUPTED, "stopped before it had started"
        log = _Log(job.log)
        log.open(f"{_header(job, started_at)}{why}\n")
        log.close()
        return _outcome(job, status, reason, (), None, started_at, time.monotonic() - started)
    outcome = _run(inside, notify, control, warm)
    try:
        left = surroundings.leave(inside, outcome.status)
    except Exception as error:
        left = Left(leaked=True)
        outcome = msgspec.structs.replace(outcome, status=Status.ERROR, reason=_failure(error))
    return msgspec.structs.replace(
        outcome,
        started_at=started_at,
        duration=time.monotonic() - started,
        leaked=outcome.leaked or left.leaked,
        contaminates=left.contaminates,
    )


def _run(job: Job, notify: Notify, control: Control, warm: Warm | None) -> Outcome:
    started_at, started = time.time(), time.monotonic()
    log = _Log(job.log)
    tests = KnownTests(job.group, job.attempt, notify)

    def output(data: bytes) -> None:
        if not log.write(data):
            control.cancel()
        if source and job.results:
            source.feed(data)
        notify(Output(job.group, data))

    def note(reason: str) -> None:
        log.write(f"=== a pytest of its own: {_printable(reason)}\n".encode(errors="backslashreplace"))

    def spawned(pid: int) -> None:
        notify(AttemptSpawned(group=job.group, attempt=job.attempt, pid=pid, argv=job.argv))

    source: TestStream | Report | None = None
    ends: list[Exit] = []
    problems: list[str] = []
    reason = ""
    failed_tests: tuple[str, ...] = ()
    try:
        if not log.open(_header(job, started_at)):
            status = Status.ERROR
        elif not control.request:
            for process in _processes(job):
                source = _source(job, tests)
                ended = run(
                    (*process.argv, *process.tests),
                    env=job.env,
                    directory=job.directory,
                    output=output,
                    timeout=max(0.0, job.timeout - (time.monotonic() - started)) if ends else job.timeout,
                    grace=job.grace,
                    control=control,
                    spawned=spawned,
                    side=source.feed if source and job.reports_tests else None,
                    launch=warm.launch(process, job.group, note) if warm and job.warm else Leader.start,
                )
                ends.append(ended)
                problems.append(source.close() if source else "")
                if ended.timed_out or ended.stopped:
                    break
            problem = next(filter(None, problems), "")
            whole = _together(ends)
            status, reason = _judge(job, whole, tests, problem)
            failed_tests = _failed_alone(job, whole, status, tests, problem)
            if not whole.stopped:  # or a test that we broke off would count as one that failed
                tests.close(reason)
        else:
            status, reason = Status.INTERRUPTED, "stopped before it had started"
    except (OSError, ValueError) as error:
        status, reason = Status.ERROR, _why_not_started(job, error)
    # An attempt runs in a thread of a pool: what escaped here would be lost there, and its group never end.
    except Exception as error:
        status, reason = Status.ERROR, _failure(error)
    log.close()
    if log.problem:
        status, reason, failed_tests = Status.ERROR, log.problem, ()
    whole_or_none = _together(ends) if ends else None
    return _outcome(job, status, reason, failed_tests, whole_or_none, started_at, time.monotonic() - started)


def _processes(job: Job) -> list[Pytest]:
    """The processes of the attempt, one after the other."""
    words = job.argv[: len(job.argv) - len(job.tests)]
    each = [(test,) for test in job.tests] if job.process == "file" else [job.tests]
    return [Pytest(words, tests, job.directory) for tests in each]


def _together(ends: list[Exit]) -> Exit:
    """The ends of an attempt's processes as one: that of the process which went worst, and what all of them used."""
    if len(ends) == 1:
        return ends[0]
    return replace(
        max(ends, key=_gravity),
        started_at=ends[0].started_at,
        duration=sum(end.duration for end in ends),
        cpu_seconds=sum(end.cpu_seconds for end in ends),
        peak_memory=max(end.peak_memory for end in ends),
        timed_out=any(end.timed_out for end in ends),
        stopped=any(end.stopped for end in ends),
        leaked=any(end.leaked for end in ends),
    )


def _gravity(end: Exit) -> int:
    """Of several: a process that had no tests is as good as one whose tests passed, unless none had any."""
    if end.timed_out or end.stopped:
        return 5
    if end.exit_code is None:
        return 4
    return {NO_TESTS_RAN: 0, 0: 1, _TESTS_FAILED: 2}.get(end.exit_code, 3)


def _failure(error: Exception) -> str:
    return f"the harness failed: {type(error).__name__}: {error}"


def _one_line(error: HarnessError) -> str:
    return " ".join(f"{error.message} {error.cure}".split())


def _source(job: Job, tests: KnownTests) -> TestStream | Report | None:
    """Who tells of the tests; None: nobody does."""
    if job.reports_tests:
        return TestStream(tests)
    return report_of(job.results, job.directory, tests) if job.results else None


def _outcome(
    job: Job,
    status: Status,
    reason: str,
    failed_tests: tuple[str, ...],
    ended: Exit | None,
    started_at: float,
    duration: float,
) -> Outcome:
    if ended is None:
        return Outcome(
            group=job.group,
            attempt=job.attempt,
            status=status,
            reason=reason,
            started_at=started_at,
            duration=duration,
        )
    return Outcome(
        group=job.group,
        attempt=job.attempt,
        status=status,
        reason=reason,
        started_at=ended.started_at,
        duration=ended.duration,
        exit_code=ended.exit_code,
        signal=ended.signal,
        cpu_seconds=ended.cpu_seconds,
        peak_memory=ended.peak_memory,
        leaked=ended.leaked,
        failed_tests=failed_tests,
    )


def _judge(job: Job, ended: Exit, tests: KnownTests, problem: str) -> tuple[Status, str]:
    """The status, and the reason in one line for people. What happened first wins.

    `problem`: what is wrong with the source that tells of the tests.
    """
    where = f" while running {_some(tests.running)}" if tests.running else ""
    if ended.exit_code is None and ended.signal is None:
        return Status.INTERRUPTED, "stopped before it had started"
    if ended.timed_out:
        then = f", then SIGKILL after {_span(job.grace)}" if ended.signal == signal.SIGKILL else ""
        return Status.TIMED_OUT, f"no end after {_span(job.timeout)}{where}: SIGTERM{then}"
    if ended.stopped:
        return Status.INTERRUPTED, f"stopped{where}"
    if ended.exit_code is None:
        return Status.KILLED, f"killed by {_signal_name(ended.signal)}{where}"
    status = job.statuses.get(ended.exit_code, Status.FAILED)
    if where:
        return Status.FAILED, f"exit code {ended.exit_code}{where}"
    failures = _failures(tests) if tests.failed else ""
    if status.succeeded and (failures or problem):
        return Status.FAILED, f"exit code {ended.exit_code}, but " + "; ".join(filter(None, (failures, problem)))
    if status.succeeded and job.results and not tests.finished:
        return Status.NO_TESTS, "no tests ran" + (f": {tests.why_none}" if tests.why_none else "")
    if status.succeeded:
        return status, ""
    if status in (Status.NO_TESTS, Status.SKIPPED):
        return status, "no tests ran"
    said = problem if job.results else ""  # pytest has said by its exit code what kept it from the end
    return status, "; ".join(filter(None, (failures or f"exit code {ended.exit_code}", said)))


def _failed_alone(job: Job, ended: Exit, status: Status, tests: KnownTests, problem: str) -> tuple[str, ...]:
    """The ids of the failed tests, if they and nothing else are why the attempt failed."""
    if status is not Status.FAILED or tests.running or problem:
        return ()
    if not job.results and ended.exit_code not in (0, _TESTS_FAILED):
        return ()
    return tuple(dict.fromkeys(tests.failed))


def _failures(tests: KnownTests) -> str:
    names = _some([test.rpartition("::")[2] for test in tests.failed])
    return f"{len(tests.failed)} of {_count(tests.finished, 'test')} failed: {names}"


def _why_not_started(job: Job, error: OSError | ValueError) -> str:
    if not isinstance(error, OSError):
        return f"could not be started: {error}"
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR if error.filename == job.directory:
            why = f"directory {job.directory} does not exist"
        case errno.ENOENT:
            why = f"{error.filename} was not found, or the interpreter that its #! line names"
        case errno.EACCES if error.filename == job.directory:
            why = f"no permission to enter {job.directory}"
        case errno.EACCES:
            why = f"{error.filename} may not be executed: `chmod +x` it, or name an interpreter"
        case code:
            why = _CURES.get(code or 0, str(error))
    return f"could not be started: {why}"


class _Log:
    """A group's log. A problem with it is kept as a message, not raised: it comes in the midst of other work."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1
        self.problem = ""

    def open(self, header: str) -> bool:
        """Open it for appending, and write the header on a line of its own. False: there is a problem."""
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            return self.write((b"" if self._is_at_line_start() else b"\n") + header.encode(errors="backslashreplace"))
        except OSError as error:
            return self._fail(error)

    def write(self, data: bytes) -> bool:
        """Append all of `data`. False: there is a problem, now or since earlier."""
        if self.problem:
            return False
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            return self._fail(error)
        return True

    def close(self) -> None:
        if self._descriptor >= 0:
            try:
                os.close(self._descriptor)
            except OSError as error:  # a network file system reports a full disk only here
                self._fail(error)

    def _is_at_line_start(self) -> bool:
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
            return True
        return os.pread(self._descriptor, 1, status.st_size - 1) == b"\n"

    def _fail(self, error: OSError) -> bool:
        self.problem = self.problem or f"cannot write the log {self._path}: {error.strerror}"
        return False


def _header(job: Job, started_at: float) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(started_at))
    line = f"=== {job.group} · attempt {job.attempt} · {when} · slot {job.slot} · $ {shlex.join(job.argv)}"
    return f"{_printable(line)}\n"


def _printable(text: str) -> str:
    """On one line: a command of several must not make a header of several."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _some(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _signal_name(number: int | None) -> str:
    try:
        return signal.Signals(number or 0).name
    except ValueError:
        return f"signal {number}"


def _span(seconds: float) -> str:
    """5m, 1m30s, 0.5s."""
    if seconds < 60:
        return f"{seconds:g}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return "".join(f"{n}{unit}" for n, unit in ((hours, "h"), (minutes, "m"), (rest, "s")) if n)
