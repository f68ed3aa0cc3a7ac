"""What leases are copies of: made once by the plan's `migrate`, and kept while the migrations stay the same.

For databases: a database on the server, `harness_template_HASH`, which no session can enter; half-made ones can still
be entered, and are made again. For schemas: the SQL that makes one, in the project's `.harness/cache`; `migrate` ran in
a schema of its own, made as a lease's, from which pg_dump read that SQL.

The hash is that of the command, of the files that `migrations` matches and of the server's major version. Who makes a
template holds an advisory lock on the server, so two runs at once make it once. Without `migrations` nothing tells
whether the template is still right: then it is made for this run alone, under a lease's label, and ends with it.
"""

import hashlib
import re
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from harness.errors import InfrastructureError
from harness.files import private_directory, write_atomically
from harness.isolation.label import label_of
from harness.isolation.lease import Context, Lease, new_token
from harness.isolation.postgres.dump import dumped_schema
from harness.isolation.postgres.made import Role, make_database, make_schema, names_of, relabel, remove
from harness.isolation.postgres.server import LOCKED, Server, ServerError, Session, identifier
from harness.planning.files import Tree
from harness.process import ToolError, run_tool

TIMEOUT = 600.0
"""Seconds for `migrate`."""

_LOOK_FOR_STOP = 500  # milliseconds
_FORMAT = "1"  # raise it when what a template holds changes: older ones are then made again
_CONNECTIONS = 20  # sessions that `migrate` may have
_SCHEMA = re.compile(r"-- harness: the schema (h_[a-z0-9_]+)\n")


class Dump(NamedTuple):
    """The SQL that makes what is in a schema. The schema's name in it is such that it stands for nothing else."""

    schema: str
    sql: str

    def renamed(self, schema: str) -> str:
        return self.sql.replace(self.schema, schema)


class Template(NamedTuple):
    """A database to copy, and the role that owns what is in it."""

    database: str
    role: str


