"""Starts a program in a session of its own: the one place where a process of a group or a service comes from.

A start waits until the new process has executed its program. subprocess.Popen holds Python's lock (the GIL) all that
time, so that of many groups only one can start at a time, and nothing else of the harness runs meanwhile. glibc's
posix_spawn, called through ctypes, does the same without the lock. Where it cannot do what is asked (another user, a
descriptor among the first three) or is not there (macOS, musl, a glibc before 2.34), Popen starts the process. Both
give the same process and raise the same errors; tests/test_spawn.py holds them to it.

In the child 0 is /dev/null, 1 and 2 are the output, and of other descriptors only those to be inherited are open. An
ignored signal stays ignored, but for those that Python itself ignores; a handled one has its default again.

A program without a slash is looked for in the child's PATH, every time anew, and relative entries from the child's
directory. What cannot be executed is passed over, as Popen does it, also if it is not missing.
"""

import ctypes
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

_NOTHING = os.open(os.devnull, os.O_RDONLY)  # what every one of them reads
_STANDARD = 2  # the last of the descriptors that every process has

# Of glibc's spawn.h. Its structures have 336 and 80 bytes and its set of signals 128: room for more does no harm.
_SETSIGDEF, _SETSID = 0x04, 0x80
_ROOM = 1024


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    directory: str | Path,
    output: int,
    inherited: Sequence[int] = (),
    user: tuple[int, int] | None = None,
) -> int:
    """Start `argv` as `user` (uid, gid) or as ourselves, and return its pid.

    Raises ValueError for what no process can be given, and OSError: its filename is the directory if that is to blame,
    else the program.
    """
    if _GLIBC is None or user or min((output, *inherited)) <= _STANDARD:
        return _by_popen(argv, env, directory, output, inherited, user)
    return _GLIBC.spawn(argv, env, directory, output, inherited)


def _by_popen(
    argv: Sequence[str],
    env: Mapping[str, str],
    directory: str | Path,
    output: int,
    inherited: Sequence[int],
    user: tuple[int, int] | None,
) -> int:
    # No preexec_fn, and user None wherever possible: with either, Popen gives up vfork, and copies our page tables.
    popen = subprocess.Popen(
        argv,
        stdin=_NOTHING,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=env,
        cwd=directory,
        pass_fds=inherited,
        start_new_session=True,
        user=user[0] if user else None,
        group=user[1] if user else None,
        extra_groups=[] if user else None,
    )
    popen.returncode = 0  # whoever has the pid reaps it: Popen must not think that it still runs
    return popen.pid


