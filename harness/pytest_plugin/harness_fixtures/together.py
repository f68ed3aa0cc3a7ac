"""What happens when several do the same at once: `race`, `load`; and waiting for it: `eventually`, `retry_on_conflict`.

Each call runs in a thread of its own, and all are let go by one barrier, so that they meet in the service under test
and not in the loop that starts them.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    Errors = type[BaseException] | tuple[type[BaseException], ...]

T = TypeVar("T")

_ROWS = 20  # of a table in a failure
_WIDTH = 160  # characters of a value in a failure


class Outcome:
    """What became of one call: its `value` or its `error`, and its `seconds`."""

    def __init__(self, number: int, call: Callable[[], object]) -> None:
        self.number = number
        self._call = call
        self.value: Any = None
        self.error: BaseException | None = None
        self.seconds = math.nan

    def run(self) -> None:
        began = time.perf_counter()
        try:
            self.value = self._call()
        except BaseException as error:  # also pytest.fail and SystemExit: whatever it is, the test is to see it
            self.error = error
        self.seconds = time.perf_counter() - began

    @property
    def is_over(self) -> bool:
        return not math.isnan(self.seconds)

    def __str__(self) -> str:
        if not self.is_over:
            return f"{self.number:>4}            ?  has not ended"
        what = f"returned {_short(self.value)}" if self.error is None else f"raised {_said(self.error)}"
        return f"{self.number:>4}  {self.seconds * 1000:>8.1f} ms  {what}"


class Race:
    """What became of the calls of a race."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes = list(outcomes)
        """One for each call, in the order in which they were given."""

    @property
    def succeeded(self) -> list[Any]:
        """What those that raised nothing have returned."""
        return [outcome.value for outcome in self.outcomes if outcome.error is None]

    @property
    def errors(self) -> list[BaseException]:
        """What the others have raised."""
        return [outcome.error for outcome in self.outcomes if outcome.error is not None]

    def __str__(self) -> str:
        return _table(self.outcomes)

    def expect(self, successes: int = 1, errors: Errors | Callable[[BaseException], object] = Exception) -> None:
        """Fails the test unless so many succeeded and each of the others raised what was expected.

        `errors`: an exception type, several as a tuple, or a function that says whether an exception is the right one.
        """
        __tracebackhide__ = True
        is_right = _judge(errors)
        wrong = [error for error in self.errors if not is_right(error)]
        problems = []
        if len(self.succeeded) != successes:
            problems.append(f"{successes} of {len(self.outcomes)} should have succeeded, {len(self.succeeded)} did")
        if wrong:
            problems.append(f"{len(wrong)} failed otherwise than expected, the first with {_said(wrong[0])}")
        if problems:
            pytest.fail("race: " + "; ".join(problems) + "\n" + str(self))


