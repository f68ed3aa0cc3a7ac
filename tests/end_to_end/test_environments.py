"""The life of isolated environments in whole runs: however a run ends, nothing is left."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from isolation.contract.tenants import PLATFORM_KEY, serving
from isolation.contract.world import Place
from isolation.contract.worlds import WORLDS
from projects import Harness, Ran, eventually

from harness.events import AttemptSpawned, LeaseEnded, LeaseMade, SignalReceived

pytestmark = pytest.mark.slow

ENTRIES = """
    [run]
    grace = "60s"

    [isolation.postgres]
    dsn = "{postgres}"
    connections = {connections}

    [isolation.redis]
    url = "{redis}"
    databases = {databases}

    [isolation.tmpdir]

    [isolation.command]
    setup = "echo made > thing-$HARNESS_LEASE; echo THING=thing-$HARNESS_LEASE > $HARNESS_ENV"
    teardown = "rm -f thing-$HARNESS_LEASE"

    [[phases]]
    name = "p"
"""
GROUP = """
    [[phases.groups]]
    name = "{name}"
    command = "{command}"
    isolate = ["postgres", "redis", "tmpdir", "command"]
    {more}
"""


@dataclass
class Project:
    """A project whose groups have environments, and all that is on its servers."""

    harness: Harness
    place: Place
    redis_url: str

    def plan(self, *groups: str, databases: int = 15, connections: int = 2, sentences: str = "") -> None:
        entries = ENTRIES.format(
            postgres=self.place.address,
            redis=self.redis_url,
            databases=list(range(1, databases + 1)),
            connections=connections,
        )
        self.harness.plan(entries + "".join(groups) + sentences)

    def inventory(self) -> frozenset[str]:
        redis = WORLDS["redis prefix"](Place(self.place.project, self.place.home, self.redis_url))
        files = (path for path in self.harness.directory.iterdir() if path.name.startswith("thing-"))
        postgres = WORLDS["postgres schema"](self.place)
        return postgres.inventory() | redis.inventory() | {f"file {path}" for path in files} | set(self.homes())

    def homes(self) -> list[str]:
        return [f"path {path}" for path in Path(self.place.home).iterdir()]

    def env(self) -> dict[str, str]:
        return {"TMPDIR": self.place.home}


def group(name: str, command: str, more: str = "") -> str:
    return GROUP.format(name=name, command=command, more=more)


def leases(ran: Ran, kind: type = LeaseMade) -> list[LeaseMade | LeaseEnded]:
    return [stamped.data for stamped in ran.events if isinstance(stamped.data, kind)]


@pytest.fixture
def project(harness: Harness, postgres_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(harness, Place(str(harness.directory), str(tmp_path_factory.mktemp("t")), postgres_url), redis_url)


@pytest.mark.parametrize(
    ("command", "more", "status"),
    [
        ("true", "", "passed"),
        ("exit 7", "", "failed"),
        ("kill -9 $$", "", "killed"),
        ("sleep 1000", "timeout = '1s'", "timed_out"),
        ("test $HARNESS_ATTEMPT = 2", "retries = 1", "flaky"),
    ],
)
def test_however_a_group_ends_its_environment_is_removed(
    project: Project, command: str, more: str, status: str
) -> None:
    before = project.inventory()
    project.plan(group("g", command, more))
    ran = project.harness.run("test", env=project.env())
    assert ran.statuses == {"g": status}
    made, ended = leases(ran), leases(ran, LeaseEnded)
    assert [lease.kind for lease in made[:4]] == ["postgres", "redis", "tmpdir", "command"]
    assert [lease.token for lease in ended[:4]] == [lease.token for lease in reversed(made[:4])], (
        "last made, first removed"
    )
    assert len(made) == len(ended) == (8 if status == "flaky" else 4)
    assert {lease.ending for lease in ended} == {"released"}
    assert project.inventory() == before


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupted_run_removes_its_environments(project: Project, times: int) -> None:
    before = project.inventory()
    trap = "trap '' INT TERM; touch ignoring; while :; do sleep 1000; done" if times == 2 else "sleep 1000"
    project.plan(group("a", trap), group("b", trap))
    process = project.harness.start("test", "--parallel", env=project.env())
    project.harness.await_running(2)
    for time in range(1, times + 1):
        process.send_signal(signal.SIGINT)
        project.harness.await_event(SignalReceived, time)
    ran = project.harness.finish(process)
    assert set(ran.statuses.values()) == {"interrupted"}
    assert {lease.ending for lease in leases(ran, LeaseEnded)} == {"released"}
    assert len(leases(ran, LeaseEnded)) == 8
    assert project.inventory() == before


@pytest.mark.parametrize("cure", [("gc",), ("test", "--groups", "quick")])
def test_what_a_killed_harness_left_is_removed_by_the_next_one(project: Project, cure: tuple[str, ...]) -> None:
    before = project.inventory()
    project.plan(group("a", "sleep 1000"), group("b", "sleep 1000"), group("quick", "true"))
    process = project.harness.start("test", "--parallel", "--jobs", "2", env=project.env())
    project.harness.await_running(2)
    process.kill()
    ran = project.harness.finish(process)
    for stamped in ran.events:
        if isinstance(stamped.data, AttemptSpawned):
            os.killpg(stamped.data.pid, signal.SIGKILL)
    eventually(lambda: not project.harness.survivors(), "the end of the killed harness' groups")
    assert len(project.inventory()) > len(before)
    assert project.harness.run(*cure, env=project.env()).code == 0
    assert project.inventory() == before


def test_a_failed_groups_environment_can_be_kept_and_entered_and_swept(project: Project) -> None:
    before = project.inventory()
    project.plan(group("good", "true"), group("bad", "env -0 > told; exit 1"))
    ran = project.harness.run("test", "--keep-environment", env=project.env())
    assert ran.statuses == {"good": "passed", "bad": "failed"}
    endings = {(lease.group, lease.ending) for lease in leases(ran, LeaseEnded)}
    assert endings == {("good", "released"), ("bad", "kept")}
    kept = project.inventory()
    assert len(kept) > len(before)
    told = variables(project.harness.directory / "told")
    entered = project.harness.run("enter", "bad", "--", "env", "-0", env=project.env())
    assert entered.code == 0, entered.stderr
    assert project.harness.run("gc", env=project.env()).code == 0
    assert project.inventory() == kept, "only who asks for it removes what is kept"
    assert project.harness.run("gc", "--kept", env=project.env()).code == 0
    assert project.inventory() == before
    seen = dict(item.split("=", 1) for item in entered.stdout.split("\0") if item)
    assert Path(seen.pop("HARNESS_RUN_DIR")) == Path(told.pop("HARNESS_RUN_DIR"))  # by another name: see visit.py
    # The shell's own, and the place where the processes of the run met, which is gone.
    for name in ("_", "SHLVL", "PWD", "OLDPWD", "PS1", "HARNESS_SHARED", "HARNESS_WITHIN"):
        told.pop(name, None)
        seen.pop(name, None)
    assert seen == told


def variables(path: Path) -> dict[str, str]:
    return dict(item.split("=", 1) for item in path.read_text().split("\0") if item)


def test_a_visit_that_is_ended_by_a_signal_leaves_nothing(project: Project) -> None:
    before = project.inventory()
    project.plan(group("g", "true"))
    visit = project.harness.start("enter", "g", "--", "sh", "-c", "echo inside; sleep 1000", env=project.env())
    assert visit.stdout is not None
    assert visit.stdout.readline() == "inside\n"
    assert project.inventory() != before
    visit.send_signal(signal.SIGTERM)
    ended = project.harness.finish(visit)
    assert ended.code == -signal.SIGTERM, ended.stderr
    assert project.inventory() == before


def test_pytest_by_hand_in_a_groups_environment_has_the_plugin(project: Project) -> None:
    project.harness.write(
        "test_it.py",
        """
        import pytest

        @pytest.mark.serial
        def test_it(unique_name): pass
        """,
    )
    tests = group("g", "true").replace("command = ", "# ") + 'tests = ["test_it.py"]\n'
    project.plan(tests)
    ran = project.harness.run("enter", "g", "--", sys.executable, "-m", "pytest", "-q", "test_it.py", env=project.env())
    assert (ran.code, "1 passed" in ran.stdout) == (0, True), ran.stdout + ran.stderr


def test_who_enters_a_group_has_an_environment_for_the_visit(project: Project) -> None:
    before = project.inventory()
    project.plan(group("g", "true"))
    entered = subprocess.run(
        [sys.executable, "-I", "-m", "harness", "enter", "g"],
        cwd=project.harness.directory,
        env=dict(os.environ) | project.env() | {"SHELL": "/bin/sh"},
        input="env; cat $THING; exit 3\n",
        capture_output=True,
        text=True,
    )
    assert entered.returncode == 3, entered.stderr
    for name in ("DATABASE_URL=", "POSTGRES_SCHEMA=", "REDIS_URL=", "TMPDIR=", "HARNESS_LEASES=", "made"):
        assert any(line.startswith(name) for line in entered.stdout.splitlines()), name
    assert project.inventory() == before


def test_groups_wait_for_what_there_is_and_are_refused_what_there_is_not(project: Project) -> None:
    project.plan(*(group(f"g{n}", "sleep 0.1") for n in range(6)), databases=2)
    ran = project.harness.run("test", "--parallel", "--jobs", "6", env=project.env())
    assert set(ran.statuses.values()) == {"passed"}
    assert ran.most_at_once() == 2
    numbers = [lease.details["database"] for lease in leases(ran) if lease.kind == "redis"]
    assert set(numbers) <= {"1", "2"}

    project.plan(group("greedy", "true"), group("modest", "true").replace('"postgres", ', ""), connections=1000)
    ran = project.harness.run("test", "--parallel", env=project.env())
    assert "greedy" in ran.stdout, ran.stderr
    assert ran.statuses == {"greedy": "error", "modest": "passed"}
    assert "1000" in ran.report["suites"][0]["error_message"]
    assert "max_connections" in ran.report["suites"][0]["error_message"]
    assert ran.code == 3


def test_two_runs_at_once_share_the_servers_and_nothing_on_them(project: Project, tmp_path_factory) -> None:
    before = project.inventory()
    project.plan(
        *(group(f"g{n}", "echo $POSTGRES_SCHEMA $REDIS_URL $TMPDIR; sleep 0.5") for n in range(6)), databases=8
    )
    other = Harness(tmp_path_factory.mktemp("other"), project.harness.mark)
    other.write("harness.toml", (project.harness.directory / "harness.toml").read_text())
    started = [it.start("test", "--parallel", "--jobs", "4", env=project.env()) for it in (project.harness, other)]
    ran = [it.finish(process) for it, process in zip((project.harness, other), started, strict=True)]
    assert [it.code for it in ran] == [0, 0], [it.stdout for it in ran]
    told = [line for it in ran for n in range(6) for line in it.log(f"g{n}").splitlines() if "redis://" in line]
    schemas, _, directories = zip(*(line.split() for line in told), strict=True)
    assert len(set(schemas)) == len(set(directories)) == 12
    held = sorted(span for it in ran for span in redis_spans(it))
    for (database, _, end), (other_database, begin, _) in pairwise(held):
        assert database != other_database or end <= begin, held
    assert project.inventory() == before


def redis_spans(ran: Ran) -> list[tuple[str, float, float]]:
    """Which database was a lease's, from when to when."""
    ends = {stamped.data.token: stamped.time for stamped in ran.events if isinstance(stamped.data, LeaseEnded)}
    return [
        (stamped.data.details["database"], stamped.time, ends[stamped.data.token])
        for stamped in ran.events
        if isinstance(stamped.data, LeaseMade) and stamped.data.kind == "redis"
    ]


