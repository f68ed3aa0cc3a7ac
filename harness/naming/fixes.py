"""Puts a fixture in the place of a literal, where that is sure.

Protocol: `Fixes.consider(hit)` in the order of the file says why a literal stays, or notes the edits that replace it,
with the same literal wherever else the test has it: an assertion on it goes with it. `edits` are all that were noted.

Sure means: pytest fills the parameter in, every occurrence of the text around it plainly means the same thing, nothing
beside it could be made of it (harness/naming/doubts.py), and nobody outside of the test knows the text. A path, port or
key that the test never mentions again is known to somebody: the code under test, which would look for it in vain.
"""

import re
from collections import defaultdict
from functools import cached_property
from itertools import chain

import libcst as cst

from harness.naming import Kind
from harness.naming.addresses import AT_LOOPBACK
from harness.naming.calls import Hit, last_name, receiver
from harness.naming.doubts import RUN, Doubts, related
from harness.naming.owners import added, is_test, obstacle, owner
from harness.naming.places import PATHS, TEMPORARY
from harness.naming.tree import Edit, Source
from harness.naming.values import dotted

Literal = cst.SimpleString | cst.Integer
Text = cst.SimpleString | cst.FormattedStringText

EQUALITY = (cst.Equal, cst.NotEqual, cst.In, cst.NotIn)
KNOWN_BY_PLACE = (Kind.PATH, Kind.PORT, Kind.KEY)
TELLING = 12  # characters: a text of that length, or with one of these characters, means one thing in one test
TELLING_CHARACTERS = re.compile(r"[@/ \d_-]")
TIDYING = {"remove", "unlink", "rmtree", "rmdir", "exists", "isdir", "isfile"}  # no use is made of what is there
SEVERAL_KEYS = {"delete", "unlink", "exists", "mget", "touch"}


