"""Errors that a user can cause, and the exit codes of the harness (SPEC.md, section 3).

A HarnessError carries what happened, how to cure it and the exit code that the door ends with. It is shown as one
clear message without a traceback. Anything else that escapes is a bug of the harness.
"""

import errno
import os
from enum import IntEnum


class ExitCode(IntEnum):
    """What a finished invocation tells the shell. Signals end with 128 + their number."""

    OK = 0
    TESTS_FAILED = 1
    USAGE = 2
    INFRASTRUCTURE = 3
    NOTHING_TO_RUN = 4
    INTERNAL = 70  # EX_SOFTWARE of sysexits.h: the harness contradicts itself


class HarnessError(Exception):
    """Something the user can mend. `message` says what and where, `cure` what to do about it."""

    exit_code: ExitCode = ExitCode.USAGE

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure


class UsageError(HarnessError):
    """A bad option, variable or command."""


class PlanError(HarnessError):
    """A wrong plan. `problems` holds every finding, each one already located (`harness.toml:LINE: key: …`)."""

    def __init__(self, problems: list[str], cure: str = "") -> None:
        super().__init__("\n".join(problems), cure)
        self.problems = problems


class NothingToRun(HarnessError):
    """The selection left no group."""

    exit_code = ExitCode.NOTHING_TO_RUN


class InfrastructureError(HarnessError):
    """A service, an environment or the disk failed before or beside the tests. `leaked`: some of it is still there."""

    exit_code = ExitCode.INFRASTRUCTURE

    def __init__(self, message: str, cure: str = "", *, leaked: bool = False) -> None:
        super().__init__(message, cure)
        self.leaked = leaked


class InternalError(HarnessError):
    """The harness's own results contradict each other. Never the user's fault."""

    exit_code = ExitCode.INTERNAL


SHORTAGES = {
    errno.EMFILE: "too many open files: raise `ulimit -n`, or run fewer groups at a time",
    errno.ENFILE: "too many open files on this machine: run fewer groups at a time",
    errno.EAGAIN: "no more threads or processes allowed: raise `ulimit -u`, or run fewer groups at a time",
    errno.ENOMEM: "no memory for another process: run fewer groups at a time",
}
"""What this machine may have too little of, and what to do about it, by the error number that says so."""


def shortage(error: BaseException | None) -> str:
    """That of which the error is a consequence; empty: of none."""
    while error is not None:
        for number, said in SHORTAGES.items():
            of_a_library = isinstance(error, ImportError) and os.strerror(number) in str(error)
            if of_a_library or (isinstance(error, OSError) and error.errno == number):
                return said
        error = error.__cause__ or error.__context__
    return ""
