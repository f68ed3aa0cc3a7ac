"""Speaks to one Postgres server as its administrator: a few sessions, used in turn, and errors in words.

Protocol: `with server.session("make schema x") as session:` lends a session for one thing that is done; from then on
the thing has a deadline. When it passes, the socket is shut: also a server that is frozen lets go of us. Sessions of
their own (`apart`) are for another database, and for what takes long.

This is the only module here that imports psycopg. It knows no leases, and no password is in a message of its.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

from harness.errors import InfrastructureError

if TYPE_CHECKING:
    from psycopg import Connection, Error

POOL = 6
"""Sessions of ours at a time. Making a schema is the server's work, not the network's: more would not be faster."""

DEADLINE = 30.0
"""Seconds for one thing that is done."""

OLDEST = 13
"""The oldest major version that can do all of this (DROP DATABASE … WITH (FORCE))."""

LOCKED = "55P03"
"""The code where something was locked for longer than lock_timeout (lock_not_available)."""

NAME = "harness"
"""Our application_name."""

_CONNECT_TIMEOUT = 10
# Names without a schema are the system's own: nobody can put a function of his in our way.
_SETTINGS = "SET search_path = ''; SET client_min_messages = error; SET standard_conforming_strings = on"

# What of the administrator's address holds for another role as well.
_SHARED = ("sslmode", "sslrootcert", "sslcrl", "sslsni", "target_session_attrs", "channel_binding", "gssencmode")

_CURES = {
    "42501": "The role of `dsn` must be a superuser, or own what it works on; to end sessions, have pg_signal_backend.",
    "53300": "Run fewer jobs, give leases fewer `connections`, or raise max_connections on the server.",
    "53200": "Raise max_locks_per_transaction on the server, or run fewer jobs.",
    "28P01": "Correct the password in `dsn`.",
}


class ServerError(InfrastructureError):
    """The server refused, or could not be reached. `sqlstate` is its code, empty if it did not speak."""

    def __init__(self, message: str, cure: str = "", sqlstate: str = "") -> None:
        super().__init__(message, cure)
        self.sqlstate = sqlstate


class Facts(NamedTuple):
    """What a server says of itself and of the role that we are there."""

    version: int  # major
    user: str
    database: str
    is_superuser: bool
    may_create_roles: bool
    may_create_databases: bool
    may_create_schemas: bool  # in `database`
    may_grant_monitor: bool
    everybody_connects: bool  # to `database`
    is_safe: bool  # fsync is on
    extension_schemas: tuple[str, ...]
    ahead: float  # seconds by which its clock is ahead of this machine's


_FACTS = """
SELECT current_setting('server_version_num')::int / 10000, current_user, current_database(),
       rolsuper, rolsuper OR rolcreaterole, rolsuper OR rolcreatedb,
       has_database_privilege(current_database(), 'CREATE'),
       rolsuper OR pg_has_role('pg_monitor', 'MEMBER WITH ADMIN OPTION')
           OR rolcreaterole AND current_setting('server_version_num')::int < 160000,
       has_database_privilege('public', current_database(), 'CONNECT'),
       current_setting('fsync')::bool,
       ARRAY(SELECT DISTINCT nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
             WHERE nspname <> 'pg_catalog'),
       extract(epoch FROM clock_timestamp())::float
FROM pg_roles WHERE rolname = current_user"""


def identifier(name: str) -> str:
    """The name as SQL has it, in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """The text as SQL has it, where no parameter may stand."""
    return "'" + text.replace("'", "''") + "'"


