"""Finds identifiers in tests that are fixed in the text, and would collide when two tests run at once.

Protocol: `examine` takes the bytes of one Python file and returns what it found, and with `fix` the bytes as they
should be. Nothing here opens a file. The syntax tree is libcst's, which the rooms below import; this one imports them
only when it is asked, so that a machine without the extra `names` is told what to install.

What is not sure is not reported: a value with anything in it that the file alone does not tell counts as unique.
Outside of what is fixed no byte changes, because fixes are splices into the text.
"""

from dataclasses import dataclass
from enum import StrEnum

from harness.errors import UsageError


class Kind(StrEnum):
    """What is fixed. The value is the word for it in messages."""

    NAME = "name"
    EMAIL = "e-mail address"
    PORT = "port"
    PATH = "path"
    KEY = "Redis key"
    SQL = "SQL name"


@dataclass(frozen=True)
class Finding:
    """One fixed identifier. `line` and `column` count from 1, columns in characters."""

    line: int
    column: int
    kind: Kind
    text: str
    used: str  # where it goes: `client.post(…)`
    why: str  # what would happen when two tests run at once
    fixture: str  # stands in; empty: none does
    obstacle: str = ""  # why --fix leaves it; empty: it is fixed


@dataclass(frozen=True)
class Examined:
    """What there is to say of one file. `data` is its content, after the fixes if they were asked for.

    A file that cannot be examined has a `problem`, at `line`, and no findings.
    """

    data: bytes
    findings: tuple[Finding, ...] = ()
    fixed: tuple[Finding, ...] = ()
    problem: str = ""
    line: int = 0


def examine(data: bytes, *, fix: bool = False, shared: bool = False) -> Examined:
    """Looks through one file, and mends what it is sure of where `fix` says so.

    `shared`: other files rely on what this one makes (a conftest.py), so nothing in its fixtures is replaced. With
    `fix`, `findings` are those that are left. Raises UsageError where libcst is missing.
    """
    try:
        import libcst  # noqa: F401
    except ModuleNotFoundError:
        raise UsageError(
            "names needs libcst, which is not installed", 'Install it: pip install "parallel-harness[names]"'
        ) from None
    from harness.naming.whole import whole

    return whole(data, fix=fix, shared=shared)
