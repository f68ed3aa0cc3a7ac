"""Short helpers whose answer is wanted."""

import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import clock
from harness.errors import InfrastructureError
from harness.process import strays

_LOOK_FOR_STOP = 0.1  # seconds


class ToolError(InfrastructureError):
    """A helper tool could not be started, took too long or failed."""


def _communicate(tool: "subprocess.Popen[str]", timeout: float, stop: threading.Event | None) -> tuple[str, str]:
    """As Popen.communicate, by the run's clock; a stop is a TimeoutExpired as well."""
    limit = clock.now() + timeout
    longest = _LOOK_FOR_STOP if stop else timeout
    while True:
        try:
            return tool.communicate(timeout=min(longest, max(limit - clock.now(), 0)))
        except subprocess.TimeoutExpired:
            if (stop and stop.is_set()) or clock.now() >= limit:
                raise


def run_tool(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    directory: str | Path | None = None,
    timeout: float,
    user: tuple[int, int] | None = None,
    check: bool = True,
    stop: threading.Event | None = None,
) -> str:
    """Run a short helper and return its stdout. With `check`, an exit code other than 0 is an error.

    When `stop` is set, it is ended, and that is an error too.
    Raises ToolError with the command and the last lines of its stderr, or of its stdout if it wrote none there.
    """
    command = shlex.join(argv)
    try:
        with strays.starting() as ours:
            tool = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=env,
                cwd=directory,
                start_new_session=True,
                encoding="utf-8",
                errors="backslashreplace",
                user=user[0] if user else None,
                group=user[1] if user else None,
                extra_groups=[] if user else None,
            )
            ours(tool.pid, 0.0)
    except (OSError, ValueError) as error:
        raise ToolError(f"{command}: could not be started: {error}") from error
    try:
        with tool:
            try:
                stdout, stderr = _communicate(tool, timeout, stop)
            except subprocess.TimeoutExpired as error:
                why = "was broken off: the run stops" if stop and stop.is_set() else f"no end after {timeout:g} s"
                raise ToolError(f"{command}: {why}") from error
            finally:
                # Not after it was reaped: the number may be another's by then.
                if tool.returncode is None:
                    os.killpg(tool.pid, signal.SIGKILL)
    finally:
        strays.killed(tool.pid)
        strays.reaped(tool.pid)
    if check and tool.returncode:
        last_lines = "".join(f"\n  {line}" for line in (stderr if stderr.strip() else stdout).splitlines()[-5:])
        raise ToolError(f"{command}: exit code {tool.returncode}{last_lines}")
    return stdout
