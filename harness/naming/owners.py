"""Which function may take a fixture in the place of a literal, and how the parameter is added to its signature.

Protocol: `owner` is the test or fixture around a literal, `obstacle` says why it can take no fixture, `added` is the
splice that adds it. Where pytest would not fill the parameter in, or nobody can tell from this file, there is an
obstacle.
"""

import re
from collections.abc import Iterable

import libcst as cst

from harness.naming.calls import last_name, taken
from harness.naming.tree import Edit, Source
from harness.naming.values import dotted, fixture_decorator, parameters

TYPES = {"free_port": "int", "tmp_path": "Path"}  # all others are strings
PYTEST_MARK = re.compile(r"(pytest\.)?mark\.\w+|pytest\.(yield_)?fixture|fixture|pytest_asyncio\.fixture")


def is_test(function: cst.FunctionDef) -> bool:
    return function.name.value.startswith("test")


def owner(source: Source, node: cst.CSTNode) -> cst.FunctionDef | None:
    """The function that pytest would call, of all those that `node` stands in; None where there is none."""
    function = source.function_of(node)
    while function is not None and not (is_test(function) or fixture_decorator(function)):
        function = source.function_of(function)
    return function


def obstacle(source: Source, function: cst.FunctionDef, fixture: str) -> str:
    """Why the function cannot take the fixture; empty where it can."""
    if fixture in source.bound or _parametrized(source, fixture):
        return f"{fixture} is something of this file's own"
    given = [parameter for parameter in parameters(function) if parameter.name.value == fixture]
    if given:
        return f"pytest does not fill {fixture} in, which has a default" if given[0].default else ""
    if source.function_of(function) is not None:
        return "the test is defined inside of a function"
    if is_referred_to(source, function):
        return f"something in this file calls {function.name.value}, or refers to it"
    decorator = fixture_decorator(function)
    if decorator is not None and _scope(decorator) != "function":
        return "a fixture of a wider scope cannot use one of a single test"
    for decoration in function.decorators:
        inner = decoration.decorator
        name = dotted(inner.func if isinstance(inner, cst.Call) else inner)
        if not PYTEST_MARK.fullmatch(name):
            return f"its decorator {name or '…'} may not pass a fixture on"
    if any(known.annotation and getattr(known.annotation.annotation, "lpar", ()) for known in parameters(function)):
        return "an annotation of its parameters stands in brackets"
    return _class_obstacle(source, function)


def is_referred_to(source: Source, function: cst.FunctionDef) -> bool:
    """Whether the file has the function's name beside its definition. Then somebody may call it as it was.

    A fixture is asked for by its name; that is no reference to the function.
    """
    name, test = function.name.value, is_test(function)
    for node in source.all(cst.Name):
        if node.value != name or node is function.name or isinstance(source.parent(node), cst.Param):
            continue
        above = source.parent(node)
        other = (isinstance(above, cst.Attribute) and above.attr is node) or (
            isinstance(above, cst.Arg) and above.keyword is node
        )
        if test or not (other or name in taken(source, node)):
            return True
    return test and any(node.evaluated_value == name for node in source.all(cst.SimpleString))


def _parametrized(source: Source, fixture: str) -> bool:
    """Whether `parametrize` gives values under this name anywhere in the file."""
    return any(
        last_name(call) == "parametrize"
        and call.args
        and fixture in re.findall(r"\w+", source.code(call.args[0].value))
        for call in source.all(cst.Call)
    )


def _scope(decorator: cst.BaseExpression) -> str:
    for given in decorator.args if isinstance(decorator, cst.Call) else ():
        if given.keyword is None or given.keyword.value == "scope":
            value = given.value
            return str(value.evaluated_value) if isinstance(value, cst.SimpleString) else "unknown"
    return "function"


def _class_obstacle(source: Source, function: cst.FunctionDef) -> str:
    holder = source.class_of(function)
    if holder is None:
        return ""
    bases = [dotted(base.value) for base in holder.bases]
    if any(base.endswith("TestCase") for base in bases):
        return "unittest's test cases take no fixtures"
    if bases and bases != ["object"]:
        return f"what {holder.name.value} inherits may be a test case of unittest, which takes no fixtures"
    if is_test(function) and not holder.name.value.startswith("Test"):
        return f"pytest collects no tests of {holder.name.value}"
    return ""


def added(source: Source, function: cst.FunctionDef, fixtures: Iterable[str]) -> list[Edit]:
    """The splice that gives the function these parameters; none where it has them all."""
    present = {known.name.value for known in parameters(function)}
    new = [f"{name}{_annotation(source, function, name)}" for name in fixtures if name not in present]
    if not new:
        return []
    text = source.text.encode("utf-8")
    named = ", ".join(new)
    opening = text.index(b"(", source.span(function.name)[1]) + 1
    plain = [known for known in (*function.params.posonly_params, *function.params.params) if known.default is None]
    if not plain:
        rest = text[opening:].lstrip()
        return [Edit(opening, opening, named if rest.startswith(b")") else f"{named}, ")]
    last = plain[-1]
    start = source.span(last.name)[0]
    end = max(source.span(part)[1] for part in (last.name, *([last.annotation.annotation] if last.annotation else [])))
    own_line = re.search(rb"(\r?\n|\r)([ \t]*)\Z", text[opening:start])
    if not own_line:
        return [Edit(end, end, f", {named}")]
    line_break = (own_line[1] + own_line[2]).decode()
    commented = re.match(rb",[ \t]*#[^\r\n]*", text[end:])
    if commented:  # the comment belongs to the parameter before
        place = end + commented.end()
        return [Edit(place, place, "".join(f"{line_break}{name}," for name in new))]
    return [Edit(end, end, "".join(f",{line_break}{name}" for name in new))]


def _annotation(source: Source, function: cst.FunctionDef, fixture: str) -> str:
    """`: str`, where the function is annotated, and the type has a name in this file."""
    others = [known for known in parameters(function) if known.name.value not in ("self", "cls")]
    if not (function.returns or any(known.annotation for known in others)):
        return ""
    kind = TYPES.get(fixture, "str")
    if kind == "Path" and not any(
        isinstance(node.names, tuple | list)
        and any(source.code(alias.name) == "Path" and not alias.asname for alias in node.names)
        for node in source.all(cst.ImportFrom)
        if node.module and source.code(node.module) == "pathlib"
    ):
        return ""
    return f": {kind}"
