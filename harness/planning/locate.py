"""In which line of a TOML file does a key stand?

tomllib tells what a file says but not where. `Lines` walks a text that tomllib has already accepted, once, and notes
the line of every table, key and list item; because the text is known to be good TOML, it only has to tell strings,
brackets and names apart. What it has not seen (a key that is missing) is located at the nearest table around it.
"""

import re
import tomllib
from bisect import bisect_right

from harness.planning.problems import Path

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = re.compile(r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'', re.DOTALL)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_DOT = re.compile(r"[ \t]*\.[ \t]*")
_SCALAR = re.compile(r"[^,\]}#\n]*")


class Lines:
    """The lines of one file's keys."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._lines: dict[Path, int] = {}
        self._tables: dict[Path, int] = {}  # arrays of tables: the index of the newest table
        try:
            self._file()
        except RecursionError:
            pass  # nested hundreds deep: what is noted so far still locates the table around it

    def of(self, path: Path) -> int:
        """The line, from 1, of what the path names, or of the nearest thing around it."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def _line(self) -> int:
        return bisect_right(self._starts, self._at)

    def _skip_blank(self) -> None:
        match = _BLANK.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _next_is(self, token: str) -> bool:
        if not self._text.startswith(token, self._at):
            return False
        self._at += len(token)
        return True

    def _file(self) -> None:
        table: Path = ()
        self._skip_blank()
        while self._at < len(self._text):
            line = self._line()
            if self._next_is("[["):
                table = self._header(line, array=True)
            elif self._next_is("["):
                table = self._header(line, array=False)
            else:
                self._pair(table)
            self._skip_blank()

    def _header(self, line: int, *, array: bool) -> Path:
        self._skip_blank()
        path: Path = ()
        keys = self._keys()
        for depth, key in enumerate(keys, 1):
            path = (*path, key)
            self._lines.setdefault(path, line)
            if array and depth == len(keys):
                self._tables[path] = self._tables.get(path, -1) + 1
            if path in self._tables:
                path = (*path, self._tables[path])
        self._lines[path] = line
        self._skip_blank()
        self._at += 2 if array else 1
        return path

    def _keys(self) -> list[str]:
        keys = [self._key()]
        while match := _DOT.match(self._text, self._at):
            self._at = match.end()
            keys.append(self._key())
        return keys

    def _key(self) -> str:
        if match := _BARE_KEY.match(self._text, self._at):
            self._at = match.end()
            return match[0]
        match = _STRING.match(self._text, self._at)
        if not match:
            self._at = len(self._text)  # not TOML as this scanner knows it: give up, keep what is noted
            return ""
        self._at = match.end()
        return str(tomllib.loads(f"key = {match[0]}")["key"])

    def _pair(self, table: Path) -> None:
        line = self._line()
        path = table
        for key in self._keys():
            path = (*path, key)
            self._lines.setdefault(path, line)
        self._skip_blank()
        self._next_is("=")
        self._skip_blank()
        self._value(path)

    def _value(self, path: Path) -> None:
        if match := _STRING.match(self._text, self._at):
            self._at = match.end()
        elif self._next_is("["):
            self._items(path, "]")
        elif self._next_is("{"):
            self._items(path, "}")
        elif match := _SCALAR.match(self._text, self._at):
            self._at = match.end()

    def _items(self, path: Path, end: str) -> None:
        index = 0
        self._skip_blank()
        while self._at < len(self._text) and not self._next_is(end):
            if end == "}":
                self._pair(path)
            else:
                self._lines[(*path, index)] = self._line()
                self._value((*path, index))
                index += 1
            self._skip_blank()
            self._next_is(",")
            self._skip_blank()
