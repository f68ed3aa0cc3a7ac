"""What people write for durations, sizes, counts and switches, in options, in variables and in the plan.

Floor 0, because config/ and planning/ both read such values and siblings do not import one another. The functions
without a name raise ValueError with the words that complete `NAME: …`; those that take the `name` of an option or a
variable raise UsageError with the whole sentence. Nothing here knows where a value comes from.
"""

import re

from harness.errors import UsageError

MAX_COUNT = 1024
LONGEST = 30 * 24 * 3600.0  # seconds; a longer deadline is a slip of the pen
DURATION_HINT = "write 90s, 5m or 1h30m"
SMALLEST_SIZE, LARGEST_SIZE = 10_000, 10**15  # bytes; what is beyond is a slip of the pen
UNLIMITED = "unlimited"
SIZE_HINT = f'write 500MB, 1GB or "{UNLIMITED}"'

TRUE = frozenset({"true", "1", "yes", "on"})
FALSE = frozenset({"false", "0", "no", "off"})

_COUNT = re.compile(r"0|[1-9][0-9]{0,8}")
_SECONDS = re.compile(r"[0-9]{1,8}(?:\.[0-9]{1,6})?")
_DURATION = re.compile(r"(?=[0-9])(?:([0-9]{1,8})h)?(?:([0-9]{1,8})m)?(?:([0-9]{1,8}(?:\.[0-9]{1,6})?)s)?")
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,3})?) ?(B|[kKMGT]i?B)")
_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40
}  # fmt: skip


def quoted(text: str, limit: int = 60) -> str:
    """The text in double quotes for a message: one line, nothing invisible, cut where it is long."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
    return '"' + shown.replace('"', '\\"') + '"'


def read_duration(text: str, *, zero: bool = False) -> float:
    """Seconds in `90s`, `5m`, `1h30m` or a bare number of seconds; ValueError says what is wrong."""
    if _SECONDS.fullmatch(text):
        seconds = float(text)
    elif match := _DURATION.fullmatch(text):
        hours, minutes, rest = (float(part or 0) for part in match.groups())
        seconds = hours * 3600 + minutes * 60 + rest
    else:
        raise ValueError(f"{quoted(text)} is not a duration; {DURATION_HINT}")
    if seconds > LONGEST:
        raise ValueError(f"{quoted(text)} is longer than 30 days (720h)")
    if seconds == 0 and not zero:
        raise ValueError(f"{quoted(text)} is not longer than nothing; {DURATION_HINT}")
    return seconds


def read_size(text: str) -> int | None:
    """Bytes in `500MB`, `1.5GB` or `1GiB`; None: `unlimited`. ValueError says what is wrong."""
    if text == UNLIMITED:
        return None
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError(f"{quoted(text)} is not a size; {SIZE_HINT}")
    size = round(float(match[1]) * _UNITS[match[2].upper()])
    if size < SMALLEST_SIZE:
        raise ValueError(f"{quoted(text)} is less than {shown_size(SMALLEST_SIZE)}; {SIZE_HINT}")
    if size > LARGEST_SIZE:
        raise ValueError(f"{quoted(text)} is more than {shown_size(LARGEST_SIZE)}; {SIZE_HINT}")
    return size


def shown_size(size: int) -> str:
    """Bytes for people: `812 B`, `4.1 GB`."""
    for unit in ("TB", "GB", "MB", "KB"):
        if size >= _UNITS[unit]:
            return f"{size / _UNITS[unit]:.1f}".removesuffix(".0") + f" {unit}"
    return f"{size} B"


def read_count(text: str, minimum: int = 1, maximum: int = MAX_COUNT) -> int:
    """The plain decimal number that the text is; ValueError says what is wrong."""
    if not _COUNT.fullmatch(text) or not minimum <= int(text) <= maximum:
        raise ValueError(f"{quoted(text)} is not a whole number from {minimum} to {maximum}")
    return int(text)


def read_switch(text: str) -> bool:
    """Whether the text means on; empty is off. ValueError says what is wrong."""
    if text.lower() in TRUE:
        return True
    if text == "" or text.lower() in FALSE:
        return False
    raise ValueError(f"{quoted(text)} is neither true nor false (1/0, yes/no and on/off are the same)")


def parse_duration(text: str, name: str, *, zero: bool = False) -> float:
    """`read_duration` for the option or variable `name`; UsageError names it, the value and what is allowed."""
    try:
        return read_duration(text, zero=zero)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None


def parse_count(text: str, name: str, minimum: int = 1, maximum: int = MAX_COUNT) -> int:
    """`read_count` for the option or variable `name`; UsageError names it, the value and what is allowed."""
    try:
        return read_count(text, minimum, maximum)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None


def parse_switch(text: str, name: str) -> bool:
    """`read_switch` for the option or variable `name`; UsageError names it, the value and what is allowed."""
    try:
        return read_switch(text)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None
