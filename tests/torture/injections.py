"""A fault at each system call by which the harness touches its files: death, a full disk, a broken one (strace).

A run is traced first: every call of its main thread, which writes all reports, that names a file of the project is one
place to die at; those that make or change one can fail besides. Then each of them is tried in a run of its own.
"""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from faults.killing import await_silence
from faults.stage import Stage
from torture.trials import Result, carry_out, left_boxes, project

CALLS = ("openat", "write", "fsync", "fdatasync", "rename", "mkdir", "unlink", "pwrite64", "ftruncate")
FAULTS = {"death": "signal=KILL", "a full disk": "error=ENOSPC", "a broken disk": "error=EIO"}
PLAN = """
    [run]
    grace = "0.5s"
    [[phases]]
    name = "p"
    [[phases.groups]]
    name = "good"
    command = "true"
    [[phases.groups]]
    name = "bad"
    command = "exit 1"
"""
# -B: Python's own caches would be written the first time, and not the second.
HARNESS = [sys.executable, "-IB", "-m", "harness", "test", "--parallel"]


def injections(side_by_side: int, stride: int) -> Iterator[Result]:
    """With a stride of more than one, only every so many-th place."""
    places = _places()[::stride]
    for name, fault in FAULTS.items():
        trials = [partial(_inject, it.call, it.number, fault) for it in places if it.changes or "KILL" in fault]
        yield carry_out(f"{name} at each call that touches a file", trials, side_by_side)


class Place(NamedTuple):
    call: str
    number: int  # as strace counts it: among its namesakes
    changes: bool


def _places() -> list[Place]:
    with project("trace") as stage:
        stage.plan(PLAN)
        trace = stage.directory.parent / "trace"
        _run(stage, ["-y", "-o", str(trace), "-e", f"trace={','.join(CALLS)}"])
        stage.judge(inventory=partial(left_boxes, stage))
        return list(_numbered(trace, f"{stage.directory}/"))


def _numbered(trace: Path, directory: str) -> Iterator[Place]:
    """Each call that names something in the directory."""
    counts = dict.fromkeys(CALLS, 0)
    for line in trace.read_text("utf-8", "replace").splitlines():
        call = line.partition("(")[0]
        if call in counts:
            counts[call] += 1
            if directory in line:
                # No disk is too full for removing something, or for reading.
                yield Place(call, counts[call], call != "unlink" and "O_RDONLY" not in line)


def _run(stage: Stage, options: list[str]) -> int:
    """Only the main thread is traced, so nothing else meets the fault."""
    return stage.finish(stage.start_process(["strace", "-qq", *options, *HARNESS])).code


def _inject(call: str, number: int, fault: str) -> None:
    with project("inject") as stage:
        stage.plan(PLAN)
        inject = f"inject={call}:{fault}:when={number}"
        code = _run(stage, ["-o", "/dev/null", "-e", f"trace={call}", "-e", inject])
        died = "KILL" in fault
        try:
            await_silence(stage, 30.0)
            if died:
                swept = stage.run("gc")
                assert swept.code == 0, swept.stdout + swept.stderr
            else:
                assert code in (1, 2, 3), f"exit code {code}"
            # What the disk did not take cannot be there; all else must be.
            stage.judge(broken_reports=not died, history=died)
        except AssertionError as error:
            raise AssertionError(f"{inject}: {error}") from error
