"""Forks of a warm parent beside pytests of their own, in real processes: the same results, logs and exit codes."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from projects import eventually
from warm_suites import WarmSuite

from harness.model import Status
from harness.process import Control
from harness.pytest_plugin.harness_warm import preload

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are made on Linux only")


@pytest.fixture
def suite(tmp_path: Path) -> WarmSuite:
    return WarmSuite(tmp_path)


# --- the same either way

ENDINGS = {
    "all kinds of results": """
        import logging, os, subprocess, sys, warnings
        import pytest

        def test_passes(): print("unseen")
        def test_fails(tmp_path):
            print("out"); sys.stderr.write("err\\n"); logging.getLogger().warning("logged"); os.write(1, b"raw\\n")
            subprocess.run(["echo", "from a child"])
            assert [1, 2, 3] == [1, 2, 4]
        @pytest.mark.skip(reason="not today")
        def test_skipped(): pass
        @pytest.mark.xfail(reason="a bug")
        def test_xfailed(): assert 0
        @pytest.mark.xfail
        def test_xpassed(): pass
        @pytest.fixture
        def broken(): raise ValueError("broken")
        def test_error(broken): pass
        @pytest.mark.parametrize("number", [1, 2])
        def test_many(number): warnings.warn("old", DeprecationWarning)
        class TestClass:
            def test_method(self, capsys): print("mine"); assert capsys.readouterr().out == "mine\\n"
        def test_descriptors(capfd): os.write(2, b"raw"); assert capfd.readouterr().err == "raw"
        """,
    "its world": """
        import locale, os, signal, sys, threading

        def test_world(pytestconfig):
            for name, value in sorted(os.environ.items()): print(name, value)
            print(sys.argv, sys.path, os.getcwd(), sys.flags, sys.executable, sys.warnoptions)
            print([(number.name, signal.getsignal(number)) for number in signal.Signals])
            print(signal.pthread_sigmask(signal.SIG_BLOCK, []), locale.getlocale(), os.umask(0o22), os.nice(0))
            print(os.getsid(0) == os.getpid() == os.getpgrp(), os.isatty(0), os.isatty(1), sys.stdin.read())
            print(len(threading.enumerate()), threading.main_thread() is threading.current_thread())
            print(sys.modules["__main__"].__file__, sys.modules["__main__"].__name__)
            print(pytestconfig.args, pytestconfig.invocation_params, pytestconfig.rootpath, pytestconfig.inipath)
            print(sorted((name, value) for name, value in vars(pytestconfig.option).items() if name != "plugins"))
            assert 0
        """.replace(
        'print({os.readlink(f"/proc/self/fd/{fd}").partition(":")[0] for fd in (0, 1, 2)} - {"/tmp"})', "pass"
    ),
    "a module that is missing": "import nothing_of_this_name",
    "a syntax error": "def broken(:",
    "no tests": "x = 1",
    "a process that leaves": "import os\ndef test_a(): print('lost', flush=True); os._exit(3)",
    "a process that kills itself": "import os\ndef test_a(): os.kill(os.getpid(), 9)",
    "sys.exit in a test": "import sys\ndef test_a(): sys.exit(4)",
    "sys.exit in a module": "import sys\nsys.exit('enough')",
    "an interrupt": "def test_a(): raise KeyboardInterrupt",
    "pytest.exit": "import pytest\ndef test_a(): pytest.exit('enough', returncode=7)",
    "a thread that is late": """
        import threading, time
        def late(): time.sleep(0.2); print("late", flush=True)
        def test_a(): threading.Thread(target=late).start()
        """,
    "what comes at the end": """
        import atexit, os
        atexit.register(os.write, 1, b"at the end\\n")
        kept = open("kept.txt", "w")
        def test_a(): kept.write("without a flush")
        """,
    "an exception that nobody can catch": """
        import gc
        class Bad:
            def __del__(self): raise ValueError("in __del__")
        def test_a():
            bad = Bad(); bad.itself = bad; del bad; gc.collect()
        """,
    "processes of its own": """
        import multiprocessing
        def double(x): return 2 * x
        def test_a():
            with multiprocessing.Pool(2) as pool: assert pool.map(double, [1, 2]) == [2, 4]
        """,
    "a process that outlives it": "import subprocess\ndef test_a(): subprocess.Popen(['sleep', '60'])",
    "the cache": "def test_a(cache): assert cache.get('seen', 0) == 0; cache.set('seen', 1)\ndef test_b(): assert 0",
}


@pytest.mark.parametrize("text", ENDINGS.values(), ids=ENDINGS.keys())
def test_the_same_results_logs_and_exit_codes(suite: WarmSuite, text: str) -> None:
    suite.write("test_a.py", text)
    suite.write("test_b.py", "def test_b(): pass")
    cold = suite.run("test_a.py", warm=False)
    left = sorted(path.name for path in suite.directory.iterdir() if path.is_file())
    kept = suite.directory / "kept.txt"
    wrote = kept.read_text() if kept.exists() else ""
    kept.unlink(missing_ok=True)
    suite.forget()
    with suite.warmed("test_a.py", "test_b.py") as told:
        warm = suite.run("test_a.py")
    assert not told
    assert not warm.cold_because
    assert warm.said == cold.said
    assert sorted(path.name for path in suite.directory.iterdir() if path.is_file()) == left
    assert (kept.read_text() if kept.exists() else "") == wrote


@pytest.mark.parametrize(
    ("addopts", "more"),
    [
        ("-v -rA", ""),
        ("-s", ""),
        ("-x -q", ""),
        ("-p no:terminal", ""),
        ("-p no:capture -p no:cacheprovider", ""),
        ("--capture=sys", ""),
        ("--capture=tee-sys", ""),
        ("--import-mode=importlib -p no:assertion", ""),
        ("-k fails", ""),
        ("-p no:harness_pytest", ""),
        ("-p no:harness_fixtures", ""),
        ("", "log_cli = true\nlog_level = INFO"),
        ("", "filterwarnings = error"),
    ],
)
def test_the_same_whatever_pytest_is_told(suite: WarmSuite, addopts: str, more: str) -> None:
    suite.configure(addopts, more)
    suite.write("conftest.py", "def pytest_report_header(): return 'a line of the project'")
    suite.write("test_a.py", ENDINGS["all kinds of results"])
    suite.write("test_b.py", "def test_b(): pass")
    cold = suite.run("test_a.py", "test_b.py", warm=False)
    suite.forget()
    with suite.warmed("test_a.py", "test_b.py"):
        warm = suite.run("test_a.py", "test_b.py")
    assert not warm.cold_because
    assert warm.said == cold.said


def test_one_parent_serves_one_after_the_other_and_side_by_side(suite: WarmSuite) -> None:
    """What tests capture is a file that a fork shares, so each gets its own."""
    names = [f"test_{number}.py" for number in range(6)]
    for name in names:
        suite.write(
            name,
            f"""
            import os, pathlib, time
            def test_a(capfd):
                for line in range(2_000):
                    os.write(1, b"{name}\\n")
                assert set(capfd.readouterr().out.split()) == {{"{name}"}}
            def test_b():
                pathlib.Path("here-{name}").touch()
                while len(list(pathlib.Path().glob("here-*"))) < {len(names)}:
                    time.sleep(0.01)
                for line in range(200):
                    print("{name}", flush=True)
                    time.sleep(0.001)
                assert 0
            """,
        )
    ran = {}
    with suite.warmed(*names) as told:
        threads = [threading.Thread(target=lambda name=name: ran.update({name: suite.run(name)})) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not told
    for name in names:
        assert not ran[name].cold_because
        assert [result.status.value for result in ran[name].results] == ["passed", "failed"]
        assert ran[name].results[1].details.count(name + "\n") >= 200
        assert ran[name].log.count("test session starts") == 1
        assert not any(other in ran[name].log.partition("\n")[2] for other in names if other != name)


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("pass", "1 passed"),
        ("raise pytest.UsageError('not today')", "ERROR: not today"),
        ("pytest.exit('enough')", "Exit: enough"),
        ("1 / 0", "INTERNALERROR> ZeroDivisionError"),
    ],
)
def test_what_the_project_does_when_a_session_starts_is_done_in_each(suite: WarmSuite, ending: str, said: str) -> None:
    suite.write(
        "conftest.py",
        f"""
        import os, pytest
        print("loaded", flush=True)
        def pytest_sessionstart(session):
            print("session", session.config.args, os.environ["MINE"])
            open("started", "a").write(os.environ["MINE"])
            {ending}
        def pytest_sessionfinish(session):
            print("finished", os.path.getsize("started"))
        """,
    )
    suite.write("test_a.py", "def test_a(): pass")
    cold = suite.run("test_a.py", warm=False, env={"MINE": "group's"})
    (suite.directory / "started").unlink()
    with suite.warmed("test_a.py", env={"MINE": "parent's"}):
        warm = suite.run("test_a.py", env={"MINE": "group's"})
    assert not warm.cold_because
    assert (suite.directory / "started").read_text() == "group's"
    assert warm.outcome.exit_code == cold.outcome.exit_code
    assert said in warm.log
    assert said in cold.log
    if ending == "pass":  # else the session, which had begun in the parent, is finished too
        assert warm.said == cold.said


# --- what each process has for itself


def test_variables_are_those_of_the_group_also_where_the_kernel_shows_them(suite: WarmSuite) -> None:
    suite.write("conftest.py", "import os\nos.environ['SET_BY_CONFTEST'] = 'yes'\nos.environ.pop('REMOVED', None)")
    suite.write(
        "test_a.py",
        """
        import os, subprocess
        from pathlib import Path
        def test_a():
            shown = dict(entry.split("=", 1) for entry in Path("/proc/self/environ").read_text().split("\\0") if entry)
            inherited = dict(entry.split("=", 1) for entry in os.popen("env -0").read().split("\\0") if entry)
            for variables in (shown, inherited, os.environ):
                assert variables["MINE"] == "a group's" * 300
                assert variables["HARNESS_GROUP"] == "one"
                assert "PARENTS" not in variables and "REMOVED" not in variables and "HARNESS_ROOM" not in variables
                assert variables["SET_BY_CONFTEST"] == "yes"
                assert variables["COMMON"] == "to both"
        """,
    )
    both = {"COMMON": "to both", "REMOVED": "by the conftest"}
    env = {"MINE": "a group's" * 300, **both}
    with suite.warmed("test_a.py", env={"PARENTS": "secret", **both}) as told:
        ran = suite.run("test_a.py", name="one", env=env)
    assert not told
    assert ran.outcome.status is Status.PASSED, ran.log


def test_random_numbers_temporary_directories_and_times_are_its_own(suite: WarmSuite, tmp_path: Path) -> None:
    suite.write(
        "test_a.py",
        """
        import os, random, tempfile, uuid
        def test_a():
            with open(os.environ["TELL"], "w") as file:
                print(random.random(), uuid.uuid4(), tempfile.gettempdir(), os.getpid(), file=file)
        """,
    )
    with suite.warmed("test_a.py"):
        for number in range(3):
            place = tmp_path / f"tmp{number}"
            place.mkdir()
            env = {"TELL": str(tmp_path / f"told{number}"), "TMPDIR": str(place)}
            ran = suite.run("test_a.py", env=env)
            assert ran.outcome.status is Status.PASSED, ran.log
            assert not ran.cold_because
    told = [(tmp_path / f"told{number}").read_text().split() for number in range(3)]
    for values in zip(*told, strict=True):
        assert len(set(values)) == 3
    assert [Path(it[2]) for it in told] == [tmp_path / f"tmp{number}" for number in range(3)]


def test_what_python_itself_keeps_of_the_variables_is_made_anew(suite: WarmSuite) -> None:
    suite.write("conftest.py", "import wsgiref.handlers")
    suite.write(
        "test_a.py",
        """
        from wsgiref.handlers import BaseHandler
        def test_a(): assert BaseHandler.os_environ["MINE"] == "group's"
        """,
    )
    with suite.warmed("test_a.py", env={"MINE": "parent's"}):
        ran = suite.run("test_a.py", env={"MINE": "group's"})
    assert not ran.cold_because
    assert ran.outcome.status is Status.PASSED


def test_who_asks_the_collector_sees_what_was_loaded_before(suite: WarmSuite) -> None:
    suite.write(
        "conftest.py",
        """
        import weakref
        class Thing: pass
        thing = Thing()
        thing.itself, seen = thing, weakref.ref(thing)
        holder = [thing]
        """,
    )
    suite.write(
        "test_a.py",
        """
        import gc, sys
        def test_a():
            conftest = sys.modules["conftest"]
            assert any(it is conftest.holder for it in gc.get_referrers(conftest.thing))
            assert any(it is conftest.thing for it in gc.get_objects())
            conftest.holder.clear()
            del conftest.thing
            gc.collect()
            assert conftest.seen() is None
        """,
    )
    with suite.warmed("test_a.py"):
        ran = suite.run("test_a.py")
    assert not ran.cold_because
    assert ran.outcome.status is Status.PASSED, ran.log


def test_a_seed_of_the_conftest_holds_for_every_process(suite: WarmSuite) -> None:
    suite.write("conftest.py", "import random\nrandom.seed(7)")
    suite.write("test_a.py", "import random\ndef test_a(): print(random.random()); assert 0")
    cold = suite.run("test_a.py", warm=False)
    with suite.warmed("test_a.py"):
        assert suite.run("test_a.py").said == suite.run("test_a.py").said == cold.said


def test_generators_without_a_seed_begin_anew(suite: WarmSuite, tmp_path: Path) -> None:
    suite.write("conftest.py", "import random\nFREE, FIXED = random.Random(), random.Random(7)")
    suite.write(
        "test_a.py",
        """
        import conftest, os, random
        def test_a():
            with open(os.environ["TELL"], "w") as file:
                print(conftest.FREE.random(), random.Random().random(), conftest.FIXED.random(), file=file)
        """,
    )
    with suite.warmed("test_a.py"):
        for number in range(2):
            ran = suite.run("test_a.py", env={"TELL": str(tmp_path / f"told{number}")})
            assert not ran.cold_because
    one, other = ((tmp_path / f"told{number}").read_text().split() for number in range(2))
    assert one[0] != other[0]
    assert one[1] != other[1]
    assert one[2] == other[2]


def test_a_variable_that_the_conftest_sets_is_set_in_each_also_to_what_it_was(suite: WarmSuite) -> None:
    suite.write("conftest.py", "import os\nos.environ['LEVEL'] = 'of the conftest'")
    suite.write("test_a.py", "import os\ndef test_a(): assert os.environ['LEVEL'] == 'of the conftest'")
    with suite.warmed("test_a.py", env={"LEVEL": "of the conftest"}):
        ran = suite.run("test_a.py", env={"LEVEL": "of the group"})
    assert not ran.cold_because
    assert ran.outcome.status is Status.PASSED, ran.log


def test_tests_that_the_settings_name_run_in_every_group(suite: WarmSuite) -> None:
    suite.configure("test_always.py")
    for name in ("test_a", "test_always"):
        suite.write(f"{name}.py", f"def {name}(): pass")
    cold = suite.run("test_a.py", warm=False)
    with suite.warmed("test_a.py"):
        ran = suite.run("test_a.py")
    assert ran.started == cold.started == ["test_always.py::test_always", "test_a.py::test_a"]
    assert ran.cold_because == "the settings name tests themselves"


def test_the_cache_of_pytest_is_that_of_the_moment(suite: WarmSuite) -> None:
    """Or whoever ends last would bring back what was there when pytest was loaded."""
    suite.write("test_a.py", "def test_a(): assert 0")
    suite.write("test_b.py", "def test_b(): assert 0")
    with suite.warmed("test_a.py", "test_b.py"):
        suite.run("test_a.py")
        suite.run("test_b.py")
    failed = json.loads((suite.directory / ".pytest_cache/v/cache/lastfailed").read_text())
    assert set(failed) == {"test_a.py::test_a", "test_b.py::test_b"}


def test_the_time_of_the_session_is_its_own(suite: WarmSuite) -> None:
    suite.configure("--junitxml=report.xml")
    suite.write("test_a.py", "import time\ndef test_a(): time.sleep(4)")
    suite.write("test_b.py", "def test_b(): pass")
    with suite.warmed("test_a.py", "test_b.py"):
        suite.run("test_a.py")
        ran = suite.run("test_b.py")
    assert not ran.cold_because
    taken = re.search(r"1 passed in ([\d.]+)s", ran.log)
    assert taken
    assert float(taken[1]) < 4
    (written,) = re.findall(r'<testsuite [^>]* time="([\d.]+)"', (suite.directory / "report.xml").read_text())
    assert float(written) < 4


def test_what_numpy_draws_is_its_own_unless_the_conftest_has_seeded_it(suite: WarmSuite, library: Path) -> None:
    """By a numpy that keeps of its generator what the real one does."""
    (library / "numpy").mkdir()
    (library / "numpy/__init__.py").write_text("")
    (library / "numpy/random.py").write_text(
        """
