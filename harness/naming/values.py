"""What an expression is worth, where the file alone tells: a literal, and where that literal stands.

Protocol: `fixed` follows a name to its only assignment, a parameter to its default, to the values of `parametrize` or
to the fixture of that name in this file, and an f-string through its parts. Whatever cannot be followed is None: it
may be unique. A name that is assigned more than once is not followed.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import libcst as cst

from harness.naming.tree import Source

DEPTH = 8  # names that lead to names: more is no test, but a loop
Function = cst.FunctionDef | None


@dataclass(frozen=True)
class Fixed:
    """A value that is the same in every run. `node` is the literal to show, `whole` whether it is all of the value."""

    text: str
    node: cst.BaseExpression
    whole: bool = True


class Values:
    """The values in one file."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._depth = 0

    @cached_property
    def _assigned(self) -> dict[tuple[Function, str], list[cst.BaseExpression | None]]:
        """By the function (None: the module) and the dotted name. None as a value: it cannot be followed."""
        found: defaultdict[tuple[Function, str], list[cst.BaseExpression | None]] = defaultdict(list)
        source = self.source
        for assign in source.all(cst.Assign):
            for target in assign.targets:
                self._bind(found, target.target, assign.value)
        for annotated in source.all(cst.AnnAssign):
            self._bind(found, annotated.target, annotated.value)
        for augmented in source.all(cst.AugAssign):
            self._bind(found, augmented.target, None)
        for loop in source.all(cst.For):
            self._bind(found, loop.target, _first(loop.iter))
        for inner in source.all(cst.CompFor):
            self._bind(found, inner.target, _first(inner.iter))
        for named in source.all(cst.NamedExpr):
            self._bind(found, named.target, named.value)
        for item in source.all(cst.AsName):
            self._bind(found, item.name, None)
        return found

    def _bind(
        self,
        found: dict[tuple[Function, str], list[cst.BaseExpression | None]],
        target: cst.BaseExpression,
        value: cst.BaseExpression | None,
    ) -> None:
        if isinstance(target, cst.Tuple | cst.List):
            same = isinstance(value, cst.Tuple | cst.List) and len(value.elements) == len(target.elements)
            values = [element.value for element in value.elements] if same else [None] * len(target.elements)  # type: ignore[union-attr]
            for element, single in zip(target.elements, values, strict=True):
                self._bind(found, element.value, single)
        elif isinstance(target, cst.Name):
            scope: cst.CSTNode | None = self.source.function_of(target)
            owner = self.source.class_of(target)
            if owner and (scope is None or any(parent is scope for parent in self.source.above(owner))):
                found[None, f"{owner.name.value}.{target.value}"].append(value)
            else:
                found[scope, target.value].append(value)  # type: ignore[index]
        elif isinstance(target, cst.Attribute) and isinstance(target.value, cst.Name):
            owner = self.source.class_of(target)
            if owner and target.value.value in ("self", "cls"):
                found[None, f"{owner.name.value}.{target.attr.value}"].append(value)

    def meaning(self, expression: cst.BaseExpression) -> Iterator[cst.BaseExpression]:
        """The expressions that it may stand for: itself, if it is no name; none, where that cannot be told."""
        yield from self._meaning(expression, DEPTH)

    def _meaning(self, expression: cst.BaseExpression, depth: int) -> Iterator[cst.BaseExpression]:
        if not isinstance(expression, cst.Name | cst.Attribute):
            yield expression
        elif depth:
            for value in self._named(expression):
                if any(parent is value for parent in self.source.above(expression)):
                    continue  # x = f"{x}…"
                yield from self._meaning(value, depth - 1)

    def _named(self, name: cst.Name | cst.Attribute) -> Iterator[cst.BaseExpression]:
        function = self.source.function_of(name)
        if isinstance(name, cst.Attribute):
            owner = self.source.class_of(name)
            if owner and isinstance(name.value, cst.Name):
                base = owner.name.value if name.value.value in ("self", "cls") else name.value.value
                yield from self._only(None, f"{base}.{name.attr.value}")
            return
        while function is not None:
            if (function, name.value) in self._assigned:
                yield from self._only(function, name.value)
                return
            for parameter in parameters(function):
                if parameter.name.value == name.value:
                    yield from self._given(function, parameter)
                    return
            function = self.source.function_of(function)
        yield from self._only(None, name.value)

    def _only(self, scope: Function, name: str) -> Iterator[cst.BaseExpression]:
        values = self._assigned.get((scope, name), [])
        if len(values) == 1 and values[0] is not None:
            yield values[0]

    def _given(self, function: cst.FunctionDef, parameter: cst.Param) -> Iterator[cst.BaseExpression]:
        """What a parameter may be: one value of `parametrize`, what its fixture returns, or its default."""
        name = parameter.name.value
        for decorator in function.decorators:
            yield from _parametrized(decorator.decorator, name)
        if parameter.default:
            yield parameter.default
        for other in self.source.all(cst.FunctionDef):
            if other.name.value == name and fixture_decorator(other):
                yield from self._returned(other)

    def _returned(self, function: cst.FunctionDef) -> Iterator[cst.BaseExpression]:
        returns = [node.value for node in self.source.inside(cst.Return, function) if node.value]
        yields = [node.value for node in self.source.inside(cst.Yield, function) if node.value]
        values = [*returns, *yields]
        if len(values) == 1 and isinstance(values[0], cst.BaseExpression):
            yield values[0]

    def fixed(self, expression: cst.BaseExpression) -> Fixed | None:
        """What it is worth, if that is a string or an integer which the file alone tells."""
        if self._depth > DEPTH:
            return None
        self._depth += 1
        try:
            return next((found for value in self.meaning(expression) if (found := self._literal(value))), None)
        finally:
            self._depth -= 1

    def _literal(self, value: cst.BaseExpression) -> Fixed | None:
        if isinstance(value, cst.SimpleString | cst.ConcatenatedString):
            text = value.evaluated_value
            if text is None:
                return (
                    self._joined(value, [value.left, value.right])
                    if isinstance(value, cst.ConcatenatedString)
                    else None
                )
            return Fixed(text, value) if isinstance(text, str) else Fixed(text.decode("utf-8", "replace"), value, False)
        if isinstance(value, cst.Integer):
            return Fixed(str(value.evaluated_value), value)
        if isinstance(value, cst.FormattedString):
            return self._formatted(value)
        if isinstance(value, cst.BinaryOperation) and isinstance(value.operator, cst.Add):
            return self._joined(value, [value.left, value.right])
        return None

    def _joined(self, whole: cst.BaseExpression, parts: list[cst.BaseExpression]) -> Fixed | None:
        texts = [self.fixed(part) for part in parts]
        if any(text is None for text in texts):
            return None
        return Fixed("".join(text.text for text in texts if text), whole, False)

    def _formatted(self, value: cst.FormattedString) -> Fixed | None:
        text = ""
        for part in value.parts:
            if isinstance(part, cst.FormattedStringText):
                text += part.value
            else:
                inner = self.fixed(part.expression) if isinstance(part, cst.FormattedStringExpression) else None
                if inner is None:
                    return None
                text += inner.text
        return Fixed(text, value, False)


