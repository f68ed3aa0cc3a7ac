"""What is wrong with a plan: findings by path, collected until all are known.

Every check adds to one `Problems`; none raises. `load.py` turns them into located lines. A path is the way into the
parsed file: ("phases", 1, "groups", 0, "timeout") is shown as `phases[1].groups[0].timeout`.
"""

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from harness.values import quoted

Path = tuple[str | int, ...]
Core = Callable[[str], str]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LIKENESS = 0.7  # difflib's own 0.6 proposes "parallel_group" for "max_parallel_jobs"
_LONGEST_NAME = 100  # difflib takes quadratic time
_COMPARISONS = 50_000  # of one plan: thousands of typos in a huge plan must not take minutes


def show_path(path: Path) -> str:
    """`phases[1].groups[0].timeout`; keys that are not bare stand in quotes."""
    shown = ""
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
        else:
            key = part if _BARE_KEY.fullmatch(part) else quoted(part)
            shown += f".{key}" if shown else key
    return shown


def show(value: object) -> str:
    """A value of the plan for a message: short, on one line, as TOML would write it."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return quoted(value)
        case int():
            return str(value) if value.bit_length() <= 64 else "a number of more than 64 bits"
        case float():
            return repr(value)
        case list():
            return "a list"
        case dict():
            return "a table"
        case _:
            return "a date or time"


def close_matches(name: str, known: Iterable[str], count: int = 1, core: Core = str.lower) -> list[str]:
    """The known names most like `name`, best first. `core` is the part of a name that is compared."""
    if len(name) > _LONGEST_NAME:
        return []
    cores = {core(other): other for other in known if len(other) <= _LONGEST_NAME}
    return [cores[match] for match in difflib.get_close_matches(core(name), cores, count, _LIKENESS)]


def did_you_mean(name: str, known: Iterable[str], core: Core = str.lower) -> str:
    """`did you mean "timeout"?`, or nothing."""
    matches = close_matches(name, known, core=core)
    return f"did you mean {quoted(matches[0])}?" if matches else ""


class Problems:
    """The findings so far. `homes` says in which tables a key stands, for keys that are in the wrong one."""

    def __init__(self, homes: Mapping[str, Sequence[str]] | None = None) -> None:
        self.found: list[tuple[Path, str]] = []
        self._homes = homes or {}
        self._comparisons = _COMPARISONS

    def add(self, path: Path, message: str) -> None:
        self.found.append((path, message))

    def unknown_key(self, path: Path, known: Collection[str]) -> None:
        """The last part of the path is a key that its table does not have."""
        name = str(path[-1])
        hint = self.suggestion(name, known)
        if not hint and name in self._homes:
            hint = f"it belongs in {' or '.join(self._homes[name])}"
        self.add(path, "unknown key" + (f"; {hint}" if hint else ""))

    def unknown_name(self, path: Path, what: str, name: str, known: Collection[str]) -> None:
        """`name` should be one of the known services, groups, … but is not."""
        hint = self.suggestion(name, known)
        if not hint:
            hint = "" if known else "this plan declares none"
        self.add(path, f"there is no {what} {quoted(name)}" + (f"; {hint}" if hint else ""))

    def suggestion(self, name: str, known: Collection[str], core: Core = str.lower) -> str:
        """`did you mean …?`, or nothing; also nothing once a plan has had more than its share of comparisons."""
        self._comparisons -= len(known)
        return did_you_mean(name, known, core) if self._comparisons >= 0 else ""
