"""Leases that are whole databases of a Redis server: a number for each, never shared and never wrapped round.

Who has number N stands in database 0, in the key `harness:lease:N`: its label (label.py). All runs, of whatever machine
or project, keep to that key, so database 0 is never handed out. A claim changes hands in one script on the server,
which compares before it sets. A number is free if nobody claims it, nothing is in it and nobody is connected to it; or,
when there is no such one, if its claim's label is over, and then it is emptied. Times are the server's, so that
the machines' clocks need not agree.

A test that says FLUSHALL removes claims. What this process holds it never takes twice, and `renew` claims it again;
that they were gone is told by the check (flushes.py). The claim of a kept lease is never over.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from harness import clock
from harness.errors import InfrastructureError
from harness.isolation.label import Label, label_of, read_label
from harness.isolation.lease import Capacity, Context, Lease, Made
from harness.isolation.redis.flushes import Flushes
from harness.isolation.redis.server import LEASES, Server, address, text

HOME = 0  # the database of the claims
WAIT = 30.0  # seconds in which another run may give a number back
_PAUSE = (0.1, 0.5)  # seconds between two looks, chosen at random so that waiting runs do not ask all at once
_MOST = 100_000  # databases that are counted

# The server's own count: CONFIG is forbidden by many hosts, and does not know that a cluster has only one.
_COUNT = """
local count = 0
while count < tonumber(ARGV[1]) and not redis.pcall('SELECT', count)['err'] do count = count + 1 end
return count
"""
# ARGV: key, number, the claim as it was seen, the label. If that stands there already, an answer was lost on the way.
_CLAIM = f"""
local claim = redis.call('GET', ARGV[1]) or ''
if claim == ARGV[4] then return 1 end
if claim ~= ARGV[3] then return 0 end
if claim == '' then
  redis.call('SELECT', ARGV[2])
  local size = redis.call('DBSIZE')
  redis.call('SELECT', {HOME})
  if size > 0 then return 0 end