class mtrand:
    class _rand:
        class _bit_generator:
            _seed_seq = "drawn"
drawn = []
def seed(number=None):
    drawn.append(number)
    mtrand._rand._bit_generator._seed_seq = None if number else "drawn"
"""
    )
    suite.write("free/conftest.py", "import numpy.random")
    suite.write("fixed/conftest.py", "import numpy.random\nnumpy.random.seed(7)")
    suite.write("free/test_a.py", "import numpy.random\ndef test_a(): assert numpy.random.drawn == [None]")
    suite.write("fixed/test_b.py", "import numpy.random\ndef test_b(): assert numpy.random.drawn == [7]")
    for file in ("free/test_a.py", "fixed/test_b.py"):
        with suite.warmed(file):
            ran = suite.run(file)
        assert not ran.cold_because
        assert ran.outcome.status is Status.PASSED, ran.log


def test_the_deadline_of_pytest_timeout_is_of_its_own_session(suite: WarmSuite, library: Path) -> None:
    (library / "pytest_timeout.py").write_text(
        """
import time, pytest
SESSION_EXPIRE_KEY = pytest.StashKey()
def pytest_configure(config):
    config.stash[SESSION_EXPIRE_KEY] = time.time() + 10
"""
    )
    suite.configure("-p pytest_timeout")
    suite.write(
        "test_a.py",
        """
        import pytest_timeout, time
        def test_a(pytestconfig): assert 9 < pytestconfig.stash[pytest_timeout.SESSION_EXPIRE_KEY] - time.time() < 10
        """,
    )
    with suite.warmed("test_a.py"):
        suite.run("test_a.py")
        time.sleep(1)
        ran = suite.run("test_a.py")
    assert not ran.cold_because
    assert ran.outcome.status is Status.PASSED, ran.log


# --- what cannot be forked

ANOTHER = "is another for this group, and conftest.py:2 reads it when it is loaded"
UNSHARED = {
    "a thread": (
        """
        import threading
        threading.Thread(target=threading.Event().wait, daemon=True, name="pump").start()
        """,
        "a thread runs once pytest is loaded: pump",
    ),
    "a process": ("import subprocess\nsubprocess.Popen(['sleep', '60'])", "conftest.py:2 starts a process when it is"),
    "a process that is over": ("import subprocess\nsubprocess.run(['true'])", "conftest.py:2 starts a process when"),
    "a connection": (
        """
        import socket
        server = socket.create_server(("127.0.0.1", 0))
        socket.create_connection(server.getsockname()).close()
        server.close()
        """,
        "conftest.py:3 opens a port",
    ),
    "a socket": ("import socket\npair = socket.socketpair()", "socket is open once pytest is loaded"),
    "a pipe": ("import os\npipe = os.pipe()", "pipe is open once pytest is loaded"),
    "an event loop": ("import asyncio\nloop = asyncio.new_event_loop()", "is open once pytest is loaded"),
    "a file": ("log = open('log.txt', 'w')", "conftest.py:1 writes a file when it is loaded"),
    "a directory": ("import tempfile\nplace = tempfile.mkdtemp()", "conftest.py:2 makes a temporary directory"),
    "a process id": ("import os\nNAME = f'test_{os.getpid()}'", "conftest.py:2 calls getpid() when it is loaded"),
    "random bytes": ("import uuid\nNAME = uuid.uuid4()", "conftest.py:2 calls urandom() when it is loaded"),
    "a secret": ("import secrets\nNAME = secrets.token_hex()", "conftest.py:2 calls urandom() when it is loaded"),
    "a wrapper": (
        """
        import pytest
        @pytest.hookimpl(hookwrapper=True)
        def pytest_sessionstart():
            yield
        """,
        "conftest.py:3 is a wrapper of pytest_sessionstart",
    ),
    "a hook": (
        """
        import os
        def pytest_configure():
            os.makedirs("made", exist_ok=True)
        """,
        "conftest.py:4 makes a directory",
    ),
    "a variable": ("import os\nURL = os.environ.get('DATABASE_URL')", f"DATABASE_URL {ANOTHER}"),
    "a missing variable": ("import os\nURL = 'DATABASE_URL' in os.environ", f"DATABASE_URL {ANOTHER}"),
    "a variable as bytes": ("import os\nURL = os.environb.get(b'DATABASE_URL')", f"DATABASE_URL {ANOTHER}"),
    "a timer": ("import signal\nsignal.alarm(600)", "a timer runs once pytest is loaded"),
    "all variables": (
        "import os\nALL = dict(os.environ)",
        "is another for this group, and conftest.py:2 reads all variables when it is loaded",
    ),
    "the place of temporary files": ("import tempfile\nPLACE = tempfile.gettempdir()", f"TMPDIR {ANOTHER}"),
    "an error": ("1 / 0", "pytest did not come to its tests: E   ZeroDivisionError"),
}


@pytest.mark.parametrize(("conftest", "reason"), UNSHARED.values(), ids=UNSHARED.keys())
def test_what_cannot_be_shared_is_found_and_the_group_has_a_pytest_of_its_own(
    suite: WarmSuite, tmp_path: Path, conftest: str, reason: str
) -> None:
    suite.write("conftest.py", conftest)
    suite.write("test_a.py", "def test_a(): pass")
    (tmp_path / "own").mkdir()
    env = {"DATABASE_URL": "postgresql://its.own", "TMPDIR": str(tmp_path / "own")}
    cold = suite.run("test_a.py", warm=False, env=env)
    with suite.warmed("test_a.py") as told:
        ran = suite.run("test_a.py", env=env)
        again = suite.run("test_a.py", env=env)
    assert reason in ran.cold_because
    assert again.cold_because == ran.cold_because
    assert len(told) == 1, "said once"
    assert ran.cold_because in told[0]
    assert "`warm = false`" in told[0]
    ran.log = ran.log.replace(f"=== a pytest of its own: {ran.cold_because}\n", "")
    assert ran.said == cold.said


@pytest.mark.parametrize("measures", [True, False])
def test_pytest_cov_begins_with_each_session(suite: WarmSuite, measures: bool) -> None:
    """Or a group would report what those before it have covered."""
    suite.write(
        "conftest.py",
        f"""
        class Cov:
            cov_controller = {"object()" if measures else None}
        def pytest_configure(config): config.pluginmanager.register(Cov(), "_cov")
        """,
    )
    suite.write("test_a.py", "def test_a(): pass")
    with suite.warmed("test_a.py"):
        ran = suite.run("test_a.py")
    assert ran.cold_because.startswith("pytest-cov") is measures
    assert ran.outcome.status is Status.PASSED


def test_what_the_project_began_is_ended_before_a_pytest_of_its_own_begins(suite: WarmSuite) -> None:
    suite.write(
        "conftest.py",
        """
        import atexit, subprocess
        server = subprocess.Popen(["sleep", "600"])
        lock = open("lock", "x")
        atexit.register(__import__("os").unlink, "lock")
        def pytest_unconfigure():
            server.kill()
            server.wait()
        """,
    )
    suite.write("test_a.py", "def test_a(): pass")
    with suite.warmed("test_a.py"):
        ran = suite.run("test_a.py")
    assert "starts a process" in ran.cold_because
    assert ran.outcome.status is Status.PASSED, ran.log


HARMLESS = {
    "fixtures and hooks": """
        import pytest
        def pytest_configure(config): config.addinivalue_line("markers", "slow: is slow")
        def pytest_addoption(parser): parser.addoption("--base", default="x")
        @pytest.fixture(scope="session")
        def db(): import os; return os.environ["DATABASE_URL"]
        """,
    "modules that ask for themselves": "import multiprocessing, logging.config, concurrent.futures, random, uuid",
    "a module that is read": "import pathlib\nTEXT = (pathlib.Path(__file__).parent / 'pytest.ini').read_text()",
    "a variable that is the same": "import os\nHOME = os.environ['HOME']",
}


@pytest.mark.parametrize("conftest", HARMLESS.values(), ids=HARMLESS.keys())
def test_what_can_be_shared_is_forked(suite: WarmSuite, tmp_path: Path, conftest: str) -> None:
    suite.write("conftest.py", conftest)
    suite.write("test_a.py", "def test_a(): pass")
    with suite.warmed("test_a.py") as told:
        ran = suite.run("test_a.py", env={"DATABASE_URL": "x", "TMPDIR": str(tmp_path)})
    assert not told
    assert not ran.cold_because
    assert ran.outcome.status is Status.PASSED


def test_who_takes_all_variables_does_not_mean_ours(suite: WarmSuite) -> None:
    """As settings of an application do that are read when it is imported."""
    suite.write("conftest.py", "import os\nSETTINGS = {name.lower(): value for name, value in os.environ.items()}")
    suite.write("test_a.py", "def test_a(): pass")
    with suite.warmed("test_a.py"):
        one, two = suite.run("test_a.py", name="one"), suite.run("test_a.py", name="two", env={"HARNESS_SLOT": "3"})
    assert (one.cold_because, two.cold_because) == ("", "")


def test_a_variable_that_an_interpreter_reads_when_it_starts(suite: WarmSuite) -> None:
    suite.write("test_a.py", "import sys\ndef test_a(): assert sys.flags.optimize == 0 and sys.flags.dev_mode")
    with suite.warmed("test_a.py"):
        ran = suite.run("test_a.py", env={"PYTHONDEVMODE": "1"})
    assert ran.cold_because == "PYTHONDEVMODE is another for this group, and is read when an interpreter starts"
    assert ran.outcome.status is Status.PASSED


# --- what is loaded ahead


def test_modules_that_tests_import_are_found_without_running_them(
    suite: WarmSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(suite.directory))
    suite.write("app/__init__.py", "import decimal\nraise RuntimeError")
    suite.write("app/core.py", "from . import models\nfrom .models import x\n")
    suite.write("app/models.py", "from xml.dom import minidom as dom\nfrom missing_one import y\n")
    suite.write("helpers.py", "import fractions")
    suite.write(
        "test_a.py",
        """
        from __future__ import annotations
        import app.core, helpers
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            import tkinter
        else:
            import statistics
        try:
            import json.tool
        except ImportError:
            import simplejson
        def test_a():
            import wave
        """,
    )
    found, _ = preload.look([f"{suite.directory}/test_a.py::test_a", f"{suite.directory}/nothing.py"])
    assert {"decimal", "xml", "xml.dom", "xml.dom.minidom", "fractions", "statistics", "json", "json.tool"} <= set(
        found
    )
    assert not {"app", "app.core", "helpers", "tkinter", "wave", "missing_one", "simplejson"} & set(found)


@pytest.fixture
def library(suite: WarmSuite) -> Path:
    """A directory of installed modules."""
    place = suite.directory.parent / "venv" / "site-packages"
    place.mkdir(parents=True)
    suite.env["PYTHONPATH"] = os.pathsep.join([suite.variables()["PYTHONPATH"], str(place)])
    return place


def ahead(suite: WarmSuite, **env: str) -> dict[str, bool]:
    """Which of these installed modules test_a.py finds loaded when it begins."""
    suite.write(
        "test_a.py",
        """
        import sys
        LOADED = {name: name in sys.modules for name in ("good", "bad", "needs_bad")}
        import good, needs_bad
        def test_a(): print(f"loaded: {LOADED!r}"); assert good and 0
        """,
    )
    with suite.warmed("test_a.py", env={"FOR_BAD": "the parent's"}):
        ran = suite.run("test_a.py", env={"FOR_BAD": "the group's", **env})
    assert not ran.cold_because
    line = next(line for line in ran.log.splitlines() if line.startswith("loaded: "))
    return dict(json.loads(line.partition(" ")[2].replace("'", '"').lower()))


def test_what_tests_import_is_loaded_once(suite: WarmSuite, library: Path) -> None:
    for name in ("good", "bad"):
        (library / f"{name}.py").write_text("")
    (library / "needs_bad.py").write_text("import bad")
    assert ahead(suite) == {"good": True, "bad": True, "needs_bad": True}


@pytest.mark.parametrize(
    "text",
    [
        "import warnings\nwarnings.warn('old', DeprecationWarning)",
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()",
        "import os\npipe = os.pipe()",
        "import os\nos.environ['SET'] = 'by a module'",
        "print('hello')",
        "import signal\nsignal.signal(signal.SIGUSR1, lambda *_: None)",
        "import sys\nsys.path.append('/nowhere')",
        "import os\nMINE = os.environ.get('FOR_BAD')",
    ],
)
def test_what_leaves_a_trace_is_left_to_the_tests(suite: WarmSuite, library: Path, text: str) -> None:
    (library / "good.py").write_text("")
    (library / "bad.py").write_text(text)
    (library / "needs_bad.py").write_text("import bad")
    assert ahead(suite) == {"good": True, "bad": False, "needs_bad": False}


def test_a_module_of_the_tests_comes_before_an_installed_one_of_its_name(suite: WarmSuite, library: Path) -> None:
    """pytest puts their directory into sys.path only when it collects them."""
    (library / "helpers.py").write_text("WHOSE = 'installed'")
    suite.write("sub/helpers.py", "WHOSE = 'mine'")
    suite.write("sub/wave.py", "WHOSE = 'mine'")
    suite.write(
        "sub/test_a.py", "import helpers, wave\ndef test_a(): assert (helpers.WHOSE, wave.WHOSE) == ('mine', 'mine')"
    )
    suite.write("test_b.py", "import helpers, wave\ndef test_b(): assert helpers.WHOSE == 'installed' and wave.open")
    with suite.warmed("sub/test_a.py", "test_b.py"):
        for file in ("sub/test_a.py", "test_b.py"):
            ran = suite.run(file)
            assert not ran.cold_because
            assert ran.outcome.status is Status.PASSED, ran.log


@pytest.mark.parametrize(
    "statement",
    ["os.environ['BACKEND'] = 'mine'", "os.environ.setdefault('BACKEND', 'mine')", "os.environ.update(BACKEND='mine')"],
)
def test_what_tests_set_a_variable_for_is_left_to_them(suite: WarmSuite, library: Path, statement: str) -> None:
    (library / "good.py").write_text("")
    (library / "backends.py").write_text("import os\nBACKEND = os.environ.get('BACKEND')")
    suite.write(
        "test_a.py",
        f"""
        import good, os, sys
        {statement}
        LOADED = "backends" in sys.modules
        import backends
        def test_a(): assert backends.BACKEND == "mine" and not LOADED
        """,
    )
    suite.write("test_b.py", "import backends\ndef test_b(): assert backends.BACKEND is None")
    with suite.warmed("test_a.py", "test_b.py"):
        for file in ("test_a.py", "test_b.py"):
            ran = suite.run(file)
            assert not ran.cold_because
            assert ran.outcome.status is Status.PASSED, ran.log


def test_a_module_that_cannot_be_imported_fails_in_its_test(suite: WarmSuite, library: Path) -> None:
    (library / "bad.py").write_text("1 / 0")
    suite.write("test_a.py", "import bad\ndef test_a(): pass")
    suite.write("test_b.py", "def test_b(): pass")
    cold = suite.run("test_a.py", warm=False)
    suite.forget()
    with suite.warmed("test_a.py", "test_b.py"):
        assert suite.run("test_a.py").said == cold.said
        assert suite.run("test_b.py").outcome.status is Status.PASSED


# --- ends


def children_of(suite: WarmSuite) -> list[int]:
    """The warm parents that live: processes of ours in the suite's directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            is_parent = b"harness_warm" in (entry / "cmdline").read_bytes()
            if is_parent and (entry / "cwd").readlink() == suite.directory:
                found.append(int(entry.name))
        except OSError:
            pass
    return found


