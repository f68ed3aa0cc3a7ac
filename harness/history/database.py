"""One SQLite file that may be damaged, locked or out of reach at any moment, and a connection that works nevertheless.

Protocol: `read` and `write` take the work to do with a connection. If the file turns out to be damaged, it is set aside
(`NAME.damaged-TIME`, with its -wal and -shm), a new one is begun and the work is done again. If it cannot be used as it
is (no right to write, of a newer version, locked for too long), the work is done in memory, on a copy of what the file
has, where that can be read. Either way `warnings` says so, and nothing is raised: this is derived data.

It must not know the tables beyond their names.
"""

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from harness.errors import InfrastructureError, UsageError
from harness.history.schema import APPLICATION, CREATE, TABLES, VERSION
from harness.past import LARGEST, SMALLEST

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")

PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700
BUSY_TIMEOUT = 5000  # milliseconds that a write waits for another run's
SIDE_FILES = ("-wal", "-shm")
CURE = "It should be the .harness/history.sqlite3 of another machine, made by the same version of the harness."


_COLUMN = re.compile(r'^ *"?(\w+)"? (TEXT|INTEGER|REAL)(.*)$', re.MULTILINE)


class Place(Enum):
    """Where the work is done."""

    FILE = "file"
    COPY = "copy"  # in memory, of the file
    MEMORY = "memory"  # where even that cannot be read


class UnusableError(Exception):
    """The file is sound, and yet not for this harness."""


class DamagedError(Exception):
    """SQLite can read the file, but it is not what we would write."""


class Database:
    def __init__(self, path: Path, *, make: bool = True) -> None:
        """With `make` the file is made where there is none. Raises InfrastructureError where this Python has no
        SQLite."""
        try:
            import sqlite3
        except ImportError as error:
            raise InfrastructureError(
                f"this Python has no SQLite, which the history of runs needs: {error}",
                "Install it (Debian, Ubuntu: libsqlite3-0; from source: libsqlite3-dev before ./configure).",
            ) from error
        self._sqlite = sqlite3
        self.path = path
        self.warnings: list[str] = []
        self._inode = 0
        self._place = Place.FILE if make or os.path.lexists(path) else Place.MEMORY
        self._may_set_aside = True  # once: a disk that damages whatever is written must not keep us here
        self._connection: sqlite3.Connection | None = None
        self.read(lambda connection: connection.execute("SELECT 1"))

    def read(self, work: Callable[["sqlite3.Connection"], T]) -> T:
        """What the work returns; it may be done twice."""
        while True:
            try:
                return work(self._connected())
            # UnicodeDecodeError: what SQLite says of the damage quotes some of it.
            except (self._sqlite.DatabaseError, DamagedError, UnusableError, OSError, UnicodeDecodeError) as error:
                # A new database in memory cannot be damaged or locked: that is a bug of ours.
                if self._place is Place.MEMORY:
                    raise
                self._recover(error)

    def write(self, work: Callable[["sqlite3.Connection"], T]) -> T:
        """The same in one transaction, which is undone where the work fails."""

        def inside(connection: "sqlite3.Connection") -> T:
            with transaction(connection):
                return work(connection)

        return self.read(inside)

    def close(self) -> None:
        """Also folds the -wal file into the main one, if no other run has it open."""
        if self._connection is not None:
            with contextlib.suppress(self._sqlite.Error):
                self._connection.close()
            self._connection = None

    @property
    def is_durable(self) -> bool:
        return self._place is Place.FILE

    def _connected(self) -> "sqlite3.Connection":
        if self._connection is not None and self._place is Place.FILE and not self._is_ours():
            self.close()  # somebody has removed or replaced the file: what is written to the old one would be lost
        if self._connection is None:
            opened = {Place.FILE: self._open, Place.COPY: self._copy, Place.MEMORY: self._new_in_memory}
            self._connection = opened[self._place]()
        return self._connection

    def _is_ours(self) -> bool:
        try:
            return self.path.stat().st_ino == self._inode
        except OSError:
            return False

    def _open(self) -> "sqlite3.Connection":
        self.path.parent.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        # Made by us before SQLite would, whose side files get the same mode.
        look_at(self.path, os.O_RDWR | os.O_CREAT)
        self._inode = self.path.stat().st_ino
        connection = self._sqlite.connect(self.path.absolute().as_uri(), uri=True, isolation_level=None)
        try:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT}")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA trusted_schema = OFF")
            if connection.execute("PRAGMA user_version").fetchone() == (0,):
                create(connection)
            check(connection)
            # Refused while another run reads a file that has lost this mode; whoever opens it next will do it.
            connection.execute("PRAGMA busy_timeout = 0")
            with contextlib.suppress(self._sqlite.OperationalError):
                connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT}")
            connection.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            connection.close()
            raise
        return connection

    def _copy(self) -> "sqlite3.Connection":
        connection = self._sqlite.connect(":memory:", uri=True, isolation_level=None)
        with contextlib.closing(open_readonly(self.path)) as source:
            source.backup(connection)
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _new_in_memory(self) -> "sqlite3.Connection":
        connection = self._sqlite.connect(":memory:", uri=True, isolation_level=None)
        connection.execute("PRAGMA foreign_keys = ON")
        create(connection)
        return connection

    def _recover(self, error: Exception) -> None:
        """Decides where the work is done now; the warning tells of the first reason only."""
        self.close()
        if self._place is Place.COPY:
            self._place = Place.MEMORY
            return
        if self._may_set_aside and _is_damage(error):
            self._may_set_aside = False
            try:
                self._set_aside(error)
            except OSError as refused:
                error = refused
            else:
                return
        self._place = Place.COPY
        self.warnings.append(f"{self.path} cannot be used: {error}; nothing is added to it")

    def _set_aside(self, error: Exception) -> None:
        if not self._is_ours():
            return  # another run has done it
        stem = f"{self.path.name}.damaged-{datetime.now():%Y%m%d_%H%M%S}"
        name, copy = stem, 1
        while self.path.with_name(name).exists():
            copy += 1
            name = f"{stem}-{copy}"
        # The main file last: a new one beside an old -wal would be given the old content.
        for suffix in (*SIDE_FILES, ""):
            with contextlib.suppress(FileNotFoundError):
                self.path.with_name(self.path.name + suffix).rename(self.path.with_name(name + suffix))
        self.warnings.append(f"{self.path} cannot be used ({error}): it is set aside as {name}, and a new one is begun")