end
redis.call('SET', ARGV[1], ARGV[4])
return 1
"""
# ARGV: key, how our claim begins, the label, whether to claim it if nobody does. Returns whose it is if it is not ours.
_RENEW = """
local claim = redis.call('GET', ARGV[1])
if not claim and ARGV[4] == '0' then return '' end
if claim and claim:sub(1, #ARGV[2]) ~= ARGV[2] then return claim end
redis.call('SET', ARGV[1], ARGV[3])
return ''
"""
# ARGV: key, number, how our claim begins, whether to give it back.
_EMPTY = f"""
local claim = redis.call('GET', ARGV[1])
if not claim or claim:sub(1, #ARGV[3]) ~= ARGV[3] then return 0 end
redis.call('SELECT', ARGV[2])
redis.call('FLUSHDB', 'ASYNC')
redis.call('SELECT', {HOME})
if ARGV[4] == '1' then redis.call('DEL', ARGV[1]) end
return 1
"""


class _Standing(NamedTuple):
    """How things are at one moment."""

    now: int  # the server's wall time
    free: list[tuple[int, str]]  # each with its claim: empty, or one that is over; those come last
    claims: dict[int, Label]
    leased: int  # by runs that live
    said: str


class Databases:
    """Numbers of one server. `numbers`: those that may be handed out; None: all but 0."""

    def __init__(self, server: Server, context: Context, options: Mapping[str, Any]) -> None:
        self._server = server
        self._context = context
        self._numbers: Sequence[int] | None = options["databases"]
        self._url: str = options["variable"]
        self._client = server.client(HOME)
        self.flushes = Flushes(self._client)
        self._held: dict[str, int] = {}  # by token; of this process
        self._lock = threading.Lock()

    @property
    def held(self) -> frozenset[int]:
        with self._lock:
            return frozenset(self._held.values())

    def capacity(self) -> Capacity:
        standing = self._look()
        some = f", databases {sorted(set(self._numbers))}" if self._numbers is not None else ""
        total = len(standing.free) + standing.leased
        return Capacity(len(standing.free), standing.said, total, server=f"redis {self._server.where}{some}")

    def plan(self, _lease: Lease) -> Mapping[str, str]:
        return {}

    def make(self, lease: Lease, learned: Callable[[Mapping[str, str]], None]) -> Made:
        deadline = clock.now() + WAIT
        while (number := self._claim(lease, standing := self._look())) is None:
            if clock.now() > deadline:
                raise InfrastructureError(
                    f"no database is free on the Redis at {self._server.where} after {WAIT:.0f} s: {standing.said}",
                    "Run fewer groups at once, start the server with more `--databases`, "
                    'or give each group a part of one: make = "prefix".',
                )
            if self._context.stopping.wait(random.uniform(*_PAUSE)):
                raise InfrastructureError(
                    f"no database was free on the Redis at {self._server.where}, and the run stops: {standing.said}"
                )
        self.flushes.watch(lease.token, _key(number))
        learned({"database": str(number)})
        secret = frozenset({self._url} if self._server.has_password else ())
        return Made({self._url: address(self._server.url, number)}, {"url": self._url}, secret)

    def release(self, lease: Lease) -> None:
        self.flushes.forget(lease.token)
        with self._lock:
            held = self._held.get(lease.token)
        if held is not None:  # a test may have flushed the claim away, and what it wrote afterwards is still ours
            self._renewed(lease, held, may_claim=True)
        for number in self._numbers_of(lease):
            if _is_of(self._client.execute_command("GET", _key(number)), lease):
                self._disconnect(number)
                self._ask(_EMPTY, _key(number), number, _ours(lease), 1)
        with self._lock:
            self._held.pop(lease.token, None)

    def renew(self, lease: Lease) -> None:
        """Raises InfrastructureError where somebody else has the number by now."""
        with self._lock:
            held = self._held.get(lease.token)
        self.flushes.count()
        for number in [held] if held is not None else self._numbers_of(lease):
            if other := self._renewed(lease, number, may_claim=held is not None):
                raise InfrastructureError(
                    f"database {number} of the Redis at {self._server.where}, which was leased to {lease.name}, "
                    f"belongs to somebody else by now ({other})",
                    "Its tests say FLUSHALL, or this machine slept for longer than a lease is good.",
                )

    def expired(self) -> Sequence[Lease]:
        standing = self._look()
        return [
            Lease(label.token, "redis", "redis", label.run_id, details={"database": str(number)})
            for number, label in standing.claims.items()
            if label.project_id == self._context.project_id and label.is_over(standing.now)
        ]

    def leftovers(self, lease: Lease) -> Sequence[str]:
        numbers = self._numbers_of(lease)
        return [
            f"{one['addr']} is still connected to database {one['db']}"
            for one in self._server.others(self._client)
            if int(one.get("db", HOME)) in numbers
        ]

    def close(self) -> None:
        self._client.close()

    def _claim(self, lease: Lease, standing: _Standing) -> int | None:
        """Takes one of the numbers that are free, and returns it; None: somebody else was faster, or none is."""
        label = str(label_of(lease, self._context, standing.now))
        for number, claim in standing.free:
            if not self._ask(_CLAIM, _key(number), number, claim, label):
                continue
            with self._lock:
                self._held[lease.token] = number
            if claim:  # a run died with it, and tests of that run may still be alive
                self._disconnect(number)
                self._ask(_EMPTY, _key(number), number, _ours(lease), 0)
            return number
        return None

    def _look(self) -> _Standing:
        count = self._ask(_COUNT, _MOST)
        usable = self._usable(count)
        with self._client.pipeline(transaction=False) as pipe:
            pipe.execute_command("TIME")
            pipe.execute_command("INFO", "keyspace")
            pipe.execute_command("MGET", *map(_key, usable))
            (now, _), sizes, claims = pipe.execute()
        filled = {int(name[2:]) for name in sizes if name[2:].isdigit()}
        filled |= {int(one.get("db", HOME)) for one in self._server.others(self._client)} | self.held
        found: dict[str, list[tuple[int, str]]] = {"free": [], "over": []}
        labels: dict[int, Label] = {}
        words: Counter[str] = Counter()
        for number, claim in zip(usable, map(text, claims), strict=True):
            label = read_label(claim)
            if label:
                labels[number] = label
            if label and label.is_over(now) and number not in self.held:
                found["over"].append((number, claim))
            elif label:
                mine = label.run_id == self._context.run_id and label.project_id == self._context.project_id
                words["leased by this run" if mine else "leased by other runs"] += 1
            elif claim or number in filled:
                words["in use by others"] += 1
            else:
                found["free"].append((number, ""))
        for some in found.values():
            random.shuffle(some)  # or all would try the same one first
        said = [f"{count} databases", *(f"{words[word]} {word}" for word in sorted(words)), "1 kept for the claims"]
        if self._numbers is not None:
            said.insert(1, f"{len(usable)} that `databases` names")
        free = found["free"] + found["over"]
        return _Standing(now, free, labels, len(usable) - len(free) - words["in use by others"], ", ".join(said))

    def _usable(self, count: int) -> list[int]:
        if count < 2:
            raise InfrastructureError(
                f"the Redis at {self._server.where} lets its user choose among {count} databases, and one is kept",
                'Start it with more `--databases`, or give each group a part of one: make = "prefix".',
            )
        if self._numbers is None:
            return list(range(HOME + 1, count))
        if beyond := [number for number in self._numbers if number >= count]:
            raise InfrastructureError(
                f"the Redis at {self._server.where} has no database {beyond[0]}: it has {count}, from 0",
                "Name others in `databases`, or start it with more `--databases`.",
            )
        return sorted(set(self._numbers) - {HOME})

    def _numbers_of(self, lease: Lease) -> list[int]:
        """The numbers that the lease may have: that which is known of it, or all that bear its token."""
        if known := lease.details.get("database"):
            return [int(known)]
        return [number for number, label in self._look().claims.items() if label.token == lease.token]

    def _renewed(self, lease: Lease, number: int, *, may_claim: bool) -> str:
        """Whose the number is, if it is not the lease's."""
        now, _ = self._client.execute_command("TIME")
        label = str(label_of(lease, self._context, now))
        return text(self._ask(_RENEW, _key(number), _ours(lease), label, int(may_claim)))

    def _disconnect(self, number: int) -> None:
        for one in self._server.others(self._client):
            if one.get("db") == str(number):
                self._client.execute_command("CLIENT KILL", "ID", one["id"])

    def _ask(self, script: str, *words: str | int) -> Any:
        return self._client.execute_command("EVAL", script, 0, *words)


def _key(number: int) -> str:
    return f"{LEASES}{number}"


def _ours(lease: Lease) -> str:
    """How a claim of the lease begins."""
    return f"harness lease={lease.token} "


def _is_of(claim: Any, lease: Lease) -> bool:
    return text(claim).startswith(_ours(lease))
