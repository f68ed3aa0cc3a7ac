"""From checked rows to the nouns of model.py. Runs only when a plan has no problems, so it checks nothing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.model import (
    Budget,
    Environment,
    Group,
    Isolation,
    Phase,
    Plan,
    Quarantine,
    Ready,
    Service,
    Stage,
    Variable,
)
from harness.planning.check import implied_services, texts
from harness.planning.compound import Row
from harness.planning.kinds import units
from harness.planning.problems import Path
from harness.planning.substitute import references

LOCAL = "local"


def build(project: str, plan: Row, tests: Mapping[Path, tuple[str, ...]]) -> Plan:
    """The plan in `project`; `tests` holds the resolved tests of every group, by its path."""
    run: Row = plan["run"]
    services = {row["name"]: _service(row) for row in plan["services"]}
    environments = {name: _environment(name, row, services) for name, row in plan["environments"].items()}
    isolation = tuple(_isolation(name, row) for name, row in plan["isolation"].items())
    environments.setdefault(LOCAL, Environment(name=LOCAL, services=tuple(services)))
    return Plan(
        project=project,
        phases=tuple(_phase(row, run, services, isolation, tests) for row in plan["phases"]),
        test_root=run["test_root"],
        secrets=run["secrets"],
        log_dir=run["log_dir"],
        log_limit=run["log_limit"],
        python=run["python"] or "",
        max_parallel_jobs=run["max_parallel_jobs"],
        global_timeout=run["global_timeout"],
        env_files=(".env",) if run["env_files"] is None else run["env_files"],
        env=run["env"],
        resources={name: count for name, count in plan["resources"].items() if not isinstance(count, Budget)},
        budgets=tuple(budget for budget in plan["resources"].values() if isinstance(budget, Budget)),
        services=tuple(services.values()),
        environments=tuple(environments.values()),
        isolation=isolation,
        pipeline=tuple(Stage(**_plain(row)) for row in plan["pipeline"]),
        variables=tuple(Variable(name=name, **_plain(row)) for name, row in plan["variables"].items()),
        flaky=run["flaky"],
        quarantine=tuple(Quarantine(**_filled(row)) for row in plan["quarantine"]),
        history_runs=run["history_runs"],
        lock_files=run["lock_files"] or (),
        written=tuple(run.written),
    )


def closure(names: Iterable[str], services: Mapping[str, Service]) -> tuple[str, ...]:
    """The named services and all that they wait for, in the order of the plan."""
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo.extend(services[name].depends_on)
    return tuple(name for name in services if name in found)


def _service(row: Row) -> Service:
    values = _plain(row)
    ready = {key: value for key, value in values["ready"].items() if value is not None}
    depends_on = tuple(dict.fromkeys((*row["depends_on"], *implied_services(row))))
    directory = row["directory"] or ""
    return Service(**values | {"ready": Ready(**ready), "depends_on": depends_on, "directory": directory})


def _environment(name: str, row: Row, services: Mapping[str, Service]) -> Environment:
    wanted = row["services"]
    if wanted is None:
        wanted = services if name == LOCAL else ()
    return Environment(name=name, services=closure(wanted, services), env=row["env"])


def _phase(
    row: Row,
    run: Row,
    services: Mapping[str, Service],
    isolation: Sequence[Isolation],
    tests: Mapping[Path, tuple[str, ...]],
) -> Phase:
    groups = tuple(_group(group, row["name"], run, services, isolation, tests) for group in row["groups"])
    return Phase(name=row["name"], sequential=row["sequential"], when=row["when"] or "", groups=groups)


def _group(
    row: Row,
    phase: str,
    run: Row,
    services: Mapping[str, Service],
    isolation: Sequence[Isolation],
    tests: Mapping[Path, tuple[str, ...]],
) -> Group:
    values = dict(row)
    for key in ("timeout", "grace", "retries", "retry_delay", "retry_alone", "warm"):
        if values[key] is None:
            values[key] = run[key]
    own = [entry for entry in isolation if entry.name in row["isolate"]]
    wanted = services if row["services"] is None else (*row["services"], *implied_services(row), *_rests_on(own))
    # Each worker of pytest-xdist has environments of its own.
    holds = {entry.name: units(entry.kind, entry.options) * max(row["workers"], 1) for entry in own}
    values["holds"] = {name: amount for name, amount in holds.items() if amount}
    values |= {"tests": tests.get(row.path, ()), "services": closure(wanted, services), "results": row["results"] or ""}
    return Group(phase=phase, **values)


def _rests_on(entries: Iterable[Isolation]) -> Iterable[str]:
    """The services that these environments are made on."""
    return (name for entry in entries for _, text in texts(entry.options, ()) for name, _ in references(text))


def _isolation(name: str, row: Row) -> Isolation:
    # Lists, since nobody says otherwise to whoever reads the noun back from JSON.
    options: dict[str, Any] = {
        key: list(value) if isinstance(value, tuple) else value for key, value in _plain(row).items()
    }
    common = {key: options.pop(key) for key in ("kind", "reuse", "check")}
    return Isolation(name=name, options=options, **common)


def _filled(row: Row) -> dict[str, Any]:
    """What stands in the row; the noun has its own word for what does not."""
    return {key: value for key, value in row.items() if value is not None}


def _plain(value: Any) -> Any:
    """Rows as plain dicts, so that nouns compare and travel by value."""
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else value
