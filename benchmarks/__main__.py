"""Measurements beside other tools, in one run and in turn: `make bench`, or `python -m benchmarks [NAME …]`.

Each benchmark is a module here with a function `measure() -> str`, a table of medians and of ratios taken round by
round, so that a drift of the machine's speed hits both sides alike. Nothing here fails: these are figures, not tests.
"""

import importlib
import sys

BENCHMARKS = ("overhead", "makespan", "scale", "leases", "organizations")


def main() -> None:
    for name in sys.argv[1:] or BENCHMARKS:
        if name not in BENCHMARKS:
            sys.exit(f"error: there is no benchmark {name!r}; there are: {', '.join(BENCHMARKS)}")
        print(importlib.import_module(f"benchmarks.{name}").measure(), flush=True)


if __name__ == "__main__":
    main()
