"""Cases 37 and 38: platforms and servers that refuse, hang, lie, and hold on."""

import sys
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg
import pytest
from faults.stage import Stage
from pg_leases import standing
from platforms import KEY, Platform, fails, hangs, platform_running, says
from projects import Ran

PLAN = """
    [isolation.org]
    kind = "tenant"
    base_url = "{url}"
    key_variable = "PLATFORM_KEY"
    timeout = "1s"
    attempts = {attempts}
    create = {{ path = "/orgs", body = {{ slug = "{{name}}" }}, read = {{ ORG_KEY = "keys.0.secret" }} }}
    delete = {{ path = "/orgs", body = {{ slug = "{{name}}" }} }}
    guard = {{ path = "/orgs/{{name}}", never_where = {{ live = true }} }}

    [[phases]]
    name = "p"
    [[phases.groups]]
    name = "needs"
    command = "test -n $ORG_KEY"
    isolate = "org"
    [[phases.groups]]
    name = "other"
    command = "true"
"""


@pytest.fixture
def platform() -> Iterator[Platform]:
    with platform_running() as running:
        yield running


def run(stage: Stage, platform: Platform, attempts: int = 5) -> Ran:
    stage.plan(PLAN.format(url=platform.url, attempts=attempts))
    return stage.run("test", "--parallel", env={"PLATFORM_KEY": KEY})


def judge(stage: Stage, platform: Platform) -> None:
    stage.judge(inventory=lambda: frozenset(platform.tenants), canaries=[KEY])


Plant = Callable[[Platform], None]
PASSING: dict[str, Plant] = {
    "500 on the second step, once": lambda it: it.plant("POST", fails(500)),
    "DELETE fails three times": lambda it: it.plant("DELETE", fails(500), times=3),
    "DELETE is carried out unheard": lambda it: it.plant("DELETE", fails(502), done=True),
}


@pytest.mark.parametrize("plant", PASSING.values(), ids=PASSING.keys())
def test_case_37_what_a_platform_gets_over_the_run_gets_over(stage: Stage, platform: Platform, plant: Plant) -> None:
    plant(platform)
    ran = run(stage, platform)
    assert (ran.code, ran.statuses) == (0, {"needs": "passed", "other": "passed"}), ran.stdout
    assert platform.tenants == {}
    judge(stage, platform)


FAILING: dict[str, Plant] = {
    "500 on the second step, always": lambda it: it.plant("POST", fails(500), times=1000),
    "no answer, though it was made": lambda it: it.plant("POST", hangs, times=1000, done=True),
    "no answer at all": lambda it: it.plant("POST", hangs, times=1000),
    "an answer without the key": lambda it: it.plant("POST", says({"id": 7}, 201), times=1000, done=True),
}


@pytest.mark.parametrize("plant", FAILING.values(), ids=FAILING.keys())
def test_case_37_what_cannot_be_made_is_an_error_and_leaves_nothing(
    stage: Stage, platform: Platform, plant: Plant
) -> None:
    plant(platform)
    ran = run(stage, platform, attempts=2)
    assert (ran.code, ran.statuses) == (3, {"needs": "error", "other": "passed"}), ran.stdout
    judge(stage, platform)


def test_case_37_what_cannot_be_removed_is_told_and_removed_later(stage: Stage, platform: Platform) -> None:
    platform.plant("DELETE", fails(500), times=3)
    ran = run(stage, platform, attempts=3)
    assert ran.statuses == {"needs": "passed", "other": "passed"}
    assert {suite["name"]: suite["leaked"] for suite in ran.report["suites"]} == {"needs": True, "other": False}
    assert len(platform.tenants) == 1
    judge(stage, platform)
    assert stage.run("gc", env={"PLATFORM_KEY": KEY}).code == 0
    assert platform.tenants == {}
    judge(stage, platform)


def test_case_37_a_tenant_that_has_gone_live_is_never_deleted(stage: Stage, platform: Platform) -> None:
    stage.plan(
        PLAN.format(url=platform.url, attempts=5).replace(
            "test -n $ORG_KEY", "touch up; until [ -e go ]; do sleep 0.02; done"
        )
    )
    process = stage.start("test", "--parallel", env={"PLATFORM_KEY": KEY})
    stage.await_file("up")
    (name,) = platform.tenants
    platform.tenants[name]["live"] = True
    stage.write("go", "")
    ran = stage.finish(process)
    assert ran.report["suites"][0]["leaked"] is True
    assert stage.run("gc", env={"PLATFORM_KEY": KEY}).code == 3
    assert platform.asked_for("DELETE") == 0
    assert list(platform.tenants) == [name]
    judge(stage, platform)


LOCKED = """
    [isolation.db]
    kind = "postgres"
    dsn = "{dsn}"
    make = "{make}"

    [[phases]]
    name = "p"
    [[phases.groups]]
    name = "g"
    command = ["{python}", "holds.py"]
    isolate = "db"
"""
# Leaves a session with an open transaction to a process of its own, which outlives it if it can.
HOLDS = """
import os, time, psycopg
with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
    connection.execute("CREATE TABLE things (id int)")
reading, writing = os.pipe()
if os.fork() == 0:
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    holder = psycopg.connect(os.environ["DATABASE_URL"])
    holder.execute("LOCK TABLE things IN ACCESS EXCLUSIVE MODE")
    os.write(writing, b"held")
    time.sleep(1000)
os.read(reading, 4)
{more}
"""


@pytest.mark.slow
@pytest.mark.parametrize("make", ["schema", "database"])
def test_case_38_a_session_that_a_test_left_behind_is_ended(stage: Stage, postgres_url: str, make: str) -> None:
    before = frozenset(standing(postgres_url, ""))
    stage.write("holds.py", HOLDS.format(more=""))
    stage.plan(LOCKED.format(dsn=postgres_url, make=make, python=sys.executable))
    ran = stage.run("test")
    assert ran.statuses == {"g": "passed"}, ran.stdout + ran.log("g")
    stage.judge(inventory=lambda: frozenset(standing(postgres_url, "")), before=before)


@pytest.mark.slow
def test_case_38_a_stranger_who_holds_a_lock_in_the_schema_is_ended_too(stage: Stage, postgres_url: str) -> None:
    """A session that no test has opened. It holds a lock on what is the lease's alone, so it had no business there."""
    before = frozenset(standing(postgres_url, ""))
    wait = 'open("held", "w").close()\nwhile not os.path.exists("go"): time.sleep(0.02)'
    stage.write("holds.py", HOLDS.format(more=wait))
    stage.plan(LOCKED.format(dsn=postgres_url, make="schema", python=sys.executable))
    process = stage.start("test")
    stage.await_file("held")
    (schema,) = [name.split()[1] for name in standing(postgres_url, "") - before if name.startswith("schema ")]
    with closing(psycopg.connect(postgres_url)) as stranger:
        stranger.execute(f'CREATE TABLE "{schema}".mine (id int)')  # holds the schema until the transaction ends
        stage.write("go", "")
        ran = stage.finish(process)
        with pytest.raises(psycopg.errors.AdminShutdown):
            stranger.execute("SELECT 1")
    assert ran.statuses == {"g": "passed"}, ran.stdout + ran.log("g")
    stage.judge(inventory=lambda: frozenset(standing(postgres_url, "")), before=before)
