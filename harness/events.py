"""The events of a run: the source of truth from which every report can be made again.

A decision (scheduling/dispatch.py) or an observation (attempt.py, services.py) makes an event; run.py stamps it and
hands it to every reporter in order; `events.jsonl` holds them all, one JSON object a line. Events are plain nouns: they
import nothing but nouns, and nothing here knows who emits or reads them.
"""

from typing import Any, Literal

import msgspec

from harness.foreign import decoded
from harness.model import GroupResult, Outcome, Phase, TestResult


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="event", tag=lambda name: name):
    """Base of all events. In JSON the field `event` holds the class name."""


class RunStarted(Event, frozen=True):
    run_id: str  # YYYYMMDD_HHMMSS, with -2, -3 … for more in one second
    version: str
    project: str
    environment: str
    jobs: int
    parallel: bool
    fail_fast: int  # stop after so many failures; 0: never
    log_dir: str  # absolute
    phases: tuple[Phase, ...]  # what is to run: the plan after selection
    deselected: int = 0  # groups of the plan that the selection left out
    off: dict[str, str] = {}  # phase -> why its groups will be skipped (its `when` is not true)
    resources: dict[str, int] = {}  # counted resources of the plan -> capacity
    pid: int = 0  # of the harness, so that another process can tell whether the run still lives
    host: str = ""
    cores: int = 0
    commit: str = ""  # of the project; empty: not in git
    dirty: bool = False  # whether files differed from that commit
    seed: int = 0  # of the jitter of retries, and of the order with --shuffle
    shuffled: bool = False
    shard: str = ""  # "2/4"; empty: the whole
    filters: str = ""  # the options that left tests out of groups, as they would be typed
    all_groups: tuple[str, ...] = ()  # with a shard: what all the shards run together
    predicted: float | None = None  # makespan in seconds; None: nothing is known yet


class ServiceStarted(Event, frozen=True):
    service: str
    pid: int
    port: int
    log: str


class ServiceReady(Event, frozen=True):
    service: str
    seconds: float


class ServiceFailed(Event, frozen=True):
    """It did not start, was not ready in time, or died while it was needed."""

    service: str
    reason: str
    log: str


class ServiceStopped(Event, frozen=True):
    service: str


class PhaseStarted(Event, frozen=True):
    phase: str


class PhaseFinished(Event, frozen=True):
    phase: str


class AttemptStarted(Event, frozen=True):
    group: str
    attempt: int
    slot: int
    log: str
    part: str = ""  # of a splittable group: the file that runs


class AttemptSpawned(Event, frozen=True):
    group: str
    attempt: int
    pid: int
    argv: tuple[str, ...]
    part: str = ""


class TestStarted(Event, frozen=True):
    __test__ = False  # pytest must not take it for a test class

    group: str
    attempt: int
    test: str
    part: str = ""


class TestFinished(Event, frozen=True):
    __test__ = False  # pytest must not take it for a test class

    group: str
    attempt: int
    result: TestResult
    part: str = ""


class AttemptFinished(Event, frozen=True):
    outcome: Outcome


class LeaseMade(Event, frozen=True):
    """An isolated thing is there for a group; or, without a group, for nobody, to see who touches it."""

    token: str
    entry: str
    kind: str
    group: str
    attempt: int
    details: dict[str, str]  # names and addresses, no secrets
    seconds: float  # that it took
    part: str = ""


class LeaseEnded(Event, frozen=True):
    """An isolated thing was removed, or kept because somebody asked for it; or it could not be removed."""

    token: str
    entry: str
    group: str
    ending: Literal["released", "kept", "leaked"]
    reason: str = ""  # why it leaked
    seconds: float = 0.0
    part: str = ""


class RetryScheduled(Event, frozen=True):
    """An attempt failed, and the group gets another one."""

    group: str
    attempt: int  # the one to come
    delay: float  # seconds, at the least
    alone: bool  # it waits until nothing else runs
    part: str = ""


class GroupFinished(Event, frozen=True):
    """Comes exactly once for every group of the run, also for those that never started."""

    result: GroupResult


class SignalReceived(Event, frozen=True):
    signal: str  # SIGINT, …
    response: str  # what the harness does about it, for people


class RunPaused(Event, frozen=True):
    """Ctrl-Z: the attempts are about to be stopped, and the harness with them; its clock stands still."""


class RunResumed(Event, frozen=True):
    """They go on."""

    seconds: float  # for which they stood still; `elapsed` and all durations are without them


class Warned(Event, frozen=True):
    message: str


class RunFinished(Event, frozen=True):
    exit_code: int
    duration: float  # from RunStarted, services included, pauses not
    stopped_by: str = ""  # a signal's name, "fail-fast", "global timeout", or empty


AnyEvent = (
    RunStarted
    | ServiceStarted
    | ServiceReady
    | ServiceFailed
    | ServiceStopped
    | PhaseStarted
    | PhaseFinished
    | AttemptStarted
    | AttemptSpawned
    | TestStarted
    | TestFinished
    | AttemptFinished
    | LeaseMade
    | LeaseEnded
    | RetryScheduled
    | GroupFinished
    | SignalReceived
    | RunPaused
    | RunResumed
    | Warned
    | RunFinished
)


class Stamped(msgspec.Struct, frozen=True):
    """An event with its place in the run's order and its times."""

    seq: int  # from 1
    time: float  # wall time
    elapsed: float  # monotonic seconds since the run began, without pauses
    data: AnyEvent


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Stamped)


def encode(stamped: Stamped) -> bytes:
    """One line of events.jsonl, without its newline."""
    return _encoder.encode(stamped)


def decode(line: bytes | str) -> Stamped:
    """Raises ValueError for anything that `encode` did not make."""
    return decoded(_decoder, line)


def to_builtins(event: Any) -> Any:
    """A noun or an event as plain dicts, lists and strings."""
    return msgspec.to_builtins(event)
