"""Budgets: so many requests at the same time, so many in any window of time, over all processes of a machine.

    budget = Budget.open(directory, "payments_api")
    with budget.hold():
        requests.get(…)

Protocol: a budget is a directory, made by `write_spec`, and all that is known of it lies in its files.

- `spec.json`: its bounds. The other files are made for these bounds, so that others begin anew.
- `places-N/`: one lock file for each of N requests at the same time (locks.py).
- `grants-N-WINDOW`: the number of the oldest entry, then a ring of the moments of the last N grants (doubles, of the
  clock that is one for all processes). A request is granted one window after the oldest grant, and takes its entry: as
  long as two moments in one entry are a window apart, no window holds more than N. This is the sliding log of a rate
  limiter.

Who asks reserves the next moment, under a lock that is held for microseconds, and sleeps until it is there: first come,
first served, and nobody asks twice. Moments further ahead than HORIZON are not reserved but asked for again, so that
what a killed process had reserved is lost for HORIZON at the most. A moment in the file that is further ahead is of a
time before the machine was started anew, and counts for nothing.

Runs under the users' interpreter: the standard library only, Python 3.8 or later.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import tempfile
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from types import TracebackType

from .locks import Lock, take_place

DIRECTORY = ".harness/budgets"
"""Where the budgets of a project are, relative to harness.toml."""

HORIZON = 1.0
"""Seconds ahead for which a request may be reserved."""

MARGIN = 0.02
"""By how much longer a window is kept than it is: who sleeps wakes up a little late, and the next one perhaps not."""

_INDEX = struct.Struct("<Q")
_MOMENT = struct.Struct("<d")
_UNSAFE = re.compile(r"[^a-z0-9]+")


class BudgetError(Exception):
    """A budget that cannot be used. The message says which, why and what to do."""


class UnknownBudget(BudgetError):
    """There is no budget of that name."""


class BudgetTimeout(BudgetError, TimeoutError):
    """No request was free in time."""


def write_spec(
    directory: str | os.PathLike[str], name: str, concurrent: int | None, requests: int | None, window: float
) -> None:
    """Declares a budget: `concurrent` requests at the same time, `requests` in any `window` seconds; None: no bound.

    Whoever opens it finds the old bounds or the new ones. What has been granted under the same bounds still counts.
    Raises OSError.
    """
    spec = {"name": name, "concurrent": concurrent, "requests": requests, "window": float(window)}
    data = json.dumps(spec).encode()
    path = Path(directory, file_name(name), "spec.json")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists() and path.read_bytes() == data:
        return
    handle, temporary = tempfile.mkstemp(prefix=".spec.", dir=str(path.parent))
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def file_name(name: str) -> str:
    """What the directory of a budget is called: safe and short, whatever the name, and no two names share one."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return "{}-{}".format(_UNSAFE.sub("_", name.lower())[:40].strip("_"), digest)


def known(directory: str | os.PathLike[str]) -> list[str]:
    """The names of the budgets that are declared in a directory, sorted."""
    return sorted(str(_read(path)["name"]) for path in Path(directory).glob("*/spec.json"))


def _read(path: Path) -> dict[str, object]:
    try:
        spec = json.loads(path.read_bytes())
        if isinstance(spec, dict) and spec.keys() >= {"name", "concurrent", "requests", "window"}:
            return spec
    except ValueError:
        pass
    raise BudgetError(f"{path} is damaged: remove its directory and run the harness again")


class Budget:
    """One budget, seen from this process. Cheap to open, and usable from any thread and after a fork."""

    def __init__(self, directory: Path, name: str, concurrent: int | None, requests: int | None, window: float) -> None:
        self.directory = directory
        self.name = name
        self.concurrent = concurrent
        self.requests = requests
        self.window = window

    @classmethod
    def open(cls, directory: str | os.PathLike[str], name: str) -> Budget:
        """The budget of that name in a directory. Raises UnknownBudget, and BudgetError where it cannot be read."""
        home = Path(directory, file_name(name))
        try:
            spec = _read(home / "spec.json")
        except FileNotFoundError:
            names = ", ".join(known(directory)) or "none"
            raise UnknownBudget(f'there is no budget "{name}" in {directory} (there are: {names})') from None
        except OSError as error:
            raise BudgetError(f"cannot read the budget {name}: {error}") from error
        return cls(home, name, spec["concurrent"], spec["requests"], spec["window"])  # type: ignore[arg-type]

    def hold(self, timeout: float | None = None) -> Hold:
        """Takes one request, to be used once: `with budget.hold():`, or `async with` where an event loop runs.

        What `with` gives is the moment of the grant, in seconds of time.monotonic(). `timeout` is in seconds; without
        it, waits as long as it takes. The `with` raises BudgetTimeout, as soon as it is certain, and BudgetError where
        the files cannot be used.
        """
        return Hold(self, timeout)

    def __str__(self) -> str:
        bounds = []
        if self.concurrent is not None:
            bounds.append(f"{self.concurrent} at the same time")
        if self.requests is not None:
            bounds.append(f"{self.requests} in {self.window:g} s")
        return 'budget "{}" ({})'.format(self.name, ", ".join(bounds))


