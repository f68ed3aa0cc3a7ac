"""`cicd`: the pipeline of the plan, stage by stage; the first that fails ends it.

One stage is the suite, run as `test` runs it; the others are commands, run by `sh` with their output shown as it comes.
The last line counts the tests of the suite, for whoever reads only that.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import click

from harness.cli.door import Door, out, pass_door
from harness.cli.options import SectionedCommand, run_options
from harness.cli.prepare import prepare
from harness.cli.suite import run
from harness.errors import ExitCode, InfrastructureError
from harness.masking import Secrets, Stream
from harness.model import Stage, TestStatus
from harness.record import RunRecord
from harness.reporters.github import command_data
from harness.reporters.text import BOLD, GREEN, RED, paint, printable, seconds

GRACE = 10.0  # seconds that a stage has to end after a signal
SUITE = Stage(name="suite", suite=True)
EXAMPLES = """\b
Examples:
  ./exec.sh local cicd --parallel
  ./exec.sh local cicd --parallel --jobs 8 --fail-fast"""


class Stopped(Exception):
    """A signal came while a stage ran."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@click.command("cicd", cls=SectionedCommand, epilog=EXAMPLES)
@run_options(without=("tests", "list", "dry_run"))
@pass_door
def cicd(door: Door, /, **given: Any) -> int:
    """Run the pipeline: lint, unit tests, the suite; whatever the plan's [[pipeline]] lists."""
    prepared = prepare(door, given)  # whatever is wrong with the plan or the options is said before the first stage
    record = RunRecord()
    for stage in door.plan.pipeline or (SUITE,):
        began = time.monotonic()
        _say("", paint(f"── {printable(stage.name)}", BOLD))
        if stage.suite:
            finished = run(door, prepared)
            code, record = finished.exit_code, finished.record
        else:
            with _folded(stage.name):
                code = _run_command(stage, door.project, Path(prepared.request.python).parent, door.secrets)
        _say(_verdict(stage, code, time.monotonic() - began))
        if code:
            break
    _say("", closing_line(record))
    # A stage's own code may be any; ours are documented. The suite's are ours already, and so are signals.
    return code if stage.suite or code > 128 else min(code, ExitCode.TESTS_FAILED)


def closing_line(record: RunRecord) -> str:
    """The tests of the suite, by how they ended; a group that is no pytest group counts as one test."""
    passed = failed = skipped = 0
    for group in record.groups.values():
        if group.tests:
            ends = [test.status for test in group.tests]
            bad = sum(end in (TestStatus.FAILED, TestStatus.ERROR) for end in ends)
            passed += sum(end in (TestStatus.PASSED, TestStatus.XFAILED, TestStatus.XPASSED) for end in ends)
            skipped += sum(end is TestStatus.SKIPPED for end in ends)
            failed += bad or bool(group.status and group.status.is_failure)
        elif group.status and group.status.succeeded:
            passed += 1
        elif group.status and group.status.is_failure:
            failed += 1
        else:
            skipped += 1
    return f"tests: {passed} passed, {failed} failed, {skipped} skipped"


def _verdict(stage: Stage, code: int, duration: float) -> str:
    name = printable(stage.name)
    if code:
        return paint(f"✗ {name} failed after {seconds(duration)} (exit code {code})", RED)
    return paint(f"✓ {name} passed in {seconds(duration)}", GREEN)


def _say(*lines: str) -> None:
    out().write(list(lines))


@contextmanager
def _folded(name: str) -> Iterator[None]:
    """Under GitHub Actions the output of a stage is one group, folded."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        yield
        return
    _say(f"::group::{command_data(name)}")
    try:
        yield
    finally:
        _say("::endgroup::")


def _run_command(stage: Stage, directory: Path, programs: Path, secrets: Secrets) -> int:
    """Runs the stage in a session of its own and returns its exit code; 128 + n when a signal ended it or us."""
    import sh

    stream = Stream(secrets)
    argv = ["bash", "-c", stage.command] if isinstance(stage.command, str) else list(stage.command or ())
    env = dict(os.environ) | {"PATH": os.pathsep.join([str(programs), os.environ.get("PATH", os.defpath)])}
    try:
        tool = sh.Command(argv[0], search_paths=env["PATH"].split(os.pathsep))
        running = tool.bake(_tty_out=False, _return_cmd=True)(
            *argv[1:],
            _out=lambda chunk: _write_through(stream.feed(_bytes(chunk))),
            _err_to_out=True,
            _out_bufsize=0,
            _no_out=True,  # shown, not kept
            _env=env,
            _cwd=str(directory),
            _new_session=True,
            _preexec_fn=_hear_signals,
            _bg=True,
            _bg_exc=False,
            _ok_code=list(range(-64, 256)),  # or it raises
        )
    except sh.CommandNotFound as error:
        raise InfrastructureError(
            f"stage {stage.name}: there is no program {error}", "Install it, or correct [[pipeline]]."
        ) from None
    try:
        with _raising_signals():
            running.wait()
    except Stopped as stop:
        _end(running)
        return 128 + stop.number
    finally:
        _write_through(stream.close())
    code = int(running.exit_code)
    return code if code >= 0 else 128 - code


def _hear_signals() -> None:
    """Called in the stage's process: sh has it ignore SIGHUP, a shell's background job ignores SIGINT, and so would
    all that it starts."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _bytes(chunk: str | bytes) -> bytes:
    return chunk if isinstance(chunk, bytes) else chunk.encode(errors="surrogateescape")


def _write_through(data: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


@contextmanager
def _raising_signals() -> Iterator[None]:
    """While a stage runs there is nothing to put away but the stage itself, so a signal may simply break the wait."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(number)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(running: Any) -> None:
    """The ladder for a stage: SIGTERM to its group, a grace, SIGKILL."""
    import sh

    with suppress(ProcessLookupError):
        running.signal_group(signal.SIGTERM)
        with suppress(sh.TimeoutException):
            running.wait(timeout=GRACE)
        running.kill_group()
