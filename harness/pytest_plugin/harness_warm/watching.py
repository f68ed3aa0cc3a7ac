"""What is read, drawn and opened while pytest and the users' plugins are loaded.

A process that is forked afterwards has it all from the parent. That is right only for what would have been the same had
the process loaded it itself, so a Watch looks for the rest:

- variables: which were read, and by whom. A group for which one of them is another cannot be forked.
- values that each process has for itself: random numbers and process ids, where the project's own files ask for them.
- what the project's own files do to the world: processes, connections, temporary files, files written.
- what cannot be shared, whoever opened it: threads, sockets, pipes, files open for writing, child processes.

What the project reads of the clock, and what a library written in C does, is not seen.
"""

from __future__ import annotations

import os
import random
import signal
import stat
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

_LIBRARY = str(Path(os.__file__).parent) + os.sep
_INSTALLED = (os.sep + "site-packages" + os.sep, os.sep + "dist-packages" + os.sep)
_OURS = str(Path(__file__).parent.parent) + os.sep
_TESTERS = tuple(f"{os.sep}{name}{os.sep}" for name in ("_pytest", "pluggy", "pytest"))

# Read before any Python runs, or by pytest before anybody could look.
_READ_AT_START = ("PYTHON", "PYTEST_", "LD_", "LC_", "LANG", "TZ", "MALLOC_", "GLIBC_", "OMP_", "OPENBLAS_", "MKL_")
_MARKS = "HARNESS_"
_TEMPORARY = ("TMPDIR", "TEMP", "TMP")
_COPIED_BY_LIBRARY = "wsgiref/handlers.py"  # it keeps a copy of all variables, which a child makes anew

_DEEDS = {
    "socket.connect": "opens a connection",
    "socket.bind": "opens a port",
    "sqlite3.connect": "opens a database",
    "subprocess.Popen": "starts a process",
    "os.fork": "starts a process",
    "os.forkpty": "starts a process",
    "os.posix_spawn": "starts a process",
    "os.system": "starts a process",
    "tempfile.mkdtemp": "makes a temporary directory",
    "tempfile.mkstemp": "makes a temporary file",
    "os.mkdir": "makes a directory",
    "os.remove": "removes a file",
    "os.rename": "moves a file",
    "open": "writes a file",
}


class _Environment(os._Environ):  # type: ignore[type-arg]
    """os.environ or os.environb that tells the Watch what is read."""

    watch: Watch

    def __getitem__(self, name: Any) -> Any:
        self.watch.read(os.fsdecode(name))
        return super().__getitem__(name)

    def __iter__(self) -> Any:
        self.watch.read("")
        return super().__iter__()

    def __setitem__(self, name: Any, value: Any) -> None:
        self.watch.written.add(os.fsdecode(name))
        super().__setitem__(name, value)


