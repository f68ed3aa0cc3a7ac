"""The worlds of all kinds."""

from collections.abc import Callable

from isolation.contract.at_home import Command, Ports, TmpDir
from isolation.contract.at_servers import Postgres, RedisDatabase, RedisPrefix, Tenant, from_template
from isolation.contract.world import Place, World

WORLDS: dict[str, Callable[[Place], World]] = {
    "tenant": Tenant,
    "postgres schema": lambda place: Postgres(place, make="schema"),
    "postgres schema from template": lambda place: from_template(place, "schema"),
    "postgres database": lambda place: Postgres(place, make="database"),
    "postgres database from template": lambda place: from_template(place, "database"),
    "redis database": RedisDatabase,
    "redis prefix": RedisPrefix,
    "ports": Ports,
    "tmpdir": TmpDir,
    "command": Command,
}
