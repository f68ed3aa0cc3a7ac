"""What a decision costs as suites grow: 1,000 to 100,000 groups on 1,000 slots and on 100, simulated.

CPU seconds of this process for a whole simulated run, the ranks and the dispatcher's events included; the best of some
rounds, since what disturbs a round only adds to it. Beside the growth of the cost a group stands that of log n, which
is what heaps may cost. A thousand groups on a thousand slots never wait for a slot, so that row is cheaper than any of
a larger suite can be, and the growth from it steeper than the scheduler's own; on 100 slots groups wait at every size.
What is left of the growth is memory: caches are smaller than a hundred thousand groups.
"""

import gc
import math
import subprocess
import sys
import time

from tabulate import tabulate

from benchmarks.suites import Suite, large
from harness.scheduling.simulate import simulate

SIZES = (1_000, 10_000, 100_000)
SLOTS = (1_000, 100)
ROUNDS = {1_000: 9, 10_000: 5, 100_000: 3}


def measure() -> str:
    rows: list[list[str]] = []
    first: list[float] = []
    for size in SIZES:
        costs = [_cost_apart(size, slots) for slots in SLOTS]
        first = first or costs
        row = [f"{size:,}", f"{math.log(size) / math.log(SIZES[0]):.2f} ×"]
        for cost, least in zip(costs, first, strict=True):
            row += [f"{cost * size:.2f} s", f"{cost * 1e6:.0f} µs", f"{cost / least:.2f} ×"]
        rows.append(row)
    headers = ["groups", "log n"]
    for slots in SLOTS:
        headers += [f"{slots:,} slots", "a group", ""]
    table = tabulate(rows, headers, disable_numparse=True, colalign=["right"] * len(headers))
    return f"the scheduler on a virtual clock, CPU time\n\n{table}\n"


def _cost_apart(size: int, slots: int) -> float:
    """In a process of its own, as a run is: what another suite has left in memory slows this one down."""
    command = [sys.executable, "-m", "benchmarks.scale", str(size), str(slots)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def _cost(suite: Suite) -> float:
    """CPU seconds a group."""
    spent = []
    for _ in range(ROUNDS[len(suite.names)]):
        gc.collect()
        began = time.process_time()
        simulate(suite.phases, suite.durations, jobs=suite.jobs, resources=suite.resources, estimates=suite.estimates)
        spent.append(time.process_time() - began)
    return min(spent) / len(suite.names)


if __name__ == "__main__":
    print(_cost(large(int(sys.argv[1]), int(sys.argv[2]))))
