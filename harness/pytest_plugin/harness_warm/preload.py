"""Which modules a set of tests is going to import: read from the source, without running any of it.

Only installed ones count, and those of the standard library. What the project's own modules do when they are imported
is left to each process; they are followed by name to find what they import in turn.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Collection, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

from .watching import is_foreign, is_library

_MOST_FILES = 2_000


def look(tests: list[str]) -> tuple[list[str], set[str]]:
    """Names that these test files import at their top level, or that the project's files do which they import so; and
    the variables that these files set there, maybe for what they import next.

    The last word of a name may be no module, but something in one.
    """
    todo = [Path(test.partition("::")[0]).absolute() for test in tests]
    seen = set(todo)
    # Where pytest is going to put them into sys.path, before all that is there now.
    bases = {_base(file) for file in todo}
    found: dict[str, None] = {}
    variables: set[str] = set()
    for file in todo:  # grows while it is read
        tree = _parsed(file)
        variables |= _variables(tree)
        for name in _imports(tree, file):
            if _is_installed(name, bases):
                found[name] = None
            elif len(seen) < _MOST_FILES:
                own = _own_files(name, file, bases) - seen
                seen |= own
                todo += own
    return list(found), variables


def load(name: str) -> bool:
    """Imports a module, if it is one. Returns whether that went well."""
    package, _, leaf = name.rpartition(".")
    if package and (package not in sys.modules or hasattr(sys.modules[package], leaf)):
        return True
    try:
        if importlib.util.find_spec(name):
            importlib.import_module(name)
    except (Exception, SystemExit):  # whatever it is, the test that imports it will meet it
        return False
    return True


def _parsed(file: Path) -> list[ast.AST]:
    try:
        return list(ast.parse(file.read_bytes()).body)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return []


def _variables(tree: list[ast.AST]) -> set[str]:
    """Those that these statements set or remove, and other words in them."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found: set[str] = set()
    for node in tree:
        inner = [] if isinstance(node, functions) else list(ast.walk(node))
        if any(_changes_environment(each) for each in inner):
            found.update(each.arg for each in inner if isinstance(each, ast.keyword) and each.arg)
            found.update(each.value for each in inner if isinstance(each, ast.Constant) and isinstance(each.value, str))
    return found


def _changes_environment(node: ast.AST) -> bool:
    if isinstance(node, ast.Subscript):
        return not isinstance(node.ctx, ast.Load) and "'environ'" in ast.dump(node.value)
    if isinstance(node, ast.Call) and isinstance(node.func, (ast.Attribute, ast.Name)):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        return name == "putenv" or (name in ("setdefault", "update", "pop") and "'environ'" in ast.dump(node.func))
    return False


def _imports(tree: list[ast.AST], file: Path) -> Iterator[str]:
    todo = list(tree)
    for node in todo:  # grows while it is read
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_packages(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, file)
            for alias in node.names if base else ():
                yield from _with_packages(base if alias.name == "*" else f"{base}.{alias.name}")
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            is_for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
            todo += getattr(node, "orelse", []) if is_for_types else ast.iter_child_nodes(node)


def _with_packages(name: str) -> Iterator[str]:
    words = name.split(".")
    return (".".join(words[: count + 1]) for count in range(len(words)))


def _absolute(node: ast.ImportFrom, file: Path) -> str:
    """The module that is meant; empty: it lies outside of every package."""
    if not node.level:
        return node.module or ""
    package = file.parent
    for _ in range(node.level - 1):
        package = package.parent
    words = [node.module] if node.module else []
    while (package / "__init__.py").is_file():
        words.insert(0, package.name)
        package = package.parent
    return ".".join(words)


def _spec(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None


def _base(file: Path) -> Path:
    """The directory that pytest puts into sys.path for a file of tests: the first upward that is no package."""
    return next(directory for directory in file.parents if not (directory / "__init__.py").is_file())


def _is_at(base: Path, module: str) -> bool:
    return (base / f"{module}.py").is_file() or (base / module / "__init__.py").is_file()


def _is_installed(name: str, bases: Collection[Path]) -> bool:
    first = name.partition(".")[0]
    spec = _spec(first)
    if spec is None or any(_is_at(base, first) for base in bases):
        return False
    places = [spec.origin] if spec.has_location and spec.origin else list(spec.submodule_search_locations or ())
    return all(is_library(place) or is_foreign(place + "/") for place in places)  # none: it is built in


def _own_files(name: str, importer: Path, bases: Collection[Path]) -> set[Path]:
    """The file of a module of the project: where Python finds it, or will once pytest has collected its importer."""
    first, *rest = name.split(".")
    spec = _spec(first)
    if shadows := [base for base in bases if _is_at(base, first)]:
        places = [base / first for base in shadows]
    elif spec is None:
        places = [directory / first for directory in importer.parents]
    elif spec.submodule_search_locations:
        places = [Path(place) for place in spec.submodule_search_locations]
    else:
        return {Path(spec.origin)} if spec.origin else set()
    found = (Path(place, *rest) for place in places)
    files = (file for path in found for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file())
    return set(list(files)[:1])
