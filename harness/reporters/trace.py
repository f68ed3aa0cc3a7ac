"""trace.json: the run as a timeline, for https://ui.perfetto.dev or chrome://tracing.

The format is the Trace Event Format's JSON object form: complete events (`ph` X), times in microseconds since the run
began, one track (`tid`) a slot, named by metadata events (`ph` M). An attempt, of a group or a part, is a span on the
track of its slot, its tests are spans within it; where pytest-xdist runs several at a time, those that overlap get
tracks of their own. A pause takes none of that time, and is an instant (`ph` i). What a group waited for is told with
its first attempt. The making and removing of environments are spans within it too.
"""

import math
from typing import Any, ClassVar

import msgspec

from harness.events import (
    AttemptFinished,
    AttemptStarted,
    GroupFinished,
    LeaseEnded,
    LeaseMade,
    PhaseFinished,
    PhaseStarted,
    RunFinished,
    RunResumed,
    ServiceReady,
    Stamped,
    TestFinished,
)
from harness.files import write_atomically
from harness.model import Status, part_name
from harness.reporters.base import Context, Quiet

PHASES, SERVICES = "phases", "services"


# Kept until the run ends, one a group and one a test: as dicts they would take four times as much.
class _Attempt(msgspec.Struct, gc=False):
    """What is told with the span of an attempt."""

    status: Status
    attempt: int
    reason: str
    waited: dict[str, float] | msgspec.UnsetType = msgspec.UNSET


class _Span(msgspec.Struct, gc=False):
    name: str
    tid: int
    ts: int  # microseconds
    dur: int
    args: _Attempt | dict[str, str]
    ph: str = "X"
    pid: int = 1


class Trace(Quiet):
    name: ClassVar[str] = "trace"
    durable: ClassVar[bool] = True

    def __init__(self, context: Context) -> None:
        self._files = context.files
        self._spans: list[_Span] = []
        self._tracks: dict[str, int] = {PHASES: 0, SERVICES: 1}
        self._began: dict[str, float] = {}  # of phases and attempts that have not ended, by what they are
        self._slots: dict[str, int] = {}  # by group or part
        self._shown: dict[str, _Attempt] = {}  # of each group's first attempt, what is told with its span
        self._pauses: list[tuple[float, float]] = []  # when, for how many seconds
        self._busy_until: dict[str, float] = {}  # by track, of tests

    def handle(self, stamped: Stamped) -> None:
        match stamped.data:
            case PhaseStarted(phase=phase):
                self._began[f"phase {phase}"] = stamped.elapsed
            case PhaseFinished(phase=phase):
                self._span(phase, PHASES, self._began.pop(f"phase {phase}"), stamped.elapsed, {})
            case ServiceReady(service=service, seconds=seconds):
                self._span(f"{service} starts", SERVICES, stamped.elapsed - seconds, stamped.elapsed, {})
            case AttemptStarted(group=group, part=part, slot=slot):
                name = part_name(group, part)
                self._began[f"group {name}"] = stamped.elapsed
                self._slots[name] = slot
            case AttemptFinished(outcome=outcome):
                began = self._began.pop(f"group {outcome.name}")
                track = f"slot {self._slots[outcome.name]}"
                shown = _Attempt(status=outcome.status, attempt=outcome.attempt, reason=outcome.reason)
                self._shown.setdefault(outcome.group, shown)
                self._span(outcome.name, track, began, stamped.elapsed, shown)
            case LeaseMade() as event:
                self._lease(f"make {event.entry}", event, stamped.elapsed)
            case LeaseEnded(ending="released") as event:
                self._lease(f"remove {event.entry}", event, stamped.elapsed)
            case GroupFinished(result=result) if result.waited and result.group in self._shown:
                self._shown[result.group].waited = result.waited
            case TestFinished(group=group, part=part, result=result):
                name = part_name(group, part)
                began = max(stamped.elapsed - result.duration, self._began[f"group {name}"])
                track = self._free_track(f"slot {self._slots[name]}", began)
                self._busy_until[track] = stamped.elapsed
                self._span(result.id, track, began, stamped.elapsed, {"status": result.status.value})
            case RunResumed(seconds=seconds):
                self._pauses.append((stamped.elapsed, seconds))
            case RunFinished():
                write_atomically(self._files.trace, msgspec.json.encode({"traceEvents": self._events()}) + b"\n")

    def _lease(self, name: str, event: LeaseMade | LeaseEnded, ended: float) -> None:
        """On the group's slot; what nobody owns, and what outlived its group, beside the services."""
        owner = part_name(event.group, event.part)
        began = max(ended - event.seconds, self._began.get(f"group {owner}", math.inf))
        track = f"slot {self._slots[owner]}" if began <= ended else SERVICES
        self._span(name, track, min(began, ended), ended, {"token": event.token})

    def _free_track(self, slot: str, began: float) -> str:
        """The slot's own track, or the first beside it on which no other test was running."""
        track, number = slot, 1
        while self._busy_until.get(track, 0.0) > began:
            number += 1
            track = f"{slot}, worker {number}"
        return track

    def _span(self, name: str, track: str, began: float, ended: float, shown: "_Attempt | dict[str, str]") -> None:
        number = self._tracks.setdefault(track, len(self._tracks))
        start, end = _microseconds(began), _microseconds(ended)
        self._spans.append(_Span(name=name, tid=number, ts=start, dur=end - start, args=shown))

    def _events(self) -> "list[dict[str, Any] | _Span]":
        named: list[dict[str, Any] | _Span] = [
            {"name": "thread_name", "ph": "M", "pid": 1, "tid": number, "args": {"name": track}}
            for track, number in self._tracks.items()
        ]
        pauses: list[dict[str, Any] | _Span] = [
            {"name": f"paused for {seconds:.1f} s", "ph": "i", "s": "g", "pid": 1, "tid": 0, "ts": _microseconds(at)}
            for at, seconds in self._pauses
        ]
        return [*named, *pauses, *self._spans]


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)
