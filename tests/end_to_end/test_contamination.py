"""Groups that touch what is not their own, each in one planted way, and groups that do not."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import redis
from isolation.contract.tenants import PLATFORM_KEY, serving
from projects import Harness, Ran

pytestmark = pytest.mark.slow

ENTRIES = """
    [isolation.postgres]
    dsn = "{postgres}"
    check = true

    [isolation.redis]
    url = "{redis}"
    check = true

    [isolation.prefix]
    kind = "redis"
    url = "{redis}"
    make = "prefix"
    variable = "PREFIX_URL"
    check = true

    [isolation.tenant]
    base_url = "{tenants}"
    key_variable = "PLATFORM_KEY"
    create = {{ path = "/tenants", body = {{ slug = "{{name}}" }}, read = {{ TENANT_SECRET = "keys.0.secret" }} }}
    delete = {{ path = "/tenants/{{name}}" }}
    state = "/tenants/{{name}}/state"
    check = true

    [isolation.tmpdir]
    check = true

    [isolation.ports]
    check = true

    [[phases]]
    name = "p"
"""
GROUP = """
    [[phases.groups]]
    name = "{name}"
    command = ["{python}", "plant.py", "{name}"]
    isolate = ["postgres", "redis", "prefix", "tenant", "tmpdir", "ports"]
"""
# Everything that is not the group's own is written down in it, as in tests that somebody wrote without thinking.
PLANTS = '''
import json, os, pathlib, socket, subprocess, sys, time, urllib.request

import psycopg
import redis

POSTGRES, REDIS, TENANTS, KEY, MEETING = {values!r}


def clean():
    """Everything that is its own."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as session:
        session.execute("CREATE TABLE own AS SELECT 1 AS one")
    redis.Redis.from_url(os.environ["REDIS_URL"]).set("own", "1")
    redis.Redis.from_url(os.environ["PREFIX_URL"]).set(os.environ["REDIS_PREFIX"] + "own", "1")
    pathlib.Path(os.environ["TMPDIR"], "own").write_text("1")
    with socket.create_server(("127.0.0.1", int(os.environ["PORT"]))):
        ask("POST", "/notes", os.environ["TENANT_SECRET"])


def ask(method, path, key):
    request = urllib.request.Request(TENANTS + path, b"{{}}" if method == "POST" else None, method=method)
    request.add_header("Authorization", "Bearer " + key)
    with urllib.request.build_opener(urllib.request.ProxyHandler({{}})).open(request) as answer:
        return json.loads(answer.read())


def row():
    with psycopg.connect(POSTGRES) as session:
        session.execute("INSERT INTO public.planted VALUES (1)")


def sentinel():
    with psycopg.connect(os.environ["DATABASE_URL"]) as session:
        leased = "SELECT nspname FROM pg_namespace WHERE obj_description(oid) LIKE 'harness lease=%'"
        for (schema,) in session.execute(leased + " AND nspname <> current_schema()").fetchall():
            session.execute('CREATE TABLE "' + schema + '".stray_table AS SELECT 1 AS one')


def key():
    redis.Redis.from_url(REDIS).set("stray-key", "1")


def tenant():
    for name in (line.split()[0] for line in ask("GET", "/tenants", KEY)):
        if name != os.environ["TESTS_ORG"]:
            ask("POST", "/tenants/" + name, KEY)


def file():
    pathlib.Path("stray.txt").write_text("1")


