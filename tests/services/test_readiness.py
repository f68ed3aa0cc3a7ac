"""What each check calls missing, and when it is content."""

import http.server
import socket
import threading
from collections.abc import Iterator

import pytest

from harness.model import Ready
from harness.ports import PortChooser
from harness.services import readiness
from harness.services.readiness import LogCheck, check_for


class Answers(http.server.BaseHTTPRequestHandler):
    """GET /STATUS answers with that status."""

    def do_GET(self) -> None:
        self.send_response(int(self.path[1:]))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def closed_port() -> int:
    return PortChooser().choose()


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        ("/200", ""),
        ("/204", ""),
        ("/302", ""),
        ("/400", "GET /400: 400 Bad Request"),
        ("/404", "GET /404: 404 Not Found"),
        ("/503", "GET /503: 503 Service Unavailable"),
    ],
)
def test_http(port: int, path: str, missing: str) -> None:
    assert check_for(Ready(http=path))(port) == missing


def test_http_where_nobody_listens(closed_port: int) -> None:
    assert check_for(Ready(http="/health"))(closed_port) == "GET /health: connection refused"


def test_http_where_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "ANSWER_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert check_for(Ready(http="/health"))(silent.getsockname()[1]) == "GET /health: timed out"


def test_http_where_something_else_speaks() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak() -> None:
            client, _ = server.accept()
            with client:
                client.recv(1000)
                client.sendall(b"220 mail.example\x1b[31m ESMTP\r\n")

        threading.Thread(target=speak, daemon=True).start()
        missing = check_for(Ready(http="/health"))(server.getsockname()[1])
    assert missing == "GET /health: 220 mail.example [31m ESMTP"


def test_tcp(port: int, closed_port: int) -> None:
    check = check_for(Ready(tcp=True))
    assert check(port) == ""
    assert check(closed_port) == f"a connection to port {closed_port}: connection refused"


def test_without_a_condition() -> None:
    assert check_for(Ready())(1) == ""


class TestLog:
    MISSING = "a line of its log that matches '^ready [0-9]+$'"

    def test_a_line_in_pieces(self) -> None:
        check = LogCheck("^ready [0-9]+$")
        for piece in (b"", b"not ready 1\nrea", b"dy 4", b"71"):
            check.feed(piece)
            assert check(1) == self.MISSING
        check.feed(b"1\r\nmore\n")
        assert check(1) == ""
        check.feed(b"not any more\n")
        assert check(1) == ""

    def test_a_line_among_many_that_come_at_once(self) -> None:
        check = LogCheck("^ready [0-9]+$")
        check.feed(b"\xff\xfe\x00\nready 1\n" + b"after\n" * 100)
        assert check(1) == ""

    def test_a_flood_without_newlines_costs_little_and_ends(self) -> None:
        check = LogCheck("^ready [0-9]+$")
        for _ in range(48):
            check.feed(b"x" * 65536)
            assert len(check._begun) <= readiness.MOST
        check.feed(b"\nready 1\n")
        assert check(1) == ""
