"""What Python's own parser says of a file: that it is Python, how deep it goes, and which names it binds.

Protocol: `checked` before libcst sees the text. The parser of libcst overflows the stack of the process where a text is
nested deeply, which nobody can catch; Python's own counts itself. Some of what libcst nests is flat in Python's tree
(strings side by side, `a and b and c`, dotted imports, `for … for …`), and is counted here as if it were nested.
"""

import ast
import io
import sys
import tokenize
import warnings
from collections.abc import Iterator

DEEPEST = 300  # levels; the nodes of libcst take a few calls each, and Python allows 1000 of them
TOO_DEEP = "is nested too deeply to be examined"


class Unparsable(Exception):
    """The file cannot be examined; `line` counts from 1. The message goes on after the name of the file."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def no_python(reason: str, line: int) -> Unparsable:
    """For a text that this Python would refuse as well."""
    return Unparsable(f"is no Python {sys.version_info[0]}.{sys.version_info[1]}: {reason}", line)


def checked(text: str) -> ast.Module:
    """The tree of a text that libcst can take. Raises Unparsable."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an escape in somebody's string is no business of ours
            tree = ast.parse(text)
    except SyntaxError as error:
        raise no_python(error.msg, error.lineno or 1) from None
    except ValueError as error:
        raise no_python(str(error), 1) from None
    except (MemoryError, RecursionError):  # so Python's parser says that its stack is full
        raise Unparsable(TOO_DEEP, 1) from None
    line = _too_deep(tree) or _too_many_strings(text)
    if line:
        raise Unparsable(TOO_DEEP, line)
    return tree


def _too_deep(tree: ast.Module) -> int:
    """The line where it goes deeper than DEEPEST; 0: nowhere."""
    waiting: list[tuple[ast.AST, int, int]] = [(tree, 0, 1)]
    while waiting:
        node, depth, line = waiting.pop()
        line = getattr(node, "lineno", line)
        depth += 1 + _flattened(node)
        if depth > DEEPEST:
            return line
        waiting += [(child, depth, line) for child in ast.iter_child_nodes(node)]
    return 0


def _flattened(node: ast.AST) -> int:
    """The levels that libcst makes of one node of Python's tree, beside the first."""
    if isinstance(node, ast.BoolOp):
        return len(node.values)
    if isinstance(node, ast.alias):
        return node.name.count(".")
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").count(".")
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return len(node.generators)
    return 0


def _too_many_strings(text: str) -> int:
    """The line where more than DEEPEST strings stand side by side, which Python's tree has as one; 0: nowhere."""
    start, end = getattr(tokenize, "FSTRING_START", -1), getattr(tokenize, "FSTRING_END", -1)  # Python 3.12 has them
    side_by_side = inside = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            inside += (token.type == start) - (token.type == end)
            if token.type in (tokenize.STRING, end):
                side_by_side += 1
            elif not inside and token.type not in (tokenize.NL, tokenize.COMMENT):
                side_by_side = 0
            if side_by_side > DEEPEST:
                return token.start[0]
    except (tokenize.TokenError, IndentationError):
        return 1  # Python read it a moment ago: what tokenize makes nothing of is strange enough
    return 0


def bound(tree: ast.Module) -> set[str]:
    """Every name that the file gives a meaning, anywhere, but for the parameters of functions and methods.

    Those pytest fills in. The parameters of lambdas and of functions inside of functions count: they hide a fixture.
    """
    names = set[str]()
    for node in ast.walk(tree):
        names.update(_binds(node))
        if isinstance(node, ast.Lambda):
            names |= {argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            nested = (inner for statement in node.body for inner in ast.walk(statement))
            functions = (inner for inner in nested if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef))
            for function in functions:
                names |= {argument.arg for argument in ast.walk(function.args) if isinstance(argument, ast.arg)}
    return names


def _binds(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name):
        if not isinstance(node.ctx, ast.Load):
            yield node.id
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.alias):
        yield node.asname or node.name.partition(".")[0]
    elif isinstance(node, ast.Global | ast.Nonlocal):
        yield from node.names
    elif isinstance(node, ast.MatchMapping):
        yield node.rest or ""
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
        yield node.name or ""
