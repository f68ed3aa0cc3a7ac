"""Other tools' ways to hand files to workers, on a virtual clock, under the constraints of a plan.

pytest-split and pytest-xdist know nothing of dependencies, locks or slots, so each is given the benefit of the doubt:
every worker runs its groups in the order in which the tool gave them to it, and where the next one may not start yet it
waits, holding nothing. What a group depends on is never behind it in line, since the tool would hang; nothing is taken
for start-up, collection or the wires between processes. What a tool decides is as it decides it.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.suites import Suite
from harness.scheduling.resources import Pool, demand_of

ALMOST_DONE = 2  # tests a worker of pytest-xdist has left when it is given its next file


def chunks(suite: Suite, believed: Mapping[str, float]) -> float:
    """Makespan with pytest-split's `duration_based_chunks`, its default: cuts the list once, in its order.

    As pytest_split/algorithms.py: a chunk is full once it has its share of the sum, and the last one
    gets the rest. `believed` are the durations that it has stored; a group without one counts as the mean of the rest.
    """
    seconds = _with_mean(suite, believed)
    share = sum(seconds.values()) / suite.jobs
    lines: list[list[str]] = [[] for _ in range(suite.jobs)]
    filled, chunk = 0.0, 0
    for name in suite.names:
        if filled >= share and chunk < suite.jobs - 1:
            filled, chunk = 0.0, chunk + 1
        lines[chunk].append(name)
        filled += seconds[name]
    return _Workers(suite, lines).makespan()


def least_duration(suite: Suite, believed: Mapping[str, float]) -> float:
    """Makespan with pytest-split's `least_duration`: the longest first, each to the emptiest chunk; then in order."""
    seconds = _with_mean(suite, believed)
    lines: list[list[str]] = [[] for _ in range(suite.jobs)]
    filled = [(0.0, chunk) for chunk in range(suite.jobs)]
    for name in sorted(suite.names, key=lambda name: -seconds[name]):
        least, chunk = heapq.heappop(filled)
        lines[chunk].append(name)
        heapq.heappush(filled, (least + seconds[name], chunk))
    places = {name: place for place, name in enumerate(suite.names)}
    return _Workers(suite, [sorted(line, key=places.__getitem__) for line in lines]).makespan()


def loadfile(suite: Suite) -> float:
    """Makespan with pytest-xdist's `--dist loadfile`, a group being a file.

    As xdist/scheduler/loadscope.py, version 3.8: files wait in one queue, those with the most tests first; a worker
    gets its next file when no more than ALMOST_DONE of its tests are left, and at the start one more if that is so.
    The tests of a file take equally long.
    """
    workers = _Workers(suite, [[] for _ in range(suite.jobs)], queue=_most_tests_first(suite))
    for _ in range(2):
        for number in range(suite.jobs):
            workers.reschedule(number)
    return workers.makespan()


def _with_mean(suite: Suite, believed: Mapping[str, float]) -> dict[str, float]:
    mean = sum(believed.values()) / len(believed) if believed else 1.0
    return {name: believed.get(name, mean) for name in suite.names}


def _most_tests_first(suite: Suite) -> list[str]:
    """Of the files that depend on nothing that is still to come, always the one with the most tests."""
    unmet = {group.name: len(group.depends_on) for group in suite.groups}
    places = {name: place for place, name in enumerate(suite.names)}
    ready = [(-suite.tests[name], places[name], name) for name in suite.names if not unmet[name]]
    heapq.heapify(ready)
    ordered = []
    while ready:
        ordered.append(heapq.heappop(ready)[2])
        for group in suite.groups:
            if any(need.group == ordered[-1] for need in group.depends_on):
                unmet[group.name] -= 1
                if not unmet[group.name]:
                    heapq.heappush(ready, (-suite.tests[group.name], places[group.name], group.name))
    return ordered


class _Workers:
    """One worker for each job, each with a line of groups; and a queue from which the lines grow, if there is one."""

    def __init__(self, suite: Suite, lines: Iterable[Sequence[str]], queue: Sequence[str] = ()) -> None:
        self._suite = suite
        self._lines = [deque(line) for line in lines]
        self._queue = deque(queue)
        self._pending = [sum(suite.tests[name] for name in line) for line in self._lines]  # tests, by worker
        self._busy: set[int] = set()
        self._pool = Pool(suite.jobs, suite.resources)
        self._demands = {group.name: demand_of(group, jobs=suite.jobs, sequential=False) for group in suite.groups}
        self._needs = {group.name: {need.group for need in group.depends_on} for group in suite.groups}
        self._ended: set[str] = set()

    def reschedule(self, worker: int) -> None:
        """Gives the worker one more file, if it is almost done."""
        if self._queue and self._pending[worker] <= ALMOST_DONE:
            name = self._queue.popleft()
            self._lines[worker].append(name)
            self._pending[worker] += self._suite.tests[name]

    def makespan(self) -> float:
        clock = 0.0
        ends: list[tuple[float, int, str, int]] = []  # of tests: when, on which worker, in which group, tests left
        self._start_all(clock, ends)
        while ends:
            clock, worker, name, left = heapq.heappop(ends)
            self._pending[worker] -= 1
            if left:
                heapq.heappush(ends, (clock + self._each(name), worker, name, left - 1))
            else:
                self._ended.add(name)
                self._pool.give(self._demands[name])
                self._busy.discard(worker)
            self.reschedule(worker)
            self._start_all(clock, ends)
        if len(self._ended) < len(self._suite.names):
            raise RuntimeError("the workers wait for one another")
        return clock

    def _start_all(self, clock: float, ends: list[tuple[float, int, str, int]]) -> None:
        for worker, line in enumerate(self._lines):
            if worker not in self._busy and line and self._may_start(line[0]):
                name = line.popleft()
                self._busy.add(worker)
                self._pool.take(self._demands[name])
                heapq.heappush(ends, (clock + self._each(name), worker, name, self._suite.tests[name] - 1))

    def _may_start(self, name: str) -> bool:
        return self._needs[name] <= self._ended and self._pool.lacking(self._demands[name]) is None

    def _each(self, name: str) -> float:
        return self._suite.durations[name] / self._suite.tests[name]
