"""The kinds of isolated environments, and the keys of each.

Checked here; isolation/ reads the checked values from `Isolation.options`. Every entry also has the common keys `kind`,
`reuse` and `check`. In a string, {group}, {slot}, {run} and {token} stand for the group's name, its slot, the run's id
and twelve hexadecimal digits that no other lease has; {name} for the tenant's name.
"""

from collections.abc import Mapping
from typing import Any

from harness.planning.compound import REQUIRED, Command, Key, ListOf, MapOf, Table
from harness.planning.problems import Path, Problems, show
from harness.planning.types import DURATION, INVALID, STRING, SWITCH, VARIABLE, Choice, Count, FilePath, Text, Type

URL_PATH = Text("path", "a path on the server: it begins with /", r"/\S*")
TEMPLATE = Text(
    "string",
    "a name: letters, digits, ., _, - and {group}, {slot}, {run} or {token}",
    r"(?:[A-Za-z0-9._-]|\{(?:group|slot|run|token)\})+",
)
GLOBS = ListOf(Text("glob"), single=True)
TEXTS = MapOf(STRING, STRING, "table of strings")
VARIABLES = ListOf(VARIABLE)


class Body(Type):
    """What a request carries: a table that becomes JSON. Its strings may hold {name}."""

    def __init__(self) -> None:
        super().__init__("table", {"type": "object"})

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, dict):
            problems.add(path, f'{show(value)} is not a table: write {{ slug = "{{name}}" }}')
            return INVALID
        return value if self._is_json(value, path, problems, depth=0) else INVALID

    def _is_json(self, value: Any, path: Path, problems: Problems, depth: int) -> bool:
        if isinstance(value, dict | list) and depth < 20:
            items = value.items() if isinstance(value, dict) else enumerate(value)
            return not [at for at, item in items if not self._is_json(item, (*path, at), problems, depth + 1)]
        if isinstance(value, str | bool) or (isinstance(value, int | float) and abs(value) < 2**63):
            return True
        problems.add(path, f"{show(value)} has no place in JSON" if depth < 20 else "is nested too deeply")
        return False


def _request(title: str, method: str, *more: Key) -> Table:
    return Table(
        title,
        Key("method", Choice("GET", "POST", "PUT", "PATCH", "DELETE"), method, "The HTTP method."),
        Key("path", URL_PATH, REQUIRED, "Below `base_url`."),
        Key("body", Body(), {}, "Sent as JSON; empty: no body."),
        *more,
    )


CREATE = _request(
    "create",
    "POST",
    Key(
        "read",
        MapOf(VARIABLE, STRING, "table of strings"),
        {},
        "Variables of the tests, each with the path of its value in the answer, as `keys.0.secret`.",
    ),
)
DELETE = _request("delete", "DELETE")
GUARD = _request(
    "guard",
    "GET",
    Key("never_where", Body(), REQUIRED, "Paths in the answer and the values at which nothing is deleted."),
)

_COMMON = (
    Key("reuse", SWITCH, False, "Leases are handed on from groups that passed, instead of made for each."),
    Key("check", SWITCH, False, "After each group, look whether it touched what is not its own."),
)


def _kind(name: str, *keys: Key) -> Table:
    kind = Key("kind", Choice(name), name, f'`"{name}"`; may be left out where the entry is called so.')
    return Table(f'[isolation.NAME], kind = "{name}"', kind, *_COMMON, *keys)


_SECRETS = Key("secrets", VARIABLES, [], "Which of the variables are masked in logs and reports.")

