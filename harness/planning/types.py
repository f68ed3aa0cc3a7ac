"""The small types that a plan's keys are declared with (schema.py).

A type reads a value as TOML gave it, reports what is wrong with it, and returns it in the form the rest of the house
uses, or INVALID. It also describes itself, for the documentation (`label`) and as JSON schema (`json`). Types know
nothing of one another's tables or of files; what needs the whole plan is in check.py. Types made of types are in
compound.py.
"""

import re
from abc import ABC, abstractmethod
from datetime import date, datetime
from typing import Any, Final

from harness.planning.problems import Path, Problems, show
from harness.values import (
    DURATION_HINT,
    FALSE,
    LONGEST,
    MAX_COUNT,
    SIZE_HINT,
    TRUE,
    UNLIMITED,
    read_duration,
    read_size,
)

INVALID: Final[Any] = object()
Json = dict[str, Any]

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Type(ABC):
    """What a key may hold. `label` and `json` describe it to people and to editors."""

    def __init__(self, label: str, json: Json) -> None:
        self.label = label
        self.json = json

    @abstractmethod
    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        """The value as the house uses it; or INVALID, with what is wrong added to the problems."""


class Text(Type):
    """A string, whole or of a pattern."""

    def __init__(self, label: str = "string", expected: str = "a string", pattern: str = "") -> None:
        super().__init__(label, {"type": "string"} | ({"pattern": f"^(?:{pattern})$"} if pattern else {}))
        self._expected = expected
        self._pattern = re.compile(pattern or r"[\s\S]*")

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, str):
            hint = f'; write "{show(value)}"' if isinstance(value, bool | int | float) else ""
            problems.add(path, f"{show(value)} is not {self._expected}{hint}")
        elif "\0" in value:
            problems.add(path, "holds a NUL character, which no process can be given")
        elif not self._pattern.fullmatch(value):
            problems.add(path, f"{show(value)} is not {self._expected}")
        else:
            return value
        return INVALID


class Line(Text):
    """A string for people, on one line."""

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        text = super().read(value, path, problems)
        if text is not INVALID and _CONTROL.search(text):
            problems.add(path, f"{show(value)} holds a control character; write one line of plain text")
            return INVALID
        return text


class Name(Type):
    """What people call a thing: any words on one line."""

    def __init__(self) -> None:
        super().__init__("name", {"type": "string", "minLength": 1, "maxLength": 300})

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, str):
            problems.add(path, f"{show(value)} is not a name; write a string")
        elif not value.strip():
            problems.add(path, "is empty; a name has at least one visible character")
        elif len(value) > 300:
            problems.add(path, f"{show(value)} has {len(value)} characters; a name has at most 300")
        elif _CONTROL.search(value):
            problems.add(path, f"{show(value)} holds a control character; a name is one line of plain text")
        elif "," in value or value != value.strip():
            problems.add(path, f"{show(value)} holds a comma or outer spaces; --groups a,b could not name it")
        else:
            return value
        return INVALID


class FilePath(Type):
    """A path inside the project, or a pattern for such paths; with `anywhere` also one outside."""

    def __init__(self, label: str = "path", *, anywhere: bool = False) -> None:
        super().__init__(label, {"type": "string", "minLength": 1})
        self._anywhere = anywhere

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, str) or not value.strip():
            problems.add(path, f"{show(value)} is not a path")
        elif _CONTROL.search(value):
            problems.add(path, f"{show(value)} holds a control character")
        elif not self._anywhere and value.startswith(("/", "~")):
            problems.add(path, f"{show(value)} leads out of the project; write it relative to the project")
        elif not self._anywhere and ".." in value.partition("::")[0].split("/"):
            problems.add(path, f'{show(value)} leads upward; write a path without ".."')
        else:
            return value
        return INVALID


class Duration(Type):
    """Seconds, as a number or as `1h30m`."""

    def __init__(self, *, zero: bool = False) -> None:
        super().__init__("duration", {"type": ["string", "number"]})
        self._zero = zero

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, str):
            try:
                return read_duration(value, zero=self._zero)
            except ValueError as error:
                problems.add(path, str(error))
                return INVALID
        # Compared before it is converted: nan fails every comparison, and a huge int breaks the conversion.
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and 0 <= value <= LONGEST and (value > 0 or self._zero):
            return float(value)
        problems.add(path, f"{show(value)} is not a duration; {DURATION_HINT}")
        return INVALID