class Hold:
    """One request. The place comes first, and then the grant: that must be fresh when the request goes out."""

    def __init__(self, budget: Budget, timeout: float | None) -> None:
        self._budget = budget
        self._timeout = timeout
        self._place: Lock | None = None
        self._granted = 0.0

    def __enter__(self) -> float:
        with closing(self._steps(blocking=self._timeout is None)) as steps:
            for pause in steps:
                time.sleep(pause)
        return self._granted

    async def __aenter__(self) -> float:
        import asyncio  # slow to load, and there already where this is called

        with closing(self._steps(blocking=False)) as steps:
            for pause in steps:
                await asyncio.sleep(pause)
        return self._granted

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._place:
            self._place.close()
            self._place = None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def pass_on(self) -> None:
        """Inside the `with`: what this process becomes by exec holds the request, until it and its children end."""
        if self._place:
            self._place.pass_on()

    def _steps(self, *, blocking: bool) -> Generator[float, None, None]:
        """All that has to be done, with the seconds to sleep in between."""
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        try:
            if self._budget.concurrent is not None:
                self._place = yield from self._take_place(self._budget.concurrent, deadline, blocking)
            if self._budget.requests is not None:
                yield from self._wait_for_grant(self._budget.requests, deadline)
            else:
                self._granted = time.monotonic()
        except BaseException as error:  # also an interrupt, or a cancelled task, while it slept
            self.__exit__(None, None, None)
            if isinstance(error, (OSError, NotImplementedError)) and not isinstance(error, BudgetError):
                raise BudgetError(f"cannot use the {self._budget}: {error}") from error
            raise

    def _take_place(self, count: int, deadline: float | None, blocking: bool) -> Generator[float, None, Lock]:
        home = self._budget.directory / f"places-{count}"
        home.mkdir(mode=0o700, exist_ok=True)
        with closing(take_place(home, count, blocking=blocking)) as steps:
            while True:
                try:
                    pause = next(steps)
                except StopIteration as stop:
                    place: Lock = stop.value
                    return place
                if deadline is not None and time.monotonic() >= deadline:
                    raise self._too_late()
                yield pause

    def _wait_for_grant(self, requests: int, deadline: float | None) -> Generator[float, None, None]:
        ring = Lock(self._budget.directory / f"grants-{requests}-{self._budget.window}")
        spacing = self._budget.window * (1 + MARGIN)
        try:
            while True:
                ring.take()
                try:
                    now = time.monotonic()
                    moment = _next_moment(ring.descriptor, requests, spacing, now)
                    # Later ones only get later, so there is nothing to wait for.
                    if deadline is not None and moment > deadline and moment > now:
                        raise self._too_late()
                    is_near = moment <= now + HORIZON
                    if is_near:
                        _grant(ring.descriptor, requests, moment)
                finally:
                    ring.let_go()
                if is_near:
                    break
                yield moment - HORIZON - now
        finally:
            ring.close()
        self._granted = moment
        while (left := moment - time.monotonic()) > 0:
            yield left

    def _too_late(self) -> BudgetTimeout:
        return BudgetTimeout(f"no request of the {self._budget} was free within {self._timeout or 0.0:g} s")


def _oldest(ring: int, requests: int) -> int:
    index = os.pread(ring, _INDEX.size, 0)
    return int(_INDEX.unpack(index)[0]) % requests if len(index) == _INDEX.size else 0


def _next_moment(ring: int, requests: int, spacing: float, now: float) -> float:
    """When the next request may go out: now, or later."""
    data = os.pread(ring, _MOMENT.size, _INDEX.size + _MOMENT.size * _oldest(ring, requests))
    last = _MOMENT.unpack(data)[0] if len(data) == _MOMENT.size else 0.0
    return max(now, last + spacing) if 0 < last <= now + HORIZON else now


def _grant(ring: int, requests: int, moment: float) -> None:
    """Whoever is killed between the two has skipped an entry, which costs one request once and grants none too many."""
    index = _oldest(ring, requests)
    os.pwrite(ring, _INDEX.pack((index + 1) % requests), 0)
    os.pwrite(ring, _MOMENT.pack(moment), _INDEX.size + _MOMENT.size * index)
