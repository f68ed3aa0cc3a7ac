"""`python -m harness_warm CONTROL SKIPPED WORDS…`. SKIPPED: modules, with commas, that are not loaded ahead."""

from __future__ import annotations

import atexit
import os
import runpy
import socket
import sys
import threading

from . import parent
from .watching import Watch


def main() -> None:
    control, skipped, *words = sys.argv[1:]
    # Before pytest is imported, because all that it reads counts.
    watch = Watch()
    watch.begin()
    here = parent.here = parent.Parent(socket.socket(fileno=int(control)), watch, skipped.split(","), words)
    sys.argv[1:] = words
    code: object = 0
    try:
        runpy.run_module("pytest", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    if here.is_child:
        _leave(code)
    here.refuse(f"pytest did not come to its tests (exit code {code!s})")


def _leave(code: object) -> None:
    """As the interpreter ends, but for the taking apart of every module, which would copy all memory of the parent."""
    if code is None:
        code = 0
    elif not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # closed, or none at all
            pass
    os._exit(code & 0xFF)


main()
