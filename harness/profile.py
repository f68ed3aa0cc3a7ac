"""CPU time and memory of whole process trees, learnt by looking at them now and then.

Protocol: `with SAMPLER.watching(pid) as tree:` around the life of a process that leads a session; then read `tree`. The
leader must not be reaped in there, so that its pid means nobody else. What the kernel tells of a reaped leader
(`wait4`) knows only descendants that were waited for, and the largest of them; a look at all that live knows the rest.
Both miss something, neither exaggerates CPU time, so the larger one is the better figure.

One thread serves the whole harness. It looks at all watched trees in one pass, every half a second, or as seldom as it
takes to cost no more than a hundredth of a core; it is blocked while nothing is watched, and what ends within
the first half second is never looked at.

A tree is all processes of the leader's session, and of sessions that descendants made for themselves, as long as one
look finds the maker's parent alive. A daemon that has cut both ties within one interval is missed. Pages that
processes share count for each of them.

It must not judge what it sees, or keep a process alive.
"""

import contextlib
import os
import resource
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness import threads
from harness.errors import InfrastructureError

if TYPE_CHECKING:
    import psutil

INTERVAL = 0.5  # seconds
SHARE = 0.01  # of a core that looking may cost at most
_MEMORY_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss

Identity = tuple[int, float]  # pid and time of birth: pids are used again


@dataclass(slots=True)
class Tree:
    """What was seen of the processes below one leader."""

    since: float  # monotonic
    peak_memory: int = 0  # bytes: the most that those alive at one look held together
    _cpu: dict[Identity, float] = field(default_factory=dict)  # as last seen, also of those that are gone

    @property
    def cpu_seconds(self) -> float:
        """User and system time of every process that was ever seen."""
        return sum(self._cpu.values())

    def add(self, look: "list[Seen]") -> None:
        """What one look has found."""
        self._cpu.update((seen.identity, seen.cpu_seconds) for seen in look)
        self.peak_memory = max(self.peak_memory, sum(seen.memory for seen in look))


@dataclass(frozen=True, slots=True)
class Seen:
    """One process at one moment."""

    identity: Identity
    cpu_seconds: float
    memory: int  # resident bytes


class Sampler:
    """Looks at the trees that are being watched. Thread-safe; its thread starts with the first of them."""

    def __init__(self, interval: float = INTERVAL) -> None:
        """`interval`: seconds between two looks, at the least."""
        self._interval = interval
        self._changed = threading.Condition()
        self._trees: dict[int, Tree] = {}  # by leader, in the order in which they came
        self._thread: threading.Thread | None = None
        self._asleep = False  # its thread waits until something is watched; else it looks by itself when it is time to
        self._sessions = Sessions()

    @contextlib.contextmanager
    def watching(self, leader: int) -> Iterator[Tree]:
        """Look at the tree of `leader` until the end of the block; after it the tree no longer changes."""
        tree = Tree(since=time.monotonic())
        with self._changed:
            self._trees[leader] = tree
            if self._thread is None:
                # Where there can be none, the kernel's figures have to do.
                with contextlib.suppress(InfrastructureError):
                    self._thread = threads.start(self._work, name="profile")
            elif self._asleep:
                self._asleep = False
                self._changed.notify()
        try:
            yield tree
        finally:
            with self._changed:
                del self._trees[leader]

    def look(self) -> float:
        """One pass over all processes. Returns what it cost, in CPU seconds."""
        import psutil  # noqa: F401  (to load it is no part of the cost)

        began = time.thread_time()
        with self._changed:
            trees = dict(self._trees)
        found = self._sessions.look(trees.keys())
        with self._changed:
            for leader, tree in trees.items():
                # One that is no longer watched may have been reaped meanwhile, and its number be another's.
                if self._trees.get(leader) is tree:
                    tree.add(found.get(leader, []))
        return time.thread_time() - began

    def _work(self) -> None:
        pause_ends = 0.0
        while True:
            self._wait_until_due(pause_ends)
            cost = self.look()
            pause_ends = time.monotonic() + max(self._interval, cost / SHARE)

    def _wait_until_due(self, pause_ends: float) -> None:
        """Until the pause is over and the oldest tree has lived for an interval."""
        with self._changed:
            while True:
                oldest = next(iter(self._trees.values()), None)
                if oldest is None:
                    self._asleep = True
                    self._changed.wait()
                    continue
                left = max(pause_ends, oldest.since + self._interval) - time.monotonic()
                if left <= 0:
                    return
                self._changed.wait(left)


class Sessions:
    """Which session belongs to which leader. Not thread-safe.

    Membership is told by sessions, because to ask for one costs a hundredth of reading a process: only a session that
    was never seen before is traced to its parent, and only members are read.
    """

    def __init__(self) -> None:
        self._owners: dict[int, int | None] = {}  # of sessions other than the leaders' own; None: not ours
        self._leaders: frozenset[int] = frozenset()

    def look(self, leaders: Collection[int]) -> dict[int, list[Seen]]:
        """The living processes of each leader's tree, without those that go in mid-pass or that may not be read."""
        import psutil

        sessions: dict[int, int] = {}
        for pid in psutil.pids():
            with contextlib.suppress(OSError):
                sessions[pid] = os.getsid(pid)
        self._forget(sessions, frozenset(leaders))
        found: defaultdict[int, list[Seen]] = defaultdict(list)
        for pid, session in sessions.items():
            owner = self._owner(session, sessions)
            if owner is not None:
                with contextlib.suppress(psutil.Error, OSError):
                    found[owner].append(_seen(psutil.Process(pid)))
        return found

    def _forget(self, sessions: Mapping[int, int], leaders: frozenset[int]) -> None:
        """What is known of sessions that are gone; and, with a new leader, that others are not ours."""
        alive = set(sessions.values())
        known = self._owners.items()
        keep_strangers = leaders <= self._leaders
        self._owners = {
            session: owner
            for session, owner in known
            if session in alive and (keep_strangers if owner is None else owner in leaders)
        }
        self._leaders = leaders

    def _owner(self, session: int, sessions: Mapping[int, int]) -> int | None:
        if session in self._leaders:
            return session
        if session not in self._owners:
            self._owners[session] = None  # for now: ends a circle, which pids that are used again could make
            parent = sessions.get(_parent(session))
            if parent is not None:
                self._owners[session] = self._owner(parent, sessions)
        return self._owners[session]


def _parent(pid: int) -> int:
    """-1 where there is none to be known."""
    import psutil

    try:
        return psutil.Process(pid).ppid()
    except (psutil.Error, OSError):
        return -1


def _seen(process: "psutil.Process") -> Seen:
    with process.oneshot():
        times = process.cpu_times()
        return Seen((process.pid, process.create_time()), times.user + times.system, process.memory_info().rss)


SAMPLER = Sampler()


def told_peak(usage: resource.struct_rusage) -> int:
    """The kernel's figure of a process that has ended, in bytes.

    0 where it may be the harness's own, with which every process starts.
    """
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage.ru_maxrss * _MEMORY_UNIT if usage.ru_maxrss > own else 0
