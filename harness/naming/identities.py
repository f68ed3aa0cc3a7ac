"""Names and e-mail addresses that are given to what makes something: a POST, `create_user`, `register`.

Protocol: `identities(source, values)` yields a Hit for each fixed one. Keywords, dicts (nested, in variables, from
fixtures of the file), JSON in a string or f-string, and positional addresses are looked at.

It must not report what is only asked for (logins, searches), what is refused, what a mock takes, and what lives in an
application or a database that the file makes for itself.
"""

import re
from collections.abc import Iterator

import libcst as cst

from harness.naming import Kind
from harness.naming.calls import Hit, argument, last_name, mocked, receiver, refused, unreal
from harness.naming.tree import Source
from harness.naming.values import Fixed, Values, dotted

EMAIL = re.compile(r"[\w.+%-]+@[\w-]+(\.[\w-]+)*\.[A-Za-z]{2,}\Z", re.ASCII)

STRONG = {"client_name", "username", "user_name", "handle", "slug", "subdomain", "login_name"}
STRONG |= {f"{thing}_name" for thing in ("org", "organization", "tenant", "account", "project", "workspace")}
WEAK = "name"  # unique only in what is made under it

NOUNS = "user|client|customer|org|organi[sz]ation|tenant|account|team|project|workspace|company|member|admin|parent"
FACTORY = re.compile(rf"_?(get_or_)?(create|register|sign_?up|insert|onboard|invite|add)(_\w*({NOUNS})s?)?\Z")
PLURALS = re.compile(rf"({NOUNS})s\Z", re.IGNORECASE)
MADE_BY_VERB = re.compile(r"_?(create|register|sign_?up|insert|onboard)\Z")
ASKING = re.compile(
    r"log_?in|sign_?in|token|auth|session|search|query|graphql|refresh|validate|check|verify|echo|introspect|revoke"
    r"|password|preview|export|httpbin|mail|/send|notif|messag|newsletter|subscri"
    r"|/etl\b|import|ingest|batch|bulk|upload|transform|pipeline|webhook|predict|anything|/post\b|/post[-_]",
    re.IGNORECASE,
)
# To whom something is sent, or from whom: nobody is made by that.
ADDRESSED = {"to", "cc", "bcc", "recipient", "recipients", "from", "from_", "from_email", "reply_to", "sender"}
ROWS = {"rows", "records", "events", "lines", "logs"}  # what is processed rather than kept
BODIES = ("json", "data", "content", "body", "payload", "form", "json_body")
IN_TEXT = re.compile(r'"(\w+)"\s*:\s*"([^"{}\\]+)"')

# An application inside the test process, whose data ends with it, unless the file reaches for a database as well.
IN_PROCESS = {
    "TestClient",
    "ASGITransport",
    "WSGITransport",
    "test_client",
    "FlaskClient",
    "TestServer",
    "aiohttp_client",
}
IN_PROCESS |= {"AsyncTestClient", "ASGIWebSocketTransport"}
APPLICATIONS = {"FastAPI", "Starlette", "Flask", "Quart", "Sanic", "Litestar", "Bottle", "Falcon", "HTTPServer"}
DATABASES = (
    "psycopg",
    "psycopg2",
    "asyncpg",
    "redis",
    "pymongo",
    "motor",
    "pymysql",
    "mysql",
    "sqlalchemy",
    "sqlmodel",
)
ROLLED_BACK = ("django.test", "rest_framework.test")  # their test cases undo what they do
IN_MEMORY = re.compile(r"sqlite(\+\w+)?://(/:memory:)?[\"']|:memory:")


def identities(source: Source, values: Values) -> Iterator[Hit]:
    """The fixed names and addresses of one file."""
    if mocked(source) or own_world(source):
        return
    for call in source.all(cst.Call):
        making = _making(source, values, call)
        if not making or unreal(call) or refused(source, call):
            continue
        pairs = [*_pairs(values, call)]
        keyed = {id(value.node) for _, value in pairs}
        for key, value in pairs:
            hit = _judged(call, key, value, weak=making == "weak")
            if hit:
                yield hit
        for given in call.args:
            fixed = None if given.keyword or given.star else values.fixed(given.value)
            if fixed and id(fixed.node) not in keyed and EMAIL.match(fixed.text):
                yield _hit(Kind.EMAIL, fixed, call, "unique_email")


def own_world(source: Source) -> bool:
    """Whether what the file makes cannot meet what another test makes."""
    if source.imports(*ROLLED_BACK) or IN_MEMORY.search(source.text):
        return True
    if source.imports(*DATABASES):
        return False
    names = {name.value for name in source.all(cst.Name)}
    made = {last_name(call) for call in source.all(cst.Call)}
    return bool(names & IN_PROCESS or made & APPLICATIONS) or "web.Application" in source.text


