"""A fork of the parent becomes the process that a pytest of its own would be at this point.

What two processes would share is replaced: output, variables, open files without a name (pytest captures into such),
random numbers, the directory for temporary files; and what the parent's session knows of its time, its arguments and
its cache.
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


def become(session: Any, watch: Watch, request: dict[str, Any], descriptors: list[int]) -> set[Path] | None:
    """Make this process the one of the request.

    Returns the paths of its tests and of the directories above them; None: a directory is among the tests.
    """
    _redirect(descriptors[0])
    env = watch.variables(request["env"])
    if len(descriptors) > 1:
        env[EVENTS] = str(descriptors[1])
    _show_variables(env)
    watch.renew()
    _show_objects()
    _own_files()
    tests = request["tests"]
    _own_session(session, tests, watch.loaded_at)
    paths = [Path(session.config.invocation_params.dir, test.partition("::")[0]) for test in tests]
    if not all(path.is_file() for path in paths):
        return None
    return {place for path in paths for place in (path, *path.parents)}


def copies_of(descriptor: int) -> list[int]:
    """All descriptors of this process that are the same file: pytest keeps some for itself."""
    original = _identity(descriptor)
    return [other for other in descriptors() if _identity(other) == original]


def _redirect(output: int) -> None:
    for copy in copies_of(1):
        os.dup2(output, copy, os.get_inheritable(copy))
    os.close(output)


def _own_files() -> None:
    """Files without a name have one place for reading and writing, which a fork shares."""
    for descriptor in descriptors():
        try:
            status = os.fstat(descriptor)
        except OSError:  # that of the listing itself
            continue
        if stat.S_ISREG(status.st_mode) and not status.st_nlink:
            with tempfile.TemporaryFile(buffering=0) as file:
                file.write(os.pread(descriptor, status.st_size, 0))
                os.lseek(file.fileno(), os.lseek(descriptor, 0, os.SEEK_CUR), os.SEEK_SET)
                os.dup2(file.fileno(), descriptor, os.get_inheritable(descriptor))


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


def _show_variables(env: dict[str, str]) -> None:
    """Sets the variables, also where others look for them: /proc/PID/environ is memory of this process.

    By that the harness knows whose a process is; and the parent's must not stand there for everybody.
    """
    os.environ.clear()
    os.environ.update(env)  # copies: the memory in which the process was given its own is free now
    begin, end = _place_of_variables()
    if begin == 0:  # a kernel that does not tell
        return
    marks_first = sorted(env.items(), key=lambda item: not item[0].startswith("HARNESS_"))
    block = b"".join(os.fsencode(f"{name}={value}") + b"\0" for name, value in marks_first)
    ctypes.memmove(begin, block[: end - begin].ljust(end - begin, b"\0"), end - begin)


def _place_of_variables() -> tuple[int, int]:
    """proc(5): the fields 50 and 51 of /proc/PID/stat."""
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    return int(fields[47]), int(fields[48])


def _own_session(session: Any, tests: list[str], loaded: float) -> None:
    config = session.config
    words = list(config.invocation_params.args)
    params = config.invocation_params
    before = words[2 : len(words) - len(config.args)]  # without `-p harness_warm.hooks`
    config.invocation_params = type(params)(args=(*before, *tests), plugins=params.plugins, dir=params.dir)
    config.args = list(tests)
    config.option.file_or_dir = list(tests)
    sys.argv[1:] = [*before, *tests]
    for plugin in config.pluginmanager.get_plugins():
        for name in ("_session_start", "suite_start"):  # pytest 8.4 and later
            if hasattr(plugin, name):
                setattr(plugin, name, type(getattr(plugin, name))())
        for name in ("_sessionstarttime", "suite_start_time"):  # before
            if hasattr(plugin, name):
                setattr(plugin, name, time.time())
    timeouts: Any = sys.modules.get("pytest_timeout")
    deadline = getattr(timeouts, "SESSION_EXPIRE_KEY", None)
    if deadline and config.stash.get(deadline, 0):
        config.stash[deadline] += time.time() - loaded
    cache = getattr(config, "cache", None)
    last_failed = config.pluginmanager.get_plugin("lfplugin")
    if cache and hasattr(last_failed, "lastfailed"):
        last_failed.lastfailed = cache.get("cache/lastfailed", {})
    known = config.pluginmanager.get_plugin("nfplugin")
    if cache and hasattr(known, "cached_nodeids"):
        known.cached_nodeids = set(cache.get("cache/nodeids", []))
    reporter: Any = sys.modules.get("harness_pytest")
    if reporter:
        reporter.begin()
        reporter.pytest_configure(config)


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
