"""pytest's marker expressions, as far as the harness must understand them.

pytest itself applies `-m EXPR` to the tests. The harness checks the expression once, before anything starts, instead of
letting every group fail on it; and it decides about groups that are commands, which carry no marker at all.
"""

import re

from harness.errors import UsageError
from harness.values import quoted

_TOKEN = re.compile(r"\s*(?:([()])|([\w:+\-.\[\]\\/]+)(\([^()]*\))?)")
_LONGEST = 1000


def matches_unmarked(expression: str) -> bool:
    """Whether `expression` selects a test without markers; UsageError where it is no marker expression."""
    if len(expression) > _LONGEST:
        raise UsageError(f"--markers: an expression has at most {_LONGEST} characters")
    return _Parser(expression).whole()


class _Parser:
    """or → and → not → (…) or a name; every name is false, as nothing is marked."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._tokens: list[str] = []
        self._at = 0
        position, end = 0, len(expression.rstrip())
        while position < end:
            match = _TOKEN.match(expression, position)
            if not match:
                raise self._error()
            word = match[2] in ("and", "or", "not")
            self._tokens.append(match[1] or (match[2] if word else "NAME"))
            # `not (a)` is an operator before a bracket, not a mark with arguments.
            position = match.end(2) if word else match.end()

    def whole(self) -> bool:
        try:
            value = self._either()
        except RecursionError:
            raise self._error() from None
        if self._at != len(self._tokens):
            raise self._error()
        return value

    def _either(self) -> bool:
        value = self._both()
        while self._next_is("or"):
            value = self._both() or value
        return value

    def _both(self) -> bool:
        value = self._one()
        while self._next_is("and"):
            value = self._one() and value
        return value

    def _one(self) -> bool:
        if self._next_is("not"):
            return not self._one()
        if self._next_is("("):
            value = self._either()
            if not self._next_is(")"):
                raise self._error()
            return value
        if self._next_is("NAME"):
            return False
        raise self._error()

    def _next_is(self, token: str) -> bool:
        found = self._at < len(self._tokens) and self._tokens[self._at] == token
        self._at += found
        return found

    def _error(self) -> UsageError:
        return UsageError(
            f"--markers: {quoted(self._expression)} is not a marker expression",
            'write names with and, or, not and brackets: "serial", "not (slow or serial)"',
        )
