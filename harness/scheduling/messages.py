"""What the dispatcher is told, and what it answers: inputs and actions, all of them plain data.

run.py makes inputs out of what happens and performs the actions on real processes; a simulator does both on a virtual
clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.events import AnyEvent
from harness.model import Group, Outcome

# --- inputs


@dataclass(frozen=True)
class Supply:
    """How much there is of what the leases of one isolation entry use up, in its units."""

    free: int  # now
    total: int  # with what other runs hold, and will give back
    said: str  # for people: how that comes about
    server: str = ""  # entries that say the same here use up the same thing


@dataclass(frozen=True)
class Begin:
    """The services are up, and environments can be made."""

    supplies: Mapping[str, Supply] = field(default_factory=dict)  # by entry; there is enough of what is not in it


@dataclass(frozen=True)
class AttemptEnded:
    outcome: Outcome


@dataclass(frozen=True)
class RetryDue:
    """The time that a Wake asked for is over."""

    attempt_id: str


@dataclass(frozen=True)
class SignalCame:
    number: int


@dataclass(frozen=True)
class ServiceDown:
    service: str
    reason: str


@dataclass(frozen=True)
class StartupFailed:
    """The services did not come up: nothing can run."""

    reason: str


@dataclass(frozen=True)
class TimeUp:
    """The run's own timeout is over."""

    reason: str


@dataclass(frozen=True)
class JournalLost:
    """A durable record of the run can no longer be written (a full disk): go no further."""

    reason: str


Input = Begin | AttemptEnded | RetryDue | SignalCame | ServiceDown | StartupFailed | TimeUp | JournalLost

# --- actions


@dataclass(frozen=True)
class Start:
    group: Group
    attempt: int
    slot: int


@dataclass(frozen=True)
class Cancel:
    """End the attempt by the ladder: SIGTERM, grace, SIGKILL."""

    attempt_id: str


@dataclass(frozen=True)
class Kill:
    """End the attempt now."""

    attempt_id: str


@dataclass(frozen=True)
class Wake:
    """Answer with RetryDue when so many seconds are over. Not waited for once the run stops."""

    attempt_id: str
    after: float


@dataclass(frozen=True)
class Emit:
    event: AnyEvent


@dataclass(frozen=True)
class Stop:
    """Nothing is running and nothing will start any more."""


Action = Start | Cancel | Kill | Wake | Emit | Stop