def parameters(function: cst.FunctionDef) -> list[cst.Param]:
    """Those with a name, without `*` and `**`."""
    given = function.params
    return [*given.posonly_params, *given.params, *given.kwonly_params]


def dotted(node: cst.CSTNode) -> str:
    """`a.b.c` for names and attributes; what a call or subscript stands on is left out: `.post`."""
    if isinstance(node, cst.Name):
        return node.value
    if isinstance(node, cst.Attribute):
        return f"{dotted(node.value)}.{node.attr.value}"
    return ""


def fixture_decorator(function: cst.FunctionDef) -> cst.BaseExpression | None:
    """What makes it a fixture of pytest, if it is one."""
    for decorator in function.decorators:
        inner = decorator.decorator
        name = dotted(inner.func if isinstance(inner, cst.Call) else inner)
        if name in ("fixture", "pytest.fixture", "pytest_asyncio.fixture", "pytest.yield_fixture"):
            return inner
    return None


def _first(iterable: cst.BaseExpression) -> cst.BaseExpression | None:
    """The first turn of a loop over literals."""
    if isinstance(iterable, cst.Tuple | cst.List | cst.Set) and iterable.elements:
        return iterable.elements[0].value
    if isinstance(iterable, cst.Call) and dotted(iterable.func) == "range":
        return cst.Integer("0")
    return None


def _parametrized(decorator: cst.BaseExpression, name: str) -> Iterator[cst.BaseExpression]:
    """The values that `parametrize` gives to an argument."""
    if not (
        isinstance(decorator, cst.Call) and dotted(decorator.func).endswith("parametrize") and len(decorator.args) > 1
    ):
        return
    names, rows = decorator.args[0].value, decorator.args[1].value
    if not (isinstance(names, cst.SimpleString) and isinstance(names.evaluated_value, str)):
        return
    order = [part.strip() for part in names.evaluated_value.split(",")]
    if name not in order or not isinstance(rows, cst.List | cst.Tuple):
        return
    for row in rows.elements:
        value = row.value
        if len(order) == 1:
            yield value
        elif isinstance(value, cst.Tuple | cst.List) and len(value.elements) == len(order):
            yield value.elements[order.index(name)].value
