"""The options of an entry as its kind gets them: with addresses of services and values of variables put in.

`{SERVICE.url}` may stand anywhere. `${NAME}` is a variable of the run; it may stand where an address with a password is
wanted, so that no password stands in the plan. Nowhere else: in a command the shell does that.
"""

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from harness.errors import InfrastructureError
from harness.model import Isolation
from harness.planning.substitute import references, substitute

_ADDRESSES = ("base_url", "dsn", "url", "headers")
PLAIN_HEADERS = ("accept", "content-type", "user-agent")  # all others may carry a secret
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def resolved(
    entry: Isolation, variables: Mapping[str, str], services: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """The options with everything put in. Raises InfrastructureError where there is nothing to put in."""
    if problem := problem_of(entry, variables, services):
        raise InfrastructureError(*problem)

    def text(key: str, value: str) -> str:
        # The variables first: their values are nobody's templates.
        parts = _VARIABLE.split(value) if key in _ADDRESSES else [value]
        put_in = [substitute(part, {}, services) if n % 2 == 0 else variables[part] for n, part in enumerate(parts)]
        return "".join(put_in)

    return {key: _mapped(value, lambda found, key=key: text(key, found)) for key, value in entry.options.items()}


def variables_of(entry: Isolation) -> frozenset[str]:
    """The variables of the run that the entry's addresses are made of. They let whoever has them do more than tests
    may."""
    return frozenset(
        name for key in _ADDRESSES for text in _texts(entry.options.get(key)) for name in _VARIABLE.findall(text)
    )


def secret_variables_of(entry: Isolation) -> frozenset[str]:
    """The variables of the run that hold a secret of the entry: its key, and what it puts into headers."""
    key = entry.options.get("key_variable")
    headers = entry.options.get("headers") or {}
    assert isinstance(headers, Mapping)
    texts = _texts({name: text for name, text in headers.items() if name.lower() not in PLAIN_HEADERS})
    return frozenset({key} if isinstance(key, str) else ()) | {name for it in texts for name in _VARIABLE.findall(it)}


def problem_of(entry: Isolation, variables: Mapping[str, str], services: Collection[str]) -> tuple[str, str] | None:
    """What the entry lacks in a run with these variables and services, as message and cure; None: nothing."""
    key = entry.options.get("key_variable")
    for name in sorted(variables_of(entry) | ({key} if isinstance(key, str) else set())):
        if not variables.get(name):
            return (
                f"[isolation.{entry.name}] needs the variable {name}, which is not set",
                f"Set {name} in the shell or in .env.",
            )
    for name in services_of(entry, variables):
        if name not in services:
            return (
                f"[isolation.{entry.name}] is made on the service {name}, which this environment does not start",
                "Take the address from a variable, as ${DATABASE_ADMIN_URL}, and set it in each environment.",
            )
    return None


def services_of(entry: Isolation, variables: Mapping[str, str]) -> tuple[str, ...]:
    """The services on which its leases are made, also by way of variables of the plan."""
    named = [variables.get(name, "") for name in sorted(variables_of(entry))]
    texts = (*_texts(dict(entry.options)), *named)
    return tuple(dict.fromkeys(name for text in texts for name, _ in references(text)))


def origin_of(entry: Isolation, variables: Mapping[str, str]) -> str:
    """What tells one address from another, though the entry is the same, without giving any of it away.

    A service of the run is the same wherever it stands.
    """
    addresses = [text for key in _ADDRESSES for text in _texts(entry.options.get(key))]
    known = [_VARIABLE.sub(lambda found: variables.get(found[1], ""), text) for text in addresses]
    return hashlib.sha256("\0".join(known).encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(item)


def _mapped(value: Any, change: Any) -> Any:
    """The value with every string in it changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _mapped(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_mapped(item, change) for item in value)
    return value