def test_no_process_is_left_when_the_run_is_over(suite: WarmSuite) -> None:
    suite.write("test_a.py", "def test_a(): pass")
    with suite.warmed("test_a.py"):
        assert not suite.run("test_a.py").cold_because
        assert len(children_of(suite)) == 1
    assert children_of(suite) == []


def test_a_parent_that_dies_costs_no_group_its_tests(suite: WarmSuite) -> None:
    suite.write("test_a.py", "def test_a(): pass")
    with suite.warmed("test_a.py") as told:
        suite.run("test_a.py")
        (parent,) = children_of(suite)
        os.kill(parent, signal.SIGKILL)
        ran = suite.run("test_a.py")
    assert ran.outcome.status is Status.PASSED
    assert "has ended" in ran.cold_because
    assert len(told) == 1


GARBLED = """
import json
from harness_warm import parent

def send(message, answer={answer!r}, whole=parent.Parent._send):
    if "pid" in message:
        parent.here._control.sendall(answer)
    else:
        whole(parent.here, message)

if parent.here:
    parent.here._send = send
"""


def answer(body: bytes) -> bytes:
    return len(body).to_bytes(8, "big") + body


@pytest.mark.parametrize(
    "said",
    [
        b"\xff" * 8,
        answer(b"no json"),
        answer(b"\xff"),
        answer(b"[]"),
        answer(b"[" * 100_000),
        answer(b"{}"),
        *(answer(b'{"pid": ' + pid + b"}") for pid in (b"0", b"1", b"-1", b'"7"', b"null", b"9" * 30, b"true")),
    ],
)
def test_a_parent_that_answers_nonsense_costs_no_group_its_tests(suite: WarmSuite, said: bytes) -> None:
    """Least of all is a process ended that is none of ours."""
    suite.write("conftest.py", GARBLED.format(answer=said))
    suite.write("test_a.py", "def test_a(): pass")
    with suite.warmed("test_a.py"):
        ran = suite.run("test_a.py")
    assert ran.outcome.status is Status.PASSED
    assert "does not answer" in ran.cold_because


