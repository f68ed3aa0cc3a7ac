"""The fixture of all whole runs."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from projects import Harness, eventually
from terminals import Terminal


@pytest.fixture
def harness(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Harness]:
    made = Harness(tmp_path, f"{os.getpid()}-{request.node.name}-{tmp_path.name}")
    yield made
    for process in made.processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    left = made.survivors()
    assert not left, f"processes were left behind: {left}"


@pytest.fixture
def open_terminal(harness: Harness) -> Iterator[Callable[[], Terminal]]:
    """Opens a terminal in the project. When the test is over, what still runs there is killed."""
    opened: list[Terminal] = []

    def make() -> Terminal:
        opened.append(Terminal(harness.directory, harness.environment()))
        return opened[-1]

    yield make
    for terminal in opened:
        terminal.close()
    for process in harness.bearers():
        with contextlib.suppress(psutil.Error):
            process.kill()
    eventually(lambda: not harness.survivors(), "the end of what was killed")
