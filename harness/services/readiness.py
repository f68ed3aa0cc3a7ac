"""When a service may be used: its port answers a GET, its port accepts a connection, or its output says so.

Protocol: a check is asked again and again, by one thread, until it returns the empty string; before that it returns
what is still missing, as words for people ("GET /health: 503 Service Unavailable"). One question never takes longer
than ANSWER_TIMEOUT. A check neither waits between questions nor knows the process behind the port. A LogCheck is fed,
by another thread, what the process prints: the log itself lacks what is beyond its limit.
"""

import re
import socket
from collections.abc import Callable

from harness.model import Ready
from harness.ports import LOOPBACK

ANSWER_TIMEOUT = 5.0
MOST = 1 << 20  # bytes: the longest line of a log that is matched whole

Check = Callable[[int], str]


def check_for(ready: Ready) -> Check:
    """The check that `ready` describes; it takes the service's port."""
    if ready.http:
        return lambda port: _answer(port, ready.http)
    if ready.tcp:
        return _connection
    if ready.log:
        return LogCheck(ready.log)
    return lambda _port: ""


def _answer(port: int, path: str) -> str:
    """Missing until a GET is answered below 400; a redirect counts and is not followed."""
    import http.client  # with all of email and ssl behind it: a run without such a service does not wait for them

    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=ANSWER_TIMEOUT)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        return f"GET {path}: {_words(error)}"
    finally:
        connection.close()
    return "" if response.status < 400 else f"GET {path}: {response.status} {plain(response.reason)}".rstrip()


def _connection(port: int) -> str:
    try:
        socket.create_connection((LOOPBACK, port), timeout=ANSWER_TIMEOUT).close()
    except OSError as error:
        return f"a connection to port {port}: {_words(error)}"
    return ""


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return plain(str(error)) or type(error).__name__


def plain(text: str) -> str:
    """The text on one line, without what would move a terminal's cursor or change its colours."""
    return "".join(char if char.isprintable() else " " for char in text).rstrip()


class LogCheck:
    """Missing until a whole line of the output matches."""

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern)
        self._begun = b""  # a line whose end has not come yet
        self._has_matched = False

    def feed(self, output: bytes) -> None:
        if self._has_matched:
            return
        *lines, begun = (self._begun + output).split(b"\n")
        self._begun = begun[-MOST:]
        self._has_matched = any(self._pattern.search(line.decode(errors="replace").rstrip("\r")) for line in lines)

    def __call__(self, _port: int) -> str:
        return "" if self._has_matched else f"a line of its log that matches {self._pattern.pattern!r}"
