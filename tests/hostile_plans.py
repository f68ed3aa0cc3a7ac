"""Plans that nobody would write, made from those that somebody did: every one the same for the same number.

`torn(n)` are texts: real plans with bytes, words and lines changed. `bent(n)` are valid TOML: real plans with values
and keys that they should not have.
"""

import copy
import json
import re
import tomllib
from collections.abc import Callable
from datetime import date, datetime, time
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```toml\n(.*?)^```$", re.DOTALL | re.MULTILINE)

FILES = ("test_a.py", "sub/test_b.py", ".env", "web.txt")


@cache
def real_plans() -> tuple[str, ...]:
    """The bundled one, and all that the docs show."""
    pages = [path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))]
    shown = [block for page in pages for block in BLOCK.findall(page) if "[[phases.groups]]" in block]
    return (ROOT / "harness.toml").read_text(), *shown


def real_files() -> set[str]:
    """What those plans name, wherever their test root may be, so that they are good plans."""
    names = {name for plan in real_plans() for name in re.findall(r'"([\w/*]+\.\w+)"', plan)}
    names = {name.replace("**", "deep").replace("*", "some") for name in names}
    return {f"{root}{name}" for name in names for root in ("", "integration-tests/")}


SMALL = """
[run]
test_root = "."
timeout = "1m"
env_files = [".env"]
[resources]
api = 3
[environments.staging]
env = { A = "1" }
[variables.COUNT]
type = "count"
[[services]]
name = "web"
command = ["web", "{port}"]
[isolation.ports]
[[quarantine]]
group = "a"
reason = "it"
expires = 2999-01-01
[[phases]]
name = "one"
[[phases.groups]]
name = "a"
tests = ["test_a.py", "sub/*.py"]
isolate = ["ports"]
splittable = true
[[phases.groups]]
name = "b"
command = "echo {web.port}"
depends_on = [{ group = "a", after = "any" }]
needs = { api = 2, lock = "shared" }
retries = 2
[[phases]]
name = "two"
when = "TWO"
[[phases.groups]]
name = "c"
command = ["true"]
inputs = ["*.txt"]
"""

