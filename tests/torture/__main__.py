"""`make torture`: what takes too long for every change. The last result of each part stands in docs/reliability.md.

    PYTHONPATH=tests python -m torture                  all of it
    PYTHONPATH=tests python -m torture kills --kills 20 --seed 7

Exit code 1 where anything failed; the project of a trial that failed is kept, and its path is shown.
"""

import argparse
import shutil
import sys
from collections.abc import Callable, Iterator

from torture.injections import injections
from torture.kills import kills
from torture.load import load
from torture.page import note
from torture.scarce import scarce
from torture.starts import starts
from torture.trials import Result

SEED = 20261128


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m torture")
    parser.add_argument("parts", nargs="*", metavar="PART", help="kills, starts, injections, scarce, load; else all")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--starts", type=int, default=50)
    parser.add_argument("--stride", type=int, default=1, help="inject only at every so many-th call")
    parser.add_argument("--repeats", type=int, default=3, help="of the cases under load")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--side-by-side", type=int, default=3)
    given = parser.parse_args()
    parts: dict[str, Callable[[], Iterator[Result]]] = {
        "kills": lambda: kills(given.kills, given.seed, given.side_by_side),
        "starts": lambda: starts(given.starts, given.side_by_side),
        "injections": lambda: injections(given.side_by_side, given.stride),
        "scarce": scarce,
        "load": lambda: load(given.repeats),
    }
    if unknown := set(given.parts) - parts.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if not shutil.which("strace") and {"injections", "scarce"} & set(given.parts or parts):
        parser.error("injections need strace")
    print(f"seed {given.seed}", flush=True)
    failed = 0
    for name in given.parts or parts:
        results = []
        for result in parts[name]():
            print(" | ".join(result.row), flush=True)
            results.append(result)
            failed += result.failed
        note(name, results, given.seed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