KINDS = {
    "tenant": _kind(
        "tenant",
        Key(
            "base_url",
            Text("URL", "a URL: write http://…, {SERVICE.url} or ${VARIABLE}", r"(?:https?://|\$?\{)\S+"),
            REQUIRED,
            "The server's address.",
        ),
        Key("key_variable", VARIABLE, None, "Holds the platform's key; the tests never see it.", "no key"),
        Key("headers", TEXTS, {"Authorization": "Bearer {key}"}, "Of every request; `{key}` is the platform's key."),
        Key("name", TEMPLATE, "test-{group}-{token}", "What a tenant is called: `{name}` below."),
        Key("name_variable", VARIABLE, "TESTS_ORG", "Hands the tenant's name to the tests."),
        Key("create", CREATE, REQUIRED, "The request that makes it."),
        Key("delete", DELETE, REQUIRED, "The request that removes it, also what an earlier run left."),
        Key("guard", GUARD, None, "A request before every delete that may forbid it.", "none"),
        Key(
            "state",
            URL_PATH,
            None,
            "A GET that says what a tenant holds: with `check`, one of nobody is watched.",
            "none",
        ),
        Key("timeout", DURATION, "30s", "Of one request."),
        Key("attempts", Count(1, 20), 5, "Of one request, on 429 and 5xx, as `Retry-After` says."),
        _SECRETS,
    ),
    "postgres": _kind(
        "postgres",
        Key(
            "dsn",
            Text(
                "URL", "a DSN: write postgresql://…, {SERVICE.url} or ${VARIABLE}", r"(?:postgres(?:ql)?://|\$?\{)\S+"
            ),
            REQUIRED,
            "A server and a role that may create.",
        ),
        Key("make", Choice("schema", "database"), "schema", "What each lease is."),
        Key(
            "migrate",
            Command(),
            None,
            "Fills the template, with its DSN in `variable`; leases are copies of it.",
            "none",
        ),
        Key(
            "migrations",
            ListOf(FilePath("glob"), single=True),
            [],
            "Files of the project that `migrate` reads: while they and it are the same, the template is kept.",
        ),
        Key("connections", Count(), 10, "How many sessions a lease may have; `max_connections` bounds their sum."),
        Key("variable", VARIABLE, "DATABASE_URL", "Hands over the lease's DSN."),
        Key("schema_variable", VARIABLE, "POSTGRES_SCHEMA", "Hands over the name of its schema."),
        Key("ignore", GLOBS, [], "With `check`: tables that anybody may touch, as `public.jobs` or `audit.*`."),
    ),
    "redis": _kind(
        "redis",
        Key(
            "url",
            Text("URL", "a URL: write redis://…, {SERVICE.url} or ${VARIABLE}", r"(?:rediss?://|\$?\{)\S+"),
            REQUIRED,
            "The server.",
        ),
        Key("make", Choice("database", "prefix"), "database", "What each lease is."),
        Key(
            "databases",
            ListOf(Count(), "list of numbers", filled=True),
            None,
            "The numbers that may be used; 0 keeps who has which.",
            "all of the server's but 0",
        ),
        Key("variable", VARIABLE, "REDIS_URL", "Hands over the URL."),
        Key("prefix_variable", VARIABLE, "REDIS_PREFIX", "Hands over the prefix."),
        Key("ignore", GLOBS, [], "With `check`: keys that anybody may touch, as `cache:*`."),
    ),
    "ports": _kind("ports", Key("variables", VARIABLES, ["PORT"], "Each gets a free TCP port.")),
    "tmpdir": _kind(
        "tmpdir",
        Key("home", SWITCH, False, "Whether `HOME` lies in it too."),
        Key(
            "watch", ListOf(FilePath("path", anywhere=True), single=True), ["."], "With `check`: directories to watch."
        ),
        Key("ignore", GLOBS, [], "With `check`: files in them that anybody may touch."),
    ),
    "command": _kind(
        "command",
        Key("setup", Command(), REQUIRED, "Makes it; writes `KEY=value` lines to the file `$HARNESS_ENV`."),
        Key("teardown", Command(), None, "Removes it; able to run twice, and without what `setup` wrote.", "none"),
        Key("timeout", DURATION, "1m", "Of each of the two."),
        _SECRETS,
    ),
}


def units(kind: str, options: Mapping[str, Any]) -> int:
    """How much one lease uses up of what `Kind.capacity` counts: sessions, databases, ports. 0: there is no bound."""
    match kind:
        case "postgres":
            return int(options["connections"])
        case "redis":
            return int(options["make"] == "database")
        case "ports":
            return len(options["variables"])
    return 0


def handed_over(kind: str, options: Mapping[str, Any]) -> list[str]:
    """The variables that a lease hands to the tests, as far as the plan says them: not those of a setup command."""
    match kind:
        case "tenant":
            return [options["name_variable"], *options["create"]["read"]]
        case "postgres":
            return [options["variable"], options["schema_variable"]]
        case "redis":
            return [options["variable"]] + [options["prefix_variable"]] * (options["make"] == "prefix")
        case "ports":
            return list(options["variables"])
        case "tmpdir":
            return ["TMPDIR", "TMP", "TEMP"] + ["HOME"] * bool(options["home"])
    return []


class IsolationEntry(Type):
    """A table whose keys depend on its kind, which may be left out where the entry is called so."""

    def __init__(self) -> None:
        super().__init__("table", {"anyOf": [table.json for table in KINDS.values()]})

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, dict):
            problems.add(path, f"{show(value)} is not a table: write {{ kind = … }}")
            return INVALID
        if "kind" not in value and path[-1] not in KINDS:
            problems.add(path, f"kind is missing: one of {', '.join(KINDS)}")
            return INVALID
        kind = value.get("kind", path[-1])
        if not isinstance(kind, str) or kind not in KINDS:
            return Choice(*KINDS).read(kind, (*path, "kind"), problems)
        return KINDS[kind].read(value, path, problems)


ISOLATION = IsolationEntry()
