"""One attempt of a group: picklable job in, picklable outcome out, on any machine.

`run_attempt` writes the header line into the group's log, runs the job's process, sends its output to the log, and what
gets into the log to `notify`, follows its tests, and judges how it ended. Deadlines run in here, so that nobody has to
reach a remote machine in time.

It never raises: whatever goes wrong is an outcome. A process that we signalled has never passed, nor has one that ended
in the middle of its tests. It must not decide what follows from an outcome (retry, skip, stop).
"""

import errno
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec

from harness import clock
from harness.errors import SHORTAGES, HarnessError, InfrastructureError, shortage
from harness.events import AnyEvent, AttemptSpawned
from harness.grouplog import header_of, on_one_line
from harness.judging import Judged, judge, put_together
from harness.logfile import LogFile
from harness.masking import Secrets
from harness.model import Job, Outcome, Status
from harness.process import Control, Exit, Leader, run
from harness.results import KnownTests, Report, report_of
from harness.teststream import TestStream
from harness.warm import Pytest, Warm

_CURES = {
    errno.ENOEXEC: "neither a program nor a script with a #! line",
    errno.E2BIG: "its arguments and environment are too long together",
    **SHORTAGES,
}


@dataclass(frozen=True, slots=True)
class Output:
    """Live output. Not an event: it is never journalled."""

    group: str  # or part, by its name
    data: bytes | memoryview  # good until `notify` returns


Notify = Callable[[AnyEvent | Output], None]


class Left(NamedTuple):
    """What became of the surroundings of an attempt that has ended."""

    leaked: bool = False  # something of theirs is still there
    contaminates: tuple[str, ...] = ()  # as in Outcome


class Surroundings(Protocol):
    """What is made around an attempt: its isolated environments. Called in the attempt's thread."""

    def enter(self, job: Job, control: Control) -> Job:
        """Makes them, and returns the job with their variables. Raises HarnessError when it cannot; what had been made
        is taken down again, and an InfrastructureError says if something is left.

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
    secrets: Secrets | None = None,
) -> Outcome:
    """Run `job` to its end. `notify` gets its events and output, from this thread; `control` stops it; `warm` may fork
    its processes. Of `secrets` nothing gets into the log; events hold them still."""
    control = control or Control()
    secrets = Secrets() if secrets is None else secrets
    if surroundings is None:
        return _run(job, notify, control, warm, secrets)
    started_at, started = time.time(), clock.now()
    try:
        inside = surroundings.enter(job, control)
    except Exception as error:  # as below
        why = _one_line(error) if isinstance(error, HarnessError) else _failure(error)
        status, reason = Status.ERROR, why
        if control.request:
            status, reason = Status.INTERRUPTED, "stopped before it had started"
        _say_why(job, why, started_at, secrets)
        leaked = isinstance(error, InfrastructureError) and error.leaked
        outcome = _outcome(job, status, reason, (), None, started_at, clock.now() - started)
        return msgspec.structs.replace(outcome, leaked=leaked)
    outcome = _run(inside, notify, control, warm, secrets)
    try:
        left = surroundings.leave(inside, outcome.status)
    except Exception as error:
        left = Left(leaked=True)
        outcome = msgspec.structs.replace(outcome, status=Status.ERROR, reason=_failure(error))
    return msgspec.structs.replace(
        outcome,
        started_at=started_at,
        duration=clock.now() - started,
        leaked=outcome.leaked or left.leaked,
        contaminates=left.contaminates,
    )


def not_started(job: Job, why: str, secrets: Secrets) -> Outcome:
    """That of an attempt which nobody could be found to run."""
    started_at = time.time()
    _say_why(job, why, started_at, secrets)
    return _outcome(job, Status.ERROR, why, (), None, started_at, 0.0)


def _say_why(job: Job, why: str, started_at: float, secrets: Secrets) -> None:
    """In its log, where there is nothing else to be found."""
    log = LogFile(job.log, secrets)
    log.open() and log.write_line(header_of(job, started_at)) and log.write_line(why)
    log.close()


def _run(job: Job, notify: Notify, control: Control, warm: Warm | None, secrets: Secrets) -> Outcome:
    started_at, started = time.time(), clock.now()
    log = LogFile(job.log, secrets, limit=job.log_limit, show=lambda data: notify(Output(job.name, data)))

    def output(data: memoryview) -> None:
        if job.results:
            told(data)
        if not log.write(data):
            control.cancel()

    def told(data: memoryview) -> None:
        if source:
            source.feed(bytes(data))

    def note(reason: str) -> None:
        log.write_line(f"=== a pytest of its own: {on_one_line(reason)}")

    def spawned(pid: int) -> None:
        notify(AttemptSpawned(group=job.group, part=job.part, attempt=job.attempt, pid=pid, argv=argv))

    argv = job.argv  # of the process that runs
    source: TestStream | Report | None = None
    ends: list[Judged] = []
    processes = _processes(job)
    names = [process.tests[0] if process.tests else "" for process in processes]
    reason = ""
    failed_tests: tuple[str, ...] = ()
    try:
        if not (log.open() and log.write_line(header_of(job, started_at))):
            status = Status.ERROR
        elif not control.request:
            for process in processes:
                argv = (*process.argv, *process.tests)
                tests = KnownTests(job.group, job.attempt, notify, job.part, secrets.text)
                source = _source(job, tests)
                if len(processes) > 1:
                    which = f"process {len(ends) + 1} of {len(processes)}: {process.tests[0]}"
                    log.write_line(f"=== {on_one_line(which)}")
                ended = run(
                    argv,
                    env=job.env,
                    directory=job.directory,
                    output=output,
                    timeout=max(0.0, job.timeout - sum(each.exit.duration for each in ends)),
                    grace=job.grace,
                    control=control,
                    spawned=spawned,
                    side=told if job.reports_tests else None,
                    launch=warm.launch(process, job.name, note) if warm and job.warm else Leader.start,
                )
                ends.append(judge(job, ended, tests, source.close() if source else ""))
                if not ended.stopped:  # or a test that we broke off would count as one that failed
                    tests.close(ends[-1].reason)
                if ended.timed_out or ended.stopped:
                    break
            whole = put_together(ends, names)
            status, reason, failed_tests = whole.status, whole.reason, whole.failed_tests
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
    if ends:
        return _outcome(job, status, reason, failed_tests, put_together(ends, names).exit, started_at, 0.0)
    return _outcome(job, status, reason, (), None, started_at, clock.now() - started)


def _processes(job: Job) -> list[Pytest]:
    """The processes of the attempt, one after the other."""
    words = job.argv[: len(job.argv) - len(job.tests)]
    each = [(test,) for test in job.tests] if job.process == "file" else [job.tests]
    return [Pytest(words, tests, job.directory) for tests in each]


def _failure(error: Exception) -> str:
    return shortage(error) or f"the harness failed: {type(error).__name__}: {error}"


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
            part=job.part,
            attempt=job.attempt,
            status=status,
            reason=reason,
            started_at=started_at,
            duration=duration,
        )
    return Outcome(
        group=job.group,
        part=job.part,
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
