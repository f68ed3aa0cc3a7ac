"""`python -m harness_warm CONTROL SKIPPED WORDS…`. SKIPPED: modules, with commas, that are not loaded ahead."""

from __future__ import annotations

import atexit
import gc
import io
import os
import runpy
import socket
import sys
import threading

from . import parent
from .watching import Watch

_objects = gc.get_objects  # before child.py makes another of it


def main() -> None:
    control, skipped, *words = sys.argv[1:]
    environment = dict(os.environ)
    os.environ.pop("HARNESS_ROOM", None)  # it has made room where the kernel shows the variables, see child.py
    # Before pytest is imported, because all that it reads counts.
    watch = Watch()
    watch.begin()
    here = parent.here = parent.Parent(
        socket.socket(fileno=int(control)), watch, skipped.split(","), words, environment
    )
    sys.argv[1:] = words
    code: object = 0
    try:
        runpy.run_module("pytest", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    _end()
    if not here.is_child:
        here.refuse()
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr, flush=True)
        code = 1
    os._exit((code or 0) & 0xFF)


def _end() -> None:
    """As the interpreter ends, but for the taking apart of every module, which would copy all memory of the parent."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    # Files that nobody closed; those of the parent are frozen and not among these.
    left = [thing for thing in _objects() if isinstance(thing, (io.TextIOBase, io.BufferedIOBase))]
    for stream in (*left, sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # closed, or none at all
            pass


main()