def test_who_waits_for_a_parent_that_loads_for_ever_is_let_go(suite: WarmSuite) -> None:
    suite.write("conftest.py", "import time\ntime.sleep(600)")
    suite.write("test_a.py", "def test_a(): pass")
    control = Control()
    with suite.warmed("test_a.py"):
        ran = []
        thread = threading.Thread(target=lambda: ran.append(suite.run("test_a.py", control=control)))
        thread.start()
        eventually(lambda: bool(children_of(suite)), "the parent loads")
        control.cancel()
        assert suite.warm
        suite.warm.stop()
        thread.join(30)
        assert ran
        assert ran[0].outcome.status is Status.INTERRUPTED


def test_a_parent_ends_when_the_harness_is_gone(suite: WarmSuite) -> None:
    suite.write("test_a.py", "def test_a(): pass")
    script = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
from pathlib import Path
from warm_suites import WarmSuite
suite = WarmSuite.__new__(WarmSuite)
suite.directory, suite.env, suite.warm, suite.logs = Path({str(suite.directory)!r}), {{}}, None, 50
with suite.warmed("test_a.py"):
    assert not suite.run("test_a.py").cold_because
    os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", script], cwd="/", timeout=60, check=False)
    eventually(lambda: not children_of(suite), "the parent ends")


