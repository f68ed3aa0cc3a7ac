"""What must stay out of plain text: which variables hold secrets, and whether a text gives a secret away.

Pure. It masks nothing: that is for whoever writes logs and reports.
"""

import base64
import re
from collections.abc import Collection, Mapping
from urllib.parse import quote

_NAMES = ("KEY", "SECRET", "TOKEN", "PASSWORD")
_URL_WITH_PASSWORD = re.compile(r"://[^/@\s]*:[^/@\s]+@")
_TELLING = 16  # characters of a secret in a row that are too many to show: the first few say what it is, not which


def secret_variables(variables: Mapping[str, str], listed: Collection[str]) -> frozenset[str]:
    """The names of the variables that hold secrets: those listed, and where none is, those that are called so.

    A URL with a password in it is a secret under any name.
    """
    return frozenset(
        name
        for name, value in variables.items()
        if (name in listed if listed else any(word in name.upper() for word in _NAMES))
        or _URL_WITH_PASSWORD.search(value)
    )


def gives_away(text: str, secret: str) -> bool:
    """Whether the text holds the secret, or 16 characters in a row of it; or of its base64 or URL form."""
    forms = (secret, base64.b64encode(secret.encode()).decode(), quote(secret, safe=""))
    return any(
        form[at : at + _TELLING] in text for form in forms for at in range(max(len(form) - _TELLING, 0) + 1) if form
    )
