"""What makes it doubtful that a literal may be another one: somebody may know a part of it, or look for it elsewhere.

Protocol: `related` compares two texts; `Doubts` is asked about the literals of one function that would be replaced
together. Each answers with doubt where it is not sure.

A value that a test makes comes back in other shapes: a slug, a part, a prefix, a length. No text that could be one of
them may stand beside it.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import libcst as cst

from harness.naming import Kind
from harness.naming.calls import Hit, last_name, receiver
from harness.naming.tree import Source
from harness.naming.values import dotted

RUN = 4  # letters or digits that two texts share by no accident
LOOKING_ABOUT = {"listdir", "scandir", "glob", "iglob", "rglob", "walk", "iterdir", "getcwd", "cwd"}
PATTERNS = {"keys", "scan", "scan_iter", "sort", "flushdb", "flushall", "dbsize", "randomkey"}
ORDERING = re.compile(r"sort|order|\b(min|max)\(")
# What cannot know of anything but what it is given.
HARMLESS = {"len", "str", "int", "float", "bool", "bytes", "repr", "type", "isinstance", "print", "range", "enumerate"}
HARMLESS |= {"sorted", "list", "set", "dict", "tuple", "min", "max", "sum", "any", "all", "zip"}
HARMLESS |= {"pytest.raises", "raises", "pytest.skip", "json.dumps", "json.loads", "time.time", "time.sleep"}
HARMLESS |= {"asyncio.sleep", "uuid.uuid4", "os.getpid"}


@lru_cache(maxsize=4096)
def normal(text: str) -> str:
    """Its letters and digits alone, as a slug has them: without case, accents and signs."""
    return "".join(letter for letter in unicodedata.normalize("NFKD", text.casefold()) if letter.isalnum())


def related(text: str, other: str, *, least: int = 2) -> bool:
    """Whether `other` could be made of `text`: it is a part of it (of `least` letters), or shares a run of RUN."""
    whole, part = normal(text), normal(other)
    if len(part) >= least and part in whole:
        return True
    return any(whole[start : start + RUN] in part for start in range(len(whole) - RUN + 1))


class Doubts:
    """About the literals `same` of `function`, which all say what `hit` says."""

    def __init__(self, source: Source, function: cst.FunctionDef, hit: Hit, same: Sequence[cst.CSTNode]) -> None:
        self._source, self._function, self._hit = source, function, hit
        self._same = {id(node) for node in same}
        self._calls = source.inside(cst.Call, function)
        self._names = source.inside(cst.Name, function)
        self._carriers = self._followed()

    def told(self) -> str:
        """Why the literals should stay; empty: there is no doubt."""
        if any(last_name(call) == "len" and self._carries(call) for call in self._calls):
            return "the test asks for the length of what it went into"
        if self._hit.kind is Kind.PATH and any(last_name(call) in LOOKING_ABOUT for call in self._calls):
            return "the test looks at what else is in a directory"
        if self._hit.kind is Kind.KEY and any(last_name(call) in PATTERNS for call in self._calls):
            return "the test looks for keys by a pattern"
        if self._hit.kind in (Kind.PATH, Kind.PORT, Kind.KEY):
            stranger = next((call for call in self._calls if not self._known(call)), None)
            if stranger is not None:
                return f"line {self._source.at(stranger)[0]} calls what may know it by itself"
        return ""

    def ordered(self) -> bool:
        """Whether the test puts something in order, which other names may stand in another one in."""
        return ORDERING.search(self._source.code(self._function)) is not None

    def _known(self, call: cst.Call) -> bool:
        """Whether the call is given the value, or cannot know it."""
        if dotted(call.func) in HARMLESS or self._carries(call):
            return True
        return self._hit.kind is Kind.KEY and receiver(call) == receiver(self._hit.call)

    def _carries(self, node: cst.CSTNode) -> bool:
        """Whether the value, or something that it went into, stands in `node`."""
        return any(self._stands_in(name, node) for name in self._names if name.value in self._carriers) or any(
            self._stands_in(literal, node)
            for kind in (cst.SimpleString, cst.Integer)
            for literal in self._source.all(kind)
            if id(literal) in self._same
        )

    def _stands_in(self, inner: cst.CSTNode, outer: cst.CSTNode) -> bool:
        return any(above is outer for above in self._source.above(inner))

    def _followed(self) -> set[str]:
        """The variables that the value went into, directly or through others."""
        source, carriers = self._source, set[str]()
        self._carriers = carriers
        bindings: list[tuple[cst.CSTNode, Sequence[cst.CSTNode]]] = []
        for assign in source.inside(cst.Assign, self._function):
            bindings.append((assign.value, [target.target for target in assign.targets]))
        for kind in (cst.AnnAssign, cst.NamedExpr, cst.AugAssign):
            for node in source.inside(kind, self._function):
                bindings.append((node, [node.target]))  # type: ignore[attr-defined]  # all three have one
        for loop in source.inside(cst.For, self._function):
            bindings.append((loop.iter, [loop.target]))
        for inner in source.inside(cst.CompFor, self._function):
            bindings.append((inner.iter, [inner.target]))
        for item in source.inside(cst.WithItem, self._function):
            bindings.append((item, [item.asname.name] if item.asname else []))
        grown = True
        while grown:
            before = len(carriers)
            for value, targets in bindings:
                if self._carries(value) or (isinstance(value, cst.Name) and value.value in carriers):
                    carriers |= {name.value for target in targets for name in self._names_of(target)}
            grown = len(carriers) > before
        return carriers

    def _names_of(self, target: cst.CSTNode) -> list[cst.Name]:
        if isinstance(target, cst.Name):
            return [target]
        return [name for name in self._names if self._stands_in(name, target) and name.value not in ("self", "cls")]
