"""Files and directories with a fixed place that a test writes: under /tmp, or wherever it happens to be started.

Protocol: `places(source, values)` yields a Hit for each. Reading is fine, and so is a relative name where the test
changes into a directory of its own.
"""

import re
from collections.abc import Iterator

import libcst as cst

from harness.naming import Kind
from harness.naming.calls import Hit, argument, last_name, positional, receiver, refused, taken, unreal
from harness.naming.tree import Source
from harness.naming.values import Fixed, Values, dotted, fixture_decorator

TEMPORARY = ("/tmp/", "/var/tmp/", "/dev/shm/")
PATHS = {"Path", "pathlib.Path", "PosixPath", "pathlib.PosixPath"}
METHODS = {"write_text", "write_bytes", "mkdir", "touch", "symlink_to", "hardlink_to"}
# What writes, and the position of what is written.
WRITERS = {
    "os.mkdir": 0,
    "os.makedirs": 0,
    "os.mkfifo": 0,
    "os.symlink": 1,
    "os.rename": 1,
    "os.replace": 1,
    "shutil.copy": 1,
    "shutil.copy2": 1,
    "shutil.copyfile": 1,
    "shutil.copytree": 1,
    "shutil.move": 1,
    "shutil.rmtree": 0,
    "sqlite3.connect": 0,
}
OPENERS = {"open", "io.open", "codecs.open", "gzip.open", "bz2.open"}
MOVING = re.compile(r"\bchdir\(|\.as_cwd\(|isolated_filesystem\(|pyfakefs|\bmock_open\b")
NAME = re.compile(r"[\w.@%+ -][\w.@%+ /-]*\Z")  # a relative path that is plainly one

WHY = "two tests that run at once write over one another, and what a dead run left is found by the next"


def places(source: Source, values: Values) -> Iterator[Hit]:
    """The fixed paths of one file."""
    fixtures = [source.code(node) for node in source.all(cst.FunctionDef) if fixture_decorator(node)]
    moved = any(MOVING.search(code) for code in fixtures if "autouse" in code)
    for call in source.all(cst.Call):
        target = None if unreal(call) or refused(source, call) else _written(values, call)
        if target is None:
            continue
        function = source.function_of(call)
        elsewhere = moved or (function is not None and MOVING.search(source.code(function)))
        fixed = _fixed(values, target)
        if fixed and _collides(fixed.text, elsewhere=bool(elsewhere)) and not taken(source, call) & {"fs", "isolated"}:
            yield Hit(Kind.PATH, fixed, call, WHY, "tmp_path")


def _collides(text: str, *, elsewhere: bool) -> bool:
    if text.startswith(TEMPORARY):
        return bool(text.rstrip("/").count("/") >= 2)
    return not elsewhere and not text.startswith(("/", "~", "file:")) and NAME.match(text) is not None


def _written(values: Values, call: cst.Call) -> cst.BaseExpression | None:
    """What the call writes, if it writes."""
    name = dotted(call.func)
    if name in OPENERS:
        mode = argument(call, "mode", at=1)
        return argument(call, "file", at=0) if _writes(values, mode) else None
    if name in WRITERS:
        return argument(call, "database", at=WRITERS[name])
    if isinstance(call.func, cst.Attribute) and not receiver(call).startswith("os"):
        method = call.func.attr.value
        if method in METHODS or (method == "open" and _writes(values, argument(call, "mode", at=0))):
            return call.func.value if any(_path(values, call.func.value)) else None
    return None


def _writes(values: Values, mode: cst.BaseExpression | None) -> bool:
    fixed = values.fixed(mode) if mode is not None else None
    return fixed is not None and any(letter in fixed.text for letter in "wax+")


def _path(values: Values, expression: cst.BaseExpression) -> Iterator[cst.Call]:
    """`Path("…")`, where the expression is one."""
    for meant in values.meaning(expression):
        if (
            isinstance(meant, cst.Call)
            and dotted(meant.func) in PATHS
            and len(positional(meant)) == len(meant.args) == 1
        ):
            yield meant


def _fixed(values: Values, expression: cst.BaseExpression) -> Fixed | None:
    for path in _path(values, expression):
        return values.fixed(path.args[0].value)
    for meant in values.meaning(expression):
        if isinstance(meant, cst.Call) and last_name(meant) == "join" and receiver(meant) == "os.path":
            parts = [values.fixed(part) for part in positional(meant)]
            if parts and all(parts):
                return Fixed("/".join(part.text for part in parts if part), meant, False)
    fixed = values.fixed(expression)
    memory = fixed and (fixed.text == ":memory:" or isinstance(fixed.node, cst.Integer))
    return None if memory else fixed
