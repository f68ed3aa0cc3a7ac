"""Where a service stands, put into the plan's own texts: {port}, {NAME.port}, and host and url alike.

Only these few names are replaced; `${…}` and every other brace stay as they are, so shell and JSON need no quoting.
Texts that do not come from the plan are never substituted.
"""

import re
from collections.abc import Mapping

KEYS = ("port", "host", "url")
PLACEHOLDER = re.compile(r"(?<!\$)\{(?:([A-Za-z][A-Za-z0-9_-]*)\.)?([a-z]+)\}")


def substitute(text: str, own: Mapping[str, str], values: Mapping[str, Mapping[str, str]]) -> str:
    """The text with {port} out of `own` and {NAME.port} out of `values`; what neither holds is left untouched."""

    def value(match: re.Match[str]) -> str:
        name, key = match.groups()
        known = own if name is None else values.get(name, {})
        return known.get(key, match[0]) if key in KEYS else match[0]

    return PLACEHOLDER.sub(value, text)


def references(text: str) -> list[tuple[str, str]]:
    """Every {NAME.port}, {NAME.host} and {NAME.url} in the text, as (NAME, "port"), in order."""
    return [(name, key) for name, key in PLACEHOLDER.findall(text) if name and key in KEYS]