@contextlib.contextmanager
def transaction(connection: "sqlite3.Connection") -> Iterator[None]:
    """All of it or nothing. Takes the right to write first, so that it waits for another run before it has read."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def create(connection: "sqlite3.Connection") -> None:
    """Makes the tables where there are none at all: another run may have made them since, or another program."""
    with transaction(connection):
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
            for statement in CREATE:
                connection.execute(statement)


def check(connection: "sqlite3.Connection") -> None:
    """Raises sqlite3.DatabaseError or DamagedError where this is no history, UnusableError for one of another version.

    It looks at the header, the schema and the first page of every table. A check of all pages would take seconds.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION:
        raise DamagedError("it is not a history of the harness")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version < VERSION:
        raise DamagedError(f"it was made by an older version of the harness (format {version}, not {VERSION})")
    if version > VERSION:
        raise UnusableError(f"it was made by a newer version of the harness (format {version}, not {VERSION})")
    for table in TABLES:
        connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()


def check_types(connection: "sqlite3.Connection") -> None:
    """Raises DamagedError where a column holds what is not of its type: SQLite itself takes anything."""
    fits = {
        "TEXT": "typeof({0}) = 'text'",
        "INTEGER": "typeof({0}) = 'integer'",
        "REAL": f"(typeof({{0}}) = 'real' AND {{0}} BETWEEN {SMALLEST} AND {LARGEST})",
    }
    for table, body in TABLES.items():
        for name, kind, more in _COLUMN.findall(body):
            fitting = fits[kind].format(f'"{name}"')
            if not ("NOT NULL" in more or "KEY" in more):
                fitting += f' OR "{name}" IS NULL'
            if connection.execute(f"SELECT 1 FROM {table} WHERE NOT ({fitting}) LIMIT 1").fetchone():
                raise DamagedError(f"{table}.{name} holds what is no {kind}")


def look_at(path: Path, flags: int) -> None:
    """Raises OSError where the file cannot be opened so, UnusableError where it is a pipe or the like."""
    descriptor = os.open(path, flags | os.O_NONBLOCK, PRIVATE_FILE)  # a pipe would wait for its other end
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UnusableError("it is no regular file")
    finally:
        os.close(descriptor)


def open_readonly(path: Path) -> "sqlite3.Connection":
    """A history to look at only, which may lie where nothing can be written. Raises as `check` does, and OSError."""
    import sqlite3

    look_at(path, os.O_RDONLY)  # for the OSError, which says what SQLite does not
    connection = sqlite3.connect(readonly_uri(path), uri=True, isolation_level=None)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        check(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def readonly_uri(path: Path) -> str:
    # `immutable` lets SQLite read without side files; where there is a -wal, there is more to read than the file.
    has_more = path.with_name(path.name + "-wal").is_file()
    return f"{path.absolute().as_uri()}?{'mode=ro' if has_more else 'immutable=1'}"


def sound_uri(path: Path) -> str:
    """What ATTACH takes to read another history, looked through whole. Raises UsageError where it cannot be read.

    So whatever goes wrong afterwards is not mistaken for damage of our own.
    """
    import sqlite3

    try:
        with contextlib.closing(open_readonly(path)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise DamagedError(found)
            check_types(connection)
    except (sqlite3.DatabaseError, DamagedError, UnusableError, OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or error) if isinstance(error, OSError) else error
        raise UsageError(f"{path} is no history that can be read: {reason}", CURE) from error
    return readonly_uri(path)


def _is_damage(error: Exception) -> bool:
    """Whether the content is wrong, and it is not only that SQLite cannot get at it."""
    import sqlite3

    if isinstance(error, DamagedError | UnicodeDecodeError):
        return True

    # SQLITE_ERROR: a table or a column is missing.
    damage = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_ERROR}
    return isinstance(error, sqlite3.DatabaseError) and getattr(error, "sqlite_errorcode", 0) & 0xFF in damage