class Watch:
    """Looks on from `begin` to `end`. `own` says why nothing may be forked at all; empty: nothing speaks against it.

    `ahead` is to be set to the name of a module while that is loaded ahead, which may as well be left out.
    """

    def __init__(self) -> None:
        self.own = ""
        self.ahead = ""
        self.loaded_at = 0.0
        self._reads: dict[str, tuple[str, str]] = {}  # variable -> who reads it, and while what was loaded ahead
        self._before: dict[str, str] = {}
        self._changes: dict[str, str | None] = {}
        self.written: set[str] = set()  # variables that were set, also to what they were
        self._is_loading = self._is_reading = False
        self._restore: list[Callable[[], None]] = []
        self._is_seeded = False
        self._random: Any = None
        self._temporary: str | None = None
        self._asked_for_temporary = False
        self._drawn: weakref.WeakSet[random.Random] = weakref.WeakSet()  # generators that nobody gave a seed
        self._unwatch_generators: Callable[[], None] = lambda: None

    def begin(self) -> None:
        self._before = dict(os.environ)
        _Environment.watch = self
        os.environ.__class__ = os.environb.__class__ = _Environment
        for module, name in ((os, "urandom"), (os, "getpid"), (random, "_urandom")):
            self._wrap(module, name, self._ask)
        self._wrap(random, "seed", self._seed)
        self._watch_generators()
        sys.addaudithook(self._audit)
        self._is_loading = self._is_reading = True

    def before_the_project(self) -> None:
        """pytest has asked for the directory of temporary files by now, and Python asks once: so others are seen."""
        tempfile.tempdir = None
        self._asked_for_temporary = False

    def loaded(self) -> None:
        """Only variables are watched from now on, and those that the load has set are kept."""
        self.loaded_at = time.time()
        self._is_loading = False
        while self._restore:
            self._restore.pop()()
        now = dict(os.environ)
        names = {name for name in {**now, **self._before} if now.get(name) != self._before.get(name)} | self.written
        self._changes = {name: now.get(name) for name in names}
        self._random = random.getstate() if self._is_seeded else None
        self._temporary = None if self._asked_for_temporary else tempfile.tempdir

    def end(self) -> None:
        self._is_reading = False
        os.environ.__class__ = os.environb.__class__ = os._Environ

    def against(self, env: dict[str, str]) -> tuple[str, str]:
        """Why a process with these variables cannot be forked, and which module should not have been loaded ahead.

        Both empty: it can.
        """
        different = sorted(name for name in {**env, **self._before} if env.get(name) != self._before.get(name))
        for name in different:
            if name.startswith(_READ_AT_START):
                return f"{name} is another for this group, and is read when an interpreter starts", ""
            what = "it" if name in self._reads else "all variables"
            # Whoever takes them all does not look for ours, which are others for every group.
            everything = None if name.startswith(_MARKS) else self._reads.get("")
            who, ahead = self._reads.get(name) or everything or ("", "")
            if who:
                return f"{name} is another for this group, and {who} reads {what} when it is loaded", ahead
        return "", ""

    def has_read_ahead(self, names: Collection[str]) -> bool:
        """Whether one of these variables was read by what was loaded ahead, or all were."""
        read = {name for name, (_, ahead) in self._reads.items() if ahead}
        return bool(names) and ("" in read or not read.isdisjoint(names))

    def variables(self, env: dict[str, str]) -> dict[str, str]:
        """Those of a child, with what the load has changed."""
        changed = {name: value for name, value in self._changes.items() if value is not None}
        return {**{name: value for name, value in env.items() if name not in self._changes}, **changed}

    def renew(self) -> None:
        """In a child: what is drawn or asked for once a process. Python itself has seeded `random` anew."""
        if self._random is not None:
            random.setstate(self._random)  # a process that loads it all would be seeded so too
        self._unwatch_generators()
        for generator in self._drawn:
            generator.seed()
        numpy: Any = sys.modules.get("numpy.random")
        if numpy and not _is_seeded(numpy):
            numpy.seed()
        tempfile.tempdir = self._temporary
        if "wsgiref.handlers" in sys.modules:
            handlers: Any = sys.modules["wsgiref.handlers"]
            handlers.BaseHandler.os_environ = handlers.read_environ()

    # --- what happens

    def read(self, name: str) -> None:
        if not self._is_reading or name in self._reads:
            return
        self._asked_for_temporary |= name in _TEMPORARY
        callers = list(_frames())
        if any(frame.f_code.co_filename.endswith(_COPIED_BY_LIBRARY) for frame in callers[:5]):  # through os and abc
            return
        reader = next((frame for frame in callers if not is_library(frame.f_code.co_filename)), None)
        file = reader.f_code.co_filename if reader else ""
        if file.startswith(_OURS) or (name in _TEMPORARY and any(part in file for part in _TESTERS)):
            return  # theirs are made anew in a child
        self._reads[name] = (where(file, reader.f_lineno) if reader else "Python", self.ahead)

    def _wrap(self, module: Any, name: str, tell: Callable[[str], None]) -> None:
        real = getattr(module, name)

        def wrapped(*args: Any, **options: Any) -> Any:
            if self._is_loading:
                tell(name.strip("_"))
            return real(*args, **options)

        setattr(module, name, wrapped)
        self._restore.append(lambda: setattr(module, name, real))

    def _ask(self, name: str) -> None:
        # Others ask for the process id, too: it is no name that they make of it.
        asker = _project(directly=name == "getpid")
        if asker and not self.own:
            self.own = f"{asker} calls {name}() when it is loaded, and each process needs its own answer"

    def _seed(self, _: str) -> None:
        self._is_seeded = True

    def _watch_generators(self) -> None:
        real = random.Random.seed

        def seed(generator: random.Random, a: Any = None, version: int = 2) -> None:
            real(generator, a, version)
            if a is None:
                self._drawn.add(generator)
            else:
                self._drawn.discard(generator)

        random.Random.seed = seed  # type: ignore[assignment,method-assign]
        self._unwatch_generators = lambda: setattr(random.Random, "seed", real)

    def _audit(self, event: str, args: Any) -> None:
        if not self._is_loading or self.own or event not in _DEEDS:
            return
        if event == "open" and not _writes(*args):
            return
        # tempfile tries a directory out by a file, and says itself what it makes.
        if event in ("open", "os.remove") and next(_frames()).f_code.co_filename == tempfile.__file__:
            return
        doer = _project()
        if doer:
            self.own = f"{doer} {_DEEDS[event]} when it is loaded"


