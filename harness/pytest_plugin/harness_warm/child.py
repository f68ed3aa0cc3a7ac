"""A fork of the parent becomes the process that a pytest of its own would be at this point.

What two processes would share is replaced: output, variables, open files without a name (pytest captures into such),
random numbers, the directory for temporary files; and what the parent's session knows of its time, its arguments and
its cache.

Nearly all that a child costs are copies of the pages that it touches. So what is the same for every child is found out
once, in the parent: that is its Birth.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .watching import Watch, descriptors

EVENTS = "HARNESS_TEST_EVENTS_FD"


class Birth:
    """Of the children of one session: made in the parent, when all is loaded; `become` is called in each child."""

    def __init__(self, session: Any, watch: Watch) -> None:
        self._session = session
        self._watch = watch
        self._outputs = copies_of(1)
        self._unnamed = [file for file in descriptors() if file not in self._outputs and _is_unnamed(file)]
        self._starts = _starts(session.config)
        self._variables = dict(os.environ)
        self._shown = _place_of_variables()
        # Copies: the memory in which the process was given its own is where a child shows those of the request.
        os.environ.update(self._variables)
        self._reporter: Any = sys.modules.get("harness_pytest")
        if self._reporter:
            self._reporter.register(session.config)

    def become(self, request: dict[str, Any], descriptors: list[int]) -> set[Path] | None:
        """Make this process the one of the request.

        Returns the paths of its tests and of the directories above them; None: a directory is among the tests.
        """
        self._redirect(descriptors[0])
        env = self._watch.variables(request["env"])
        if len(descriptors) > 1:
            env[EVENTS] = str(descriptors[1])
        self._set_variables(env)
        self._watch.renew()
        _show_objects()
        self._own_files()
        tests = request["tests"]
        self._own_session(tests)
        paths = [Path(self._session.config.invocation_params.dir, test.partition("::")[0]) for test in tests]
        if not all(path.is_file() for path in paths):
            return None
        return {place for path in paths for place in (path, *path.parents)}

    def _redirect(self, output: int) -> None:
        for copy in self._outputs:
            os.dup2(output, copy, os.get_inheritable(copy))
        os.close(output)

    def _own_files(self) -> None:
        """Files without a name have one place for reading and writing, which a fork shares."""
        for descriptor in self._unnamed:
            with tempfile.TemporaryFile(buffering=0) as file:
                file.write(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
                os.lseek(file.fileno(), os.lseek(descriptor, 0, os.SEEK_CUR), os.SEEK_SET)
                os.dup2(file.fileno(), descriptor, os.get_inheritable(descriptor))

    def _set_variables(self, env: dict[str, str]) -> None:
        """Sets the variables, also where others look for them: /proc/PID/environ is memory of this process.

        By that the harness knows whose a process is; and the parent's must not stand there for everybody.
        """
        known = self._variables
        for name in known.keys() - env.keys():
            del os.environ[name]
        for name, value in env.items():
            if known.get(name) != value:
                os.environ[name] = value
        begin, end = self._shown
        if begin == 0:  # a kernel that does not tell
            return
        marks_first = sorted(env, key=lambda name: not name.startswith("HARNESS_"))
        block = os.fsencode("".join(f"{name}={env[name]}\0" for name in marks_first))
        ctypes.memmove(begin, block[: end - begin].ljust(end - begin, b"\0"), end - begin)

    def _own_session(self, tests: list[str]) -> None:
        config = self._session.config
        words = list(config.invocation_params.args)
        params = config.invocation_params
        before = words[2 : len(words) - len(config.args)]  # without `-p harness_warm.hooks`
        config.invocation_params = type(params)(args=(*before, *tests), plugins=params.plugins, dir=params.dir)
        config.args = list(tests)
        config.option.file_or_dir = list(tests)
        sys.argv[1:] = [*before, *tests]
        for plugin, name, now in self._starts:
            setattr(plugin, name, now())
        timeouts: Any = sys.modules.get("pytest_timeout")
        deadline = getattr(timeouts, "SESSION_EXPIRE_KEY", None)
        if deadline and config.stash.get(deadline, 0):
            config.stash[deadline] += time.time() - self._watch.loaded_at
        cache = getattr(config, "cache", None)
        last_failed = config.pluginmanager.get_plugin("lfplugin")
        if cache and hasattr(last_failed, "lastfailed"):
            last_failed.lastfailed = cache.get("cache/lastfailed", {})
        known = config.pluginmanager.get_plugin("nfplugin")
        if cache and hasattr(known, "cached_nodeids"):
            known.cached_nodeids = set(cache.get("cache/nodeids", []))
        if self._reporter:
            self._reporter.begin()


def copies_of(descriptor: int) -> list[int]:
    """All descriptors of this process that are the same file: pytest keeps some for itself."""
    original = _identity(descriptor)
    return [other for other in descriptors() if _identity(other) == original]


def _is_unnamed(descriptor: int) -> bool:
    try:
        status = os.fstat(descriptor)
    except OSError:  # that of the listing itself
        return False
    return stat.S_ISREG(status.st_mode) and not status.st_nlink


def _starts(config: Any) -> list[tuple[Any, str, Callable[[], Any]]]:
    """Where plugins keep when the session has started: the plugin, the attribute, and what gives it anew."""
    found: list[tuple[Any, str, Callable[[], Any]]] = []
    for plugin in config.pluginmanager.get_plugins():
        for name in ("_session_start", "suite_start"):  # pytest 8.4 and later
            if hasattr(plugin, name):
                found.append((plugin, name, type(getattr(plugin, name))))
        for name in ("_sessionstarttime", "suite_start_time"):  # before
            if hasattr(plugin, name):
                found.append((plugin, name, time.time))
    return found


def _show_objects() -> None:
    """To who asks the collector for objects it shows what the parent has frozen, too. pytest asks for none of those:
    it collects at the end of every session, and would copy all memory."""
    for name in ("collect", "get_objects", "get_referrers"):
        _unfreezing(name, getattr(gc, name))


def _unfreezing(name: str, real: Callable[..., Any]) -> None:
    @functools.wraps(real)
    def asked(*args: Any, **options: Any) -> Any:
        if not str(sys._getframe(1).f_globals.get("__name__", "")).startswith("_pytest."):
            gc.unfreeze()
        return real(*args, **options)

    setattr(gc, name, asked)


def _place_of_variables() -> tuple[int, int]:
    """proc(5): the fields 50 and 51 of /proc/PID/stat."""
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    return int(fields[47]), int(fields[48])


def _identity(descriptor: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def write(data: bytes) -> None:
    """All of it to the output."""
    while data:
        data = data[os.write(1, data) :]
