"""Real servers for the tests of isolated environments, one each a test process, and a project of the test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from platforms import Platform, platform_running
from servers import running, service_of

from harness.isolation.lease import Context


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DSN of a superuser on a Postgres that nobody else uses."""
    with running(service_of("postgres"), tmp_path_factory.mktemp("postgres")) as values:
        yield values["url"]


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis with sixteen databases that nobody else uses."""
    with running(service_of("redis"), tmp_path_factory.mktemp("redis")) as values:
        yield f"redis://127.0.0.1:{values['port']}"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(project=tmp_path, project_id="0f0f", run_id="20260101_000000", variables={})


@pytest.fixture
def platform() -> Iterator[Platform]:
    """A platform with tenants, which misbehaves where the test asks for it."""
    with platform_running() as platform:
        yield platform
