"""What is found, and above all what is not: each case is a few lines of a test file."""

from textwrap import dedent

import pytest

from harness.naming import Kind, examine


def found(code: str) -> list[tuple[str, str, str]]:
    """Kind, text and fixture of each finding, in the order of the file."""
    result = examine(dedent(code).encode())
    assert not result.problem
    return [(str(finding.kind), finding.text, finding.fixture) for finding in result.findings]


def texts(code: str) -> list[str]:
    return [text for _, text, _ in found(code)]


FOUND = {
    "a client's name in a JSON body": (
        'client.post("/register", json={"client_name": "Test Client"})',
        (Kind.NAME, "Test Client", "unique_client_name"),
    ),
    "a keyword of a POST": ('api.post("/v1/tags", name="Jazz")', (Kind.NAME, "Jazz", "unique_name")),
    "a nested body": ('c.post("/u", json={"user": {"handle": "bob"}})', (Kind.NAME, "bob", "unique_name")),
    "a list of bodies": ('c.post("/u", json=[{"slug": "acme"}])', (Kind.NAME, "acme", "unique_name")),
    "request with its method": ('c.request("POST", "/u", json={"username": "bob"})', (Kind.NAME, "bob", "unique_name")),
    "JSON as text": ("""c.post("/u", data='{"username": "bob"}')""", (Kind.NAME, "bob", "unique_name")),
    "JSON in an f-string": (
        """c.post("/u", data=f'{{"username": "bob", "n": {n}}}')""",
        (Kind.NAME, "bob", "unique_name"),
    ),
    "JSON dumped": ('c.post("/u", data=json.dumps({"handle": "bob"}))', (Kind.NAME, "bob", "unique_name")),
    "a factory": ('create_user(username="bob")', (Kind.NAME, "bob", "unique_name")),
    "register": ('register(client_name="x")', (Kind.NAME, "x", "unique_client_name")),
    "an address by its place": ('create_user("a@b.example")', (Kind.EMAIL, "a@b.example", "unique_email")),
    "an address in a body": (
        'c.post("/u", json={"email": "a@b.example"})',
        (Kind.EMAIL, "a@b.example", "unique_email"),
    ),
    "a bound port": ('sock.bind(("", 8080))', (Kind.PORT, "8080", "free_port")),
    "a server's port": ('uvicorn.run(app, host="0.0.0.0", port=8080)', (Kind.PORT, "8080", "free_port")),
    "a server class": ('HTTPServer(("localhost", 9000), Handler)', (Kind.PORT, "9000", "free_port")),
    "a port in a command": ('subprocess.Popen(["serve", "--port", "8000"])', (Kind.PORT, "8000", "free_port")),
    "a port in an option": ('subprocess.run(["serve", "--port=8000"])', (Kind.PORT, "8000", "free_port")),
    "an address on this machine": (
        'requests.get("http://127.0.0.1:9000/health")',
        (Kind.PORT, "http://127.0.0.1:9000/health", ""),
    ),
    "a database on this machine": (
        'psycopg.connect("postgresql://u:p@localhost:5432/x")',
        (Kind.PORT, "postgresql://u:p@localhost:5432/x", ""),
    ),
    "a connection": ('socket.create_connection(("localhost", 8080))', (Kind.PORT, "8080", "")),
    "a file where the tests start": ('open("out.txt", "w")', (Kind.PATH, "out.txt", "tmp_path")),
    "a file under /tmp": ('Path("/tmp/x").write_text("a")', (Kind.PATH, "/tmp/x", "tmp_path")),
    "a directory": ('os.mkdir("/tmp/x")', (Kind.PATH, "/tmp/x", "tmp_path")),
    "a joined path": ('os.makedirs(os.path.join("/tmp", "x"))', (Kind.PATH, "/tmp/x", "tmp_path")),
    "the mode as a keyword": ('open("out.txt", mode="ab")', (Kind.PATH, "out.txt", "tmp_path")),
    "a key by the client's name": ('redis_client.set("counter", 1)', (Kind.KEY, "counter", "redis_prefix")),
    "a key by its annotation": (
        'def test(cache: redis.Redis): cache.incr("counter")',
        (Kind.KEY, "counter", "redis_prefix"),
    ),
    "a key by the client's making": (
        'store = redis.from_url(url)\nstore.lpush("queue", 1)',
        (Kind.KEY, "queue", "redis_prefix"),
    ),
    "a schema": ('cur.execute("CREATE SCHEMA IF NOT EXISTS billing")', (Kind.SQL, "billing", "postgres_schema")),
    "a quoted role": ("cur.execute('drop role \"reader\"')", (Kind.SQL, "reader", "postgres_schema")),
    "a search path": ('cur.execute("SET search_path TO billing")', (Kind.SQL, "billing", "postgres_schema")),
    "a table in Postgres": (
        'import psycopg\nconn.execute("CREATE TABLE things (id int)")',
        (Kind.SQL, "things", "postgres_schema"),
    ),
}


