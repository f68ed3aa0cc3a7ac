"""Which values are secrets: those of variables that the plan lists, or else of those whose names say so.

A value that is only guessed to be one must look like one: what is short, an ordinary word, a path or a plain address
would vanish from logs where it is nobody's secret. A password in an address is taken by itself, so that the rest of the
address can still be read. Pure.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from urllib.parse import unquote

_GUESSED_LENGTH = 8  # characters

_TELLING = re.compile(
    r"""SECRET | PASSWO?R?D | PASSPHRASE | CREDENTIAL | AUTHORIZATION
    | (?:KEY|TOKEN)S? (?![A-Z])    # of KEYCLOAK_URL and TOKENIZERS nothing is secret
    | (?<![A-Z]) PASS (?![A-Z]) | _PWD (?![A-Z])    # PWD is where the shell stands""",
    re.VERBOSE,
)
_OF_A_FILE = re.compile(r"_(?:FILE|PATH|DIR|SOCK)$")
_WORD = re.compile(r"[a-z]+")
_PATH = re.compile(
    r"/(?:[a-z][a-z0-9_.-]*|Users|Volumes|Library|Applications|System)(?:/|$)|(?:~|\.{1,2})/|[A-Za-z]:\\"
)
_IN_ADDRESS = re.compile(r"://[^/?#\s:@]*:([^/?#\s]+)@")
_IN_SETTINGS = re.compile(r"(?:^|[?&;\s])(?:password|passwd|pwd)=('[^']+'|[^&;\s]+)", re.IGNORECASE)


def passwords_in(value: str) -> tuple[str, ...]:
    """Those of the addresses in a value (`scheme://user:PASSWORD@host`, `password=PASSWORD`), as they stand there and
    as they are meant."""
    found = [match[1].strip("'") for pattern in (_IN_ADDRESS, _IN_SETTINGS) for match in pattern.finditer(value)]
    return tuple(dict.fromkeys(form for password in found for form in (password, unquote(password))))


def secret_values(variables: Mapping[str, str], listed: Collection[str] | None) -> Iterator[tuple[str, str]]:
    """The secrets among the values of variables, each with the name of its variable.

    `listed` are names, or patterns of names, as fnmatch has them; None: nobody has listed any, so they are guessed.
    Passwords in addresses are secrets in any case.
    """
    for name, value in variables.items():
        is_listed = listed is not None and any(fnmatchcase(name, pattern) for pattern in listed)
        if is_listed or (listed is None and _is_telling(name) and _is_like_one(value)):
            yield name, value
        for password in passwords_in(value):
            if is_listed or _is_like_one(password):
                yield name, password


def secret_variables(variables: Mapping[str, str], listed: Collection[str]) -> frozenset[str]:
    """The names of those variables of a lease that hold secrets; where none is `listed`, they are guessed."""
    return frozenset(name for name, _ in secret_values(variables, listed or None))


def unshown(variables: Iterable[str], shell: Collection[str], dotenv: Collection[str]) -> frozenset[str]:
    """Those of the variables whose values no message shows, whatever they look like: they come from env files, or are
    called like a secret."""
    return frozenset(name for name in variables if (name in dotenv and name not in shell) or _is_telling(name))


def _is_telling(name: str) -> bool:
    return bool(_TELLING.search(name.upper())) and not _OF_A_FILE.search(name.upper())


def _is_like_one(value: str) -> bool:
    return (
        len(value) >= _GUESSED_LENGTH and "://" not in value and not _WORD.fullmatch(value) and not _PATH.match(value)
    )