def test_a_fork_is_ended_and_reaped_as_any_process(suite: WarmSuite) -> None:
    suite.write("test_a.py", "import time\ndef test_a(): time.sleep(600)")
    suite.write("test_b.py", "import os\ndef test_b():\n    if not os.fork():\n        os._exit(0)")
    with suite.warmed("test_a.py", "test_b.py"):
        late = suite.run("test_a.py", timeout=0.5)
        suite.run("test_b.py")
    assert late.outcome.status is Status.TIMED_OUT
    assert "SIGTERM" in late.outcome.reason
    with pytest.raises(ChildProcessError):
        os.waitpid(-os.getpgid(0), os.WNOHANG)


def test_what_a_test_leaves_behind_is_reaped_when_it_ends(suite: WarmSuite) -> None:
    """Or whoever stops a daemon by its pid would wait for ever."""
    suite.write(
        "test_a.py",
        """
        import os, subprocess, time
        import pytest
        @pytest.mark.parametrize("how", ["", "setsid "])
        def test_a(how):
            pid = int(subprocess.check_output(how + "sleep 100 >/dev/null 2>&1 & echo $!", shell=True))
            time.sleep(0.1)
            os.kill(pid, 15)
            for _ in range(100):
                try:
                    os.kill(pid, 0)
                except ProcessLookupError:
                    return
                time.sleep(0.05)
            assert 0
        """,
    )
    with suite.warmed("test_a.py"):
        warm = suite.run("test_a.py")
        cold = suite.run("test_a.py", warm=False)
    assert not warm.cold_because
    assert [warm.outcome.status, cold.outcome.status] == [Status.PASSED, Status.PASSED], warm.log


