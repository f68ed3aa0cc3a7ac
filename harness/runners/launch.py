"""What every runner speaks: a group in, the command that runs it out. Data only."""

from dataclasses import dataclass, field
from typing import Protocol

from harness.model import Group, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class PytestOptions:
    """What the command line says to every pytest group."""

    markers: str = ""  # an expression for `pytest -m`
    keyword: str = ""  # an expression for `pytest -k`


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How to run a group: a command before it has an environment, a directory and a slot."""

    argv: tuple[str, ...]
    statuses: dict[int, Status] = field(default_factory=lambda: {0: Status.PASSED})  # as in Job
    reports_tests: bool = False
    warm: bool = False  # as in Job
    env: dict[str, str] = field(default_factory=dict)  # over everybody else's
    pythonpath: str = ""  # a directory to put before PYTHONPATH


class Runner(Protocol):
    """Knows one kind of group."""

    def command(self, group: Group, *, python: str, options: PytestOptions) -> Launch:
        """How to run `group`. `python` is the interpreter of the users' tests; the directory is their test root."""
        ...