class Load:
    """What became of the calls of a load."""

    def __init__(self, outcomes: Sequence[Outcome], seconds: float) -> None:
        self.outcomes = list(outcomes)
        self.seconds = seconds
        """From the first call's start to the last one's end."""

    @property
    def latencies(self) -> list[float]:
        """Seconds that each call took, the shortest first."""
        return sorted(outcome.seconds for outcome in self.outcomes)

    @property
    def errors(self) -> list[BaseException]:
        return [outcome.error for outcome in self.outcomes if outcome.error is not None]

    @property
    def succeeded(self) -> list[Any]:
        return [outcome.value for outcome in self.outcomes if outcome.error is None]

    @property
    def throughput(self) -> float:
        """Calls a second, successful or not."""
        return len(self.outcomes) / self.seconds if self.seconds else math.inf

    def percentile(self, percent: float) -> float:
        """The seconds within which `percent` of the calls ended (nearest rank): one that was really measured."""
        if not 0 < percent <= 100:
            raise ValueError(f"a percentile is above 0 and at most 100, not {percent}")
        latencies = self.latencies
        return latencies[math.ceil(percent / 100 * len(latencies)) - 1]

    def __str__(self) -> str:
        marks = ", ".join(f"p{percent} {self.percentile(percent) * 1000:.1f} ms" for percent in (50, 95, 99))
        return f"{len(self.outcomes)} calls, {len(self.errors)} errors, {self.throughput:.1f} a second, {marks}"

    def expect(
        self, errors: int = 0, p50: float | None = None, p95: float | None = None, p99: float | None = None
    ) -> None:
        """Fails the test if more calls raised than `errors`, or a percentile is above so many seconds."""
        __tracebackhide__ = True
        problems = []
        if len(self.errors) > errors:
            problems.append(f"{len(self.errors)} calls raised, {errors} may")
        for percent, bound in ((50, p50), (95, p95), (99, p99)):
            if bound is not None and self.percentile(percent) > bound:
                took = self.percentile(percent) * 1000
                problems.append(f"p{percent} is {took:.1f} ms, {bound * 1000:g} ms may be")
        if problems:
            failed = [outcome for outcome in self.outcomes if outcome.error is not None]
            shown = failed or sorted(self.outcomes, key=lambda outcome: -outcome.seconds)
            pytest.fail(f"load: {'; '.join(problems)}\n{self}\n{_table(shown)}")


def run_race(*calls: Callable[[], Any], n: int | None = None, within: float = 60.0) -> Race:
    """Calls all at the same moment, each in a thread of its own; one callable with `n`: that one n times.

    Fails the test when they have not all ended `within` so many seconds.
    """
    __tracebackhide__ = True
    if not calls or (n is not None and len(calls) != 1) or (n is None and len(calls) == 1):
        raise TypeError("race takes several callables, as race(buy, sell); or one and how often: race(buy, n=5)")
    every = list(calls) if n is None else [calls[0]] * n
    outcomes, _ = _run(every, len(every), within)
    return Race(outcomes)


def run_load(call: Callable[[], Any], n: int = 100, concurrency: int | None = None, within: float = 60.0) -> Load:
    """Calls it `n` times, never more than `concurrency` at a time; without it, all at once.

    Fails the test when they have not all ended `within` so many seconds.
    """
    __tracebackhide__ = True
    if n < 1 or (concurrency is not None and concurrency < 1):
        raise ValueError("load takes at least one call, and at least one at a time")
    outcomes, seconds = _run([call] * n, min(concurrency or n, n), within)
    return Load(outcomes, seconds)


def _run(calls: Sequence[Callable[[], Any]], threads: int, within: float) -> tuple[list[Outcome], float]:
    __tracebackhide__ = True
    outcomes = [Outcome(number, call) for number, call in enumerate(calls, start=1)]
    work = iter(outcomes)
    taking = threading.Lock()
    barrier = threading.Barrier(threads + 1)

    def runner() -> None:
        barrier.wait()
        while True:
            with taking:
                outcome = next(work, None)
            if outcome is None:
                return
            outcome.run()

    # Daemons: one that hangs must not keep the process from its end.
    crew = [threading.Thread(target=runner, daemon=True, name=f"together-{number}") for number in range(threads)]
    for thread in crew:
        thread.start()
    barrier.wait()
    began = time.perf_counter()
    for thread in crew:
        thread.join(max(0.0, began + within - time.perf_counter()))
    if any(thread.is_alive() for thread in crew):
        late = [outcome for outcome in outcomes if not outcome.is_over]
        pytest.fail(f"{len(late)} of {len(calls)} calls have not ended within {within:g} s\n{_table(outcomes)}")
    return outcomes, time.perf_counter() - began