def test_the_time_of_a_group_begins_once_its_process_is_there(suite: WarmSuite, library: Path) -> None:
    (library / "slow.py").write_text("import time\ntime.sleep(2)")
    suite.write("test_a.py", "def test_a(): pass")
    suite.write("test_b.py", "import slow\ndef test_b(): pass")
    with suite.warmed("test_a.py", "test_b.py"):
        ran = suite.run("test_a.py", timeout=2.0)
    assert not ran.cold_because
    assert ran.outcome.status is Status.PASSED, ran.outcome.reason


# --- a process a file


@pytest.mark.parametrize("warm", [True, False])
def test_each_file_has_a_process_of_its_own(suite: WarmSuite, warm: bool) -> None:
    for name in ("a", "b", "c"):
        suite.write(
            f"test_{name}.py",
            "import builtins\ndef test_it():\n    assert not hasattr(builtins, 'seen')\n    builtins.seen = 1",
        )
    files = ("test_a.py", "test_b.py", "test_c.py")
    with suite.warmed(*files):
        apart = suite.run(*files, process="file", warm=warm)
        together = suite.run(*files, warm=warm)
    assert apart.outcome.status is Status.PASSED
    assert [result.id for result in apart.results] == [f"{file}::test_it" for file in files]
    assert together.outcome.reason == "2 of 3 tests failed: test_it, test_it"


