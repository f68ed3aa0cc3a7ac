"""Suites that run with the plugin `harness_fixtures`, and real servers for them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from plugin_suites import PluginSuite
from servers import running, service_of


@pytest.fixture
def plugged(tmp_path: Path) -> PluginSuite:
    return PluginSuite(tmp_path)


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DSN of a superuser on a Postgres that nobody else uses."""
    with running(service_of("postgres"), tmp_path_factory.mktemp("postgres")) as values:
        yield values["url"]


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(service_of("redis"), tmp_path_factory.mktemp("redis")) as values:
        yield f"redis://127.0.0.1:{values['port']}"
