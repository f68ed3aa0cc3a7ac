"""A Postgres of the run's own: the system's and the wheel's, as root and as an ordinary user, kept and damaged."""

import contextlib
import importlib.util
import os
import pwd
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from harness import installations
from harness.errors import InfrastructureError
from harness.events import AnyEvent, ServiceFailed, ServiceStarted
from harness.masking import Secrets
from harness.model import Plan, Ready, Service
from harness.ports import PortChooser, is_taken
from harness.services import Services, postgres
from harness.services.postgres import Postgres, find_binaries, keep, make_home, may_enter, may_run, restore

PATIENCE = 60.0
RUN = "20260101_000000"
ROOT = os.geteuid() == 0

only_root = pytest.mark.skipif(not ROOT, reason="needs root")


def binaries_of_the_system() -> Path | None:
    places = (found for pattern in installations.INSTALLATIONS for found in Path("/").glob(pattern[1:]))
    return next((place for place in places if (place / "initdb").exists()), None)


def binaries_of_the_wheel() -> Path | None:
    spec = importlib.util.find_spec(installations.WHEEL)
    places = Path(next(iter(spec.submodule_search_locations or ()))).glob("pginstall*/bin") if spec else ()
    return next((place for place in sorted(places, reverse=True) if (place / "initdb").exists()), None)


SOURCES = {"system": binaries_of_the_system(), "wheel": binaries_of_the_wheel()}


@pytest.fixture(params=list(SOURCES))
def binaries(request: pytest.FixtureRequest) -> Path:
    found = SOURCES[request.param]
    if found is None:
        pytest.skip(f"no PostgreSQL of the {request.param}")
    return found


@pytest.fixture
def any_binaries() -> Path:
    found = SOURCES["system"] or SOURCES["wheel"]
    if found is None:
        pytest.skip("no PostgreSQL")
    return found


def homes() -> set[Path]:
    places = (tempfile.gettempdir(), "/tmp", "/var/tmp")
    return {home for place in places for home in Path(place).glob("harness-pg-*")}


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.01)
    return True