def wait_until(
    read: Callable[[], T],
    accept: Callable[[T], object] = bool,
    within: float = 10.0,
    every: float = 0.05,
    ignoring: Errors = (),
) -> T:
    """Calls `read` until `accept` says yes to what it returns, and returns that.

    It reads every `every` seconds, and fails the test when nothing was accepted `within` so many. Exceptions of `read`
    end it, but for those of the types `ignoring`, which count as not yet.
    """
    __tracebackhide__ = True
    began = time.monotonic()
    tries = 0
    while True:
        over = time.monotonic() - began >= within  # asked before reading, so that the last look is never too early
        tries += 1
        try:
            value = read()
            if accept(value):
                return value
            seen = _short(value)
        except ignoring as error:
            seen = f"raised {_said(error)}"
        if over:
            times = "once" if tries == 1 else f"{tries} times"
            pytest.fail(f"it did not come within {within:g} s; looked {times}, last seen: {seen}")
        time.sleep(max(0.0, min(every, began + within - time.monotonic())))


def retry(fn: Callable[[], T], times: int = 3, on: Errors = ()) -> T:
    """Calls `fn` again while its answer is a conflict, at most `times` in all, and returns its last answer.

    A conflict is a response with status 409, an exception that carries one, or an exception of the types `on`; the
    last one is raised. Between two calls it waits longer each time, and never exactly as long as another one.
    """
    for attempt in range(times - 1):
        try:
            answer = fn()
        except Exception as error:  # whatever carries a 409: every HTTP library has its own
            if not (isinstance(error, on) or _is_conflict(error) or _is_conflict(getattr(error, "response", None))):
                raise
        else:
            if not _is_conflict(answer):
                return answer
        time.sleep(0.1 * 2**attempt * random.uniform(0.5, 1.0))
    return fn()


def _is_conflict(answer: object) -> bool:
    """Of requests and httpx `status_code`; of aiohttp and urllib `status`; of urllib's exceptions `code`."""
    return any(getattr(answer, name, None) == 409 for name in ("status_code", "status", "code"))


def _judge(errors: Errors | Callable[[BaseException], object]) -> Callable[[BaseException], object]:
    if isinstance(errors, (type, tuple)):
        kinds = errors
        return lambda error: isinstance(error, kinds)
    return errors


def _table(outcomes: Sequence[Outcome]) -> str:
    more = len(outcomes) - _ROWS
    return "\n".join([*map(str, outcomes[:_ROWS]), *([f"      … and {more} more"] if more > 0 else [])])


def _said(error: BaseException) -> str:
    return _cut(f"{type(error).__name__}: {error}".rstrip(": "))


def _short(value: object) -> str:
    try:
        return _cut(repr(value))
    except Exception as error:  # a repr that fails must not hide what was seen
        return f"<{type(value).__name__} whose repr raised {type(error).__name__}>"


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


@pytest.fixture(scope="session")
def race() -> Callable[..., Race]:
    """`race(buy, sell)` or `race(book, n=5)`: calls at the same moment; how many succeeded, which errors.

    `.succeeded` holds what was returned, `.errors` what was raised, `.outcomes` all in order;
    `.expect(successes=1, errors=Conflict)` fails the test with a table of what happened.
    """
    return run_race


@pytest.fixture(scope="session")
def load() -> Callable[..., Load]:
    """`load(register, n=100, concurrency=20)`: so many calls, so many at a time (without it, all at once).

    `.latencies`, `.percentile(95)` in seconds, `.throughput` in calls a second, `.errors`;
    `.expect(errors=0, p95=0.5)` fails the test, readably.
    """
    return run_load


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    """`eventually(read, accept=bool, within=10.0, every=0.05)`: waits for a condition, and returns the accepted value.

    The failure says what was last seen. `ignoring=KeyError`: exceptions of this type count as not yet.
    """
    return wait_until


@pytest.fixture(scope="session")
def retry_on_conflict() -> Callable[..., Any]:
    """`retry_on_conflict(fn, times=3, on=())`: calls `fn` again on a response 409, or an exception of the types `on`.

    It waits between two calls, longer each time and never exactly as long as others.
    """
    return retry
