"""Types made of other types: lists, maps, tables, commands, dependencies, needs.

As in types.py, each reads, reports and describes itself. A list keeps INVALID in the place of a bad item, so that
later checks still speak of the right index; nothing is built from a plan that has problems.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.model import After, Budget, Dependency, LockMode
from harness.planning.problems import Path, Problems, show
from harness.planning.types import INVALID, NAME, STRING, Choice, Count, Json, Text, Type


class ListOf(Type):
    """A list; with `single`, one bare item stands for a list of one."""

    def __init__(self, item: Type, label: str = "", *, single: bool = False, filled: bool = False) -> None:
        plural = label or f"list of {item.label}s"
        array: Json = {"type": "array", "items": item.json} | ({"minItems": 1} if filled else {})
        super().__init__(
            f"{item.label} or {plural}" if single else plural,
            {"anyOf": [item.json, array]} if single else array,
        )
        self._item, self._single, self._filled = item, single, filled

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, list):
            if self._single:
                return (self._item.read(value, path, problems),)
            header = f": write [[{_header(path)}]]" if isinstance(self._item, Table) else ""
            problems.add(path, f"{show(value)} is not a {self.label}{header}")
            return INVALID
        if self._filled and not value:
            problems.add(path, "is empty; name at least one")
            return INVALID
        return tuple(self._item.read(item, (*path, index), problems) for index, item in enumerate(value))


def _header(path: Path) -> str:
    return ".".join(str(part) for part in path if not isinstance(part, int))


class MapOf(Type):
    """A table whose keys the user chooses."""

    def __init__(self, name: Type, item: Type, label: str) -> None:
        super().__init__(label, {"type": "object", "propertyNames": name.json, "additionalProperties": item.json})
        self._name, self._item = name, item

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, dict):
            problems.add(path, f"{show(value)} is not a table: write {{ NAME = … }}")
            return INVALID
        read = {}
        for name, item in value.items():
            key = self._name.read(name, (*path, name), problems)
            read[name] = self._item.read(item, (*path, name), problems)
            if key is INVALID:
                del read[name]
        return read


class Command(Type):
    """A string for `bash -c`, or a list: a program and its arguments."""

    def __init__(self) -> None:
        words: Json = {"type": "array", "items": {"type": "string"}, "minItems": 1}
        super().__init__("string or list of strings", {"anyOf": [{"type": "string", "minLength": 1}, words]})

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, list) and value:
            words = tuple(STRING.read(item, (*path, index), problems) for index, item in enumerate(value))
            if words[0] != "":
                return words
        elif isinstance(value, str) and value.strip():
            return STRING.read(value, path, problems)
        problems.add(path, f"{show(value)} is not a command; write a string for bash, or a list of strings")
        return INVALID


class Needs(Type):
    """How much of a resource: a count, or a lock's mode."""

    def __init__(self) -> None:
        super().__init__('number or `"shared"` or `"exclusive"`', {"anyOf": [Count().json, _MODES.json]})

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return Count().read(value, path, problems)
        if isinstance(value, str) and value in _MODES.words:
            return LockMode(value)
        problems.add(path, f'{show(value)} is neither a number nor "shared" nor "exclusive"')
        return INVALID


_MODES = Choice(*LockMode)


class Resource(Type):
    """How much of it there is; or a table of bounds, which makes it a budget."""

    def __init__(self) -> None:
        self._table = Table(
            "",
            Key("concurrent", Count(), None, "requests at the same time"),
            Key("rate", _RATE, None, "requests in a time, as `25/s`, `600/m` or `1000/h`"),
        )
        super().__init__("number or table", {"anyOf": [Count().json, self._table.json]})

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, dict):
            return Count().read(value, path, problems)
        row = self._table.read(value, path, problems)
        if row is INVALID or INVALID in row.values():
            return INVALID
        if row["concurrent"] is None and row["rate"] is None:
            problems.add(path, 'has no bound; write { concurrent = 20, rate = "25/s" }, or one of the two')
            return INVALID
        requests, _, unit = (row["rate"] or "").partition("/")
        return Budget(
            name=str(path[-1]),
            concurrent=row["concurrent"],
            requests=int(requests) if requests else None,
            window={"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}[unit],
        )


_RATE = Text("rate", "a rate: write 25/s, 600/m or 1000/h", r"[1-9][0-9]{0,5}/[smh]")


class DependsOn(Type):
    """The name of another group; or a table of it and of what to wait for."""

    def __init__(self) -> None:
        self._table = Table(
            "",
            Key("group", NAME, REQUIRED, "the group to wait for"),
            Key("after", Choice(*After), "success", "wait for its success, or only for its end (`any`)"),
        )
        super().__init__('name or `{ group = "…", after = "any" }`', {"anyOf": [NAME.json, self._table.json]})

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, dict):
            row = self._table.read(value, path, problems)
            name = row["group"]
            return Dependency(group=name, after=After(row["after"])) if name else INVALID
        name = NAME.read(value, path, problems)
        return INVALID if name is INVALID else Dependency(group=name)


REQUIRED = object()  # the default of a key that has none


@dataclass(frozen=True)
class Key:
    """One key of a table. `default` is written as in TOML; None: absent, and `otherwise` says what then holds."""

    name: str
    type: Type
    default: Any
    doc: str
    otherwise: str = ""


class Row(dict[str, Any]):
    """A table that was read: every key of its declaration, with where it stands and which keys were written."""

    def __init__(self, values: Mapping[str, Any], path: Path, written: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.path = path
        self.written = written

    def items_of(self, key: str) -> Iterator[tuple[Path, Any]]:
        """The valid items of a list, each with its path."""
        single = not isinstance(self.written.get(key), list)
        for index, item in enumerate(self[key] or ()):
            if item is not INVALID:
                yield (*self.path, key) if single else (*self.path, key, index), item

    def at(self, *parts: str | int) -> Path:
        return (*self.path, *parts)


class Table(Type):
    """A table with declared keys. `title` is how its header is written."""

    def __init__(self, title: str, *keys: Key) -> None:
        self.title = title
        self.keys = {key.name: key for key in keys}
        nothing = Problems()
        self._defaults = {
            key.name: key.default
            if key.default is None or key.default is REQUIRED
            else key.type.read(key.default, (), nothing)
            for key in keys
        }
        if nothing.found:
            raise ValueError(f"a default of {title} is not of its own type: {nothing.found}")
        super().__init__("table", self._schema(keys))

    @staticmethod
    def _schema(keys: Sequence[Key]) -> Json:
        properties = {}
        for key in keys:
            properties[key.name] = dict(key.type.json)
            if key.doc:
                properties[key.name]["description"] = key.doc
            if key.default is not None and key.default is not REQUIRED:
                properties[key.name]["default"] = key.default
        required = [key.name for key in keys if key.default is REQUIRED]
        schema: Json = {"type": "object", "properties": properties, "additionalProperties": False}
        return schema | ({"required": required} if required else {})

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, dict):
            problems.add(path, f"{show(value)} is not a table: write {{ KEY = … }}")
            return INVALID
        row = Row(self._defaults, path, value)
        for name, item in value.items():
            if name not in self.keys:
                problems.unknown_key((*path, name), self.keys)
                continue
            read = self.keys[name].type.read(item, (*path, name), problems)
            if read is not INVALID:
                row[name] = read
        for name in self.keys:
            if row[name] is REQUIRED:
                row[name] = None
                if name not in value:
                    problems.add(path, f"{name} is missing")
        return row
