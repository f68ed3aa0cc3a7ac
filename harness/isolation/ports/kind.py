"""The kind `ports`: free TCP ports, one a variable, that no other lease of any run gets meanwhile (claims.py).

A claim ends with the process that made it, so another process has nothing to release. What a group leaves listening is
told, and not ended.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

from harness import clock
from harness.errors import InfrastructureError
from harness.isolation.lease import BaseKind, Capacity, Context, Lease, Made
from harness.isolation.ports.claims import (
    Claim,
    candidates,
    claim_free,
    claimed,
    claims_directory,
    held_ports,
    is_free,
    release_claim,
)
from harness.process.bearers import listeners

_MOMENT = 0.2  # seconds in which a server that was killed closes its port


class Ports(BaseKind):
    """Leases of as many ports as there are variables."""

    durable = False

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        super().__init__(options, context)
        self._variables: Sequence[str] = options["variables"]
        self._claims: dict[str, list[Claim]] = {}  # by token
        self._lock = threading.Lock()

    def capacity(self) -> Capacity:
        """How many ports nobody holds or has claimed. Raises InfrastructureError."""
        every = set(self._candidates)
        held = held_ports() & every
        others = claimed(claims_directory()) & every - held
        free = len(self._candidates) - len(held) - len(others)
        said = f"there are {len(self._candidates)} ports in {_spans(self._candidates)}, {len(held)} are in use"
        return Capacity(free, f"{said}, {len(others)} are leased", total=free + len(others), server="ports")

    def plan(self, lease: Lease) -> Mapping[str, str]:
        """Nothing yet: a port is chosen and claimed in one step."""
        return {}

    def make(self, lease: Lease, learned: Callable[[Mapping[str, str]], None]) -> Made:
        """Claims them, and tells their numbers. Raises InfrastructureError where too few are free."""
        claims: list[Claim] = []
        with self._lock:
            self._claims[lease.token] = claims
        # One by one, so that `release` knows of those before the one that could not be claimed.
        for claim in islice(claim_free(self._candidates, claims_directory()), len(self._variables)):
            claims.append(claim)
        if len(claims) < len(self._variables):
            raise InfrastructureError(
                f"no free port for ${self._variables[len(claims)]}: {self.capacity().said}",
                "Run fewer groups at a time, or end what holds them (`ss -tan` shows them).",
            )
        variables = {name: str(claim.port) for name, claim in zip(self._variables, claims, strict=True)}
        learned(variables)
        return Made(variables, {"port": self._variables[0]} if self._variables else {})

    def release(self, lease: Lease) -> None:
        with self._lock:
            claims = self._claims.pop(lease.token, [])
        for claim in claims:
            release_claim(claim)

    def leftovers(self, lease: Lease) -> Sequence[str]:
        """The ports on which somebody still listens a moment later, and who: "port 20123 is still listened on by …"."""
        with self._lock:
            ports = {claim.port for claim in self._claims.get(lease.token, ())}
        limit = clock.now() + _MOMENT
        while held := {port for port in ports if not is_free(port, despite_old=True)}:
            if clock.now() >= limit:
                owners = listeners(held)
                return [f"port {port} is still listened on by {owners.get(port, 'somebody')}" for port in sorted(held)]
            time.sleep(_MOMENT / 20)
        return ()

    def close(self) -> None:
        with self._lock:
            claims = [claim for of_lease in self._claims.values() for claim in of_lease]
            self._claims.clear()
        for claim in claims:
            release_claim(claim)

    @cached_property
    def _candidates(self) -> Sequence[int]:
        return candidates()


def _spans(ports: Sequence[int]) -> str:
    """Ascending numbers as "20000-32767, 61000-65535"."""
    spans: list[list[int]] = []
    for port in ports:
        if spans and port == spans[-1][1] + 1:
            spans[-1][1] = port
        else:
            spans.append([port, port])
    return ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in spans)