LONG = "x" * 300
STRINGS = [
    *("", " ", "a", "b", "web", "local", "-rf", "../../x", "/etc/passwd", "~", ".", "..", "a/../b", "A", "a,b", "a\nb"),
    *("\0", "\x1b[31m", "\u202eabc", "\ufeff", "\U0010ffff", "é" * 99, LONG, LONG + "y", "x" * 100_000, "##[error]x"),
    *("<script>", "]]>", "$(touch pwned)", "`touch pwned`", "%0A::error::x", "{port}", "{web.port}", "{no.url}", "{{"),
    *("${HOME}", "${", "*", "**", "**/**/**/*", "*/" * 200 + "*", "up/" * 30 + "*", "*/*/*/*/*/*/*/*/*", "[", "[!"),
    *("(a+)+$", "(" * 500, "a{9999999999}", "\\", "(?P<a>", "[z-a]", "test_a.py::T::t[1]", "sub/*.py::T", "a" * 5000),
    *("1e308h", "9" * 400 + "h", "-1s", "0s", "0", "٣s", "1h1h", "5m", "NaN", "inf", "junit:", "junit:*.xml", "tap"),
    *("2026-02-30", "9999-12-31", "0001-01-01", "25/s", "0/s", "exclusive", "shared", "any", "success", "postgres"),
]  # fmt: skip
NUMBERS: list[Any] = [
    *(0, 1, -1, 2, 1024, 1025, 2**31, 2**63, 2**64, -(2**63), 10**300, 0.0, -0.0, 0.5, 1e308, -1e308),
    *(float("inf"), float("-inf"), float("nan"), True, False),
]
TIMES = [date(2026, 1, 31), date(1, 1, 1), datetime(2026, 1, 31, 12), time(1, 2, 3)]
PIECES = [
    "a = " + "[" * 5000,
    "a = " + "{a = " * 5000,
    "a" + ".a" * 5000,
    '"',
    "'",
    '"""',
    "'''",
    "[",
    "[[",
    "]",
    "]]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "\n",
    "\r",
    "#",
    "\0",
    "\\u0000",
    "\\",
    "é",
]
BYTES = [b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\x00", b"\xed\xa0\x80", b"\r\n", b"\x1b[2J"]


def torn(number: int) -> bytes:
    """A real plan with something done to its text."""
    random = Random(number)
    plans = [SMALL, *real_plans()]
    text = random.choice([SMALL, SMALL, plans[1], random.choice(plans)])
    for _ in range(random.choice([1, 1, 1, 2, 3, 8])):
        change = random.choice(
            [_values, _values, _values, _names, _names, _names, _lines, _lines, _words, _splice, _cut]
        )
        text = change(random, text, plans)
    content = text.encode()
    for _ in range(random.choice([0] * 8 + [1, 3])):
        at = random.randrange(len(content) + 1)
        content = content[:at] + random.choice([*BYTES, bytes([random.randrange(256)])]) + content[at + 1 :]
    return content


def _lines(random: Random, text: str, plans: list[str]) -> str:
    """A line or some are lost, doubled, moved, or taken from another plan."""
    lines = text.splitlines(keepends=True) or [""]
    at, other = random.randrange(len(lines)), random.randrange(len(lines))
    some = lines[at : at + random.choice([1, 1, 2, 5])]
    match random.randrange(5):
        case 0:
            del lines[at : at + len(some)]
        case 1:
            lines[other:other] = some
        case 2:
            lines[at], lines[other] = lines[other], lines[at]
        case 3:
            lines[at:at] = random.choice(plans).splitlines(keepends=True)
        case _:
            lines[at:at] = some * random.choice([2, 50, 2000])
    return "".join(lines)


def _values(random: Random, text: str, plans: list[str]) -> str:
    """Some keys have the values of others, or one that no key should have."""
    return _exchanged(random, text, plans, re.compile(r"(?<= = )\S.*"), [*STRINGS, *NUMBERS])


def _names(random: Random, text: str, plans: list[str]) -> str:
    """Some strings stand in the place of others, or what no string should be."""
    return _exchanged(random, text, plans, re.compile(r'"[^"\n]*"'), STRINGS)


def _exchanged(random: Random, text: str, plans: list[str], what: re.Pattern[str], hostile: list[Any]) -> str:
    found = list(what.finditer(text))
    if not found:
        return text
    at = random.choice(found)
    known = [match[0] for match in [*found, *what.finditer(random.choice(plans))]]
    new = random.choice([random.choice(known), random.choice(known), dump(random.choice(hostile))])
    return text[: at.start()] + new + text[at.end() :]


def _words(random: Random, text: str, plans: list[str]) -> str:
    """Two words change places, or one becomes another."""
    words = re.split(r"(\w+|\s+)", text)
    at, other = random.randrange(len(words)), random.randrange(len(words))
    if random.random() < 0.5:
        words[at], words[other] = words[other], words[at]
    else:
        words[at] = random.choice([*PIECES, *random.choice(plans).split(), dump(random.choice([*STRINGS, *NUMBERS]))])
    return "".join(words)


def _splice(random: Random, text: str, _: list[str]) -> str:
    at = random.randrange(len(text) + 1)
    return text[:at] + random.choice(PIECES) + text[at + random.randrange(30) :]


def _cut(random: Random, text: str, _: list[str]) -> str:
    return text[: random.randrange(len(text) + 1)]


def bent(number: int) -> bytes:
    """TOML, of a plan with keys and values that it should not have."""
    random = Random(number)
    data = tomllib.loads(SMALL)
    keys = [*random.sample(STRINGS, 3), *_keys(data)]
    for _ in range(random.choice([1, 1, 2, 4])):
        tables = [table for table in _containers(data) if table]
        if tables:
            _bend(random, random.choice(tables), copy.deepcopy(random.choice(tables)), keys)
    return dump_plan(data).encode("utf-8", "replace")


def _bend(random: Random, table: Any, other: Any, keys: list[str]) -> None:
    """Something in the table is lost, doubled, made a copy of `other`, or given a value that it should not have."""
    way = random.choice(list(table) if isinstance(table, dict) else range(len(table)))
    new = random.choice([*keys, way, way]) if isinstance(table, dict) else way
    match random.randrange(6):
        case 0:
            del table[way]
        case 1 if isinstance(table, list):
            table += copy.deepcopy(table[way : way + 1]) * random.choice([1, 2, 300])
        case 2:
            table[new] = other
        case _:
            table[new] = _value(random, keys)


def _keys(value: Any) -> list[str]:
    """Every key in it, each once."""
    return list(dict.fromkeys(key for table in _containers(value) if isinstance(table, dict) for key in table))


def _containers(value: Any) -> list[Any]:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value] * isinstance(value, dict | list) + [inner for item in items for inner in _containers(item)]


def _value(random: Random, keys: list[str]) -> Any:
    make: list[Callable[[], Any]] = [
        lambda: random.choice(STRINGS),
        lambda: random.choice(STRINGS),
        lambda: random.choice(NUMBERS),
        lambda: random.choice(TIMES),
        lambda: [random.choice(STRINGS + NUMBERS) for _ in range(random.randrange(4))],
        lambda: {random.choice(keys): random.choice(STRINGS + NUMBERS) for _ in range(random.randrange(4))},
        lambda: [{random.choice(keys): random.choice(STRINGS + NUMBERS)}, random.choice(STRINGS)],
        lambda: _nested(random.choice([5, 50, 150]), random.choice(keys)),
    ]
    return random.choice(make)()


def _nested(depth: int, key: str) -> Any:
    value: Any = 1
    for level in range(depth):
        value = {key: value} if level % 2 else [value]
    return value


def dump_plan(data: dict[str, Any]) -> str:
    return "".join(f"{dump(key)} = {dump(value)}\n" for key, value in data.items())


def dump(value: Any) -> str:
    """As TOML, on one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return hex(value) if value > 2**63 else str(value)
        case float():
            return repr(value)
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list():
            return f"[{', '.join(dump(item) for item in value)}]"
        case dict():
            return "{" + ", ".join(f"{dump(key)} = {dump(item)}" for key, item in value.items()) + "}"
    return str(value.isoformat())
