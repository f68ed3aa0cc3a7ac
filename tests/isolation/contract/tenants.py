"""A small real HTTP API whose tenants can be listed: the world of the kind `tenant`."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PLATFORM_KEY = "platform-key-that-no-test-may-see"


@dataclass
class Tenant:
    secret: str
    live: bool = False
    notes: list[str] = field(default_factory=list)


@dataclass
class Api:
    """The server's address, and what is in its store."""

    url: str = ""
    tenants: dict[str, Tenant] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    made: int = 0


@contextmanager
def serving() -> Iterator[Api]:
    """Runs the API on a free port until the block is left."""
    api = Api()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def answer(self, code: int, body: object = None) -> None:
            data = b"" if body is None else json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(data) if data else None
            key = self.headers.get("Authorization", "").removeprefix("Bearer ")
            with api.lock:
                code, answered = handle(api, self.command, self.path, key, body)
            self.answer(code, answered)

        do_GET = do_POST = do_DELETE = do

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: object) -> None:
            pass  # connections are cut on purpose

    server = Server(("127.0.0.1", 0), Handler)
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def handle(api: Api, method: str, path: str, key: str, body: object) -> tuple[int, object]:
    if path == "/notes":
        tenant = next((tenant for tenant in api.tenants.values() if tenant.secret == key), None)
        if tenant is None:
            return 401, {"error": "no such key"}
        if method == "POST":
            tenant.notes.append(str(body))
        return 200, tenant.notes
    if key != PLATFORM_KEY:
        return 403, {"error": "not the platform's key"}
    if method == "POST" and path == "/tenants" and isinstance(body, dict):
        name = body["slug"]
        if name in api.tenants:
            return 409, {"error": f"there is a tenant {name}"}
        api.made += 1
        api.tenants[name] = Tenant(f"secret-{api.made:06}")
        return 201, {"slug": name, "keys": [{"secret": api.tenants[name].secret}]}
    if path == "/tenants":
        return 200, [f"{name} {tenant.live} {tenant.notes}" for name, tenant in api.tenants.items()]
    name = path.removeprefix("/tenants/").removesuffix("/state")
    tenant = api.tenants.get(name)
    if tenant is None:
        return 404, {"error": f"there is no tenant {name}"}
    if method == "POST":
        tenant.notes.append("the platform's")
    elif method == "DELETE":
        del api.tenants[name]
        return 200, {}
    return 200, {"notes": len(tenant.notes)} if path.endswith("/state") else {"live": tenant.live}