class _Glibc:
    """posix_spawn. Thread-safe: what threads share is only read once it is made."""

    def __init__(self) -> None:
        """Raises AttributeError if a function is missing."""
        quick, slow = ctypes.PyDLL(None), ctypes.CDLL(None)  # without and with letting go of the lock

        def function(library: ctypes.CDLL, name: str, *arguments: Any, checked: bool = True) -> Any:
            """Of those that return 0 or an errno; `checked`: an errno is raised."""
            found = library[name]
            found.argtypes = arguments
            found.restype = _check if checked else ctypes.c_int
            return found

        pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
        quick.gnu_get_libc_version  # noqa: B018  (others may have all of the functions, but not these structures)
        self._init = function(quick, "posix_spawn_file_actions_init", pointer)
        self._destroy = function(quick, "posix_spawn_file_actions_destroy", pointer)
        self._dup2 = function(quick, "posix_spawn_file_actions_adddup2", pointer, number, number)
        self._close = function(quick, "posix_spawn_file_actions_addclose", pointer, number)
        self._closefrom = function(quick, "posix_spawn_file_actions_addclosefrom_np", pointer, number)
        self._chdir = function(quick, "posix_spawn_file_actions_addchdir_np", pointer, text)
        self._spawn = function(slow, "posix_spawn", pointer, text, *[pointer] * 4, checked=False)
        self._attributes = ctypes.create_string_buffer(_ROOM)
        reset = ctypes.create_string_buffer(_ROOM)
        function(quick, "sigemptyset", pointer)(reset)
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by Python, see Popen's restore_signals
            function(quick, "sigaddset", pointer, number)(reset, ignored)
        function(quick, "posix_spawnattr_init", pointer)(self._attributes)
        function(quick, "posix_spawnattr_setsigdefault", pointer, pointer)(self._attributes, reset)
        function(quick, "posix_spawnattr_setflags", pointer, ctypes.c_short)(self._attributes, _SETSIGDEF | _SETSID)

    def spawn(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        directory: str | Path,
        output: int,
        inherited: Sequence[int],
    ) -> int:
        if "=" in "".join(env):
            raise ValueError("illegal environment variable name")
        words = _strings(argv)
        variables = _strings([f"{name}={value}" for name, value in env.items()])
        actions = ctypes.create_string_buffer(_ROOM)
        self._init(actions)
        try:
            self._fill(actions, directory, output, inherited)
            pid = ctypes.c_int()
            failures = []
            for candidate in _candidates(argv[0], env, directory):
                file = os.fsencode(candidate)
                code = self._spawn(ctypes.byref(pid), file, actions, self._attributes, words, variables)
                if not code:
                    return pid.value
                failures.append(code)
        finally:
            self._destroy(actions)
        raise _error(failures, argv[0], directory)

    def _fill(
        self, actions: "ctypes.Array[ctypes.c_char]", directory: str | Path, output: int, inherited: Sequence[int]
    ) -> None:
        """What happens to descriptors and directory in the child, in this order."""
        self._dup2(actions, _NOTHING, 0)
        self._dup2(actions, output, 1)
        self._dup2(actions, output, 2)
        for descriptor in range(_STANDARD + 1, max(inherited, default=_STANDARD) + 1):
            if descriptor in inherited:
                self._dup2(actions, descriptor, descriptor)  # makes it inheritable, there and not here
            else:
                self._close(actions, descriptor)  # also one that is not open
        self._closefrom(actions, max(inherited, default=_STANDARD) + 1)
        self._chdir(actions, *_strings([os.fspath(directory)])[:1])


def _candidates(program: str, env: Mapping[str, str], directory: str | Path) -> Iterable[str]:
    """The files that the program may be, best first.

    To try one that does not exist costs many times what a look does, so those that are there come first; only if none
    of them can be executed are all tried, for the right error.
    """
    if os.path.dirname(program):  # noqa: PTH120  (which pathlib would find in "./program" no more)
        yield program
        return
    path = env.get("PATH")
    entries = (os.defpath if path is None else path).split(os.pathsep)
    files = [f"{entry}/{program}" if entry else program for entry in entries]
    for file in files:
        if os.access(file if file.startswith("/") else os.path.join(directory, file), os.F_OK):  # noqa: PTH118
            yield file
    yield from files


def _error(failures: Sequence[int], program: str, directory: str | Path) -> OSError:
    """What Popen would raise: the directory comes first, and of candidates the first that was there."""
    try:
        os.stat(os.path.join(directory, "."))  # noqa: PTH116, PTH118  (fails as a chdir does)
    except OSError as error:
        return OSError(error.errno, error.strerror, directory)
    there = [code for code in failures if code not in (errno.ENOENT, errno.ENOTDIR)]
    code = next(iter(there), failures[-1])
    return OSError(code, os.strerror(code), program)


def _strings(texts: Sequence[str]) -> "ctypes.Array[ctypes.c_char_p]":
    """As exec takes its arguments and its variables. The array keeps the bytes alive."""
    # All of them at once: one by one, the variables would take as long as everything else that is done here.
    encoded = os.fsencode("\0".join(texts)).split(b"\0") if texts else []
    if len(encoded) != len(texts):
        raise ValueError("embedded null byte")
    return (ctypes.c_char_p * (len(encoded) + 1))(*encoded)


def _check(code: int) -> None:
    if code:
        raise OSError(code, os.strerror(code))


def _load() -> _Glibc | None:
    if sys.platform == "linux":
        try:
            return _Glibc()
        except (AttributeError, OSError):  # of another libc or an older one
            pass
    return None


_GLIBC = _load()
