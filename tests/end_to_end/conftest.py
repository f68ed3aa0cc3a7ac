"""The fixture of all whole runs."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from projects import Harness


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
