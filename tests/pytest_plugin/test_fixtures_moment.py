"""What a failure shows of the moment: who blocks whom in Postgres, and who else runs."""

import itertools
import re
import signal
import socket
import subprocess
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plugin_suites import DEADLINE, TELL, PluginSuite
from projects import eventually

from harness.pytest_plugin.harness_fixtures.blocking import Session, blocking_tree


def session(pid: int, *blockers: int, own: bool = True, query: str = "SELECT 1") -> Session:
    waits_for = "ShareLock on transactionid" if blockers else ""
    return Session(pid, f"app{pid}", "anna", own, "idle in transaction", query, 1.5, blockers, waits_for)


class TestTree:
    def test_a_chain(self) -> None:
        assert blocking_tree([session(3, 2), session(2, 1), session(1), session(4, 1), session(9)]) == (
            "pid 1 (app1, role anna) idle in transaction, for 1.5 s: SELECT 1\n"
            "└─ pid 2 (app2, role anna) waits for ShareLock on transactionid, for 1.5 s: SELECT 1\n"
            "   └─ pid 3 (app3, role anna) waits for ShareLock on transactionid, for 1.5 s: SELECT 1\n"
            "└─ pid 4 (app4, role anna) waits for ShareLock on transactionid, for 1.5 s: SELECT 1"
        )

    def test_a_circle(self) -> None:
        text = blocking_tree([session(1, 2), session(2, 1)])
        assert [line.split(" (")[0] for line in text.splitlines()] == ["pid 1", "└─ pid 2", "   └─ pid 1: see above"]

    def test_one_that_waits_for_two(self) -> None:
        text = blocking_tree([session(1), session(2), session(3, 1, 2)])
        assert [line.split(" (")[0] for line in text.splitlines()] == [
            "pid 1",
            "└─ pid 3",
            "pid 2",
            "└─ pid 3: see above",
        ]

    def test_holders_that_are_no_sessions(self) -> None:
        text = blocking_tree([session(5, 0), session(6, 4)])
        assert text.splitlines()[0] == "a prepared transaction"
        assert text.splitlines()[2] == "pid 4, of another database or just ended"

    def test_the_affairs_of_others(self) -> None:
        assert blocking_tree([session(1, own=False), session(2, 1, own=False)]) == ""
        assert "pid 1 " in blocking_tree([session(1, own=False), session(2, 1)])

    def test_nobody_waits(self) -> None:
        assert blocking_tree([session(1), session(2)]) == ""

    def test_a_long_query_is_one_short_line(self) -> None:
        text = blocking_tree([session(1, query="SELECT\n  " + "x" * 500), session(2, 1)])
        assert text.splitlines()[0].endswith("…")
        assert max(map(len, text.splitlines())) < 250

    @given(st.lists(st.lists(st.integers(0, 8), max_size=4), max_size=8))
    def test_whoever_waits_is_in_it(self, blockers: list[list[int]]) -> None:
        sessions = [session(pid, *dict.fromkeys(them)) for pid, them in enumerate(blockers, start=1)]
        text = blocking_tree(sessions)
        named = set(itertools.chain.from_iterable(blockers)) | {n for n, them in enumerate(blockers, 1) if them}
        for pid in named:
            whole = sum(line.lstrip(" └─").startswith((f"pid {pid} (", f"pid {pid},")) for line in text.splitlines())
            assert whole == 1 or (pid == 0 and "a prepared transaction" in text)


@pytest.fixture
def table(postgres_url: str) -> str:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS accounts; CREATE TABLE accounts (n int)")
        connection.execute("INSERT INTO accounts VALUES (1)")
    return postgres_url


BLOCKED = """
    import os, threading, time, psycopg

    def connect(name):
        return psycopg.connect(os.environ["DATABASE_URL"], application_name=name)

    def block(wait):
        holder, waiter = connect("the holder"), connect("the waiter")
        holder.execute("UPDATE accounts SET n = 2")
        if wait:
            print("blocked", flush=True)
            waiter.execute("UPDATE accounts SET n = 3")
        thread = threading.Thread(target=lambda: waiter.execute("UPDATE accounts SET n = 3"), daemon=True)
        thread.start()
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as watcher:
            deadline = time.monotonic() + 30
            while not watcher.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
                assert time.monotonic() < deadline
                time.sleep(0.01)
        return holder, waiter
    """