class Size(Type):
    """Bytes, as `500MB`; or no limit."""

    def __init__(self) -> None:
        super().__init__(
            f'size or `"{UNLIMITED}"`', {"type": "string", "pattern": "^(?:[0-9.]+ ?[kKMGT]?i?B|unlimited)$"}
        )

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        try:
            if isinstance(value, str):
                return read_size(value)
            problems.add(path, f"{show(value)} is not a size; {SIZE_HINT}")
        except ValueError as error:
            problems.add(path, str(error))
        return INVALID


class Count(Type):
    """A whole number between bounds."""

    def __init__(self, minimum: int = 1, maximum: int = MAX_COUNT) -> None:
        super().__init__(f"number, {minimum} to {maximum}", {"type": "integer", "minimum": minimum, "maximum": maximum})
        self._minimum, self._maximum = minimum, maximum

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        # TOML's true is an int to Python.
        if isinstance(value, int) and not isinstance(value, bool) and self._minimum <= value <= self._maximum:
            return value
        problems.add(path, f"{show(value)} is not a whole number from {self._minimum} to {self._maximum}")
        return INVALID


class Switch(Type):
    """true or false."""

    def __init__(self) -> None:
        super().__init__("`true` or `false`", {"type": "boolean"})

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, bool):
            return value
        text = value.lower() if isinstance(value, str) else ""
        hint = "; write true" if text in TRUE else "; write false" if text in FALSE else ""
        problems.add(path, f"{show(value)} is not true or false{hint}")
        return INVALID


class Choice(Type):
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        super().__init__(" or ".join(f'`"{word}"`' for word in words), {"enum": list(words)})
        self.words = words

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, str) and value in self.words:
            return value
        problems.add(path, f"{show(value)} is none of {', '.join(self.words)}")
        return INVALID


class Day(Type):
    """A day, as TOML's own date or as a string; kept as YYYY-MM-DD."""

    def __init__(self) -> None:
        super().__init__("day", {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"})

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        # A datetime is a date to Python, and says more than a day.
        if isinstance(value, date) and not isinstance(value, datetime):
            return value.isoformat()
        if isinstance(value, str) and _DAY.fullmatch(value):
            try:
                return date.fromisoformat(value).isoformat()
            except ValueError:
                pass
        problems.add(path, f"{show(value)} is not a day; write it as 2026-01-31")
        return INVALID


class Results(Type):
    """Where a command leaves the results of its tests: a format and a path, or a format that it prints."""

    PRINTED = ("tap", "go")
    FORMATS = ("junit", *PRINTED)

    def __init__(self) -> None:
        super().__init__("results", {"type": "string", "pattern": f"^({'|'.join(self.FORMATS)})(:.+)?$"})
        self._path = FilePath()

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        form, colon, file = value.partition(":") if isinstance(value, str) else ("", "", "")
        if form not in self.FORMATS:
            problems.add(
                path, f'{show(value)} names no format; write "junit:PATH", "tap:PATH", "go:PATH", "tap" or "go"'
            )
        elif not colon and form not in self.PRINTED:
            problems.add(path, f'{show(value)} has no path; write "{form}:PATH"')
        elif not colon or self._path.read(file, path, problems) is not INVALID:
            return value
        return INVALID


STRING = Text()
LINE = Line()
NAME = Name()
SWITCH = Switch()
DURATION = Duration()
PATH = FilePath()
IDENTIFIER = Text("name", "a name of letters, digits, - and _ that begins with a letter", r"[A-Za-z][A-Za-z0-9_-]*")
VARIABLES = Text("variable or pattern", "a variable, or a pattern such as *_KEY", r"[A-Za-z_*?][A-Za-z0-9_*?]*")
VARIABLE = Text("variable", "the name of a variable: letters, digits and _", r"[A-Za-z_][A-Za-z0-9_]*")
