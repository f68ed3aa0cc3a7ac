"""How an attempt is judged by the ends of its processes: each by itself, then all of them together.

A process that we signalled has never passed, nor has one that ended in the middle of its tests. Pure.
"""

import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.model import Job, Status
from harness.process import Exit
from harness.results import KnownTests

NO_TESTS_RAN = 5  # of pytest's exit codes
_TESTS_FAILED = 1  # of pytest's exit codes: tests failed, and nothing else went wrong
_FINE = 1  # of gravity
_SHOWN = 3  # tests, or processes, that a reason names


@dataclass(frozen=True, slots=True)
class Judged:
    """How one process of an attempt ended, or several together."""

    exit: Exit
    tests: KnownTests  # of this process
    status: Status
    reason: str  # in one line, for people
    failed_tests: tuple[str, ...]  # ids, if they and nothing else are why it failed


def judge(job: Job, ended: Exit, tests: KnownTests, problem: str) -> Judged:
    """One process. `problem`: what is wrong with the source that tells of the tests."""
    status, reason = _status(job, ended, tests, problem)
    return Judged(ended, tests, status, reason, _failed_alone(job, ended, status, tests, problem))


def put_together(ends: Sequence[Judged], names: Sequence[str]) -> Judged:
    """An attempt's processes as one: as bad as the worst, with what all of them used.

    `names` are those of all that were to run, in order; those beyond `ends` did not.
    """
    worst = max(ends, key=_gravity)
    if len(names) == 1:
        return worst
    exits = [end.exit for end in ends]
    whole = replace(
        worst.exit,
        started_at=exits[0].started_at,
        duration=sum(end.duration for end in exits),
        cpu_seconds=sum(end.cpu_seconds for end in exits),
        peak_memory=max(end.peak_memory for end in exits),
        leaked=any(end.leaked for end in exits),
    )
    bad = [(name, end) for name, end in zip(names, ends, strict=False) if _gravity(end) > _FINE]
    bad.sort(key=lambda item: -_gravity(item[1]))
    alone = all(end.failed_tests for _, end in bad)
    failed_tests = tuple(dict.fromkeys(test for _, end in bad for test in end.failed_tests)) if alone else ()
    reason = worst.reason
    if worst.exit.stopped:
        reason = "stopped between two of its files" if _never_ran(worst.exit) and len(ends) > 1 else reason
    elif bad and alone:
        reason = _failures(*(end.tests for end in ends))
    elif bad:
        told = [f"{name}: {end.reason}" for name, end in bad[:_SHOWN]]
        more = [f"and {len(bad) - _SHOWN} more"] if len(bad) > _SHOWN else []
        missing = len(names) - len(ends)
        unrun = [f"{missing} of {_count(len(names), 'file')} did not run"] if missing else []
        reason = "; ".join([*told, *more, *unrun])
    return replace(worst, exit=whole, reason=reason, failed_tests=failed_tests)


def _gravity(end: Judged) -> int:
    """Of several: a process that had no tests is as good as one whose tests passed, unless none had any."""
    if end.exit.timed_out or end.exit.stopped:
        return 5
    if end.exit.exit_code is None:
        return 4
    if end.status in (Status.NO_TESTS, Status.SKIPPED):
        return 0
    if end.status.succeeded:
        return _FINE
    return 2 if end.failed_tests else 3


def _never_ran(ended: Exit) -> bool:
    return ended.exit_code is None and ended.signal is None


def _status(job: Job, ended: Exit, tests: KnownTests, problem: str) -> tuple[Status, str]:
    """The status, and the reason. What happened first wins."""
    where = f" while running {_some(tests.running)}" if tests.running else ""
    if _never_ran(ended):
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


def _failures(*parts: KnownTests) -> str:
    names = [test.rpartition("::")[2] for tests in parts for test in tests.failed]
    finished = sum(tests.finished for tests in parts)
    return f"{len(names)} of {_count(finished, 'test')} failed: {_some(names)}"


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


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
