"""How things look on the console: colours, glyphs, times; and how foreign text is made harmless.

Protocol: text is a `str` whose only escape sequences are those that `paint` put there, because all foreign text (names,
reasons, log lines) has been through `printable` or `clean` first. A sink without colours can therefore drop them again
by a simple rule, and the console and the main log say the same.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, TextIO

from harness.model import Status

BOLD, DIM, RED, GREEN, YELLOW, CYAN = "1", "2", "31", "32", "33", "36"

LINE_LIMIT = 500  # characters of one line of a log that are shown
MESSAGE_LIMIT = 2000  # of a message
TAIL_BYTES = 64 * 1024  # how far back the end of a log is read

_HEADER = re.compile("=== (.+) · attempt [0-9]+ · ".encode())  # of an attempt in a log (attempt.py)
_PAINT = re.compile(r"\x1b\[[0-9;]*m")
# CSI and OSC/DCS/PM/APC strings, which end with their line at the latest, then any other two-character escape.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?|\x9b[0-?]*[ -/]*[@-~]"
)
# Control characters but tabs, line separators, what reorders text on a screen, and what nobody could see there.
_ACTS = r"\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
_ACTING = re.compile(f"[{_ACTS}]")
_UNPRINTABLE = re.compile(f"[\t{_ACTS}]")
# What CI servers obey: `##[command]` and the like anywhere in a line, `::command::` at its start, whatever blanks are
# before it.
_COMMANDS = re.compile(r"##(\w*)\[|^(\s*):(?=:)")
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

GLYPHS = {
    Status.PASSED: ("✓", GREEN),
    Status.FAILED: ("✗", RED),
    Status.FLAKY: ("≈", YELLOW),
    Status.TIMED_OUT: ("✗", RED),
    Status.KILLED: ("✗", RED),
    Status.ERROR: ("✗", RED),
    Status.NO_TESTS: ("✗", RED),
    Status.SKIPPED: ("–", YELLOW),
    Status.CACHED: ("✓", GREEN),
    Status.INTERRUPTED: ("■", YELLOW),
    Status.NOT_RUN: ("–", YELLOW),
    Status.LOST: ("✗", RED),
}
# One column each, but for the ellipsis. The word beside a mark says the same, so these only please the eye.
_ASCII = str.maketrans(
    {
        "✓": "+", "✗": "x", "≈": "~", "–": "-", "■": "!", "▸": ">", "↻": "~", "│": "|", "─": "-", "━": "=",
        "·": "-", "…": "...", "×": "x", "→": ">",
    }
)  # fmt: skip


def paint(text: str, *codes: str) -> str:
    return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if text else ""


def unpainted(text: str) -> str:
    return _PAINT.sub("", text)


def to_ascii(text: str) -> str:
    """For a console whose encoding lacks our glyphs; foreign characters become escapes."""
    return text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return _NAMED.get(match[0]) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def printable(text: str, limit: int | None = MESSAGE_LIMIT) -> str:
    """A name or a message as one line in which nothing acts: control characters become visible escapes.

    At most so many characters of it are shown; None: all, as of what is to be copied.
    """
    if limit is not None and len(text) > limit:
        text = f"{text[:limit]}…"
    return _disarm(_UNPRINTABLE.sub(_escape, text))


def json_text(value: object) -> str:
    """JSON to print: in ASCII, and with nothing in its strings that a CI server obeys."""
    return json.dumps(value, indent=2).replace("##", r"#\u0023")


def without_escapes(text: str) -> str:
    return _ESCAPES.sub("", text)


def harmless(line: str) -> str:
    """A line of a log as it would have looked: escape sequences are gone, of a redrawn line the last state is left.

    Nothing in it acts on a terminal.
    """
    return _ACTING.sub("", without_escapes(line.rstrip("\r\n")).rpartition("\r")[2])


def clean(line: str) -> str:
    """A line of a log for the console: harmless, not too long, and nothing that a CI server obeys."""
    line = _disarm(harmless(line).expandtabs())
    return line if len(line) <= LINE_LIMIT else f"{line[:LINE_LIMIT]}…"


def _disarm(line: str) -> str:
    return _COMMANDS.sub(lambda found: f"{found[2]}: " if found[1] is None else f"## {found[1]}[", line)


def tail(path: Path, lines: int, part: str = "") -> list[str]:
    """The last lines of a log, clean and not blank at the end; none where it cannot be read.

    With `part`, the name of one, those of what it wrote in its latest attempt, where that is in the log.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            start, end = _block(file, part) if part else (0, file.seek(0, 2))
            start = max(start, end - TAIL_BYTES)
            file.seek(start)
            text = file.read(end - start).decode("utf-8", "replace")
    except OSError:
        return []
    return [clean(line) for line in text.rstrip().split("\n")[-lines:]] if text.strip() else []


def _without_waiting(path: str, flags: int) -> int:
    """Of a pipe that somebody has laid under the name of a log, nobody would ever open the other end."""
    return os.open(path, flags | os.O_NONBLOCK)


def _block(file: BinaryIO, part: str) -> tuple[int, int]:
    """Where the last block of a log with the header line of this part begins and ends; all of it if there is none."""
    at = start = end = 0
    inside = False
    for line in iter(lambda: file.readline(TAIL_BYTES), b""):  # a line may be as long as the log
        if header := _HEADER.match(line):
            end = at if inside else end
            inside = header[1] == part.encode()
            start = at if inside else start
        at += len(line)
    return start, at if inside or not end else end


def seconds(duration: float) -> str:
    """A duration for people, exact enough to compare two of them."""
    if duration < 1:
        return f"{duration:.2f} s"
    if duration < 59.95:
        return f"{duration:.1f} s"
    minutes, rest = divmod(round(duration), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def memory(size: int) -> str:
    """Bytes for people."""
    return f"{size / 1e6:.0f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def decide_colour(environ: Mapping[str, str], is_terminal: bool) -> bool:
    """NO_COLOR wins, then FORCE_COLOR, then TERM=dumb, then whether it is a terminal (as in pytest and Python 3.13)."""
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return environ["FORCE_COLOR"] not in {"0", "false"}
    return is_terminal and environ.get("TERM") != "dumb"


def decide_live(environ: Mapping[str, str], is_terminal: bool) -> bool:
    """Whether a display that redraws itself is welcome: on a terminal that can, and never in CI."""
    in_ci = environ.get("CI", "").lower() not in {"", "0", "false"}
    return is_terminal and environ.get("TERM", "dumb") != "dumb" and not in_ci


class Sink:
    """Where lines of text end: one stream, with colours or without, in glyphs or in ASCII."""

    def __init__(self, stream: TextIO, *, colour: bool) -> None:
        self._stream = stream
        self._colour = colour
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        try:
            "".join(map(chr, _ASCII)).encode(self._encoding)
        except UnicodeEncodeError:
            self._ascii = True
        else:
            self._ascii = False

    def write(self, lines: list[str]) -> None:
        """Write whole lines and flush them. Raises OSError or ValueError where the stream is gone."""
        self._stream.write("".join(f"{self.render(line)}\n" for line in lines))
        self._stream.flush()

    def render(self, line: str) -> str:
        line = line if self._colour else unpainted(line)
        if self._ascii:
            return to_ascii(line)
        return line.encode(self._encoding, "backslashreplace").decode(self._encoding)
