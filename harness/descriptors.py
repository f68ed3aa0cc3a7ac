"""How many groups at a time the limit of open files (`ulimit -n`) has room for.

Counted is the most that an attempt may hold at one moment, which is while its process starts; that all start at once
happens at the beginning of a run. The limit itself stays as it is: tests inherit it, and some count on it.
"""

import resource
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from harness.errors import InfrastructureError
from harness.model import Group
from harness.scheduling.parts import parts_of

# The journals, the main log, what wakes the loop (2), where processes meet, a report and a look at /proc under way.
_RUN = 14
_SERVICE = 2  # its end, and a question whether it is ready
_PARENT = 7  # a warm pytest that starts
_START = 7  # an attempt: its log, its output (2), what wakes it (2), and by which Popen hears of a failure (2)
_EVENTS = 2  # of a pytest
_LEASE = 2  # a session, a lock, at each worker
_MEETING = 2  # the lock of a command that a test may have to wait for


class Room(NamedTuple):
    jobs: int  # groups at a time
    warning: str = ""  # why they are fewer than was asked for


def room_for(groups: Iterable[Group], jobs: int, services: int) -> Room:
    """For so many of these groups at a time, beside so many services.

    Raises InfrastructureError where there is none for even one.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return Room(jobs)
    parts = [part for group in groups for part in parts_of(group)]
    has_tests = any(part.tests for part in parts)
    needs = sorted((_most(part, has_tests) for part in parts), reverse=True)[:jobs]
    free = limit - _held() - _RUN - _SERVICE * services - (_PARENT if has_tests else 0)
    fitting = sum(total <= free for total in accumulate(needs))
    if fitting == len(needs):
        return Room(jobs)
    cure = f"Raise it: `ulimit -n {limit - free + sum(needs)}` has room for {len(needs)} at a time"
    allows = f"`ulimit -n` allows {limit} open files"
    if not fitting:
        raise InfrastructureError(f"{allows}, and a run of these groups needs {limit - free + needs[0]}", f"{cure}.")
    return Room(fitting, f"{allows}: groups run {fitting} at a time, and not {jobs}. {cure}")


def _most(group: Group, has_tests: bool) -> int:
    leases = _LEASE * len(group.isolate) * max(group.workers, 1)
    return _START + leases + (_EVENTS if group.tests else _MEETING if has_tests else 0)


def _held() -> int:
    """Open in this process now."""
    for directory in (Path("/proc/self/fd"), Path("/dev/fd")):
        if directory.is_dir():
            return sum(1 for _ in directory.iterdir()) - 1  # without that of the listing
    return 16
