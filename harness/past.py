"""The nouns of the history: what earlier runs were like. Units as in model.py. Imports nothing but the nouns."""

from typing import Annotated

from msgspec import Meta

from harness.model import Noun, Status, TestStatus

SMALLEST, LARGEST = -1e10, 1e11
Measured = Annotated[float, Meta(ge=SMALLEST, le=LARGEST)]
"""Seconds that can be a moment, too. It is checked where rows are read: a damaged history may hold anything."""
Whole = Annotated[int, Meta(ge=-(2**62), le=2**62)]
"""SQLite can hold it."""


class PastRun(Noun, frozen=True):
    """One run. `key` is unique among machines, where run ids are not."""

    key: str
    run_id: str
    started_at: Measured  # wall time
    commit: str  # empty: not in git
    dirty: bool
    host: str
    cores: Whole
    jobs: Whole
    seed: Whole
    shard: str  # empty: the whole
    environment: str
    duration: Measured
    exit_code: Whole
    stopped_by: str
    sequential_time: Measured
    lower_bound: Measured
    predicted: Measured | None
    services_seconds: Measured  # until the first phase began
    wind_down: Measured  # from the end of the last group to the end of the run
    groups: Whole  # that ran
    failed: Whole  # groups


class PastGroup(Noun, frozen=True):
    """One group of a run, all of its attempts together. Only of groups that ran: no skipped, no cached ones."""

    run: str  # key
    group: str
    started_at: Measured  # wall time
    duration: Measured
    slot: Whole
    status: Status
    attempts: Whole
    cpu_seconds: Measured
    peak_memory: Whole
    partial: bool  # only some of its tests were asked for
    quarantined: bool
    waited: Measured  # before it started, for whatever
    error: str  # hash of why it failed; empty: it did not


class SlowTest(Noun, frozen=True):
    """One test over its last runs: medians."""

    test: str
    seconds: Measured
    runs: Whole
    cpu_seconds: Measured | None  # None: nobody measured it
    memory_growth: Whole | None


class PastTest(Noun, frozen=True):
    """One test in one attempt of a group."""

    run: str  # key
    group: str
    attempt: Whole
    test: str
    status: TestStatus
    duration: Measured
    error: str  # hash of its message, numbers and addresses left out; empty: it did not fail
    cpu_seconds: Measured | None = None  # None: nobody measured it
    memory_growth: Whole | None = None


class Latest(Noun, frozen=True):
    """How a group stands after all its runs, for --last-failed."""

    status: Status  # of its latest run that was not partial
    failed_tests: tuple[str, ...]  # whose latest outcome, that of partial runs included, is failed or error
    whole: bool  # False: it did not get to the end of its tests, or did not start, so all of it must run again


class StoredFingerprint(Noun, frozen=True):
    """What a group depended on when it last passed."""

    digest: str
    parts: dict[str, str]
    run: str  # run id
    at: Measured  # wall time
