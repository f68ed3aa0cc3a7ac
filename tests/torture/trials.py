"""Many trials of one kind, some side by side, each in a project of its own, and what became of them."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from faults.killing import processes
from faults.stage import Stage

# Short, so that hundreds of runs take minutes; with something of each kind that a death could leave behind.
PLAN = """
    [run]
    grace = "0.5s"

    [isolation.box]
    kind = "command"
    setup = "touch box-$HARNESS_LEASE; echo BOX=1 > $HARNESS_ENV"
    teardown = "rm -f box-$HARNESS_LEASE"

    [isolation.tmpdir]

    [[services]]
    name = "waits"
    command = "exec sleep 1000"

    [[phases]]
    name = "first"
    sequential = true
    [[phases.groups]]
    name = "first"
    command = "sleep 0.1"
    isolate = ["box"]

    [[phases]]
    name = "second"
    [[phases.groups]]
    name = "fails"
    command = "sleep 0.1; exit 1"
    retries = 1
    isolate = ["tmpdir"]
    [[phases.groups]]
    name = "daemon"
    command = "setsid sh -c 'exec sleep 1000' >/dev/null 2>&1 & sleep 0.2"
    [[phases.groups]]
    name = "stubborn"
    command = "trap '' TERM; sleep 0.4"
    isolate = ["box", "tmpdir"]
    [[phases.groups]]
    name = "after"
    command = "true"
    depends_on = "stubborn"
"""


@dataclass
class Result:
    """Of all trials of one kind."""

    what: str
    times: int = 0
    failed: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)  # of the first that failed

    @property
    def row(self) -> list[str]:
        return [self.what, str(self.times), str(self.failed), f"{self.seconds:.0f} s"]


@contextmanager
def project(name: str) -> Iterator[Stage]:
    """A project that disappears, unless a trial in it fails: then its path is in the error."""
    directory = Path(tempfile.mkdtemp(prefix=f"torture-{name}-"))
    temporary = Path(tempfile.mkdtemp(prefix="t-"))
    (directory / "project").mkdir()
    stage = Stage(directory / "project", f"{directory.name}", temporary=temporary)
    stage.plan(PLAN)
    try:
        yield stage
    except Exception as error:
        raise AssertionError(f"{directory}: {error}") from error
    else:
        shutil.rmtree(directory)
        shutil.rmtree(temporary)
    finally:
        for process in processes(stage):
            try:
                process.kill()
            except psutil.Error:
                continue


def left_boxes(stage: Stage) -> frozenset[str]:
    return frozenset(path.name for path in stage.directory.glob("box-*"))


def carry_out(what: str, trials: Iterable[Callable[[], None]], side_by_side: int) -> Result:
    """Runs them all, whatever becomes of some."""
    result = Result(what)
    began = time.monotonic()
    with ThreadPoolExecutor(side_by_side) as pool:
        for future in [pool.submit(trial) for trial in trials]:
            result.times += 1
            if error := future.exception():
                result.failed += 1
                result.faults.append(str(error))
                print(f"{what}: {error}", flush=True)
    result.seconds = time.monotonic() - began
    return result
