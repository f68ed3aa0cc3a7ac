"""The final word on a group: one result out of its attempts, what quarantine makes of it, and how to say it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.model import Group, GroupResult, Outcome, Quarantine, Status

# What a quarantine excuses. A group that could not be started says nothing about itself.
EXCUSABLE = frozenset({Status.FAILED, Status.TIMED_OUT, Status.KILLED})


@dataclass(eq=False, slots=True)
class Running:
    """A group that has been started, and what becomes of it if it is ended by us."""

    group: Group
    attempt: int
    slot: int
    waited: dict[str, float]
    past: list[Outcome] = field(default_factory=list)  # attempts that have ended
    fate: tuple[Status, str] | None = None  # set when it is cancelled
    resting: bool = False  # between two attempts: nothing of it runs
    due: bool = False  # its rest is over, and it waits until it may run alone

    @property
    def attempt_id(self) -> str:
        return f"{self.group.name}#{self.attempt}"


def final_result(running: Running, quarantine: Sequence[Quarantine]) -> GroupResult:
    """A pass after a failure is flaky, and what we ended has its fate. At least one attempt has ended."""
    last = running.past[-1]
    attempts = len(running.past)
    status, reason = last.status, last.reason
    if status is Status.INTERRUPTED and running.fate is not None:
        status, reason = running.fate
    elif status is not Status.PASSED and running.fate is not None and running.fate[0] is Status.ERROR:
        status, reason = running.fate  # it failed because its service did, whichever was seen first
    elif status is Status.PASSED and attempts > 1:
        status = Status.FLAKY
        reason = f"passed on attempt {attempts}; attempt {attempts - 1}: {running.past[-2].reason}"
    return GroupResult(
        group=running.group.whole,
        status=status,
        reason=reason,
        attempts=attempts,
        started_at=running.past[0].started_at,
        duration=sum(outcome.duration for outcome in running.past),
        exit_code=last.exit_code,
        cpu_seconds=sum(outcome.cpu_seconds for outcome in running.past),
        peak_memory=max(outcome.peak_memory for outcome in running.past),
        leaked=any(outcome.leaked for outcome in running.past),
        contaminates=tuple(dict.fromkeys(found for outcome in running.past for found in outcome.contaminates)),
        waited=running.waited,
        quarantined=_excuse(running.group, last, quarantine) if status in EXCUSABLE else "",
    )


def is_excused(running: Running, quarantine: Sequence[Quarantine]) -> bool:
    """Whether every attempt that failed did so for what is in quarantine."""
    failures = [outcome for outcome in running.past if outcome.status is not Status.PASSED]
    return all(_excuse(running.group, outcome, quarantine) for outcome in failures)


def _excuse(group: Group, last: Outcome, quarantine: Sequence[Quarantine]) -> str:
    """Why the failure does not count; empty: it does. A failed test outside quarantine makes it count."""
    for entry in quarantine:
        if entry.group == group.whole:
            return f"{entry.reason} (until {entry.expires})"
    reasons = {entry.test: f"{entry.reason} (until {entry.expires})" for entry in quarantine if entry.test}
    if last.failed_tests and all(test in reasons for test in last.failed_tests):
        return "; ".join(dict.fromkeys(reasons[test] for test in last.failed_tests))
    return ""


def said(status: Status) -> str:
    """A status as the end of a sentence about a group: "core failed", "core was skipped"."""
    return {
        Status.ERROR: "could not run",
        Status.NO_TESTS: "had no tests",
        Status.TIMED_OUT: "timed out",
        Status.KILLED: "was killed",
        Status.SKIPPED: "was skipped",
        Status.INTERRUPTED: "was interrupted",
        Status.NOT_RUN: "did not run",
        Status.LOST: "was lost",
    }.get(status, status.value)