ALL = ("test_a.py::test_it", "test_b.py::test_it", "test_c.py::test_it")


@pytest.mark.parametrize(
    ("texts", "status", "reason", "failed"),
    [
        (("pass", "assert 0", "pass"), Status.FAILED, "1 of 3 tests failed: test_it", ("test_b.py::test_it",)),
        (("pass", None, "pass"), Status.PASSED, "", ()),
        ((None, None, None), Status.NO_TESTS, "no tests ran", ()),
        (
            ("pass", "import os; os.kill(os.getpid(), 9)", "pass"),
            Status.KILLED,
            "test_b.py: killed by SIGKILL while running test_b.py::test_it",
            (),
        ),
        (
            ("assert 0", "import os; os._exit(3)", "pass"),
            Status.FAILED,
            "test_b.py: exit code 3 while running test_b.py::test_it; test_a.py: 1 of 1 test failed: test_it",
            (),
        ),
        (("assert 0", "assert 0", "pass"), Status.FAILED, "2 of 3 tests failed: test_it, test_it", ALL[:2]),
    ],
)
def test_the_ends_of_its_processes_are_put_together(
    suite: WarmSuite, texts: tuple[str | None, ...], status: Status, reason: str, failed: tuple[str, ...]
) -> None:
    files = [f"test_{letter}.py" for letter in "abc"]
    for file, text in zip(files, texts, strict=True):
        suite.write(file, f"def test_it(): {text}" if text else "")
    with suite.warmed(*files):
        ran = suite.run(*files, process="file")
    assert (ran.outcome.status, ran.outcome.reason, ran.outcome.failed_tests) == (status, reason, failed)
    assert ran.log.count("test session starts") == 3