def shared(known: Iterable[int]) -> str:
    """What this process has open that no two may share, and none of the descriptors `known`; empty: nothing."""
    others = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
    if others or len(sys._current_frames()) > 1:
        return f"a thread runs once pytest is loaded: {', '.join(others) or 'without a name'}"
    if any(signal.getitimer(timer)[0] for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)):
        return "a timer runs once pytest is loaded"  # and not in a fork
    if _has_children():
        return "a process runs that was started when pytest was loaded"
    for descriptor in descriptors():
        if descriptor not in known and (what := _kind(descriptor)):
            return f"{what} is open once pytest is loaded"
    if len(list(Path("/proc/self/task").iterdir())) > 1 and not _restores_threads():
        return "a library has started threads when pytest was loaded"
    return ""


def _kind(descriptor: int) -> str:
    """What a descriptor is, if it cannot be shared; those that a child opens anew are none."""
    try:
        status = os.fstat(descriptor)
        path = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - Path.readlink came with Python 3.9
        lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
        flags = next(int(line.split()[1], 8) for line in lines if line.startswith("flags:"))
    except (OSError, StopIteration):  # it was that of the listing itself
        return ""
    is_written = flags & (os.O_WRONLY | os.O_RDWR)
    if stat.S_ISREG(status.st_mode):
        return f"{path}, for writing," if is_written and status.st_nlink else ""
    if stat.S_ISDIR(status.st_mode) or (stat.S_ISCHR(status.st_mode) and not os.isatty(descriptor)):
        return ""
    return path.partition(":")[0] if ":" in path else path


def descriptors() -> list[int]:
    """Those that are open in this process, and one that is closed again."""
    return [int(path.name) for path in Path("/proc/self/fd").iterdir()]


def _is_seeded(numpy: Any) -> bool:
    """Whether somebody has given numpy's global generator a seed: it drops that which it has drawn itself."""
    generator = getattr(getattr(numpy, "mtrand", None), "_rand", None)
    return getattr(getattr(generator, "_bit_generator", None), "_seed_seq", None) is None


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _restores_threads() -> bool:
    """OpenBLAS, of numpy, starts its threads when it is loaded and ends them before a fork."""
    return "openblas" in Path("/proc/self/maps").read_text()


def _frames() -> Iterator[FrameType]:
    """The callers, from the innermost outward, without this file's."""
    frame: FrameType | None = sys._getframe()
    while frame:
        if frame.f_code.co_filename != __file__:
            yield frame
        frame = frame.f_back


def is_library(file: str) -> bool:
    """Whether a file of code is Python's own."""
    return file.startswith("<frozen") or (file.startswith(_LIBRARY) and not any(part in file for part in _INSTALLED))


def _project(directly: bool = False) -> str:
    """Where a file of the project asks for it, itself or through the standard library; empty: somebody else does.

    What a module does that is only being imported is its own affair.
    """
    for frame in _frames():
        if "importlib" in frame.f_code.co_filename or (directly and is_library(frame.f_code.co_filename)):
            return ""
        if not is_library(frame.f_code.co_filename):
            return "" if is_foreign(frame.f_code.co_filename) else where(frame.f_code.co_filename, frame.f_lineno)
    return ""


def is_foreign(file: str) -> bool:
    """Whether a file of code is none of the project's, but installed, or the harness's."""
    return any(part in file for part in _INSTALLED) or file.startswith((_OURS, "<"))


def where(file: str, line: int) -> str:
    """A place in a file of code, for people."""
    for part in _INSTALLED:
        if part in file:
            return file.partition(part)[2]
    return f"{os.path.relpath(file)}:{line}"


def _writes(path: Any, mode: Any, flags: Any) -> bool:
    if path == os.devnull or str(path).endswith((".pyc", "__pycache__")):
        return False
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
