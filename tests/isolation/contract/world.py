"""What the contract knows of a kind: how to make it, how to use a lease of it, and how to list all that is there."""

import abc
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import msgspec

from harness.isolation import kind_of
from harness.isolation.label import Label
from harness.isolation.lease import TERM, Context, Kind, Lease, Made, new_token
from harness.model import Isolation
from harness.planning.compound import Row
from harness.planning.kinds import ISOLATION
from harness.planning.problems import Problems

PROJECT_ID, OTHER_PROJECT_ID = "0123456789ab", "ba9876543210"
RUN, OTHER_RUN = "20260101_000000", "20260102_000000"


@dataclass(frozen=True)
class Place:
    """Where a world is. It travels to other processes as JSON."""

    project: str  # a directory
    home: str  # a directory for temporary files, with a short path
    address: str = ""  # of the server

    def over(self, port: int) -> "Place":
        """The same server, by way of another port."""
        there = urlsplit(self.address)
        return replace(self, address=self.address.replace(f":{there.port}", f":{port}", 1))

    @property
    def port(self) -> int:
        return urlsplit(self.address).port or 0

    def to_json(self) -> dict[str, str]:
        return asdict(self)


class World(abc.ABC):
    """One kind in one of its modes."""

    kind: ClassVar[str]
    server: ClassVar[str] = ""  # which one the test has to run; empty: this machine is enough
    roles: ClassVar[frozenset[str]] = frozenset()
    labelled: ClassVar[bool] = False  # whether its things bear labels
    hows: ClassVar[tuple[str, ...]] = ("before", "after")  # the ways in which its wire is broken
    key_variable: ClassVar[str] = ""

    def __init__(self, place: Place) -> None:
        self.place = place

    @abc.abstractmethod
    def keys(self) -> dict[str, Any]:
        """The entry of the plan, without `kind`."""

    @abc.abstractmethod
    def inventory(self) -> frozenset[str]:
        """All that is there, whoever made it."""

    @abc.abstractmethod
    def use(self, variables: Mapping[str, str]) -> None:
        """Connects, writes and reads, with these variables alone."""

    @abc.abstractmethod
    def exclusive(self, variables: Mapping[str, str]) -> frozenset[str]:
        """What no other living lease may have been given."""

    @abc.abstractmethod
    def plant(self) -> None:
        """Things of similar names that no lease of this run made: without a label, and with those of others."""

    @abc.abstractmethod
    def damages(self, lease: Lease, made: Made) -> list[Callable[[], object]]:
        """Ways to lose a part of a lease."""

    def settle(self) -> None:  # noqa: B027
        """Returns when nothing that a killed process began is still under way."""

    def variables(self) -> dict[str, str]:
        """Those of the run."""
        return {"PATH": os.environ["PATH"], "TMPDIR": self.place.home}

    def make_kind(self, run_id: str = RUN, project_id: str = PROJECT_ID) -> Kind:
        """The kind as a run would have it: the keys checked as a plan's are."""
        problems = Problems()
        row = plain(ISOLATION.read({"kind": self.kind, **self.keys()}, ("isolation", "entry"), problems))
        assert not problems.found
        options = {key: value for key, value in row.items() if key not in ("kind", "reuse", "check")}
        context = Context(Path(self.place.project), project_id, run_id, self.variables())
        return kind_of(Isolation(name="entry", kind=self.kind, options=options), context, {})  # type: ignore[arg-type]

    def new_lease(self, run_id: str = RUN, group: str = "Some group/ä", number: int = 0) -> Lease:
        return Lease(
            token=new_token(), entry="entry", kind=self.kind, run_id=run_id, group=group, attempt=1, slot=number
        )


def plain(value: Any) -> Any:
    return {key: plain(item) for key, item in value.items()} if isinstance(value, Row | dict) else value


def lease_with(kind: Kind, lease: Lease) -> Lease:
    """The lease with what is planned for it, as it is journalled."""
    return msgspec.structs.replace(lease, details=dict(kind.plan(lease)))


def make(kind: Kind, lease: Lease) -> tuple[Lease, Made]:
    """Plans and makes a lease."""
    return finish(kind, lease_with(kind, lease), lambda _token, _details: None)


def finish(kind: Kind, lease: Lease, learned: Callable[[str, Mapping[str, str]], object]) -> tuple[Lease, Made]:
    """Makes what was planned, as the manager does: what `make` learned stands in the lease, also if it failed."""
    known = dict(lease.details)

    def hear(details: Mapping[str, str]) -> None:
        known.update(details)
        learned(lease.token, details)

    try:
        made = kind.make(lease, hear)
    except BaseException:
        kind.release(msgspec.structs.replace(lease, details=known))
        raise
    return msgspec.structs.replace(lease, details=known), made


def label(project_id: str, run_id: str, seconds: float) -> Label:
    """A label of somebody, good for so many seconds."""
    return Label(new_token(), run_id, project_id, int(time.time() + seconds))


def foreign_labels() -> list[str]:
    """What stands on things that a sweep of this project must leave alone: none, and others'."""
    return ["", str(label(OTHER_PROJECT_ID, OTHER_RUN, -9 * TERM)), str(label(PROJECT_ID, OTHER_RUN, TERM))]
