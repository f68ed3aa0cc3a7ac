"""What every kind of isolated environment speaks: leases, and the Protocol that makes and removes them.

A lease is one isolated thing made for one group. The order of its life is always the same, whoever makes it:

1. `plan` says what is going to be made, under which names; nothing has happened yet.
2. The lease is written into the journal (journal.py), durably where the thing could outlive this machine.
3. `make` makes it. Whatever it learns on the way that is needed for the removal, it says through `learned` at once.
4. `renew`, now and then, says that its run still lives.
5. `release` removes it: also what was made half-way, also a second time, also in another process that knows nothing but
   the journal's line. It removes only what bears the lease's token, so that what was made again under the same name by
   somebody else is safe from a run that woke up too late (the token is a fencing token in that sense).

Kinds are used from several threads at once. They know nothing of groups, plans, journals or one another.
"""

import hashlib
import os
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from harness.model import Noun, part_name

TERM = 120.0
"""Seconds for which a lease is good if nobody renews it. Its run renews it far more often, as long as it lives."""


class Lease(Noun, frozen=True):
    """One isolated thing, made for one group. All that is needed to remove it, and no secret."""

    token: str  # unique, 12 hexadecimal digits; stands on the thing itself wherever it can bear a mark
    entry: str  # [isolation.ENTRY]
    kind: str
    run_id: str
    group: str = ""  # empty: a sentinel, which nobody owns
    attempt: int = 0
    slot: int = 0
    worker: int = 0  # of pytest-xdist, from 0
    origin: str = ""  # where its entry led when it was made: see options.py
    part: str = ""  # of a splittable group: the file for which it was made
    kept: bool = False  # stays after its run has ended, because somebody wants to look at it
    services: tuple[str, ...] = ()  # of its run, on which it was made and with which it ends
    details: dict[str, str] = {}  # noqa: RUF012  # the kind's own: names, addresses

    @property
    def name(self) -> str:
        """Of the group or part for which it was made."""
        return part_name(self.group, self.part)


def new_token() -> str:
    return secrets.token_hex(6)


def project_id(project: Path) -> str:
    """What tells the labels of one project from those of another, on a server that both use: the hash of its path, so
    that a fresh checkout at the same place is the same project."""
    return hashlib.sha256(os.fsencode(project)).hexdigest()[:12]


class Made(NamedTuple):
    """What a lease hands to the tests."""

    variables: Mapping[str, str]
    roles: Mapping[str, str] = {}  # what a variable is for, as "dsn" -> "DATABASE_URL"
    secret: frozenset[str] = frozenset()  # variables whose values are secrets


class Capacity(NamedTuple):
    """How much there is of what leases of one entry use up."""

    free: int  # units: see planning/kinds.py
    said: str  # for people: "max_connections is 100, 37 are in use, 3 are kept for superusers"
    total: int | None = None  # with what other runs hold now and will give back; None: `free` is all there will be
    server: str = ""  # entries that say the same here use up the same thing; empty: this entry alone does


@dataclass(frozen=True)
class Context:
    """What a kind may know of the run that it works for."""

    project: Path
    project_id: str  # stands in the labels: `gc` of another project leaves them alone
    run_id: str
    variables: Mapping[str, str]  # of the run: the shell's, those of the env files, those of the plan
    stopping: threading.Event = field(default_factory=threading.Event)  # set: what is not made yet is not wanted now


class Kind(Protocol):
    """One entry of [isolation.NAME] at work. To be made with `(options, context)`, which connects to nothing yet.

    Every method raises InfrastructureError, whose message says what was tried, where, and what came back, and ends
    within a deadline of its own.
    """

    durable: bool
    """Whether its things can outlive this machine: then the journal's line about them must as well."""

    hidden: frozenset[str]
    """Variables of the run that no test may see."""

    wants_sentinel: bool
    """Whether `look` needs a lease that nobody owns."""

    def capacity(self) -> Capacity | None:
        """How many units there are for this run now; None: there is no bound. Asked once, before the first lease."""
        ...

    def plan(self, lease: Lease) -> Mapping[str, str]:
        """The details of a lease that is about to be made. Changes nothing anywhere."""
        ...

    def make(self, lease: Lease, learned: Callable[[Mapping[str, str]], None]) -> Made:
        """Makes it. If it raises, `release` is called with all that `learned` was told. What takes long looks at
        `Context.stopping`; a release never does."""
        ...

    def release(self, lease: Lease) -> None:
        """Removes all that bears the lease's token. No harm if there is nothing, or not everything, or no server."""
        ...

    def renew(self, lease: Lease) -> None:
        """Says on the thing itself that its run still lives, for another TERM; of a kept one, that it is to stay."""
        ...

    def expired(self) -> Sequence[Lease]:
        """Leases of this project that stand on the server by their own labels, and have not been renewed for a TERM."""
        ...

    def look(self, sentinel: Lease | None) -> Mapping[str, str]:
        """Everything there that belongs to no lease: what it is -> how it is, both for people ("table public.users" ->
        "12 rows, 8c1f"). Two looks that differ show that somebody touched what is not his. `sentinel`: a lease of
        nobody, which belongs to what is looked at. "" for how it is: that cannot be told now, so it is as before."""
        ...

    def leftovers(self, lease: Lease) -> Sequence[str]:
        """What the group left behind in what was its own though it has ended, as sessions that are still open."""
        ...

    def close(self) -> None:
        """Lets go of connections. Nothing is called after it."""
        ...


class BaseKind:
    """What a kind does where it has nothing of its own to do."""

    durable = True
    hidden: frozenset[str] = frozenset()
    wants_sentinel = False

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        self.options = options
        self.context = context

    def capacity(self) -> Capacity | None:
        return None

    def renew(self, lease: Lease) -> None:
        pass

    def expired(self) -> Sequence[Lease]:
        return ()

    def look(self, sentinel: Lease | None) -> Mapping[str, str]:
        return {}

    def leftovers(self, lease: Lease) -> Sequence[str]:
        return ()

    def close(self) -> None:
        pass
