"""The floors of the house (docs/architecture.md): imports go strictly down, and some rooms may not touch the world."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

HARNESS = Path(__file__).parent.parent / "harness"

# One attempt, in several files.
ATTEMPT = {"process", "endings", "pump", "profile", "teststream", "results", "attempt", "judging", "grouplog", "warm"}
ATTEMPT |= {"clock", "threads", "logfile", "masking"}
# Every module or package of the house, by floor. What is not named here fails the test: a new room needs a floor.
FLOORS = {
    0: {"model", "past", "events", "errors", "values", "foreign"},
    1: {"config", "planning", "scheduling", "record", "statistics", "merging", "naming"},
    2: ATTEMPT
    | {"files", "unfinished", "ports", "history", "fingerprint", "git", "terminal", "installations", "descriptors"},
    3: {"runners", "executors", "reporters", "services", "isolation", "verify", "partlog"},
    4: {"run", "ground", "request", "jobs", "visit", "signals", "backlog", "recovery", "guarded", "guardian"},
    5: {"cli", "__main__"},
}
# Rooms that are one thing in several files, and so may import one another.
SUITES = [
    {"model", "past", "events", "errors", "values", "foreign"},
    {"scheduling", "record", "merging"},
    {"cli", "__main__"},
    {"run", "ground", "request", "jobs", "visit", "signals", "backlog"},
    {"recovery", "guarded", "guardian"},
    {"files", "unfinished"},
    ATTEMPT | {"files"},
    {"process", "git"},
]
APART = {"pytest_plugin", "bootstrap", "__init__"}  # houses of their own, and the version number

PURE = FLOORS[0] | FLOORS[1]
IMPURE_MODULES = {"subprocess", "threading", "time", "multiprocessing", "socket", "asyncio"}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(HARNESS.rglob("*.py")):
        room = path.relative_to(HARNESS).parts[0].removesuffix(".py")
        yield room, path


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """All that a file imports, wherever in it, as dotted names with their lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno
            if node.module == "harness":
                yield from ((f"harness.{alias.name}", node.lineno) for alias in node.names)


def floor_of(room: str) -> int | None:
    return next((floor for floor, rooms in FLOORS.items() if room in rooms), None)


def rooms_imported(path: Path) -> Iterator[tuple[str, int]]:
    for name, line in imports(path):
        house, _, rest = name.partition(".")
        room = rest.partition(".")[0]
        if (
            house == "harness"
            and room
            and ((HARNESS / f"{room}.py").exists() or (HARNESS / room / "__init__.py").exists())
        ):
            yield room, line


def test_every_room_has_a_floor() -> None:
    assert {room for room, _ in modules() if floor_of(room) is None} <= APART


@pytest.mark.parametrize(("room", "path"), list(modules()), ids=lambda value: getattr(value, "name", value))
def test_imports_go_down(room: str, path: Path) -> None:
    wrong = []
    for other, line in rooms_imported(path):
        if room in APART - {"__init__"}:
            wrong.append(f"{path.name}:{line} imports {other}: it must stand alone")
        elif other != room and not any({room, other} <= suite for suite in SUITES):
            mine, theirs = floor_of(room), floor_of(other)
            if mine is None or theirs is None or theirs >= mine:
                wrong.append(f"{path.name}:{line} imports {other}, which is not below {room}")
    assert not wrong


@pytest.mark.parametrize(("room", "path"), list(modules()), ids=lambda value: getattr(value, "name", value))
def test_the_head_is_pure_and_only_one_room_starts_processes(room: str, path: Path) -> None:
    names = {name.split(".")[0]: line for name, line in imports(path)}
    if room in PURE:
        assert not IMPURE_MODULES & names.keys()
        assert "os.environ" not in path.read_text()
        assert not any(
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
            for node in ast.walk(ast.parse(path.read_text()))
        )
    if room not in {"process", "bootstrap"}:
        assert "subprocess" not in names


def test_no_room_is_too_large() -> None:
    """Two subjects in one room make it hard to find either."""
    assert {path.name: n for _, path in modules() if (n := len(path.read_text().splitlines())) > 420} == {}