class TestBlocked:
    def test_a_failure_shows_it(self, plugged: PluginSuite, table: str) -> None:
        plugged.write(
            blocked=BLOCKED,
            test_it="""
            from blocked import block
            def test_it():
                kept = block(wait=False)
                assert 1 == 2, "the failure itself"

            def test_expected():
                pass
            """,
        )
        ran = plugged.run(DATABASE_URL=table)
        assert ran.outcomes == {"failed": 1, "passed": 1}, ran.output
        assert "the failure itself" in ran.output
        section = ran.output.partition(" blocking sessions ")[2].splitlines()[1:3]
        assert "(the holder, role " in section[0]
        assert "idle in transaction, for 0." in section[0] or "idle in transaction" in section[0]
        assert section[0].endswith(": UPDATE accounts SET n = 2")
        assert section[1].startswith("└─ pid ")
        assert "(the waiter, role " in section[1]
        assert "waits for ShareLock on transactionid" in section[1]

    def test_also_from_a_worker(self, plugged: PluginSuite, table: str) -> None:
        plugged.write(
            blocked=BLOCKED,
            test_it="""
            from blocked import block
            def test_it():
                kept = block(wait=False)
                assert False
            """,
        )
        ran = plugged.run(workers=1, DATABASE_URL=table)
        assert "(the holder, role " in ran.output.partition(" blocking sessions ")[2]

    def test_a_failure_that_was_expected_and_one_without_blocks_show_nothing(
        self, plugged: PluginSuite, table: str
    ) -> None:
        plugged.write(
            blocked=BLOCKED,
            test_it="""
            import pytest
            from blocked import block

            def test_fails(): assert False

            @pytest.mark.xfail
            def test_expected():
                kept = block(wait=False)
                assert False
            """,
        )
        ran = plugged.run("-rx", "--xfail-tb", DATABASE_URL=table)
        assert ran.outcomes == {"failed": 1, "xfailed": 1}
        assert "blocking sessions" not in ran.output

    def test_a_test_that_hangs_and_is_stopped(self, plugged: PluginSuite, table: str) -> None:
        """As the harness does it: SIGTERM, with its own plugin, which makes of it a KeyboardInterrupt."""
        plugged.write(blocked=BLOCKED, test_it="from blocked import block\ndef test_it(): block(wait=True)")
        # Its pipe is the output here.
        process = plugged.start("-s", "-p", "harness_pytest", DATABASE_URL=table, HARNESS_TEST_EVENTS_FD="2")
        try:
            with psycopg.connect(table, autocommit=True) as watcher:
                waiting = "SELECT 1 FROM pg_locks WHERE NOT granted"
                eventually(lambda: watcher.execute(waiting).fetchone() is not None, "a session that waits")
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
        assert process.returncode == pytest.ExitCode.INTERRUPTED, output
        section = output.partition(" blocking sessions, when it was stopped ")[2]
        assert "(the holder, role " in section
        assert "└─ pid " in section
        assert "!!! KeyboardInterrupt !!!" in output

    def test_a_handler_of_the_users_stays(self, plugged: PluginSuite, table: str) -> None:
        plugged.write(
            conftest="import signal\nsignal.signal(signal.SIGTERM, print)",
            test_it="import signal\ndef test_it(): assert signal.getsignal(signal.SIGTERM) is print",
        )
        assert plugged.run("-p", "harness_pytest", DATABASE_URL=table, HARNESS_TEST_EVENTS_FD="2").code == 0

    def test_a_server_that_does_not_answer_hides_nothing_and_is_asked_once(self, plugged: PluginSuite) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"postgresql://127.0.0.1:{silent.getsockname()[1]}/x"
            plugged.write(
                test_it="""
                import pytest
                @pytest.mark.parametrize("n", range(30))
                def test_it(n): assert n < 0, "the failure itself"
                """
            )
            ran = plugged.run(DATABASE_URL=url)
            silent.setblocking(False)
            calls = sum(1 for _ in iter(lambda: _accepts(silent), False))
        assert ran.outcomes == {"failed": 30}
        assert "the failure itself" in ran.output
        assert calls == 1

    @pytest.mark.parametrize("url", ["postgresql://127.0.0.1:1/x", "nonsense", "mysql://h/d"])
    def test_no_server_hides_nothing(self, plugged: PluginSuite, url: str) -> None:
        plugged.write(test_it="def test_it(): assert 1 == 2")
        ran = plugged.run(DATABASE_URL=url)
        assert ran.outcomes == {"failed": 1}
        assert "assert 1 == 2" in ran.output
        assert "blocking" not in ran.output