@pytest.mark.parametrize(("code", "expected"), FOUND.values(), ids=FOUND)
def test_what_collides_is_found(code: str, expected: tuple[str, str, str]) -> None:
    assert found(code) == [expected]


FINE = {
    "a backlog": "sock.listen(1); sock.listen(1024)",
    "a mail": 'client.post("/v1/letters", json={"to": "a@b.example", "cc": "c@b.example", "reply_to": "d@b.example"})',
    "a mail endpoint": 'client.post("/mails", json={"email": "a@b.example"})',
    "rows that are processed": 'client.post("/jobs", json={"rows": [{"name": "a"}, {"name": "b"}]})',
    "a load": 'client.post("/etl/run", json={"name": "a"})',
    "an echo": 'client.post("/v1/echo", json={"name": "a"}); client.post("/post-json", json={"name": "a"})',
    "interpolated": 'create_user(f"{unique}@b.example", username=f"bob-{uuid4()}")',
    "made by a call": 'create_user(username=unique("bob"))',
    "asked for": 'client.get("/users", params={"username": "bob", "email": "a@b.example"})',
    "compared": 'assert answer.json()["email"] == "a@b.example"',
    "a regular expression": 're.match(r"a@b.example", text)',
    "a login": 'client.post("/login", json={"username": "bob"})',
    "a login by its name": 'client.post(url_for("auth.login"), data={"username": "bob"})',
    "a search": 'client.post(f"{url}/v1/search", json={"name": "bob"})',
    "refused": 'with pytest.raises(Conflict):\n    client.post("/users", json={"username": "bob"})',
    "answered with an error": """
        def test():
            answer = client.post("/users", json={"username": "bob"})
            assert answer.status_code == 422
        """,
    "a name of what is not made for others": 'make_group(name="a"); Group(name="a"); create_engine(name="x")',
    "credentials": 'connect(username="bob")',
    "a mock": 'mock_client.post("/users", json={"username": "bob"})',
    "a mocked network": 'import respx\nclient.post("/users", json={"username": "bob"})',
    "an application of its own": 'client = TestClient(app)\nclient.post("/users", json={"username": "bob"})',
    "a test case that rolls back": 'from django.test import TestCase\ncreate_user(username="bob")',
    "any port": 'sock.bind(("", 0)); uvicorn.run(app, port=0)',
    "a port of the environment": 'uvicorn.run(app, port=int(os.environ["PORT"]))',
    "a port that is only told": 'Settings(port=8080); URL.build(host="localhost", port=8080)',
    "a redirect": 'client.post("/authorize", json={"redirect_uri": "http://localhost:3000/cb"})',
    "another machine": 'requests.get("http://example.com:8080/")',
    "a dict of addresses": 'nodes.get("127.0.0.1:7000")',
    "an address that is compared": 'assert url == "http://localhost:8080"',
    "reading": 'open("data.txt"); open("/tmp/x", "rb"); Path("a").read_text()',
    "a file below tmp_path": 'open(tmp_path / "x", "w"); (tmp_path / "y").write_text("a")',
    "a device": 'open("/dev/null", "w")',
    "a directory of the test's own": 'def test(m, tmp_path):\n    m.chdir(tmp_path)\n    open("out.txt", "w")',
    "a file object": 'archive.open("x", "w"); stream.write_text("x")',
    "a database in memory": 'sqlite3.connect(":memory:")',
    "a key that is read": 'redis_client.get("counter")',
    "a key with a prefix": 'redis_client.set(f"{redis_prefix}counter", 1)',
    "no Redis": 'settings.set("counter", 1); cache.delete("x"); seen = set(); seen.append("x")',
    "a fake Redis": 'import fakeredis\nredis_client = fakeredis.FakeRedis()\nredis_client.set("a", 1)',
    "a schema with a name of its own": 'cur.execute(f"CREATE SCHEMA {schema}")',
    "part of a schema's name": 'cur.execute(f"CREATE SCHEMA test_{schema}")',
    "the public schema": 'cur.execute("SET search_path TO public")',
    "a table in SQLite": 'import sqlite3\nconn.execute("CREATE TABLE things (id int)")',
    "a temporary table": 'import psycopg\nconn.execute("CREATE TEMP TABLE things (id int)")',
    "a table in a schema of its own": (
        "import psycopg\ndef test(postgres_dsn):\n    c = psycopg.connect(postgres_dsn)\n"
        '    c.execute("CREATE TABLE things (id int)")'
    ),
    "meant": 'create_user(username="bob")  # names: ok, the one admin that the service starts with',
}