def test_a_test_that_its_process_did_not_survive_ends_with_that_process(suite: WarmSuite) -> None:
    suite.write("test_a.py", "import os\ndef test_a(): os._exit(0)")
    suite.write("test_b.py", "import os\ndef test_b(): os.kill(os.getpid(), 9)")
    suite.write("test_c.py", "import time\ndef test_c(): time.sleep(1)")
    files = ("test_a.py", "test_b.py", "test_c.py")
    with suite.warmed(*files):
        ran = suite.run(*files, process="file")
    assert [(result.id, result.message) for result in ran.results] == [
        ("test_a.py::test_a", "exit code 0 while running test_a.py::test_a"),
        ("test_b.py::test_b", "killed by SIGKILL while running test_b.py::test_b"),
        ("test_c.py::test_c", ""),
    ]
    assert all(result.duration < 1 for result in ran.results[:2])
    assert ran.outcome.reason == "; ".join(
        f"{result.id.partition('::')[0]}: {result.message}" for result in (ran.results[1], ran.results[0])
    )


@pytest.mark.parametrize("warm", [True, False])
def test_the_log_tells_which_file_a_process_is_for(suite: WarmSuite, warm: bool) -> None:
    suite.write("test_a.py", "import os\nos.write(1, b'no newline')\nos._exit(1)")
    suite.write("test_b.py", "import os\nos.write(1, b'no newline')\nos._exit(1)")
    files = ("test_a.py", "test_b.py")
    with suite.warmed(*files):
        ran = suite.run(*files, process="file", warm=warm)
        alone = suite.run("test_a.py", process="file", warm=warm)
    lines = [line for line in ran.log.splitlines() if line.startswith("=== process")]
    assert lines == ["=== process 1 of 2: test_a.py", "=== process 2 of 2: test_b.py"]
    assert "=== process" not in alone.log


def test_a_reason_tells_of_a_file_that_failed_without_any_failed_test(suite: WarmSuite) -> None:
    suite.write("test_a.py", "def test_a(): assert 0")
    suite.write("test_b.py", "import os\nos._exit(1)")
    files = ("test_a.py", "test_b.py")
    with suite.warmed(*files):
        ran = suite.run(*files, process="file")
    assert ran.outcome.reason == "test_b.py: exit code 1; test_a.py: 1 of 1 test failed: test_a"
    assert not ran.outcome.failed_tests


def test_a_file_without_failed_tests_is_not_excused_by_those_of_another(suite: WarmSuite) -> None:
    suite.write("test_a.py", "def test_a(): assert 0")
    suite.write(
        "test_b.py",
        "import pytest\n@pytest.fixture(scope='session', autouse=True)\n"
        "def code(request):\n    yield\n    request.session.testsfailed = 1\ndef test_b(): pass",
    )
    files = ("test_a.py", "test_b.py")
    with suite.warmed(*files):
        ran = suite.run(*files, process="file")
    assert not ran.outcome.failed_tests


def test_the_time_of_a_group_is_that_of_all_its_files(suite: WarmSuite) -> None:
    suite.write("test_a.py", "def test_a(): pass")
    suite.write("test_b.py", "import time\ndef test_b(): time.sleep(600)")
    suite.write("test_c.py", "def test_c(): pass")
    files = ("test_a.py", "test_b.py", "test_c.py")
    with suite.warmed(*files):
        ran = suite.run(*files, process="file", timeout=2.0)
    assert ran.outcome.status is Status.TIMED_OUT
    assert ran.started == ["test_a.py::test_a", "test_b.py::test_b"]
    assert ran.outcome.reason.startswith("test_b.py: no end after 2s while running test_b.py::test_b: SIGTERM")
    assert ran.outcome.reason.endswith("; 1 of 3 files did not run")
