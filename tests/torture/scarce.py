"""Too few descriptors, threads and processes: every use of a system call fails in its turn, on a real run (strace).

The Nth use fails in every thread and process of the run (N is counted for each by itself), or the Nth and all after it,
for N = 1, 2, … until a run comes in which nothing failed any more. The harness is held until it is traced, with its
modules loaded: that Python starts at all is not its business.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from faults.killing import await_silence
from faults.stage import Stage
from projects import DEADLINE, eventually
from torture.trials import Result, project

from harness.files import all_runs

CALLS = {"clone3,clone": "EAGAIN", "vfork": "EAGAIN"}
CALLS |= dict.fromkeys(("pipe2", "pidfd_open", "socket,socketpair", "openat"), "EMFILE")
MOST = 1000  # uses of a call in one thread
HELD = """
import sys
import harness.cli.main, harness.cli.test, psutil, sqlite3, ctypes, tabulate
print("held", flush=True)
sys.stdin.readline()
sys.argv = ["harness", "test", "--parallel"]
sys.exit(harness.cli.main.main())
"""
PLAN = """
    [run]
    grace = "5s"

    [isolation.mine]
    kind = "command"
    setup = "echo MADE=1 >>$HARNESS_ENV"

    [[services]]
    name = "service"
    command = "echo up; exec sleep 1000"
    ready = { log = "up" }

    [[phases]]
    name = "p"

    [[phases.groups]]
    name = "one"
    command = "touch one.done"
    isolate = ["mine"]

    [[phases.groups]]
    name = "two"
    command = "touch two.done"

    [[phases.groups]]
    name = "three"
    tests = "test_three.py"

    [[phases.groups]]
    name = "four"
    tests = "test_four.py"
"""
GROUPS = ("one", "two", "three", "four")


def scarce() -> Iterator[Result]:
    for call, error in CALLS.items():
        for lasting in (True, False):
            yield _every_use(call, error, lasting)


def _every_use(call: str, error: str, lasting: bool) -> Result:
    result = Result(f"{error} at {call}{', and from then on' if lasting else ''}")
    began = time.monotonic()
    for number in range(1, MOST):
        when = f"{number}+" if lasting else f"{number}"
        result.times += 1
        try:
            with project("scarce") as stage:
                has_failed = _run(stage, f"inject={call}:error={error}:when={when}")
        except AssertionError as wrong:
            result.failed += 1
            result.faults.append(f"{when}: {wrong}")
            print(f"{result.what} {when}: {wrong}", flush=True)
            continue
        if not has_failed:
            break
    result.seconds = time.monotonic() - began
    return result


def _run(stage: Stage, inject: str) -> bool:
    """Whether a call failed."""
    stage.plan(PLAN)
    for name in ("three", "four"):
        stage.write(f"test_{name}.py", f"import pathlib\ndef test():\n    pathlib.Path('{name}.done').touch()\n")
    trace, said = stage.directory.parent / "trace", stage.directory.parent / "said"
    held = subprocess.Popen(
        [sys.executable, "-I", "-c", HELD],
        cwd=stage.directory,
        env=stage.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert held.stdout
    assert held.stdout.readline() == "held\n"
    call = inject.partition("=")[2].partition(":")[0]
    options = ["-f", "-p", str(held.pid), "-o", str(trace), "-e", f"trace={call}", "-e", inject]
    with said.open("w") as file, subprocess.Popen(["strace", *options], stderr=file):
        eventually(lambda: "attached" in said.read_text(), "strace")
        try:
            stdout, stderr = held.communicate("\n", timeout=DEADLINE)
        except subprocess.TimeoutExpired as error:
            held.kill()
            held.communicate()
            raise AssertionError(f"no end within {DEADLINE} s") from error
    await_silence(stage, 30.0)
    _judge(stage.directory, held.returncode, stdout, stderr)
    return "(INJECTED)" in trace.read_text(errors="replace")


def _judge(directory: Path, code: int, stdout: str, stderr: str) -> None:
    told = f"{stdout[-500:]} {stderr[-1500:]}"
    assert "Traceback" not in stderr, told
    assert "\nTraceback" not in stdout, told  # those in a log are quoted
    # A plan that cannot be read is no plan. And where Python ends a thread while it ends itself, the C library loads
    # what it ends threads with, and aborts if it cannot: that is after the end of the run.
    excused = (code == 2 and not stdout) or (code == -signal.SIGABRT and "libgcc_s.so.1 must be installed" in stderr)
    assert code in (0, 1, 3) or excused, f"exit code {code}: {told}"
    statuses: dict[str, str] = {}
    runs = all_runs(directory / "logs")
    if runs and runs[0].report.exists():
        suites = json.loads(runs[0].report.read_text())["suites"]
        statuses = {suite["name"]: suite["status"] for suite in suites}
    for group, status in statuses.items():
        assert status != "passed" or (directory / f"{group}.done").exists(), f"{group} is passed, and has not run"
    if code == 0:
        assert statuses == dict.fromkeys(GROUPS, "passed"), "exit code 0"
    if code == 3 and not statuses:
        assert "error:" in stderr, told