class Templates:
    """Those of one entry. Any thread may call."""

    def __init__(self, options: Mapping[str, Any], context: Context, server: Server) -> None:
        self._options = options
        self._context = context
        self._server = server
        self._lock = threading.Lock()
        self._dump: Dump | None = None
        self._failure: InfrastructureError | None = None  # of `migrate`, or of what reads its work
        self._own: Lease | None = None  # the database of this run alone

    def schema(self) -> Dump | None:
        """None: there is no `migrate`. Raises InfrastructureError where it failed, at once if it has before, and soon
        where the run stops."""
        with self._lock:
            if self._dump is None and self._options["migrate"]:
                self._check()
                self._dump = self._kept_dump() if self._options["migrations"] else self._new_dump()
            return self._dump

    def database(self) -> Template | None:
        """As `schema`."""
        with self._lock:
            if not self._options["migrate"]:
                return None
            self._check()
            return self._kept_database() if self._options["migrations"] else self._own_database()

    def _check(self) -> None:
        """Raises what `migrate` failed with before: it would fail again, and that may take long."""
        if self._failure:
            raise InfrastructureError(self._failure.message, self._failure.cure)
        self._go_on()

    def _go_on(self) -> None:
        if self._context.stopping.is_set():
            raise InfrastructureError(f"the template on {self._server.where} is not made any more: the run stops")

    def renew(self) -> None:
        """Says that this run still lives, on what was made for it alone."""
        if own := self._own:
            relabel(self._server, own.token, label_of(own, self._context, self._server.now()))

    def close(self) -> None:
        """Removes what was made for this run alone."""
        if own := self._own:
            self._own = None
            remove(self._server, own.token)

    # --- schemas

    def _kept_dump(self) -> Dump:
        path = self._context.project / ".harness" / "cache" / f"postgres-schema-{self._digest}.sql"
        if kept := _read(path):
            return kept
        with self._alone():
            if kept := _read(path):
                return kept
            dump = self._new_dump()
            try:
                private_directory(path.parent)
                write_atomically(path, f"-- harness: the schema {dump.schema}\n{dump.sql}".encode())
            except OSError:
                pass  # it costs the next run its time
            return dump

    def _new_dump(self) -> Dump:
        lease = self._lease("schema")
        role = self._role(lease)
        try:
            make_schema(self._server, lease, role)
            schema = lease.details["schema"]
            self._migrate(role, self._server.facts.database, schema)
            address, version = self._server.url(role.name, "", self._server.facts.database), self._server.facts.version
            with self._remembering():
                return Dump(schema, dumped_schema(address, role.password, schema, version, self._context))
        finally:
            remove(self._server, lease.token)

    # --- databases

    def _own_database(self) -> Template:
        own = self._own
        if own is None or not self._stands(own.details["database"], ""):
            self._own = own = self._lease("database")
            role = self._role(own)
            try:
                make_database(self._server, own, role)
                self._fill(role, own.details["database"])
            except BaseException:
                self._own = None
                remove(self._server, own.token)
                raise
        return Template(own.details["database"], own.details["role"])

    def _kept_database(self) -> Template:
        name = f"harness_template_{self._digest}"
        comment = f"harness template={self._digest}"
        if self._stands(name, comment):
            return Template(name, name)
        with self._alone():
            if not self._stands(name, comment):
                role = Role(name, secrets.token_urlsafe(24), comment, _CONNECTIONS)
                self._drop_half_made(name, comment)
                try:
                    make_database(self._server, self._lease("database", name), role)
                    self._fill(role, name)
                except BaseException:
                    self._drop_half_made(name, comment)
                    raise
        return Template(name, name)

    def _stands(self, database: str, comment: str) -> bool:
        """Whether it is there and finished."""
        query = (
            "SELECT 1 FROM pg_database WHERE datname = %s AND NOT datallowconn "
            "AND (%s = '' OR shobj_description(oid, 'pg_database') = %s)"
        )
        with self._server.session(f"look for the template {database}") as session:
            return bool(session.run(query, database, comment, comment))

    def _fill(self, role: Role, database: str) -> None:
        """Runs the migrations, and shuts the database behind them."""
        self._migrate(role, database, "public")
        name, owner = identifier(database), identifier(role.name)
        with self._server.session(f"finish the template {database}") as session:
            # Its things stay the role's, which every copy gives to a role of its own; that must not take the template.
            session.run(f"ALTER DATABASE {name} OWNER TO CURRENT_USER; ALTER ROLE {owner} NOLOGIN PASSWORD NULL")
            session.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", database)
            session.run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")

    def _drop_half_made(self, name: str, comment: str) -> None:
        """The role comes first and goes last, and bears its comment from the beginning: without it, nothing is ours."""
        with self._server.session(f"remove the half-made template {name}") as session:
            query = "SELECT 1 FROM pg_roles WHERE rolname = %s AND shobj_description(oid, 'pg_authid') = %s"
            if session.run(query, name, comment):
                session.run(f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE)")
                session.run(f"DROP ROLE {identifier(name)}")

    # --- both

    def _lease(self, make: str, name: str = "") -> Lease:
        lease = Lease(token=new_token(), entry="", kind="postgres", run_id=self._context.run_id, group="template")
        details = {"role": name, "schema": "public", "database": name} if name else names_of(lease, make)
        return msgspec.structs.replace(lease, details=details)

    def _role(self, lease: Lease) -> Role:
        label = label_of(lease, self._context, self._server.now())
        # Nobody renews it while it is filled.
        label = label._replace(until=label.until + int(TIMEOUT))
        return Role(lease.details["role"], secrets.token_urlsafe(24), str(label), _CONNECTIONS)

    @cached_property
    def _digest(self) -> str:
        """Raises InfrastructureError where the globs match no file: the template would then never be made again."""
        tree = Tree(self._context.project, "")
        names = sorted({name for glob in self._options["migrations"] for name in tree.glob(glob)})
        if not names:
            globs = ", ".join(self._options["migrations"])
            raise InfrastructureError(
                f"`migrations` matches no file: {globs} in {self._context.project}",
                "Name the files that `migrate` reads, as migrations/**, or leave the key out.",
            )
        facts = (_FORMAT, self._options["make"], self._options["migrate"], self._server.facts.version)
        digest = hashlib.sha256(repr(facts).encode())
        try:
            for name in names:
                content = (self._context.project / name).read_bytes()
                digest.update(f"{name}\0{len(content)}\0".encode("utf-8", "surrogateescape") + content)
        except OSError as error:
            raise InfrastructureError(
                f"cannot read {error.filename}, which `migrations` matches: {error.strerror}"
            ) from error
        return digest.hexdigest()[:32]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While it is entered, no other run makes this template."""
        doing = "wait for another run, which makes the same template"
        with self._server.apart(doing, seconds=2 * TIMEOUT) as session:
            session.run(f"SET lock_timeout = {_LOOK_FOR_STOP}")
            while not self._has_locked(session):
                self._go_on()
            yield

    def _has_locked(self, session: Session) -> bool:
        try:
            session.run("SELECT pg_advisory_lock(%s)", int(self._digest[:15], 16))
        except ServerError as error:
            if error.sqlstate != LOCKED:
                raise
            return False
        return True

    @contextmanager
    def _remembering(self) -> Iterator[None]:
        """A failure within is the template's, unless the run stops: nobody must be told that of a later one."""
        try:
            yield
        except InfrastructureError as error:
            self._go_on()
            self._failure = error
            raise

    def _migrate(self, role: Role, database: str, schema: str) -> None:
        command = self._options["migrate"]
        dsn = self._server.url(role.name, role.password, database)
        variables = {self._options["variable"]: dsn, self._options["schema_variable"]: schema}
        with self._remembering():
            try:
                run_tool(
                    ["bash", "-c", command] if isinstance(command, str) else list(command),
                    env={**self._context.variables, **variables},
                    directory=self._context.project,
                    timeout=TIMEOUT,
                    stop=self._context.stopping,
                )
            except ToolError as error:
                raise InfrastructureError(
                    f"`migrate` failed on {self._server.where}: {error.message.replace(role.password, '…')}",
                    "Run it by hand on an empty database. In a schema it may use nothing but what stands there "
                    'already: extensions have to be installed before, or take `make = "database"`.',
                ) from error


def _read(path: Path) -> Dump | None:
    """None: there is no such file, or none that we wrote."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        return None
    first = _SCHEMA.match(text)
    return Dump(first[1], text[first.end() :]) if first else None