def _making(source: Source, values: Values, call: cst.Call) -> str:
    """Whether it makes something: "" no, "strong": only telling keys count, "weak": `name` counts as well."""
    name = last_name(call)
    if name == "post" or (name in ("request", "send") and _is_post(values, call)):
        address = argument(call, "url", "path", at=0 if name == "post" else 1)
        if address is None or ASKING.search(_told(source, values, address)):
            return ""
        return "weak"
    if not FACTORY.match(name):
        return ""
    if MADE_BY_VERB.match(name):
        owner = receiver(call).removesuffix(".objects").rpartition(".")[2]
        return "weak" if PLURALS.search(owner) else "strong"
    return "weak" if re.search(NOUNS, name) else ""


def _is_post(values: Values, call: cst.Call) -> bool:
    method = argument(call, "method", at=0)
    fixed = values.fixed(method) if method is not None else None
    return fixed is not None and fixed.text.upper() == "POST"


def _told(source: Source, values: Values, address: cst.BaseExpression) -> str:
    """All that the file says of an address: its text, and the names in it (`url_for("login")`, LOGIN_URL)."""
    fixed = values.fixed(address)
    return f"{source.code(address)} {fixed.text if fixed else ''}"


def _pairs(values: Values, call: cst.Call) -> Iterator[tuple[str, Fixed]]:
    for given in call.args:
        key = given.keyword.value if given.keyword else ""
        if given.star == "**" or key in BODIES or not key:
            if given.star != "*":
                yield from _body(values, given.value)
        elif (fixed := values.fixed(given.value)) is not None:
            yield key, fixed
        else:
            yield from _body(values, given.value)


def _body(values: Values, expression: cst.BaseExpression) -> Iterator[tuple[str, Fixed]]:
    """Keys and fixed values of a dict, of all dicts in it, and of JSON as text."""
    for meant in values.meaning(expression):
        if isinstance(meant, cst.Dict):
            for element in meant.elements:
                if isinstance(element, cst.DictElement):
                    yield from _entry(values, element)
                else:
                    yield from _body(values, element.value)
        elif isinstance(meant, cst.List | cst.Tuple):
            for member in meant.elements:
                if not isinstance(member.value, cst.Name | cst.Attribute | cst.SimpleString):
                    yield from _body(values, member.value)
        elif isinstance(meant, cst.Call) and last_name(meant) in ("dumps", "dict", "urlencode", "FormData"):
            yield from _pairs(values, meant)
        elif isinstance(meant, cst.SimpleString | cst.FormattedString | cst.ConcatenatedString):
            yield from _in_text(meant)


def _entry(values: Values, element: cst.DictElement) -> Iterator[tuple[str, Fixed]]:
    key, value = values.fixed(element.key), values.fixed(element.value)
    if key and value:
        yield key.text, value
    elif key and key.text not in ROWS:
        yield from _body(values, element.value)


def _in_text(node: cst.SimpleString | cst.FormattedString | cst.ConcatenatedString) -> Iterator[tuple[str, Fixed]]:
    if isinstance(node, cst.FormattedString):
        # The braces of JSON are doubled in an f-string; a value that is interpolated ends a part, and matches nothing.
        texts = [part.value for part in node.parts if isinstance(part, cst.FormattedStringText)]
    else:
        whole = node.evaluated_value
        texts = [whole if isinstance(whole, str) else (whole or b"").decode("utf-8", "replace")]
    for text in texts:
        for match in IN_TEXT.finditer(text):
            yield match[1], Fixed(match[2], node, False)


def _judged(call: cst.Call, key: str, value: Fixed, *, weak: bool) -> Hit | None:
    if isinstance(value.node, cst.Integer) or not value.text.strip():
        return None
    if EMAIL.match(value.text) and key not in ADDRESSED and not key.endswith("_uri"):
        return _hit(Kind.EMAIL, value, call, "unique_email")
    if key in STRONG or (key == WEAK and weak):
        fixture = "unique_client_name" if key == "client_name" else "unique_name"
        return _hit(Kind.NAME, value, call, fixture)
    return None


def _hit(kind: Kind, value: Fixed, call: cst.Call, fixture: str) -> Hit:
    why = "a second one is refused, or found by a test that did not make it"
    return Hit(kind, value, call, why, fixture)


def name_of(call: cst.Call) -> str:
    """The call as messages show it."""
    name = dotted(call.func).lstrip(".")
    return f"{name}(…)" if name else "a call"