def daemon(script):
    """Goes on in a session of its own, once it has said that it is ready."""
    script += "\\nprint('ready', flush=True)\\nimport time\\ntime.sleep(1000)"
    process = subprocess.Popen([sys.executable, "-c", script], start_new_session=True, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\\n"


def process():
    daemon("marker = 'stray process'")


def port():
    daemon("import socket; listener = socket.create_server(('127.0.0.1', 0))")


def session():
    daemon("import os, psycopg; session = psycopg.connect(os.environ['DATABASE_URL']); session.execute('SELECT 42')")


def meet(mine, theirs):
    """Both are there at the same time."""
    pathlib.Path(MEETING, mine).touch()
    deadline = time.monotonic() + 60
    while not pathlib.Path(MEETING, theirs).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def culprit():
    meet("culprit", "bystander")
    row()
    meet("done", "bystander")


def bystander():
    meet("bystander", "done")


name = sys.argv[1]
clean()
if not name.startswith("clean"):
    globals()[name]()
'''
# Plant -> words of which each stands in what is said of its group.
FOUND = {
    "row": ["table public.planted"],
    "sentinel": ["stray_table"],
    "key": ["stray-key", "database 0"],
    "tenant": ["tenant", "notes"],
    "file": ["stray.txt"],
    "process": ["process", "session of its own"],
    "port": ["port", "listened on"],
    "session": ["session", "SELECT 42"],
}


@dataclass
class Planted:
    """A project in which each group plants something, on servers of the test's own."""

    harness: Harness
    entries: str

    def run(self, *groups: str, parallel: int = 1) -> Ran:
        self.harness.plan(self.entries + "".join(GROUP.format(name=name, python=sys.executable) for name in groups))
        words = ("--parallel", "--jobs", str(parallel)) if parallel > 1 else ()
        return self.harness.run("test", *words, env={"PLATFORM_KEY": PLATFORM_KEY})


@pytest.fixture
def planted(
    harness: Harness, postgres_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Planted]:
    meeting = str(tmp_path_factory.mktemp("meeting"))
    with serving() as tenants, psycopg.connect(postgres_url, autocommit=True) as session:
        session.execute("CREATE TABLE public.planted (one int)")
        harness.write("plant.py", PLANTS.format(values=(postgres_url, redis_url, tenants.url, PLATFORM_KEY, meeting)))
        yield Planted(harness, ENTRIES.format(postgres=postgres_url, redis=redis_url, tenants=tenants.url))
        session.execute("DROP TABLE public.planted")
        redis.Redis.from_url(redis_url).delete("stray-key")


def contaminates(ran: Ran) -> dict[str, list[str]]:
    return {suite["name"]: suite["contaminates"] for suite in ran.report["suites"]}


def test_all_that_is_planted_is_found_and_nobody_else_is_blamed(planted: Planted) -> None:
    groups = [name for plant in FOUND for name in (plant, f"clean-{plant}")]
    ran = planted.run(*groups)
    assert set(ran.statuses.values()) == {"passed"}, {name: ran.log(name) for name in groups}
    said = contaminates(ran)
    for plant, words in FOUND.items():
        assert all(any(word in finding for finding in said[plant]) for word in words), (plant, said[plant])
        assert any(said[plant][0][:30] in line for line in ran.stdout.splitlines()), "the console says it too"
        assert said[f"clean-{plant}"] == []
    assert all("no other group ran" in finding for finding in said["row"])
    assert planted.harness.survivors() == [], "what was left running was ended"


def test_groups_that_ran_at_the_same_time_are_named(planted: Planted) -> None:
    ran = planted.run("culprit", "bystander", parallel=2)
    assert set(ran.statuses.values()) == {"passed"}
    said = contaminates(ran)
    (found,) = said["culprit"]
    assert "public.planted" in found
    assert "bystander ran as well" in found
    assert all("culprit ran as well" in finding for finding in said["bystander"]), "nothing tells the two apart"


def test_a_clean_project_is_told_nothing(planted: Planted) -> None:
    ran = planted.run(*(f"clean-{n}" for n in range(8)), parallel=4)
    assert set(ran.statuses.values()) == {"passed"}
    assert set(map(str, contaminates(ran).values())) == {"[]"}
    assert ran.most_at_once() > 1
    assert "contaminat" not in ran.stdout
    assert PLATFORM_KEY not in json.dumps(ran.report) + ran.stdout
    assert not list(Path(planted.harness.directory, ".harness", "leases").glob("*.jsonl"))