def test_each_worker_of_a_group_has_its_own(project: Project) -> None:
    before = project.inventory()
    project.harness.write(
        "test_own.py",
        """
        import json, os, pathlib, time, pytest

        @pytest.mark.parametrize("n", range(2))
        def test_own(n):
            seen = pathlib.Path(os.environ["SEEN"])
            names = ("POSTGRES_SCHEMA", "REDIS_URL", "TMPDIR", "THING", "HARNESS_LEASES")
            told = json.dumps({name: os.environ[name] for name in names})
            (seen / os.environ["PYTEST_XDIST_WORKER"]).write_text(told)
            deadline = time.monotonic() + 60
            while len(list(seen.iterdir())) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        """,
    )
    seen = project.harness.directory / "seen"
    seen.mkdir()
    tests = group("g", "", "workers = 2\n    dist = 'load'").replace('command = ""', 'tests = ["test_own.py"]')
    project.plan(tests + f"    env = {{ SEEN = '{seen}' }}\n")
    ran = project.harness.run("test", "--parallel", env=project.env())
    assert ran.code == 0, ran.stdout + ran.stderr
    first, second = (json.loads(path.read_text()) for path in sorted(seen.iterdir()))
    for name in ("POSTGRES_SCHEMA", "REDIS_URL", "TMPDIR", "THING"):
        assert first[name] != second[name], name
    assert [lease["entry"] for lease in json.loads(first["HARNESS_LEASES"])] == [
        "postgres",
        "redis",
        "tmpdir",
        "command",
    ]
    assert len(leases(ran)) == len(leases(ran, LeaseEnded)) == 8
    assert project.inventory() == before


