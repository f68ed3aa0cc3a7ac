"""Env files: `KEY=value` lines, as in `.env`.

    # a comment
    export NAME=plain words     # up to the comment, outer spaces cut
    QUOTED="a \\"b\\" \\n c"       # \\n, \\r, \\t, \\", \\\\ and \\$ are escapes; may span lines
    LITERAL='as it stands, $HOME too'

Nothing is interpolated. Errors name the file and the line and never show a value: it may be a secret.
"""

import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.errors import UsageError

_MOST_BYTES = 1 << 20
_LINE = re.compile(
    r"""[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*
    (?:"(?P<double>(?:\\[\s\S]|[^"\\])*)"[ \t]*(?:\#[^\n]*)?
      |'(?P<single>[^']*)'[ \t]*(?:\#[^\n]*)?
      |(?P<plain>(?!["'])(?:(?![ \t]\#)[^\n])*)(?:[ \t]\#[^\n]*)?
    )(?:\n|\Z)""",
    re.VERBOSE,
)
_EMPTY = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_ESCAPE = re.compile(r'\\([nrt"\\$])')
_ESCAPED: Mapping[str, str] = {"n": "\n", "r": "\r", "t": "\t"}


def read_env_files(project: Path, names: Iterable[str]) -> dict[str, str]:
    """The variables of the files, a later one over an earlier one; a file that is not there holds none.

    load_plan has refused a plan that lists a missing file, so what is missing here is the optional `.env`. Raises
    UsageError for a file that cannot be read or has a bad line.
    """
    variables: dict[str, str] = {}
    for name in names:
        try:
            content = _read(project / name)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UsageError(f"{name}: {error.strerror or error}") from None
        if content is None:
            raise UsageError(f"{name}: is no regular file of at most {_MOST_BYTES >> 20} MiB")
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UsageError(f"{name}:{content.count(10, 0, error.start) + 1}: is not UTF-8") from None
        variables |= parse_dotenv(text, name)
    return variables


def _read(path: Path) -> bytes | None:
    """None: it has no end that is worth waiting for, or none at all."""
    # Opening a named pipe would wait for a writer.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return None
        content = file.read(_MOST_BYTES + 1)
    return content if len(content) <= _MOST_BYTES else None


def parse_dotenv(text: str, name: str) -> dict[str, str]:
    """The variables in `text`; UsageError with every bad line of the file `name`."""
    text = text.replace("\r\n", "\n")
    variables: dict[str, str] = {}
    problems = []
    at = counted = 0
    line = 1
    while at < len(text):
        line, counted = line + text.count("\n", counted, at), at
        if match := _EMPTY.match(text, at):
            at = match.end()
        elif (match := _LINE.match(text, at)) and "\0" not in match[0]:
            variables[match["name"]] = _value(match)
            at = match.end()
        else:
            end = text.find("\n", at)
            end = len(text) if end < 0 else end
            problems.append(f"{name}:{line}: {_complaint(text[at:end])}")
            at = end + 1
    if problems:
        raise UsageError("\n".join(problems), "write one KEY=value a line; quote a value with spaces or #")
    return variables


def _value(match: re.Match[str]) -> str:
    if match["double"] is not None:
        return _ESCAPE.sub(lambda escape: _ESCAPED.get(escape[1], escape[1]), match["double"])
    if match["single"] is not None:
        return match["single"]
    plain: str = match["plain"]
    return "" if plain.startswith("#") else plain.strip()


def _complaint(line: str) -> str:
    key, equals, value = line.strip().removeprefix("export ").partition("=")
    if "\0" in line:
        return "holds a NUL character"
    if not equals:
        return "has no = after the name"
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key.strip()):
        return "does not begin with a variable's name: letters, digits and _"
    quote = value.strip()[:1]
    return "has text after the closing quote" if value.count(quote) > 1 else f"has no closing {quote}"
