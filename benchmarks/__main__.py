"""Measurements beside other tools, in one run and in turn: `make bench`, or `python -m benchmarks [NAME …]`.

Each benchmark is a module here with a function `measure()`. Those of KEPT give a Result, which is kept in
benchmarks/results/ and put into docs/performance.md (`python -m benchmarks report` does that alone); the others give
a table. Nothing here fails for being slow: these are figures, not tests. What could not be measured is said, and the
others go on.
"""

import importlib
import subprocess
import sys

from benchmarks import measure, report
from harness.errors import HarnessError

KEPT = (
    "overhead",
    "pytest_files",
    "heavy_imports",
    "balance",
    "startup",
    "many_groups",
    "flood",
    "suite_jobs",
)
BENCHMARKS = (*KEPT, "makespan", "scale", "leases", "organizations")


def main() -> None:
    names = sys.argv[1:] or BENCHMARKS
    unknown = [name for name in names if name not in (*BENCHMARKS, "report")]
    if unknown:
        sys.exit(f"error: there is no benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}, and report")
    failed = False
    for name in names:
        try:
            print(report.update_page(KEPT) if name == "report" else _measured(name), flush=True)
        except (HarnessError, OSError, RuntimeError, subprocess.CalledProcessError) as error:
            failed = True
            print(f"{name} was not measured: {error}\n", flush=True)
    sys.exit(failed)


def _measured(name: str) -> str:
    measured: measure.Result | str = importlib.import_module(f"benchmarks.{name}").measure()
    if not isinstance(measured, measure.Result):
        return measured
    measure.save(measured)
    report.update_page(KEPT)
    return measure.render(measured)


if __name__ == "__main__":
    main()
