"""Signals as a terminal leaves them, and real servers for those who ask for them, one each a test process.

A shell has its background jobs ignore SIGINT, and nohup SIGHUP; what is ignored is inherited by all that the tests
start, and many of these are to be interrupted.
"""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings
from servers import running, service_of

# A machine that is busy with something else makes no test fail.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


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
