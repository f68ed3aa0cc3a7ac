"""The stage of every case: it is cleared whatever happens, and no case ends without its oracles."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from faults.oracles import TOKEN
from faults.stage import Stage


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    yield
    stage = getattr(item, "funcargs", {}).get("stage")
    assert stage is None or stage.judged, "a case ends with its oracles"


@pytest.fixture
def stage(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Stage]:
    temporary = tmp_path_factory.mktemp("t")  # its path is short enough for sockets
    made = Stage(tmp_path, f"{os.getpid()}-{request.node.name}-{tmp_path.name}", temporary=temporary)
    yield made
    for process in psutil.process_iter():
        try:
            if process.environ().get(TOKEN) == made.mark:
                process.send_signal(signal.SIGKILL)
        except psutil.Error:
            continue
    for process in made.processes:
        process.wait()
    shutil.rmtree(temporary, ignore_errors=True)