class Fixes:
    """The edits to one file with these hits. `shared`: other files rely on its fixtures."""

    def __init__(self, source: Source, hits: list[Hit], *, shared: bool) -> None:
        self._source = source
        self._shared = shared or not any(map(is_test, source.all(cst.FunctionDef)))
        self._hits = hits
        self._hit = {id(hit.value.node) for hit in hits if hit.fixture}
        self._edits: list[Edit] = []
        self._wanted: defaultdict[cst.FunctionDef, dict[str, None]] = defaultdict(dict)
        self._replaced: set[int] = set()
        self._stand_ins: defaultdict[tuple[int, str], dict[str, str]] = defaultdict(dict)

    @property
    def edits(self) -> list[Edit]:
        signatures = [added(self._source, function, fixtures) for function, fixtures in self._wanted.items()]
        return [*self._edits, *chain.from_iterable(signatures)]

    def consider(self, hit: Hit) -> str:
        """Why the literal stays; empty: it is replaced."""
        if id(hit.value.node) in self._replaced:
            return ""
        literal = hit.value.node
        if hit.obstacle:
            return hit.obstacle
        if not hit.value.whole or not isinstance(literal, cst.SimpleString | cst.Integer):
            return "it is part of a longer text"
        function = owner(self._source, literal)
        if function is None:
            return "it stands outside of the tests and their fixtures"
        why = self._position(literal) or obstacle(self._source, function, hit.fixture)
        why = why or self._known_outside(function, hit)
        if why:
            return why
        same, why = self._occurrences(function, hit, literal)
        stand_in = "" if why else self._stand_in(function, hit)
        if not stand_in:
            return why or f"{hit.fixture} stands in for one, and this is another"
        for node in same:
            self._replace(node, stand_in, hit.kind)
        self._wanted[function].setdefault(hit.fixture)
        return ""

    def _position(self, literal: Literal) -> str:
        for node in self._source.above(literal):
            if isinstance(node, cst.For | cst.CompFor) and node.iter in (literal, *self._source.above(literal)):
                return "a loop goes over it"
            if isinstance(node, cst.ConcatenatedString | cst.FormattedString):
                return "it is part of a longer text"
        return ""

    def _known_outside(self, function: cst.FunctionDef, hit: Hit) -> str:
        """Whether a helper, a constant, or for a fixture anything else in the file has the text as well."""
        test = is_test(function)
        if self._shared and not test:
            return "tests in other files may rely on it"
        for node, other in self._texts:
            if other is function or (test and other is not None and is_test(other)):
                continue
            if _has(node, hit.value.text) or self._derived(hit, node, number=not test):
                around = "test" if test else "fixture"
                return f"line {self._line(node)}, outside of the {around}, has it as well, or a part of it"
        return ""

    def _derived(self, hit: Hit, node: Text | cst.Integer, *, number: bool) -> bool:
        """Whether the text could be made of the hit's; with `number`, an integer could be its length."""
        text, other = hit.value.text, _value(node)
        if isinstance(node, cst.Integer):
            parts = (text, text.partition("@")[0], text.rpartition("@")[2])
            lengths = {len(part.encode()) for part in parts} | {len(part) for part in parts}
            return number and hit.kind in (Kind.NAME, Kind.EMAIL) and node.evaluated_value in lengths
        if self._is_key_of(hit, node) or (hit.kind is Kind.PORT and not related(text, other, least=RUN)):
            return False
        if hit.kind is Kind.EMAIL and id(node) in self._hit and "@" in other:
            # Another address, which becomes one of the same domain.
            return related(text.partition("@")[0], other.partition("@")[0])
        identity = hit.kind in (Kind.NAME, Kind.EMAIL)
        compared = identity and isinstance(node, cst.SimpleString) and self._role(node) == "compared"
        return related(text, other, least=1 if compared else 2)

    def _is_key_of(self, hit: Hit, node: cst.CSTNode) -> bool:
        """Whether it is a key of what is sent, or reads such a key of the answer: no value of it."""
        sent = [
            element.key
            for element in self._source.inside(cst.DictElement, hit.call)
            if isinstance(element.key, cst.SimpleString)
        ]
        above = self._source.parent(node)
        reading = isinstance(above, cst.Index) or (isinstance(above, cst.DictElement) and above.key is node)
        return node in sent or (
            reading and isinstance(node, cst.SimpleString) and _value(node) in {_value(key) for key in sent}
        )

    @cached_property
    def _texts(self) -> list[tuple[Text | cst.Integer, cst.FunctionDef | None]]:
        """All texts and integers but docstrings, each with the function that it belongs to."""
        source = self._source
        strings = [node for node in source.all(cst.SimpleString) if not isinstance(source.parent(node), cst.Expr)]
        texts: list[Text | cst.Integer] = [*strings, *source.all(cst.FormattedStringText), *source.all(cst.Integer)]
        return [(node, owner(source, node)) for node in texts]

    def _line(self, node: cst.CSTNode) -> int:
        return self._source.at(node)[0]

    def _occurrences(self, function: cst.FunctionDef, hit: Hit, literal: Literal) -> tuple[list[Literal], str]:
        """The literals of the test to replace together, or why that is not sure."""
        same: list[Literal] = []
        for node, other in self._texts:
            if other is not function:
                continue
            if not _has(node, hit.value.text):
                if self._derived(hit, node, number=True):
                    return [], f"line {self._line(node)} may have a part of it, its length, or another form of it"
                continue
            if isinstance(node, cst.FormattedStringText) or not self._alike(node, hit, literal):
                return [], f"line {self._line(node)} has it inside of another text or with another meaning"
            same.append(node)
        doubts = Doubts(self._source, function, hit, same)
        if doubts.ordered() and self._several(function, hit):
            return [], "the test puts something in order"
        if hit.kind is Kind.PATH and "/" in _below(hit.value.text):
            return [], "nobody makes the directories above it in tmp_path"
        if hit.kind in KNOWN_BY_PLACE and not any(self._mentioned(function, node) for node in same):
            return [], "the test never mentions it again, so something else may look for it"
        told = doubts.told()
        return ([], told) if told else (same, "")

    def _several(self, function: cst.FunctionDef, hit: Hit) -> bool:
        """Whether the function has another text that the same fixture would stand in for."""
        return any(
            other.fixture == hit.fixture and other.value.text != hit.value.text
            for other in self._hits
            if owner(self._source, other.value.node) is function
        )

    def _mentioned(self, function: cst.FunctionDef, node: Literal) -> bool:
        """Whether the test has a use for it beside the making: another literal, or a variable used again."""
        if id(node) not in self._hit:
            call = next((above for above in self._source.above(node) if isinstance(above, cst.Call)), None)
            return call is None or last_name(call) not in TIDYING
        assigned = self._assigned_to(node)
        uses = [name for name in self._source.inside(cst.Name, function) if assigned and name.value == assigned]
        return len(uses) > 2  # bound, made, and one more

    def _assigned_to(self, node: Literal) -> str:
        for above in self._source.above(node):
            if isinstance(above, cst.Assign) and isinstance(above.targets[0].target, cst.Name):
                return above.targets[0].target.value
            if isinstance(above, cst.Call) and dotted(above.func) not in PATHS:
                return ""
        return ""

    def _alike(self, node: Literal, hit: Hit, literal: Literal) -> bool:
        """Whether the occurrence means what the literal means."""
        if hit.kind is Kind.PORT:
            return isinstance(node, cst.Integer) or _value(node) == hit.value.text or _address(node) is not None
        if isinstance(node, cst.Integer) or node.evaluated_value != hit.value.text:
            return False  # bytes are not equal to a string
        if isinstance(self._source.parent(node), cst.ConcatenatedString) or self._position(node):
            return False
        role = self._role(node)
        if role == "compared":
            return hit.kind is not Kind.PATH or hit.value.text.startswith("/")
        if hit.kind is Kind.KEY:
            return node is literal or self._is_key(node, hit)
        telling = len(hit.value.text) >= TELLING or TELLING_CHARACTERS.search(hit.value.text) is not None
        return role == self._role(literal) or (telling and role != "other")

    def _role(self, node: cst.BaseExpression) -> str:
        above = self._source.parent(node)
        if isinstance(above, cst.Comparison | cst.ComparisonTarget):
            comparison = above if isinstance(above, cst.Comparison) else self._source.parent(above)
            asked = comparison.comparisons if isinstance(comparison, cst.Comparison) else ()
            return "compared" if all(isinstance(target.operator, EQUALITY) for target in asked) else "other"
        if isinstance(above, cst.Arg):
            return f"={above.keyword.value}" if above.keyword else "given"
        if isinstance(above, cst.DictElement) and above.value is node:
            return f"={_value(above.key)}" if isinstance(above.key, cst.SimpleString) else "other"
        return "assigned" if isinstance(above, cst.Assign | cst.AnnAssign) else "other"

    def _is_key(self, node: Literal, hit: Hit) -> bool:
        """Whether it is given as a key to the same client."""
        argument = self._source.parent(node)
        call = self._source.parent(argument) if isinstance(argument, cst.Arg) else None
        if not isinstance(call, cst.Call) or receiver(call) != receiver(hit.call):
            return False
        return call.args[0] is argument or last_name(call) in SEVERAL_KEYS

    def _stand_in(self, function: cst.FunctionDef, hit: Hit) -> str:
        """The expression for this text in this function; another text gets another one. Empty: there is none."""
        text, fixture = hit.value.text, hit.fixture
        known = self._stand_ins[id(function), fixture]
        if text in known:
            return known[text]
        if hit.kind is Kind.PATH:
            known[text] = f'{fixture} / "{_below(text)}"'
        elif hit.kind is Kind.KEY:
            known[text] = f'f"{{{fixture}}}{_escaped(text)}"'
        else:
            body = self._source.code(function)
            used = len(known) + bool(re.search(rf"\b{fixture}\b", body))
            if used and hit.kind is Kind.PORT:
                return ""
            while used and f'"{used + 1}-{{{fixture}}}"' in body:
                used += 1
            known[text] = f'f"{used + 1}-{{{fixture}}}"' if used else fixture
        return known[text]

    def _replace(self, node: Literal, stand_in: str, kind: Kind) -> None:
        self._replaced.add(id(node))
        target: cst.CSTNode = node
        if kind is Kind.PATH:
            call = next((parent for parent in self._source.above(node) if isinstance(parent, cst.Call)), None)
            if call and dotted(call.func) in PATHS and call.args[0].value is node:
                target = call
                around = self._source.parent(call)
                bare = isinstance(around, cst.Assign | cst.AnnAssign | cst.Arg)
                stand_in = stand_in if bare else f"({stand_in})"
            else:
                stand_in = f"str({stand_in})"
        elif kind is Kind.PORT and isinstance(node, cst.SimpleString):
            address = _address(node)
            stand_in = f'f"{address}"' if address else f"str({stand_in})"
        self._edits.append(Edit(*self._source.span(target), stand_in))


def _value(node: Literal | Text) -> str:
    if isinstance(node, cst.FormattedStringText):
        return node.value
    if isinstance(node, cst.Integer):
        return str(node.evaluated_value)
    value = node.evaluated_value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _has(node: Literal | Text, text: str) -> bool:
    return text.casefold() in _value(node).casefold() if not isinstance(node, cst.Integer) else _value(node) == text


def _address(node: Literal) -> str | None:
    """The inside of an f-string for an address with its port left open; None where it is no such address."""
    value = _value(node)
    match = AT_LOOPBACK.match(value)
    if not match or re.search(r"[\"\\{}]", value):
        return None
    return f"{value[: match.start(1)]}{{free_port}}{value[match.end(1) :]}"


def _below(path: str) -> str:
    """A path as it will be below tmp_path."""
    for prefix in TEMPORARY:
        path = path.removeprefix(prefix)
    path = path.removeprefix("./").rstrip("/").replace("\\", "\\\\").replace('"', '\\"')
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in path)


def _escaped(text: str) -> str:
    """For the inside of an f-string in double quotes."""
    quoted = text.encode("unicode_escape").decode("ascii").replace('"', '\\"')
    return quoted.replace("{", "{{").replace("}", "}}")
