"""One parsed file: its tree, who is whose parent, and where each node stands in the text.

Protocol: `Source.parse` once, then questions. Positions for people are lines and columns from 1; positions for splices
are bytes of the UTF-8 text, so that `spliced` changes those bytes and no others. A byte order mark, an encoding cookie
and mixed line endings come back as they were.

It must not know what an identifier is.
"""

import codecs
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import libcst as cst
from libcst.metadata import ByteSpanPositionProvider, CodeRange, MetadataWrapper, PositionProvider

from harness.naming.syntax import TOO_DEEP, Unparsable, bound, checked, no_python

Node = TypeVar("Node", bound=cst.CSTNode)

SILENCED = re.compile(r"#.*\bnames:\s*ok\b\W*\w")  # with a reason; a bare one silences nothing


@dataclass(frozen=True)
class Edit:
    """Put `text` in the place of the bytes from `start` to `end` of the UTF-8 text."""

    start: int
    end: int
    text: str


class Source:
    """The tree of one file."""

    def __init__(self, text: str, encoding: str, mark: bytes) -> None:
        self.text, self._encoding, self._mark = text, encoding, mark
        self._syntax = checked(text)
        try:
            self._wrapper = MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True)
        except cst.ParserSyntaxError as error:
            raise no_python(error.message.partition("\n")[0], error.raw_line) from None
        except RecursionError:
            raise Unparsable(TOO_DEEP, 1) from None
        self.module = self._wrapper.module
        index = _Index()
        self.module.visit(index)
        self._parents, self._by_type = index.parents, index.by_type

    @classmethod
    def parse(cls, data: bytes) -> "Source":
        """Raises Unparsable."""
        try:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
            mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
            encoding = "utf-8" if mark else encoding
            return cls(data[len(mark) :].decode(encoding), encoding, mark)
        except (SyntaxError, UnicodeDecodeError) as error:
            raise no_python(str(error), 1) from None

    @cached_property
    def bound(self) -> set[str]:
        """The names that the file binds, parameters that pytest may fill in apart."""
        return bound(self._syntax)

    @property
    def exact(self) -> bool:
        """Whether the tree says the text byte for byte, without which no position can be trusted for a splice."""
        return self.module.code == self.text

    def all(self, kind: type[Node]) -> list[Node]:
        """Every node of exactly this type, in the order of the text."""
        return self._by_type[kind]  # type: ignore[return-value]

    def parent(self, node: cst.CSTNode) -> cst.CSTNode | None:
        return self._parents.get(node)

    def above(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        """What `node` stands in, from the innermost outward."""
        while (parent := self._parents.get(node)) is not None:
            yield parent
            node = parent

    def function_of(self, node: cst.CSTNode) -> cst.FunctionDef | None:
        """The innermost function in whose body `node` stands. Decorators and defaults belong to what is outside."""
        child = node
        for parent in self.above(node):
            if isinstance(parent, cst.FunctionDef) and child is parent.body:
                return parent
            child = parent
        return None

    def class_of(self, node: cst.CSTNode) -> cst.ClassDef | None:
        return next((parent for parent in self.above(node) if isinstance(parent, cst.ClassDef)), None)

    def inside(self, kind: type[Node], root: cst.CSTNode) -> list[Node]:
        """Every node of this type that stands somewhere in `root`."""
        return [node for node in self.all(kind) if any(parent is root for parent in self.above(node))]

    def code(self, node: cst.CSTNode) -> str:
        return self.module.code_for_node(node)

    @cached_property
    def _ranges(self) -> dict[cst.CSTNode, CodeRange]:
        return dict(self._wrapper.resolve(PositionProvider))

    @cached_property
    def _spans(self) -> dict[cst.CSTNode, tuple[int, int]]:
        spans = self._wrapper.resolve(ByteSpanPositionProvider)
        return {node: (span.start, span.start + span.length) for node, span in spans.items()}

    def at(self, node: cst.CSTNode) -> tuple[int, int]:
        """Line and column, both from 1."""
        start = self._ranges[node].start
        return start.line, start.column + 1

    def span(self, node: cst.CSTNode) -> tuple[int, int]:
        """The bytes of the UTF-8 text from … to, without the parentheses around it."""
        return self._spans[node]

    def silenced(self, node: cst.CSTNode) -> bool:
        """Whether a comment on one of its lines says that it is meant."""
        lines = self._ranges[node]
        return not self._silenced.isdisjoint(range(lines.start.line, lines.end.line + 1))

    @cached_property
    def _silenced(self) -> set[int]:
        comments = self.all(cst.Comment)
        return {self._ranges[comment].start.line for comment in comments if SILENCED.match(comment.value)}

    def imports(self, *packages: str) -> bool:
        """Whether one of these packages, or something in it, is imported anywhere in the file."""
        return not self._imported.isdisjoint(packages)

    @cached_property
    def _imported(self) -> set[str]:
        names = [self.code(alias.name) for node in self.all(cst.Import) for alias in node.names]
        names += [self.code(node.module) for node in self.all(cst.ImportFrom) if node.module]
        dotted = [name.split(".") for name in names]
        return {".".join(parts[:length]) for parts in dotted for length in range(1, len(parts) + 1)}

    def spliced(self, edits: Iterable[Edit]) -> bytes:
        """The file with these edits, which must not overlap."""
        data = self.text.encode("utf-8")
        for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
            data = data[: edit.start] + edit.text.encode("utf-8") + data[edit.end :]
        return self._mark + data.decode("utf-8").encode(self._encoding)


class _Index(cst.CSTVisitor):
    """Notes the parent of every node, and the nodes of each type."""

    def __init__(self) -> None:
        super().__init__()
        self.parents: dict[cst.CSTNode, cst.CSTNode] = {}
        self.by_type: defaultdict[type[cst.CSTNode], list[cst.CSTNode]] = defaultdict(list)
        self._stack: list[cst.CSTNode] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if self._stack:
            self.parents[node] = self._stack[-1]
        self._stack.append(node)
        self.by_type[type(node)].append(node)
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        self._stack.pop()