def test_the_platforms_key_reaches_no_test(harness: Harness) -> None:
    harness.write("inside.py", "import os; print('\\n'.join(f'{key}={value}' for key, value in os.environ.items()))")
    with serving() as tenants:
        tenant = f"""
            [isolation.tenant]
            base_url = "{tenants.url}"
            key_variable = "PLATFORM_KEY"
            create.path = "/tenants"
            create.body = {{ slug = "{{name}}" }}
            create.read = {{ TENANT_SECRET = "keys.0.secret" }}
            delete.path = "/tenants/{{name}}"

            [[phases]]
            name = "p"

            [[phases.groups]]
            name = "g"
            command = ["{sys.executable}", "inside.py"]
            isolate = ["tenant"]
        """
        harness.plan(tenant)
        ran = harness.run("test", env={"PLATFORM_KEY": PLATFORM_KEY})
        assert ran.statuses == {"g": "passed"}
        assert "TESTS_ORG=test-g-" in ran.log("g")
        assert "TENANT_SECRET=" in ran.log("g")
        assert tenants.tenants == {}
    written = [path for place in ("logs", ".harness") for path in (harness.directory / place).rglob("*")]
    assert PLATFORM_KEY not in ran.stdout + ran.stderr
    assert not [path for path in written if path.is_file() and PLATFORM_KEY.encode() in path.read_bytes()]