class TestOthers:
    def test_a_failure_shows_what_else_ran(self, plugged: PluginSuite) -> None:
        shared = plugged.directory / "shared"
        shared.mkdir()
        plugged.env["HARNESS_SHARED"] = str(shared)
        plugged.write(
            test_long="""
            import os, time
            def test_goes_on():
                open("running", "w").close()
                deadline = time.monotonic() + 30
                while not os.path.exists("over"):
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
            """,
            test_fails="def test_fails(): assert False",
        )
        long = plugged.start("test_long.py", HARNESS_GROUP="exports")
        try:
            eventually((plugged.directory / "running").exists, "the other group's test")
            ran = plugged.run("test_fails.py", HARNESS_GROUP="refunds")
        finally:
            _end(long, plugged.directory / "over")
        assert ran.outcomes == {"failed": 1}
        section = ran.output.partition(" running at that moment ")[2].splitlines()[1]
        assert section.startswith("exports · master: test_long.py::test_goes_on, for ")
        assert "running at that moment" not in plugged.run("test_fails.py", HARNESS_GROUP="refunds").output


class TestMarkers:
    def test_serial_ones_run_alone_also_under_xdist(self, plugged: PluginSuite) -> None:
        plugged.write(
            test_it="""
            import os, time, pytest

            def during():
                open(f"inside-{os.getpid()}", "w").close()
                time.sleep(0.02)
                seen = [name for name in os.listdir() if name.startswith("inside-")]
                os.remove(f"inside-{os.getpid()}")
                return len(seen)

            @pytest.mark.serial
            @pytest.mark.parametrize("n", range(10))
            def test_alone(n): assert during() == 1

            @pytest.mark.parametrize("n", range(10))
            def test_others(n): during()
            """
        )
        ran = plugged.run("--dist=worksteal", workers=2)
        assert ran.outcomes == {"passed": 20}, ran.output

    def test_also_where_workers_have_directories_of_their_own(self, plugged: PluginSuite) -> None:
        plugged.write(
            conftest="""
            import os, tempfile

            def pytest_configure(config):
                worker = getattr(config, "workerinput", {}).get("workerid")
                if worker:
                    os.makedirs(worker)
                    os.environ["TMPDIR"] = os.path.abspath(worker)
                    tempfile.tempdir = None
            """,
            tell=TELL,
            test_it="""
            import os, pytest
            from harness_fixtures import meeting
            from tell import tell

            @pytest.mark.parametrize("n", range(4))
            def test_it(n):
                tell(str(meeting._meeting.directory))
            """,
        )
        ran = plugged.run(workers=2)
        assert ran.outcomes == {"passed": 4}, ran.output
        (place,) = set(plugged.told())
        assert not Path(place).exists()

    def test_who_is_stopped_while_it_waits_says_for_whom(self, plugged: PluginSuite) -> None:
        shared = plugged.directory / "shared"
        shared.mkdir()
        plugged.env["HARNESS_SHARED"] = str(shared)
        plugged.write(
            test_long="""
            import os, time, pytest
            @pytest.mark.serial
            def test_alone():
                open("running", "w").close()
                deadline = time.monotonic() + 30
                while not os.path.exists("over"):
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
            """,
            test_waits="def test_waits(): pass",
        )
        long = plugged.start("test_long.py", HARNESS_GROUP="exports")
        try:
            eventually((plugged.directory / "running").exists, "the other group's test")
            waits = plugged.start("-p", "harness_pytest", "test_waits.py", HARNESS_TEST_EVENTS_FD="2")
            try:
                rows = shared / "running"
                waiting = "test_waits.py::test_waits"
                eventually(lambda: any(waiting in row.read_text() for row in rows.iterdir()), "it waits")
                waits.send_signal(signal.SIGTERM)
                output, _ = waits.communicate(timeout=DEADLINE)
            finally:
                waits.kill()
        finally:
            _end(long, plugged.directory / "over")
        assert waits.returncode == pytest.ExitCode.INTERRUPTED, output
        section = output.partition(" a test that could not begin, when it was stopped ")[2]
        said = r"test_waits\.py::test_waits waited \d+ s for serial exports · test_long\.py::test_alone\n"
        assert re.search(said, section)
        assert "exports · master: test_long.py::test_alone, for " in output


def _accepts(server: socket.socket) -> bool:
    try:
        server.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def _end(process: "subprocess.Popen[str]", flag: Path) -> None:
    flag.touch()
    assert "1 passed" in process.communicate(timeout=DEADLINE)[0]