@pytest.mark.parametrize("code", FINE.values(), ids=FINE)
def test_what_does_not_collide_is_not_reported(code: str) -> None:
    assert found(code) == []


def test_silence_takes_a_reason() -> None:
    assert texts('create_user(username="bob")  # names: ok') == ["bob"]


@pytest.mark.parametrize(
    "code",
    [
        'CLIENT = "Acme"\ndef test(api):\n    api.post("/c", client_name=CLIENT)',
        'class TestC:\n    CLIENT = "Acme"\n    def test(self, api):\n        api.post("/c", client_name=self.CLIENT)',
        'def test(api):\n    body = {"client_name": "Acme"}\n    api.post("/c", json=body)',
        'def test(api):\n    body = {"client_name": "Acme"}\n    api.post("/c", **body)',
        '@pytest.fixture\ndef body():\n    return {"client_name": "Acme"}\n'
        'def test(api, body):\n    api.post("/c", json=body)',
        '@pytest.mark.parametrize("name", ["Acme", "B"])\ndef test(api, name):\n    api.post("/c", client_name=name)',
        '@pytest.mark.parametrize("n, name", [(1, "Acme")])\n'
        'def test(api, n, name):\n    api.post("/c", client_name=name)',
        'def make(api, name="Acme"):\n    api.post("/c", client_name=name)',
        'def test(api):\n    for name in ("Acme", "B"):\n        api.post("/c", client_name=name)',
        'P = "Ac"\ndef test(api):\n    api.post("/c", client_name=P + "me")',
        'P = "Ac"\ndef test(api):\n    api.post("/c", client_name=f"{P}me")',
    ],
)
def test_a_value_is_followed_through_the_file(code: str) -> None:
    assert texts(code) == ["Acme"]


@pytest.mark.parametrize(
    "code",
    [
        'name = "a"\nname = unique()\ncreate_user(username=name)',
        'name = "a"\nname += unique()\ncreate_user(username=name)',
        'name = "a"\ndef test(name):\n    create_user(username=name)',
        'name = f"{name}x"\ncreate_user(username=name)',
        'a = b + "x"\nb = a + "y"\ncreate_user(username=a)\nrequests.get(a)\nopen(a, "w")',
    ],
)
def test_what_cannot_be_followed_may_be_unique(code: str) -> None:
    assert found(code) == []


def test_a_constant_is_reported_once_where_it_stands() -> None:
    code = 'import requests\nURL = "http://localhost:8000"\n\nrequests.get(URL)\nrequests.get(f"{URL}/a")\n'
    assert [(f.line, f.column, f.text) for f in examine(code.encode()).findings] == [(2, 7, "http://localhost:8000")]


def test_columns_count_characters() -> None:
    finding = examine('print("ü"); create_user(username="bob")'.encode()).findings[0]
    assert (finding.line, finding.column, finding.used) == (1, 34, "create_user(…)")
