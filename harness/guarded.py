"""A run that is watched over: whatever kills the harness, somebody is left to end its processes and say how it ended.

That is the guardian (guardian.py), or, where that has been killed too, the next run or `gc` (recovery.py).
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.process import Leader, Sessions, told
from harness.unfinished import Facts, Unfinished, begin

_NOBODY = "should the harness be killed, nobody will end what it has started"


@contextmanager
def guarded(facts: Facts, is_whole: Callable[[], bool], warn: Callable[[str], None]) -> Iterator[None]:
    """Around a run. If it has come to its end and all its reports are written, `is_whole`, nothing is left to be done.

    `warn` is told where nobody can watch over it: that is no reason not to run.
    """
    try:
        unfinished = begin(facts)
    except OSError as error:
        warn(f"{_NOBODY}: cannot write {facts.project}/.harness: {error.strerror or error}")
        yield
        return
    try:
        with _guardian(unfinished, warn):
            yield
            if is_whole():
                _let_go(unfinished, warn)
    finally:
        unfinished.close()


def _let_go(unfinished: Unfinished, warn: Callable[[str], None]) -> None:
    try:
        unfinished.finished()
    except OSError as error:
        warn(f"cannot remove {unfinished.path}: {error.strerror}; the next run looks after this one once more")


@contextmanager
def _guardian(unfinished: Unfinished, warn: Callable[[str], None]) -> Iterator[None]:
    alive, ours = os.pipe()
    try:
        sessions = Sessions(unfinished.facts.files.run_dir)
        inherited = (unfinished.lock, sessions.fileno(), alive)
        leader = _start(unfinished, inherited)
    except OSError as error:
        warn(f"{_NOBODY}: its guardian cannot be started: {error}")
        leader = None
    finally:
        os.close(alive)
    if leader is None:
        os.close(ours)
        yield
        return
    try:
        with told(sessions):
            yield
    finally:
        leader.reap()
        sessions.close()
        os.close(ours)


def _start(unfinished: Unfinished, inherited: tuple[int, ...]) -> Leader:
    # -I, and our own path: what the user's variables and directories hold is for the tests.
    code = f"import sys; sys.path[:] = {sys.path!r}; from harness.guardian import main; main(sys.argv[1:])"
    argv = [sys.executable, "-I", "-c", code, str(unfinished.path), *map(str, inherited)]
    env = dict(os.environ) | {"HARNESS_RUN_DIR": str(unfinished.facts.files.run_dir)}
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        return Leader.start(argv, env=env, directory="/", output=nowhere, inherited=inherited, pauses=False)
    finally:
        os.close(nowhere)
