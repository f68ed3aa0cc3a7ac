"""The files of a run: what they are called, where they lie, and how one is replaced.

Protocol: `open_run` claims a run id by making `run_TIMESTAMP` exclusively, so two runs never share a file; a `RunFiles`
then names every file of that run. Logs can hold secrets: whatever is made here is readable by its owner alone.
`docs/files.md` describes the files to their readers.

It must not know what stands in the files, and it makes no name outside the log directory, whatever a group is called.
"""

import contextlib
import errno
import fcntl
import functools
import hashlib
import itertools
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from harness.errors import InfrastructureError

NAME_LIMIT = 100
PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700

_UNSAFE = re.compile(r"^[.-]|[^A-Za-z0-9._-]")
_LOOKS_HASHED = re.compile(r"-[0-9a-f]{8}\Z")
# What tells the temporary files of this process from those of all others, also of other machines.
WRITER = os.urandom(4).hex()
_NUMBERS = itertools.count()
RUN_ID = r"(?P<stamp>\d{8}_\d{6})(?:-(?P<copy>\d+))?"


def safe_name(name: str) -> str:
    """The one rule by which the name of a group or a service becomes a file name (at most 100 ASCII characters).

    Letters, digits, `.`, `_` and `-` are kept, but for a leading `.` or `-`; the rest becomes `_`. A short hash of the
    name is added where that alone could bring two names together: where anything was replaced or cut, where it has an
    upper-case letter (`A` and `a` are one file on a Mac), where it ends like such a hash, and where it is the name
    that the main log has already.
    """
    stem = _UNSAFE.sub("_", name)
    ambiguous = stem != name or stem.lower() != stem or _LOOKS_HASHED.search(stem) or stem == "parallel_run"
    if stem and len(stem) <= NAME_LIMIT and not ambiguous:
        return stem
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{stem[: NAME_LIMIT - 9] or '_'}-{digest}"


