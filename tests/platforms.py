"""A platform with an HTTP API, in a thread, that makes and removes tenants and misbehaves where a test asks for it; and
the kind `tenant` at work on it."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest

from harness.errors import InfrastructureError
from harness.isolation.lease import Context, Lease, Made, new_token
from harness.isolation.tenant.kind import Tenant
from harness.planning.kinds import KINDS
from harness.planning.problems import Problems

KEY = "platform-key/of+this=test-0123456789"

CREATE = {"path": "/orgs", "body": {"slug": "{name}"}, "read": {"ORG_KEY": "keys.0.secret", "ORG_ID": "id"}}
DELETE = {"path": "/orgs", "body": {"slug": "{name}"}}
GUARD = {"path": "/orgs/{name}", "never_where": {"live": True}}

Misbehaviour = Callable[["Handler"], None]


@dataclass
class Fault:
    """For so many requests of a method: `behave` instead of an answer, after the request was carried out if `done`."""

    method: str
    behave: Misbehaviour
    times: int = 1
    done: bool = False


@dataclass
class Platform:
    """What it has, what it was asked, and how it is going to misbehave. A tenant is a dict: slug, live, users."""

    url: str = ""
    tenants: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)  # "DELETE /orgs"
    headers: list[dict[str, str]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    made: int = 0
    closing: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def plant(self, method: str, behave: Misbehaviour, times: int = 1, *, done: bool = False) -> None:
        self.faults.append(Fault(method, behave, times, done))

    def fault(self, method: str) -> Fault | None:
        with self.lock:
            found = next((fault for fault in self.faults if fault.method == method and fault.times), None)
            if found:
                found.times -= 1
            return found

    def asked_for(self, method: str) -> int:
        return sum(line.startswith(method) for line in self.asked)

    def carry_out(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        with self.lock:
            slug = body["slug"] if body else path.split("/")[2]
            if method == "POST" and slug in self.tenants:
                return 409, {"error": {"message": f"there is a {slug}"}}
            if method == "POST":
                self.made += 1
                self.tenants[slug] = {"slug": slug, "live": False, "users": 0}
                return 201, {"slug": slug, "keys": [{"secret": f"sk_{slug}_{self.made}"}], "id": 7, "on": True}
            if slug not in self.tenants:
                return 404, {"error": {"message": "no such tenant"}}
            if method == "DELETE":
                return 200, self.tenants.pop(slug)
            tenant = self.tenants[slug]
            return 200, {"users": {"count": tenant["users"]}, "tags": []} if path.endswith("/state") else tenant


class Handler(BaseHTTPRequestHandler):
    platform: Platform

    def handle_any(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.loads(content) if content else None
        self.platform.asked.append(f"{self.command} {self.path}")
        self.platform.headers.append(dict(self.headers))
        fault = self.platform.fault(self.command)
        if fault is None or fault.done:
            answer = self.platform.carry_out(self.command, self.path, body)
        if fault is None:
            self.answer(*answer)
        else:
            fault.behave(self)

    do_GET = do_POST = do_DELETE = do_PUT = handle_any

    def answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def fails(status: int = 500, content: Any = b"", **headers: str) -> Misbehaviour:
    """An answer that is an error; without another wish it may be tried again at once."""
    wait = {} if headers else {"Retry-After": "0"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.answer(status, content, wait | named)


def says(content: Any, status: int = 200) -> Misbehaviour:
    return lambda handler: handler.answer(status, content)


def hangs(handler: Handler) -> None:
    """Nothing comes back, until the test is over."""
    handler.platform.closing.wait()


def hangs_up(handler: Handler) -> None:
    handler.connection.close()


@contextmanager
def platform_running() -> Iterator[Platform]:
    platform = Platform()

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that went away is what these tests are about."""

    server = Server(("127.0.0.1", 0), type("OwnHandler", (Handler,), {"platform": platform}))
    platform.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield platform
    finally:
        platform.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def options(**more: Any) -> dict[str, Any]:
    """As a plan with these keys gives them to the kind."""
    problems = Problems()
    keys = {"base_url": "http://127.0.0.1:1", "key_variable": "PLATFORM_KEY", "create": CREATE, "delete": DELETE}
    given = {"guard": GUARD, "timeout": 5} | keys | more
    read = KINDS["tenant"].read({key: value for key, value in given.items() if value is not None}, (), problems)
    assert problems.found == []
    return dict(read)


def tenant(platform: Platform, context: Context, **more: Any) -> Tenant:
    return Tenant(options(**{"base_url": platform.url} | more), context)


def lease_of(kind: Tenant, group: str = "users", **more: Any) -> Lease:
    lease = Lease(token=new_token(), entry="org", kind="tenant", run_id="20260101_000000", group=group, **more)
    return msgspec.structs.replace(lease, details=dict(kind.plan(lease)))


def make(kind: Tenant, lease: Lease) -> Made:
    return kind.make(lease, lambda _: None)


def refused(kind: Tenant, lease: Lease, *, releasing: bool = False) -> str:
    """What making it, or releasing it, is refused with: all that a user would see."""
    with pytest.raises(InfrastructureError) as caught:
        kind.release(lease) if releasing else make(kind, lease)
    return f"{caught.value.message} {caught.value.cure}"