class Session:
    """A session that is lent. Every method raises ServerError."""

    def __init__(self, connection: "Connection[Any]", where: str, doing: str) -> None:
        self._connection = connection
        self._where = where
        self._doing = doing

    def run(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """All rows of the query, none if it has none. Without values it may be several statements."""
        with self._translated():
            cursor = self._connection.execute(query.encode(), values or None)
            return cursor.fetchall() if cursor.description is not None else []

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is run within happens, or nothing."""
        with self._translated(), self._connection.transaction():
            yield

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it is connected to; the host is a directory for a local socket."""
        return self._connection.info.host, self._connection.info.port

    @property
    def place(self) -> str:
        """The same, with the host's address instead of one of its names: "127.0.0.1:5432"."""
        info = self._connection.info
        return f"{info.hostaddr or info.host}:{info.port}"

    def reset(self) -> None:
        """Takes back every setting that was changed."""
        self.run(f"RESET ALL; {_SETTINGS}")

    def verifier(self, role: str, password: str) -> str:
        """What the server stores of a password. It never learns the password itself, and so cannot log it."""
        with self._translated():
            encrypted = self._connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
        return encrypted.decode()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            raise _failure(error, self._where, self._doing) from error


def _failure(error: "Error", where: str, doing: str) -> ServerError:
    said = error.diag.message_primary or str(error).strip()
    more = [text for text in (error.diag.message_detail, error.diag.message_hint) if text]
    state = error.sqlstate or ""
    return ServerError(f"{where}: cannot {doing}: {'; '.join([said, *more])}", _CURES.get(state, ""), state)


class Server:
    """One server, one administrator, one database of his. Any thread may call. Connects when it is first needed."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._idle: list[Connection[Any]] = []
        self._lock = threading.Lock()
        self._free = threading.BoundedSemaphore(POOL)

    @contextlib.contextmanager
    def session(self, doing: str) -> Iterator[Session]:
        """Lends a session for up to DEADLINE seconds. `doing` completes "cannot …". Do not ask for another within."""
        if not self._free.acquire(timeout=DEADLINE):
            raise ServerError(f"{self.where}: cannot {doing}: {POOL} sessions of ours are busy for {DEADLINE:g} s")
        try:
            connection = self._take(doing)
            try:
                with _deadline(connection, DEADLINE):
                    yield Session(connection, self.where, doing)
            except BaseException:
                connection.close()  # nobody knows what it has been set to
                raise
            with self._lock:
                self._idle.append(connection)
        finally:
            self._free.release()

    @contextlib.contextmanager
    def apart(self, doing: str, *, database: str | None = None, seconds: float = DEADLINE) -> Iterator[Session]:
        """A session of its own, for another database or for longer."""
        connection = self._connect(doing, database)
        try:
            with _deadline(connection, seconds):
                yield Session(connection, self.where, doing)
        finally:
            connection.close()

    @cached_property
    def facts(self) -> Facts:
        with self.session("ask the server what it is") as session:
            (*plain, extensions, now) = session.run(_FACTS)[0]
            facts = Facts._make((*plain, tuple(extensions), now - time.time()))
        if facts.version < OLDEST:
            raise ServerError(
                f"{self.where}: is PostgreSQL {facts.version}",
                f"Use PostgreSQL {OLDEST} or later for isolated environments.",
            )
        return facts

    def now(self) -> float:
        """The server's wall time. Labels are by it: it is the one clock that all who use the server share."""
        return time.time() + self.facts.ahead

    def check_rights(self, *, databases: bool) -> None:
        """Raises InfrastructureError with all that the administrator lacks for making leases."""
        facts = self.facts
        role = identifier(facts.user)
        lacking = {
            "create roles": (facts.may_create_roles, f"ALTER ROLE {role} CREATEROLE"),
            "create databases": (facts.may_create_databases or not databases, f"ALTER ROLE {role} CREATEDB"),
            f"create schemas in {facts.database}": (
                facts.may_create_schemas or databases,
                f"GRANT CREATE ON DATABASE {identifier(facts.database)} TO {role}",
            ),
        }
        missing = {what: cure for what, (has, cure) in lacking.items() if not has}
        if missing:
            raise ServerError(
                f"{self.where}: the role {facts.user} may not {', nor '.join(missing)}",
                f"As a superuser: {'; '.join(missing.values())};",
            )

    @cached_property
    def where(self) -> str:
        """The server for messages, without a password."""
        known = self._parameters
        host, port = known.get("host") or known.get("hostaddr") or "localhost", known.get("port") or "5432"
        return f"postgres at {host}:{port}/{known.get('dbname') or ''}".rstrip("/")

    def url(self, role: str, password: str, database: str) -> str:
        """The address for another role, as a plain URL; without a password it has none."""
        host, port = self._address
        parameters = {name: self._parameters[name] for name in _SHARED if name in self._parameters}
        place = f"[{host}]" if ":" in host else host
        if host.startswith("/"):
            place, parameters = "", {"host": host, **parameters}
        user = f"{quote(role, safe='')}{':' if password else ''}{quote(password, safe='')}"
        query = f"?{urlencode(parameters, quote_via=quote)}" if parameters else ""
        return f"postgresql://{user}@{place}:{port}/{quote(database, safe='')}{query}"

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @cached_property
    def _address(self) -> tuple[str, int]:
        with self.session("find out its address") as session:
            return session.address

    @cached_property
    def _parameters(self) -> Mapping[str, Any]:
        psycopg = _psycopg()
        try:
            parameters: dict[str, Any] = psycopg.conninfo.conninfo_to_dict(self._dsn)
        except psycopg.Error:
            # Without libpq's words: they can quote the password.
            raise ServerError(
                "the `dsn` of an isolated environment is not an address of Postgres",
                "Write postgresql://ROLE:PASSWORD@HOST:PORT/DATABASE, with special characters percent-encoded.",
            ) from None
        return parameters

    def _connect(self, doing: str, database: str | None = None) -> "Connection[Any]":
        psycopg = _psycopg()
        own = {"application_name": NAME, "connect_timeout": _CONNECT_TIMEOUT, "client_encoding": "utf8"}
        parameters = {**self._parameters, **own, **({"dbname": database} if database else {})}
        try:
            connection: Connection[Any] = psycopg.connect(**parameters, autocommit=True)
            connection.execute(_SETTINGS)
        except psycopg.Error as error:
            raise _failure(error, self.where, doing) from error
        return connection

    def _take(self, doing: str) -> "Connection[Any]":
        psycopg = _psycopg()
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return self._connect(doing)
            # The server may have been started again, or somebody may have ended all sessions.
            with contextlib.suppress(psycopg.Error), _deadline(connection, _CONNECT_TIMEOUT):
                connection.execute("")
                return connection
            connection.close()


def _psycopg() -> Any:
    try:
        import psycopg
        import psycopg.conninfo
    except ImportError as error:
        raise InfrastructureError(
            f"isolated environments in Postgres need the package psycopg: {error}",
            'Install it: pip install "parallel-harness[postgres]"',
        ) from error
    return psycopg


@contextlib.contextmanager
def _deadline(connection: "Connection[Any]", seconds: float) -> Iterator[None]:
    """Shuts the socket after `seconds`; whoever waits at it then hears that the connection is lost."""

    def shut() -> None:
        with contextlib.suppress(OSError, ValueError), socket.socket(fileno=duplicate.detach()) as end:
            end.shutdown(socket.SHUT_RDWR)

    duplicate = socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM)
    timer = threading.Timer(seconds, shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        duplicate.close()