def private_directory(path: Path) -> None:
    """Makes it, and what is missing above it, for their owner alone; what is there stays as it is. Raises OSError."""
    if not path.parent.exists():
        private_directory(path.parent)
    path.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Makes a private directory, and keeps all others out of here meanwhile. Raises OSError.

    Whoever makes a thing in it and locks that, and whoever looks for things that nobody has locked, does it in here: so
    neither finds the other half done.
    """
    private_directory(directory)
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def is_copy(path: Path, first: str | Path) -> bool:
    """Whether the file `path` was copied, with the project in which it was made as `first`, and that is still there.

    A copy has no lock, so of the process that made the first one it says nothing.
    """
    try:
        return not os.path.samefile(path, first)  # noqa: PTH121 - as that says it
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # we are not to know
        return True


def open_private(path: Path | str, flags: int) -> int:
    """Open a file under a name that others can guess, made for its owner alone where it is missing. Raises OSError.

    Whoever else can write to its directory may have laid something there, to read what we write or to have us write
    elsewhere: a link, a pipe or a file of somebody else's, or a second name of one of our files, is refused.
    """
    # Nobody reads from a pipe that was laid: opening it must not wait.
    flags |= os.O_CREAT | os.O_NONBLOCK
    try:
        handle = os.open(path, flags | os.O_NOFOLLOW, PRIVATE_FILE)
    except OSError:  # where there is a link; which number that has, differs between systems
        if not _is_own_link(path):
            raise
        handle = os.open(path, flags, PRIVATE_FILE)
    status = os.fstat(handle)
    if not stat.S_ISCHR(status.st_mode) and (status.st_uid != os.geteuid() or status.st_nlink > 1):
        os.close(handle)
        raise PermissionError(errno.EPERM, "it was there already, and is not a file of our own", str(path))
    return handle


def _is_own_link(path: Path | str) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISLNK(status.st_mode) and status.st_uid == os.geteuid()


def write_atomically(path: Path | str, data: bytes | bytearray, *, durable: bool = True) -> None:
    """Replace `path` by `data`: whoever reads it, after whatever crash, finds the old content or the new, never a part.

    `durable=False` leaves out the two fsyncs: still atomic for readers and when the harness is killed, but after a
    power cut the old file, or none, may be there. Raises OSError; the temporary file is then gone.
    """
    # By os and by a name of our own: tempfile and pathlib would double the cost, and every group has two such files.
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.{WRITER}-{next(_NUMBERS)}.tmp")  # noqa: PTH118
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    try:
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(handle, rest) :]
            if durable:
                os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)  # noqa: PTH108
        raise
    if durable:
        _sync_directory(directory)


def remove_temporary(files: "RunFiles", writer: str) -> None:
    """What a process that died left of the run's files, in the midst of writing them: `writer` is its WRITER. Raises
    OSError."""
    own = itertools.chain(files.run_dir.glob(".*.tmp"), files.log_dir.glob(f".*_status_{files.run_id}.*.tmp"))
    for path in [*own, *files.log_dir.glob(f".{files.test_report.name}.{writer}-*.tmp")]:
        path.unlink(missing_ok=True)


def _sync_directory(directory: str) -> None:
    handle = os.open(directory or ".", os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@dataclass(frozen=True)
class RunFiles:
    """Where each file of one run lies. Only names: nothing here touches the disk."""

    log_dir: Path
    run_id: str

    @property
    def main_log(self) -> Path:
        return self.log_dir / f"parallel_run_{self.run_id}.log"

    @functools.cached_property  # it is asked for at every start of a group
    def run_dir(self) -> Path:
        return self.log_dir / f"run_{self.run_id}"

    @property
    def events(self) -> Path:
        return self.run_dir / "events.jsonl"

    @property
    def report(self) -> Path:
        return self.run_dir / "report.json"

    @property
    def junit(self) -> Path:
        return self.run_dir / "junit.xml"

    @property
    def trace(self) -> Path:
        return self.run_dir / "trace.json"

    @property
    def test_report(self) -> Path:
        """The report of the newest run to end, always under the same name."""
        return self.log_dir / "test-report.json"

    def group_log(self, name: str) -> Path:
        return self.log_dir / f"{safe_name(name)}_{self.run_id}.log"

    def part_log(self, name: str) -> Path:
        """Of a part of a group while it runs; then it is appended to its group's."""
        return self.run_dir / f"part-{safe_name(name)}.log"

    def status(self, name: str) -> Path:
        return self.log_dir / self.status_name(name)

    def status_name(self, name: str) -> str:
        return f".{safe_name(name)}_status_{self.run_id}"

    def service_log(self, name: str) -> Path:
        return self.run_dir / f"service-{safe_name(name)}.log"


def open_run(log_dir: Path, now: datetime) -> RunFiles:
    """Claim a run id of the second `now`, and with it the right to write that run's files under `log_dir`.

    Raises InfrastructureError, before anything else is made, where the directory cannot be made or written.
    """
    log_dir = log_dir.absolute()
    stamp = now.strftime("%Y%m%d_%H%M%S")
    try:
        private_directory(log_dir)
        copy = 1
        while True:
            files = RunFiles(log_dir, stamp if copy == 1 else f"{stamp}-{copy}")
            try:
                files.run_dir.mkdir(mode=PRIVATE_DIRECTORY)
            except FileExistsError:
                copy += 1
            else:
                return files
    except OSError as error:
        raise unwritable(log_dir, error) from error


def unwritable(log_dir: Path, error: OSError) -> InfrastructureError:
    return InfrastructureError(
        f"cannot write to the log directory {log_dir}: {error.strerror or error}",
        "Make it writable, free some space, or choose another one with --log-dir.",
    )


def all_runs(log_dir: Path) -> list[RunFiles]:
    """The runs of a log directory, the newest first, by their ids; none where there is no such directory."""
    try:
        names = [path.name for path in log_dir.iterdir() if path.is_dir() and not path.is_symlink()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = [match for name in names if (match := re.fullmatch(f"run_{RUN_ID}", name, re.ASCII))]
    newest_first = sorted(found, key=age, reverse=True)
    return [RunFiles(log_dir.absolute(), match.string.removeprefix("run_")) for match in newest_first]


def age(match: re.Match[str]) -> tuple[str, int]:
    """The key that sorts matches of RUN_ID from the oldest run to the newest."""
    return match["stamp"], int(match["copy"] or 1)
