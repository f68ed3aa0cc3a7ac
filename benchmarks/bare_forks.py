"""Not a benchmark: a side of pytest_files. One pytest that is loaded once and forked for each file, and nothing else.

`python bare_forks.py JOBS`, in a directory of test files. It shows what such forks cost at the least: a child is given
its file, prints where all print, and leaves as soon as its tests have ended. What the harness's forks have besides
(docs/warm.md) makes each of them a process like any other: a session, a log, variables, captured files, random numbers
and a cache of its own, its tests told as they end, an end that pytest and the interpreter tidy up, and somebody who
ends it where it does not.
"""

import gc
import os
import sys
from pathlib import Path
from typing import Any

import pytest


class Forks:
    def __init__(self, jobs: int) -> None:
        self._free = jobs
        self._status = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: Any) -> None:
        gc.collect()
        gc.freeze()
        failed = 0
        for name in sorted(path.name for path in Path().glob("test_*.py")):
            if self._free == 0:
                failed |= os.wait()[1]
                self._free += 1
            if os.fork() == 0:
                session.config.args = [name]
                return
            self._free -= 1
        try:
            while True:
                failed |= os.wait()[1]
        except ChildProcessError:
            os._exit(1 if failed else 0)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self._status = int(exitstatus)

    @pytest.hookimpl(tryfirst=True)
    def pytest_unconfigure(self) -> None:
        sys.stdout.flush()
        os._exit(self._status)


if __name__ == "__main__":
    pytest.main(["test_000.py"], plugins=[Forks(int(sys.argv[1]))])
