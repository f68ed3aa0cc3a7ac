"""Ports: those that a test binds, and addresses on this machine that it expects somebody at.

Protocol: `ports(source, values)` yields a Hit for each fixed port that reaches a call which binds or connects. One
that is bound can be another; one that is connected to belongs to a service, and must come from the environment.

It must not report addresses that are merely parsed, compared or sent (a redirect URI), nor those of other machines.
"""

import re
from collections.abc import Iterator

import libcst as cst

from harness.naming import Kind
from harness.naming.calls import Hit, argument, last_name, mocked, positional, receiver, refused, strings, unreal
from harness.naming.tree import Source
from harness.naming.values import Fixed, Values, dotted

BINDING = re.compile(
    r"(run|run_app|serve|bind|listen|start_server|create_server|make_server|start_http_server|\w*Server|TCPSite)\Z"
)
SPEAKING = re.compile(
    r"(get|post|put|patch|delete|head|options|request|stream|urlopen|connect|ws_connect|create_connection|goto"
    r"|open_connection|from_url|create_engine|Client|AsyncClient|HTTPConnection|Redis|StrictRedis)\Z"
)
CONNECTING = ("connect", "create_connection", "open_connection", "HTTPConnection")
COMMANDS = ("run", "Popen", "check_call", "check_output", "call", "create_subprocess_exec")
LOOPBACK = r"(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])"
AT_LOOPBACK = re.compile(rf"(?:\w+(?:\+\w+)?://(?:[^/@\s]*@)?)?{LOOPBACK}:(\d+)(?:[/?#].*)?\Z", re.DOTALL)
HOSTS = ("localhost", "127.0.0.1", "0.0.0.0", "::1", "")
PORT_OPTION = re.compile(r"--(?:\w+-)?port\Z")
PORT_IN_OPTION = re.compile(r"--(?:\w+-)?port=(\d+)\Z")

BOUND = "two that run at once cannot both have the port"
SPOKEN_TO = "every test speaks to the same server, whichever it was started for"
FROM_ENVIRONMENT = "the service says where it is: take the address from the environment"


def ports(source: Source, values: Values) -> Iterator[Hit]:
    """The fixed ports of one file."""
    silent = mocked(source)
    for call in source.all(cst.Call):
        name = last_name(call)
        if unreal(call):
            continue
        if name in COMMANDS and receiver(call).rpartition(".")[2] in ("subprocess", "asyncio", ""):
            for port in _in_command(values, call):
                yield Hit(Kind.PORT, port, call, BOUND, "free_port")
        if BINDING.match(name):
            for port in _given(values, call, alone=name == "start_http_server"):
                yield Hit(Kind.PORT, port, call, BOUND, "free_port")
        elif SPEAKING.match(name) and not silent and not refused(source, call):
            for port in _spoken_to(values, call):
                yield Hit(Kind.PORT, port, call, SPOKEN_TO, "", FROM_ENVIRONMENT)


def _given(values: Values, call: cst.Call, *, alone: bool) -> Iterator[Fixed]:
    """Ports as a keyword, in a pair (host, port), behind a host, or `alone` as the first argument."""
    keyword = argument(call, "port")
    plain = positional(call)
    if keyword is not None:
        yield from _port(values, keyword)
    for index, value in enumerate(plain):
        if isinstance(value, cst.Tuple) and len(value.elements) == 2:
            host = values.fixed(value.elements[0].value)
            if host and host.text in HOSTS:
                yield from _port(values, value.elements[1].value)
        elif index and isinstance(value, cst.Integer | cst.Name):
            host = values.fixed(plain[index - 1])
            if host and host.text in HOSTS and not isinstance(host.node, cst.Integer):
                yield from _port(values, value)
    if alone and plain:
        yield from _port(values, plain[0])


def _port(values: Values, expression: cst.BaseExpression) -> Iterator[Fixed]:
    fixed = values.fixed(expression)
    if fixed and isinstance(fixed.node, cst.Integer) and 0 < int(fixed.text) < 65536:
        yield fixed


def _spoken_to(values: Values, call: cst.Call) -> Iterator[Fixed]:
    address = argument(call, "url", "base_url", "dsn", at=1 if last_name(call) in ("request", "stream") else 0)
    for text in strings(values, address) if address is not None else ():
        match = AT_LOOPBACK.match(text.text)
        if match and match[1] != "0" and ("://" in text.text or last_name(call) in CONNECTING):
            yield text
    if last_name(call) in CONNECTING:
        yield from _given(values, call, alone=False)
    elif last_name(call) in ("Redis", "StrictRedis") and "redis" in dotted(call.func).lower():
        host = argument(call, "host", at=0)
        fixed = values.fixed(host) if host is not None else None
        if host is None or (fixed and fixed.text in HOSTS):
            keyword = argument(call, "port")
            yield from _port(values, keyword) if keyword is not None else ()


def _in_command(values: Values, call: cst.Call) -> Iterator[Fixed]:
    """`["serve", "--port", "8080"]` and `["serve", "--port=8080"]`."""
    plain = positional(call)
    for meant in values.meaning(plain[0]) if plain else ():
        if isinstance(meant, cst.List | cst.Tuple):
            plain = [element.value for element in meant.elements]
    words = [values.fixed(value) for value in plain]
    for before, word in zip([None, *words], words, strict=False):
        if word and before and PORT_OPTION.match(before.text) and word.text.isdecimal() and word.text != "0":
            yield word
        elif word and (match := PORT_IN_OPTION.match(word.text)) and match[1] != "0":
            yield Fixed(match[1], word.node, False)