class Stage:
    """One Postgres service at a time, in a project of its own."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.run_id = f"{RUN}-{uuid.uuid4().hex}"  # so that homes of other tests are not ours
        self.log = project / "db.log"
        self.events: queue.SimpleQueue[AnyEvent] = queue.SimpleQueue()

    def services(self, binaries: Path | None = None, **env: str) -> Services:
        service = Service(name="db", kind="postgres", ready=Ready(timeout=PATIENCE))
        if binaries:
            env[installations.VARIABLE] = str(binaries)
        return Services(
            Plan(project=str(self.project), phases=(), services=(service,)),
            ["db"],
            env={"PATH": os.environ["PATH"], "HARNESS_RUN_DIR": f"/logs/run_{self.run_id}", **env},
            files_log=lambda _: self.log,
            notify=self.events.put,
            run_id=self.run_id,
            secrets=Secrets(),
        )

    @contextlib.contextmanager
    def running(self, binaries: Path | None = None, **env: str) -> Iterator[str]:
        services = self.services(binaries, **env)
        try:
            services.start()
            yield services.values["db"]["url"]
        finally:
            services.stop()

    def homes(self) -> set[Path]:
        return {home for home in homes() if self.run_id in home.name}

    @property
    def cached(self) -> list[Path]:
        return list((self.project / ".harness" / "cache").glob("*"))

    def wait_for(self, kind: type) -> AnyEvent:
        while not isinstance(event := self.events.get(timeout=PATIENCE), kind):
            pass
        return event


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def stage(tmp_path: Path, cache: Path) -> Iterator[Stage]:
    """With a cache that these tests share, because initdb takes its time."""
    made = Stage(tmp_path)
    (tmp_path / ".harness").symlink_to(cache)
    yield made
    assert made.homes() == set()


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that everybody can reach, as that of a test is not."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def answer(url: str, query: str) -> object:
    with psycopg.connect(url, connect_timeout=10) as connection:
        row = connection.execute(query.encode()).fetchone()
        return row[0] if row else None


def has_shared_memory(creator: int) -> bool:
    """Whether a segment of System V shared memory is left that this process made."""
    if sys.platform != "linux":
        return False
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return str(creator) in [line.split()[4] for line in lines]


def fake(directory: Path, script: str = "exit 0", names: tuple[str, ...] = ("postgres", "initdb")) -> Path:
    """Programs of those names that run `script`."""
    directory.mkdir(parents=True)
    for name in names:
        (directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (directory / name).chmod(0o755)
    return directory


class TestServer:
    def test_it_answers_and_leaves_nothing(self, stage: Stage, binaries: Path) -> None:
        with stage.running(binaries) as url:
            started = stage.wait_for(ServiceStarted)
            assert isinstance(started, ServiceStarted)
            with psycopg.connect(url) as connection:
                connection.execute("CREATE TABLE animals (name text)")
                connection.execute("INSERT INTO animals VALUES ('ä'), ('b'), ('Ä')")
                assert (
                    connection.execute("SELECT lower(name) FROM animals ORDER BY 1").fetchall()
                    == [("b",), ("ä",), ("ä",)]
                    or sys.platform != "linux"
                )
                settings = {
                    name: connection.execute("SELECT current_setting(%s)", [name]).fetchone()
                    for name in (*postgres.SETTINGS, "server_encoding")
                }
            assert settings == {name: (value,) for name, value in postgres.SETTINGS.items()} | {
                "server_encoding": ("UTF8",)
            }
            server = psutil.Process(started.pid)
            assert server.username() == ("nobody" if ROOT else pwd.getpwuid(os.geteuid()).pw_name)
            assert [home.stat().st_mode & 0o777 for home in stage.homes()] == [0o700]
            backends = [server, *server.children(recursive=True)]
        assert eventually(lambda: not any(process.is_running() for process in backends))
        assert stage.homes() == set()
        assert not is_taken(started.port)
        assert not has_shared_memory(started.pid)

    def test_one_is_found_and_an_odd_environment_does_not_matter(self, stage: Stage, any_binaries: Path) -> None:
        assert any_binaries.is_dir()
        odd = {
            "PGDATA": "/no",
            "PGPORT": "1",
            "PGHOST": "/no",
            "PGUSER": "x",
            "LC_ALL": "xx_XX",
            "TZ": "Asia/Tokyo",
            "HOME": "/no",
        }
        with stage.running(**odd) as url:
            assert answer(url, "SHOW timezone") == "UTC"

    def test_two_at_once_do_not_meet(self, stage: Stage, any_binaries: Path) -> None:
        with stage.running(any_binaries) as one, stage.running(any_binaries) as two:
            for url in (one, two):
                assert answer(url, "SELECT count(*) FROM pg_tables WHERE tablename = 'mine'") == 0
                with psycopg.connect(url) as connection:
                    connection.execute("CREATE TABLE mine ()")

    def test_a_stop_does_not_wait_for_clients(self, stage: Stage, any_binaries: Path) -> None:
        with stage.running(any_binaries) as url:
            client = psycopg.connect(url)
            client.execute("CREATE TABLE unfinished ()")
            busy = threading.Thread(target=self.run_for_ever, args=(url,), daemon=True)
            busy.start()
            active = (
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%sleep(100000)%%' AND pid <> pg_backend_pid()"
            )
            assert eventually(lambda: answer(url, active) == 1)
        busy.join(PATIENCE)
        assert not busy.is_alive()
        assert "received immediate shutdown request" in stage.log.read_text()
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")
        client.close()

    @staticmethod
    def run_for_ever(url: str) -> None:
        with contextlib.suppress(psycopg.Error), psycopg.connect(url) as connection:
            connection.execute("SELECT pg_sleep(100000)")

    def test_its_death_is_told(self, stage: Stage, any_binaries: Path) -> None:
        with stage.running(any_binaries):
            started = stage.wait_for(ServiceStarted)
            assert isinstance(started, ServiceStarted)
            os.kill(started.pid, signal.SIGKILL)
            failed = stage.wait_for(ServiceFailed)
            assert isinstance(failed, ServiceFailed)
            assert failed.reason == "ended with signal SIGKILL while it was needed"
            assert has_shared_memory(started.pid) or sys.platform != "linux"  # which it could not remove itself
        assert not has_shared_memory(started.pid)

    def test_a_taken_port_is_left_to_its_owner(
        self, stage: Stage, any_binaries: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as owner:
            real, given = PortChooser.choose, [owner.getsockname()[1]]
            monkeypatch.setattr(PortChooser, "choose", lambda self: given.pop() if given else real(self))
            with stage.running(any_binaries) as url:
                assert answer(url, "SELECT 1") == 1
            assert not given


@only_root
class TestUsers:
    """Root uses `nobody`; whatever nobody cannot reach is brought to where it can."""

    def test_as_an_ordinary_user(self, binaries: Path) -> None:
        nobody = pwd.getpwnam("nobody")
        user = (nobody.pw_uid, nobody.pw_gid)
        sources = Path(postgres.__file__).parents[1]
        libraries = Path(psycopg.__file__).parents[1]
        pythons = (Path(sys.executable), Path("/usr/bin", f"python3.{sys.version_info.minor}"))
        python = next((python for python in pythons if python.exists() and may_run(python, user)), None)
        if python is None or not (may_enter(sources, user) and may_enter(libraries, user)):
            pytest.skip("an ordinary user cannot reach Python, these sources or their libraries")
        script = (
            "import os, sys, pathlib, tempfile, test_postgres\n"
            "stage = test_postgres.Stage(pathlib.Path.cwd())\n"
            "with stage.running(pathlib.Path(sys.argv[1])) as url:\n"
            "    print(os.geteuid(), test_postgres.answer(url, 'SELECT 6 * 7'), len(stage.homes()))\n"
            "print(len(stage.homes()), len(stage.cached))\n"
        )
        with tempfile.TemporaryDirectory(dir="/tmp") as project:
            os.chown(project, *user)
            ran = subprocess.run(
                [python, "-c", script, binaries],
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": os.pathsep.join(map(str, (sources, Path(__file__).parent, libraries))),
                },
                cwd=project,
                user=user[0],
                group=user[1],
                extra_groups=[],
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE,
            )
        assert (ran.stdout, ran.stderr, ran.returncode) == (f"{user[0]} 42 1\n0 1\n", "", 0)

    def test_binaries_out_of_reach_are_copied(self, stage: Stage, tmp_path: Path) -> None:
        wheel = SOURCES["wheel"]
        if wheel is None:
            pytest.skip("no PostgreSQL of the wheel")
        (stage.project / ".harness").unlink()  # no cache: initdb has to run there too
        package = wheel.parents[1]
        private = tmp_path / "private"
        private.mkdir(mode=0o700)
        for part in (wheel.parent, package.with_name(f"{package.name}.libs")):
            copy = private / part.relative_to(package.parent)
            shutil.copytree(part, copy, symlinks=True, ignore=shutil.ignore_patterns("include"))
        with stage.running(private / wheel.relative_to(package.parent)) as url:
            (home,) = stage.homes()
            assert answer(url, "SHOW data_directory") == str(home / "data")
            started = stage.wait_for(ServiceStarted)
            assert isinstance(started, ServiceStarted)
            program = home / "install" / wheel.relative_to(package.parent) / "postgres"
            assert psutil.Process(started.pid).exe() == str(program)

    def test_a_copy_that_cannot_be_made_is_explained(self, stage: Stage, tmp_path: Path) -> None:
        with pytest.raises(InfrastructureError, match=r"cannot reach .* and it could not be copied") as caught:
            stage.services(fake(tmp_path / "bin")).start()
        assert installations.VARIABLE in caught.value.cure

    def test_a_temporary_directory_out_of_reach_is_not_used(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tmp_path.chmod(0o700)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        home = make_home(f"/logs/run_{RUN}", (65534, 65534))
        try:
            assert tmp_path not in home.parents
            assert (home.stat().st_uid, home.stat().st_mode & 0o777) == (65534, 0o700)
        finally:
            home.rmdir()

    def test_a_system_without_nobody_is_explained(
        self, stage: Stage, any_binaries: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres, "USER", "no-such-user")
        with pytest.raises(InfrastructureError, match="has no user 'no-such-user'"):
            stage.services(any_binaries).start()


def test_reach(public: Path) -> None:
    program = public / "inner" / "program"
    program.parent.mkdir()
    program.touch()
    status = program.stat()
    owner, member, other = (status.st_uid, 54321), (54321, status.st_gid), (54321, 54321)
    for mode, allowed in (
        (0o755, [owner, member, other]),
        (0o750, [owner, member]),
        (0o700, [owner]),
        (0o655, [member, other]),
        (0o711, [owner]),
    ):
        program.chmod(mode)
        assert [user for user in (owner, member, other) if may_run(program, user)] == allowed
    program.chmod(0o755)
    program.parent.chmod(0o700)
    assert may_enter(public, other)
    assert not may_enter(program.parent, other)
    assert not may_run(program, other)


class TestFinding:
    @pytest.fixture(autouse=True)
    def nothing_installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(installations, "INSTALLATIONS", (f"{tmp_path}/usr/lib/postgresql/*/bin",))
        monkeypatch.setattr(installations, "WHEEL", "no_such_wheel")

    def test_nowhere(self, tmp_path: Path) -> None:
        with pytest.raises(InfrastructureError, match="found no PostgreSQL server") as caught:
            find_binaries({"PATH": str(tmp_path)})
        assert "pip install 'parallel-harness[postgres]'" in caught.value.cure
        assert installations.VARIABLE in caught.value.cure

    def test_the_newest_that_is_complete(self, tmp_path: Path) -> None:
        for version in ("9.6", "13", "14"):
            fake(tmp_path / "usr/lib/postgresql" / version / "bin")
        fake(tmp_path / "usr/lib/postgresql/15/bin", names=("postgres",))
        fake(tmp_path / "usr/lib/postgresql/16/bin", names=("initdb",))
        assert find_binaries({"PATH": ""}) == tmp_path / "usr/lib/postgresql/14/bin"

    def test_the_path_comes_before_it_and_pg_config_before_that(self, tmp_path: Path) -> None:
        fake(tmp_path / "usr/lib/postgresql/14/bin")
        on_path = fake(tmp_path / "path")
        environment = {"PATH": str(on_path)}
        assert find_binaries(environment) == on_path
        configured = fake(tmp_path / "configured")
        fake(tmp_path / "config", f"echo {configured}", ("pg_config",))
        environment["PATH"] += f":{tmp_path / 'config'}:/bin:/usr/bin"
        assert find_binaries(environment) == configured

    @pytest.mark.parametrize("script", ["exit 1", "echo /no/such/directory", "echo"])
    def test_a_pg_config_without_a_server_is_passed_over(self, tmp_path: Path, script: str) -> None:
        installed = fake(tmp_path / "usr/lib/postgresql/14/bin")
        fake(tmp_path / "config", script, ("pg_config",))
        assert find_binaries({"PATH": str(tmp_path / "config")}) == installed

    def test_the_wheel_comes_last_and_is_not_imported(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        wheel = tmp_path / "site" / "a_wheel"
        newest = fake(wheel / "pginstall18" / "bin")
        fake(wheel / "pginstall" / "bin")
        (wheel / "__init__.py").write_text("raise SystemExit('imported')")
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        monkeypatch.setattr(installations, "WHEEL", "a_wheel")
        assert find_binaries({"PATH": ""}) == newest
        installed = fake(tmp_path / "usr/lib/postgresql/9.6/bin")
        assert find_binaries({"PATH": ""}) == installed

    def test_the_variable_decides(self, tmp_path: Path) -> None:
        fake(tmp_path / "usr/lib/postgresql/14/bin")
        chosen = fake(tmp_path / "chosen")
        assert find_binaries({"PATH": "", installations.VARIABLE: str(chosen)}) == chosen
        with pytest.raises(InfrastructureError, match="cannot use HARNESS_POSTGRES_BIN=/no: no exec") as caught:
            find_binaries({"PATH": "", installations.VARIABLE: "/no"})
        assert "unset it" in caught.value.cure


class TestCache:
    @pytest.fixture
    def stage(self, tmp_path: Path) -> Iterator[Stage]:
        made = Stage(tmp_path)
        yield made
        assert made.homes() == set()

    def test_initdb_runs_once_and_again_when_its_result_is_damaged(self, stage: Stage, any_binaries: Path) -> None:
        for initialised, damage in ((1, False), (1, True), (2, False)):
            with stage.running(any_binaries) as url:
                assert answer(url, "SELECT 1") == 1
            assert stage.log.read_text().count("Success.") == initialised
            (cached,) = stage.cached
            assert cached.name.startswith("postgres-")
            if damage:
                (cached / "data" / "global" / "pg_control").write_bytes(b"")

    def test_without_room_for_it_the_server_runs_all_the_same(self, stage: Stage, any_binaries: Path) -> None:
        (stage.project / ".harness").write_text("a file where the directory would be")
        with stage.running(any_binaries) as url:
            assert answer(url, "SELECT 1") == 1

    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        (tmp_path / "data" / "base").mkdir(parents=True)
        (tmp_path / "data" / "base" / "1").write_text("one")
        (tmp_path / "data" / "base" / "1").chmod(0o600)
        (tmp_path / "data").chmod(0o700)
        return tmp_path / "data"

    def test_what_is_kept_is_restored(self, tmp_path: Path, data: Path) -> None:
        keep(data, tmp_path / "cache" / "kept")
        assert restore(tmp_path / "cache" / "kept", tmp_path / "copy")
        assert (tmp_path / "copy" / "base" / "1").read_text() == "one"
        assert [(tmp_path / "copy" / name).stat().st_mode & 0o777 for name in ("", "base/1")] == [0o700, 0o600]
        assert [entry.name for entry in (tmp_path / "cache").iterdir()] == ["kept"]

    def test_who_comes_second_leaves_the_first_as_it_is(self, tmp_path: Path, data: Path) -> None:
        keep(data, tmp_path / "cache" / "kept")
        (data / "base" / "1").write_text("changed")
        keep(data, tmp_path / "cache" / "kept")
        assert restore(tmp_path / "cache" / "kept", tmp_path / "copy")
        assert (tmp_path / "copy" / "base" / "1").read_text() == "one"
        assert [entry.name for entry in (tmp_path / "cache").iterdir()] == ["kept"]

    def test_what_is_not_whole_is_not_restored(self, tmp_path: Path, data: Path) -> None:
        kept, copy = tmp_path / "cache" / "kept", tmp_path / "copy"
        assert not restore(kept, copy)
        for damage in ("data/base/1", "size"):
            keep(data, kept)
            (kept / damage).write_text("")
            assert not restore(kept, copy)
            assert not copy.exists()
            assert not kept.exists()


class TestTrouble:
    def test_an_initdb_that_fails_is_shown(self, stage: Stage, public: Path) -> None:
        before = len(stage.cached)
        with pytest.raises(InfrastructureError) as caught:
            stage.services(fake(public / "bin", "echo no room; exit 7")).start()
        assert caught.value.message.splitlines() == [
            'service "db" could not be prepared: initdb ended with exit code 7',
            f"the end of its log: {stage.log}",
            "  no room",
        ]
        assert isinstance(stage.wait_for(ServiceFailed), ServiceFailed)
        assert len(stage.cached) == before

    def test_a_stop_does_not_wait_for_initdb(self, stage: Stage, public: Path) -> None:
        services = stage.services(fake(public / "bin", "echo busy; exec sleep 100000"))
        raised: queue.SimpleQueue[Exception] = queue.SimpleQueue()

        def start() -> None:
            try:
                services.start()
            except Exception as error:
                raised.put(error)

        threading.Thread(target=start, daemon=True).start()
        assert eventually(lambda: stage.log.exists() and "busy" in stage.log.read_text())
        services.stop()
        assert "stopped while starting" in str(raised.get(timeout=PATIENCE))
        assert stage.homes() == set()

    def test_a_server_that_is_not_ready_in_time(self, stage: Stage, public: Path) -> None:
        binaries = fake(public / "bin", "exec sleep 100000", ("postgres",))
        (binaries / "initdb").symlink_to("/bin/true")
        service = Service(name="db", kind="postgres", ready=Ready(timeout=0.1))
        services = Services(
            Plan(project=str(stage.project), phases=(), services=(service,)),
            ["db"],
            env={"PATH": os.environ["PATH"], installations.VARIABLE: str(binaries)},
            files_log=lambda _: stage.log,
            notify=stage.events.put,
            run_id=stage.run_id,
            secrets=Secrets(),
        )
        with pytest.raises(InfrastructureError, match="still waiting for the server to accept connections"):
            services.start()


def test_the_state_of_another_try_is_not_its_own(tmp_path: Path) -> None:
    server = Postgres(project=tmp_path, env={})
    server.directory = str(tmp_path)
    state = tmp_path / "data" / "postmaster.pid"
    state.parent.mkdir()
    missing = "the server to accept connections on port 4711"
    assert server.waiting_for(4711) == missing
    for port, word, expected in (
        ("4711", "starting", missing),
        ("4712", "ready   ", missing),
        ("4711", "ready   ", ""),
    ):
        state.write_text("\n".join(["1", "/data", "0", port, "", "127.0.0.1", "0 0", word, ""]))
        assert server.waiting_for(4711) == expected
