"""The worlds of the kinds that make things on a server."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from isolation.contract.tenants import PLATFORM_KEY
from isolation.contract.world import Place, World, foreign_labels

from harness.isolation.lease import Lease, Made, new_token

SCHEMA_SQL = """
CREATE TABLE planted (id serial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), word text UNIQUE);
CREATE INDEX planted_at ON planted (at);
INSERT INTO planted (word) VALUES ('one'), ('two');
"""
MIGRATE = "import os, pathlib, psycopg\n" + (
    "with psycopg.connect(os.environ['DATABASE_URL']) as c: c.execute(pathlib.Path('schema.sql').read_text())\n"
)


class Postgres(World):
    kind = "postgres"
    server = "postgres"
    roles = frozenset({"dsn", "schema"})
    labelled = True
    hows = ("before", "after", "meanwhile")
    options: dict[str, Any]

    def __init__(self, place: Place, **options: Any) -> None:
        super().__init__(place)
        self.options = options

    def keys(self) -> dict[str, Any]:
        return {"dsn": self.place.address, "connections": 2, **self.options}

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        import psycopg

        with psycopg.connect(self.place.address, autocommit=True) as session:
            return session.execute(query, values).fetchall()  # type: ignore[arg-type]

    def run(self, *statements: str) -> None:
        import psycopg

        with psycopg.connect(self.place.address, autocommit=True) as session:
            for statement in statements:
                session.execute(statement)  # type: ignore[call-overload]

    def inventory(self) -> frozenset[str]:
        return frozenset(
            what
            for (what,) in self.rows(
                "SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname !~ '^pg_(toast|temp)'"
                " UNION ALL SELECT 'role ' || rolname FROM pg_roles"
                " UNION ALL SELECT 'database ' || datname FROM pg_database"
                " UNION ALL SELECT 'table ' || schemaname || '.' || tablename FROM pg_tables"
                " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            )
        )

    def use(self, variables: Mapping[str, str]) -> None:
        import psycopg

        with psycopg.connect(variables["DATABASE_URL"]) as session:
            schema, name = (
                session.execute("SELECT current_schema(), current_setting('application_name')").fetchone() or ()
            )
            assert schema == variables["POSTGRES_SCHEMA"]
            assert name.startswith("Some group"), "pg_stat_activity tells whose session it is"
            session.execute("CREATE TABLE own (word text)")
            session.execute("INSERT INTO own VALUES ('written')")
            session.commit()
            assert session.execute("SELECT word FROM own").fetchall() == [("written",)]
            if "migrate" in self.options:
                session.execute("INSERT INTO planted (word) VALUES ('three')")
                planted = session.execute("SELECT id, word FROM planted ORDER BY id").fetchall()
                assert planted == [(1, "one"), (2, "two"), (3, "three")], "sequences go on where the template's ended"

    def exclusive(self, variables: Mapping[str, str]) -> frozenset[str]:
        own = {variables["DATABASE_URL"]}
        return frozenset(own | ({variables["POSTGRES_SCHEMA"]} if self.options["make"] == "schema" else set()))

    def plant(self) -> None:
        for text in foreign_labels():
            token = new_token()
            for what, name in (("SCHEMA", f"h_some_group_{token}"), ("ROLE", f"h_{token}"), ("DATABASE", f"h_{token}")):
                self.run(f'CREATE {what} "{name}"')
                if text:
                    self.run(f"COMMENT ON {what} \"{name}\" IS '{text}'")

    def damages(self, lease: Lease, made: Made) -> list[Callable[[], object]]:
        role = urlsplit(made.variables["DATABASE_URL"]).username
        schema = made.variables["POSTGRES_SCHEMA"]
        database = urlsplit(made.variables["DATABASE_URL"]).path.removeprefix("/")
        own = f'DROP SCHEMA "{schema}" CASCADE' if self.options["make"] == "schema" else f'DROP DATABASE "{database}"'
        return [
            lambda: self.run(own),
            lambda: self.run(own, f'DROP OWNED BY "{role}"', f'DROP ROLE "{role}"'),
            lambda: self.run(f'ALTER ROLE "{role}" NOLOGIN'),
        ]


def from_template(place: Place, make: str) -> World:
    project = Path(place.project)
    (project / "schema.sql").write_text(SCHEMA_SQL)
    (project / "migrate.py").write_text(MIGRATE)
    return Postgres(place, make=make, migrate=[sys.executable, "migrate.py"], migrations="schema.sql")


class Redis(World):
    kind = "redis"
    server = "redis"
    make: str

    def keys(self) -> dict[str, Any]:
        return {"url": self.place.address, "make": self.make}

    @contextlib.contextmanager
    def client(self, database: int = 0) -> Iterator[Any]:
        import redis

        with redis.Redis.from_url(f"{self.place.address}/{database}", decode_responses=True) as client:
            yield client

    def inventory(self) -> frozenset[str]:
        found = set()
        with self.client() as client:
            found |= {f"user {name}" for name in client.acl_users()}
            numbers = [int(name.removeprefix("db")) for name in client.info("keyspace")]
        for number in numbers:
            with self.client(number) as client:
                keys = list(client.scan_iter(count=1000))
                values = {key: client.get(key) for key in keys if client.type(key) == "string"}
                found |= {f"key {key} in {number}: {values.get(key)}" for key in keys}
        return frozenset(found)

    def use(self, variables: Mapping[str, str]) -> None:
        import redis

        prefix = variables.get("REDIS_PREFIX", "")
        with redis.Redis.from_url(variables["REDIS_URL"], decode_responses=True) as client:
            assert client.set(f"{prefix}word", "written")
            client.rpush(f"{prefix}list", "a", "b")
            assert client.get(f"{prefix}word") == "written"
            assert client.lrange(f"{prefix}list", 0, -1) == ["a", "b"]


class RedisDatabase(Redis):
    make = "database"
    labelled = True
    server = "redis64"
    roles = frozenset({"url"})

    def exclusive(self, variables: Mapping[str, str]) -> frozenset[str]:
        return frozenset({variables["REDIS_URL"]})

    def plant(self) -> None:
        _, others, living = foreign_labels()
        others = others.rpartition("=")[0] + "=" + living.rpartition("=")[2]  # one that is over may be taken by anybody
        for number, text in ((3, ""), (5, "nobody's"), (7, others), (9, living)):
            with self.client(number) as client:
                client.set("theirs", str(number))
            with self.client() as client:
                if text:
                    client.set(f"harness:lease:{number}", text)

    def damages(self, lease: Lease, made: Made) -> list[Callable[[], object]]:
        number = urlsplit(made.variables["REDIS_URL"]).path.removeprefix("/")

        def without_claim() -> None:
            with self.client(int(number)) as client:
                client.flushdb()
            with self.client() as client:
                assert client.delete(f"harness:lease:{number}") == 1

        def flushed() -> None:
            with self.client(int(number)) as client:
                client.flushdb()

        return [without_claim, flushed]


class RedisPrefix(Redis):
    make = "prefix"
    labelled = True
    roles = frozenset({"url", "prefix"})

    def exclusive(self, variables: Mapping[str, str]) -> frozenset[str]:
        return frozenset({variables["REDIS_URL"], variables["REDIS_PREFIX"]})

    def plant(self) -> None:
        with self.client() as client:
            for text in foreign_labels():
                token = text.split("lease=")[1].split()[0] if text else new_token()
                client.set(f"h:some-group:{token}:word", "theirs")
                client.acl_setuser(f"h_{token}", enabled=True, nopass=True, commands=["+get"])
                if text:
                    client.set(f"harness:lease:{token}", text)

    def damages(self, lease: Lease, made: Made) -> list[Callable[[], object]]:
        def without_keys() -> None:
            with self.client() as client:
                client.delete(*client.scan_iter(f"{made.variables['REDIS_PREFIX']}*"), "no such key")

        def without_user() -> None:
            with self.client() as client:
                assert client.acl_deluser(urlsplit(made.variables["REDIS_URL"]).username) == 1

        def without_label() -> None:
            with self.client() as client:
                assert client.delete(f"harness:lease:{lease.token}") == 1

        return [without_keys, without_user, without_label]


class Tenant(World):
    kind = "tenant"
    server = "tenants"
    roles = frozenset({"name"})
    key_variable = "PLATFORM_KEY"

    def keys(self) -> dict[str, Any]:
        return {
            "base_url": self.place.address,
            "key_variable": self.key_variable,
            "create": {"path": "/tenants", "body": {"slug": "{name}"}, "read": {"TENANT_SECRET": "keys.0.secret"}},
            "delete": {"path": "/tenants/{name}"},
            "guard": {"path": "/tenants/{name}", "never_where": {"live": True}},
            "state": "/tenants/{name}/state",
            "timeout": "5s",
            "attempts": 2,
        }

    def variables(self) -> dict[str, str]:
        return super().variables() | {self.key_variable: PLATFORM_KEY, "TENANTS_URL": self.place.address}

    def request(self, method: str, path: str, key: str, body: Any = None) -> Any:
        import requests

        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(
                method, self.place.address + path, json=body, headers={"Authorization": f"Bearer {key}"}, timeout=30
            )
            answer.raise_for_status()
            return answer.json()

    def inventory(self) -> frozenset[str]:
        return frozenset(f"tenant {tenant}" for tenant in self.request("GET", "/tenants", PLATFORM_KEY))

    def use(self, variables: Mapping[str, str]) -> None:
        assert variables["TESTS_ORG"]
        self.request("POST", "/notes", variables["TENANT_SECRET"], "written")
        assert self.request("GET", "/notes", variables["TENANT_SECRET"]) == ["written"]

    def exclusive(self, variables: Mapping[str, str]) -> frozenset[str]:
        return frozenset({variables["TESTS_ORG"], variables["TENANT_SECRET"]})

    def plant(self) -> None:
        for name in (f"test-some-group-{new_token()}", "test-some-group", "some-group"):
            self.request("POST", "/tenants", PLATFORM_KEY, {"slug": name})

    def damages(self, lease: Lease, made: Made) -> list[Callable[[], object]]:
        return [lambda: self.request("DELETE", f"/tenants/{made.variables['TESTS_ORG']}", PLATFORM_KEY)]
