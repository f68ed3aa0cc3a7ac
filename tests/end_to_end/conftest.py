"""The fixture of all whole runs."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from projects import Harness
from servers import running, service_of


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


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DSN of a superuser on a Postgres that nobody else uses, and that no harness under test has started."""
    with running(service_of("postgres"), tmp_path_factory.mktemp("postgres")) as values:
        yield values["url"]


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Likewise, a Redis with sixteen databases."""
    with running(service_of("redis"), tmp_path_factory.mktemp("redis")) as values:
        yield f"redis://127.0.0.1:{values['port']}"
