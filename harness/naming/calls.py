"""What a call is about: its last name, what it is given, whether it is meant to be refused, whether it is real at all.

Protocol: detectors ask these questions before they say anything. Each answers "leave it" where it is not sure.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst

from harness.naming import Kind
from harness.naming.tree import Source
from harness.naming.values import DEPTH, Fixed, Values, dotted, parameters

REFUSING = re.compile(r"raises|refused|rejected|forbidden|not_allowed|expect_error", re.IGNORECASE)
# Nobody is spoken to: what a test says to these is made nowhere.
MOCKING = (
    "respx",
    "responses",
    "requests_mock",
    "pytest_httpx",
    "aioresponses",
    "httpretty",
    "fakeredis",
    "moto",
    "vcr",
)
MOCK_NAMES = re.compile(r"mock|stub|fake|patch|respx", re.IGNORECASE)
ERROR_STATUS = (
    r"\b[45]\d\d\b|BAD_REQUEST|UNPROCESSABLE|FORBIDDEN|UNAUTHORIZED|NOT_FOUND|CONFLICT|NOT_ALLOWED|is_error\b"
)


@dataclass(frozen=True)
class Hit:
    """A fixed identifier: its literal, the call that takes it, and what may stand in its place."""

    kind: Kind
    value: Fixed
    call: cst.Call
    why: str
    fixture: str
    obstacle: str = ""  # why it cannot be replaced, whatever stands around it


def last_name(call: cst.Call) -> str:
    """`post` of `client.session.post(…)`."""
    return dotted(call.func).rpartition(".")[2]


def receiver(call: cst.Call) -> str:
    """`client.session` of `client.session.post(…)`."""
    return dotted(call.func).rpartition(".")[0]


def argument(call: cst.Call, *keywords: str, at: int | None = None) -> cst.BaseExpression | None:
    """What is given under one of these keywords, or at this position."""
    for given in call.args:
        if given.keyword and given.keyword.value in keywords:
            return given.value
    plain = positional(call)
    return plain[at] if at is not None and at < len(plain) else None


def positional(call: cst.Call) -> list[cst.BaseExpression]:
    """What is given without a keyword, as far as no `*arguments` make the positions uncertain."""
    given: list[cst.BaseExpression] = []
    for item in call.args:
        if item.star == "*":
            break
        if not item.keyword and not item.star:
            given.append(item.value)
    return given


def mocked(source: Source) -> bool:
    """Whether the file puts something else in the place of the network."""
    return source.imports(*MOCKING) or any(
        name.value in ("MockTransport", "MockRouter", "httpx_mock", "requests_mock", "respx_mock", "mock_open")
        for name in source.all(cst.Name)
    )


def unreal(call: cst.Call) -> bool:
    """Whether the call goes to a mock, or patches something."""
    return any(MOCK_NAMES.search(part) for part in dotted(call.func).split("."))


def refused(source: Source, call: cst.Call) -> bool:
    """Whether the test says that nothing comes of it: in `with raises(…)`, or its answer is asserted to be an error."""
    for parent in source.above(call):
        if isinstance(parent, cst.With) and any(
            isinstance(item.item, cst.Call) and REFUSING.search(dotted(item.item.func)) for item in parent.items
        ):
            return True
        if isinstance(parent, cst.Call) and REFUSING.search(dotted(parent.func)):
            return True  # assertRaises(Error, lambda: create(…))
        if isinstance(parent, cst.SimpleStatementLine) and _answered_with_error(source, parent):
            return True
        if isinstance(parent, cst.FunctionDef):
            return False
    return False


def _answered_with_error(source: Source, statement: cst.SimpleStatementLine) -> bool:
    """`answer = …`, and before another answer `assert answer.status_code == 422`; or all of it in one line."""
    first = statement.body[0]
    if isinstance(first, cst.Assert):
        return re.search(rf"\.status\w*\s*(==|in)\s*.*({ERROR_STATUS})", source.code(first.test)) is not None
    if not (isinstance(first, cst.Assign) and isinstance(first.targets[0].target, cst.Name)):
        return False
    name = first.targets[0].target.value
    block = source.parent(statement)
    if not isinstance(block, cst.IndentedBlock | cst.Module):
        return False
    below = list(block.body)
    for later in below[below.index(statement) + 1 :]:
        code = source.code(later)
        if re.match(rf"\s*{name}\s*=", code):
            return False
        if re.search(rf"\b{name}\.(status\w*\s*(==|in|,)\s*.*)?({ERROR_STATUS})", code):
            return True
    return False


def taken(source: Source, node: cst.CSTNode) -> set[str]:
    """The names that the function around `node` and those around it take: the fixtures of a test."""
    names = set[str]()
    function = source.function_of(node)
    while function is not None:
        names |= {parameter.name.value for parameter in parameters(function)}
        function = source.function_of(function)
    return names


def strings(values: Values, expression: cst.BaseExpression, depth: int = DEPTH) -> Iterator[Fixed]:
    """The fixed value of an expression, or where only its beginning is fixed (an f-string, a sum), that beginning.

    What begins with a name is worth what the name is: one finding for `URL`, however many paths are put behind it.
    """
    for meant in values.meaning(expression) if depth else ():
        head = _head(meant)
        whole = None if isinstance(head, cst.Name | cst.Attribute) else values.fixed(meant)
        if whole:
            yield whole
        elif isinstance(head, cst.FormattedStringText):
            yield Fixed(f"{head.value}{{…}}", meant, False)
        elif isinstance(head, cst.BaseExpression):
            yield from strings(values, head, depth - 1)


def _head(expression: cst.BaseExpression) -> cst.CSTNode | None:
    """What a sum or an f-string begins with; None for all else."""
    if isinstance(expression, cst.BinaryOperation) and isinstance(expression.operator, cst.Add):
        return expression.left
    if isinstance(expression, cst.FormattedString) and expression.parts:
        first = expression.parts[0]
        return first.expression if isinstance(first, cst.FormattedStringExpression) else first
    return None
