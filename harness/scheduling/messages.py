"""What the dispatcher is told, and what it answers: inputs and actions, all of them plain data.

run.py makes inputs out of what happens and performs the actions on real processes; a simulator does both on a virtual
clock.
"""

from collections.abc import Mapping

import msgspec

from harness.events import AnyEvent
from harness.model import Group, Outcome


class Message(msgspec.Struct, frozen=True, gc=False):
    """Base of all of them. None leads back to itself, so the cyclic garbage collector need not look at it."""


# --- inputs


class Supply(Message, frozen=True):
    """How much there is of what the leases of one isolation entry use up, in its units."""

    free: int  # now
    total: int  # with what other runs hold, and will give back
    said: str  # for people: how that comes about
    server: str = ""  # entries that say the same here use up the same thing


class Begin(Message, frozen=True):
    """The services are up, and environments can be made."""

    supplies: Mapping[str, Supply] = {}  # by entry; there is enough of what is not in it


class AttemptEnded(Message, frozen=True):
    outcome: Outcome


class RetryDue(Message, frozen=True):
    """The time that a Wake asked for is over."""

    attempt_id: str


class SignalCame(Message, frozen=True):
    number: int


class ServiceDown(Message, frozen=True):
    service: str
    reason: str


class StartupFailed(Message, frozen=True):
    """The services did not come up: nothing can run."""

    reason: str


class TimeUp(Message, frozen=True):
    """The run's own timeout is over."""

    reason: str


class JournalLost(Message, frozen=True):
    """A durable record of the run can no longer be written (a full disk): go no further."""

    reason: str


Input = Begin | AttemptEnded | RetryDue | SignalCame | ServiceDown | StartupFailed | TimeUp | JournalLost

# --- actions


class Start(Message, frozen=True):
    group: Group
    attempt: int
    slot: int


class Cancel(Message, frozen=True):
    """End the attempt by the ladder: SIGTERM, grace, SIGKILL."""

    attempt_id: str


class Kill(Message, frozen=True):
    """End the attempt now."""

    attempt_id: str


class Wake(Message, frozen=True):
    """Answer with RetryDue when so many seconds are over. Not waited for once the run stops."""

    attempt_id: str
    after: float


class Emit(Message, frozen=True):
    event: AnyEvent


class Stop(Message, frozen=True):
    """Nothing is running and nothing will start any more."""


Action = Start | Cancel | Kill | Wake | Emit | Stop
