"""The plugin inside real pytest processes: what the harness hears of each test."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from harness.attempt import Output, run_attempt
from harness.events import AnyEvent, TestFinished, TestStarted, Warned
from harness.model import Group, Job, Outcome, Status, TestResult
from harness.process import Control
from harness.runners import PytestOptions, runner_for


class Heard:
    def __init__(self) -> None:
        self.started: list[str] = []
        self.results: list[TestResult] = []
        self.warnings: list[str] = []
        self.output = bytearray()
        self.on_output: Callable[[], object] = lambda: None

    def __call__(self, event: AnyEvent | Output) -> None:
        match event:
            case Output(data=data):
                self.output += data
                self.on_output()
            case TestStarted(test=test):
                self.started.append(test)
            case TestFinished(result=result):
                self.results.append(result)
            case Warned(message=message):
                self.warnings.append(message)

    def statuses(self) -> dict[str, str]:
        assert len({result.id for result in self.results}) == len(self.results), "a test finished twice"
        return {result.id.rpartition("::")[2]: result.status.value for result in self.results}

    def result(self, name: str) -> TestResult:
        (result,) = (result for result in self.results if result.id.rpartition("::")[2] == name)
        return result


class Suite:
    """A directory of tests, and what became of running it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.heard = Heard()
        self.control = Control()

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.directory / f"{name}.py").write_text(dedent(text))

    def run(self, *tests: str, workers: int = 0, addopts: str = "", **env: str) -> Outcome:
        group = Group(name="group", phase="parallel", tests=tests, workers=workers)
        launch = runner_for(group).command(group, python=sys.executable, options=PytestOptions())
        # Only what a test asks for: the plugins of this environment are slow to load, and none of its business.
        own = {
            "PYTHONPATH": launch.pythonpath,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_ADDOPTS": f"--rootdir={self.directory} -p no:cacheprovider {addopts}",
        }
        job = Job(
            run_id="20260101_000000",
            group=group.name,
            attempt=1,
            slot=0,
            argv=launch.argv,
            env={**os.environ, **own, **env},
            directory=str(self.directory),
            log=str(self.directory / "log"),
            timeout=60.0,
            grace=60.0,
            statuses=launch.statuses,
            reports_tests=launch.reports_tests,
        )
        return run_attempt(job, self.heard, self.control)


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path)


EVERY_STATUS = """
    import pytest

    def test_passed(): pass
    def test_failed():
        print("captured")
        assert [1] == [2]
    @pytest.mark.skip(reason="not today")
    def test_skipped(): pass
    def test_skipped_inside(): pytest.skip("not here")
    @pytest.mark.xfail(reason="bug 7")
    def test_xfailed(): assert False
    @pytest.mark.xfail
    def test_xpassed(): pass
    @pytest.mark.xfail(strict=True)
    def test_xpassed_strictly(): pass

    @pytest.fixture
    def broken_setup(): raise RuntimeError("no database\\nsecond line")
    def test_setup_error(broken_setup): pass

    @pytest.fixture
    def broken_teardown():
        yield
        raise RuntimeError("no end")
    def test_teardown_error(broken_teardown): pass
    def test_failed_and_teardown_error(broken_teardown): raise ValueError("first")

    class TestClass:
        @pytest.mark.parametrize("x", ["ä\\n"])
        def test_method(self, x): pass
    """

STATUSES = {
    "test_passed": "passed",
    "test_failed": "failed",
    "test_skipped": "skipped",
    "test_skipped_inside": "skipped",
    "test_xfailed": "xfailed",
    "test_xpassed": "xpassed",
    "test_xpassed_strictly": "failed",
    "test_setup_error": "error",
    "test_teardown_error": "error",
    "test_failed_and_teardown_error": "failed",
    "test_method[\\xe4\\n]": "passed",
}


def test_every_status(suite: Suite) -> None:
    suite.write(test_it=EVERY_STATUS)
    outcome = suite.run("test_it.py")
    heard = suite.heard
    assert heard.statuses() == STATUSES
    assert heard.started == [result.id for result in heard.results]
    assert heard.started[0] == "test_it.py::test_passed"
    assert heard.warnings == []
    assert (outcome.status, outcome.leaked) == (Status.FAILED, False)
    assert outcome.reason == "5 of 11 tests failed: test_failed, test_xpassed_strictly, test_setup_error and 2 more"

    messages = {name: heard.result(name).message for name in STATUSES}
    assert messages["test_passed"] == ""
    assert messages["test_failed"] == "assert [1] == [2]"
    assert messages["test_skipped"] == "not today"
    assert messages["test_skipped_inside"] == "not here"
    assert messages["test_xfailed"] == "bug 7"
    assert messages["test_xpassed_strictly"] == "[XPASS(strict)]"
    assert messages["test_setup_error"] == "RuntimeError: no database"
    assert messages["test_teardown_error"] == "RuntimeError: no end"
    assert messages["test_failed_and_teardown_error"] == "ValueError: first"

    assert "captured" in heard.result("test_failed").details
    assert "assert [1] == [2]" in heard.result("test_failed").details
    assert heard.result("test_passed").details == ""


def test_what_each_test_used(suite: Suite) -> None:
    suite.write(
        test_it="""
            import subprocess, sys, time

            SPIN = "import time\\nend = time.process_time() + 0.4\\nwhile time.process_time() < end: pass"

            def test_nothing(): pass
            def test_cpu(): exec(SPIN)
            def test_child(): subprocess.run([sys.executable, "-c", SPIN], check=True)
            def test_memory(): assert bytearray(80_000_000)
        """
    )
    suite.run("test_it.py")
    nothing, cpu, child, memory = suite.heard.results
    assert (nothing.cpu_seconds or 0.0) < 0.3 <= min(cpu.cpu_seconds or 0.0, child.cpu_seconds or 0.0)
    assert (memory.memory_growth or 0) > 50_000_000 > (nothing.memory_growth or 0)


def test_a_peak_that_falls_is_no_growth(suite: Suite) -> None:
    suite.write(
        test_it="""
            import sys

            def test_it():
                plugin = sys.modules["harness_pytest"]
                plugin._peak_memory = lambda: 0
        """
    )
    suite.run("test_it.py")
    assert [(result.status, result.memory_growth) for result in suite.heard.results] == [("passed", 0)]


def test_what_a_worker_runs_is_not_measured_by_its_controller(suite: Suite) -> None:
    pytest.importorskip("xdist")
    suite.write(test_it="def test_it(): pass")
    suite.run("test_it.py", workers=2, addopts="-p xdist")
    assert [(result.cpu_seconds, result.memory_growth) for result in suite.heard.results] == [(None, None)]


def test_with_workers_each_test_is_reported_once(suite: Suite) -> None:
    pytest.importorskip("xdist")
    suite.write(test_it=EVERY_STATUS, test_other="def test_other(): pass", test_broken="import no_such_module")
    outcome = suite.run("test_it.py", "test_other.py", workers=2, addopts="-p xdist")
    assert suite.heard.statuses() == {**STATUSES, "test_other": "passed"}
    assert sorted(suite.heard.started) == sorted(result.id for result in suite.heard.results)
    assert outcome.status is Status.FAILED


def test_a_worker_that_dies_is_a_failed_test(suite: Suite) -> None:
    pytest.importorskip("xdist")
    suite.write(test_it="import os\ndef test_dies(): os._exit(3)")
    # By file, xdist gives the same test to one worker after the other.
    suite.run("test_it.py", workers=1, addopts="-p xdist --max-worker-restart=1")
    assert suite.heard.statuses() == {"test_dies": "failed"}
    assert suite.heard.started == ["test_it.py::test_dies"]
    assert "crashed while running" in suite.heard.result("test_dies").message


def test_files_that_cannot_be_collected(suite: Suite) -> None:
    suite.write(
        test_broken="import no_such_module",
        test_off="import pytest; pytest.skip('not on this machine', allow_module_level=True)",
        test_good="def test_good(): pass",
    )
    outcome = suite.run("test_broken.py", "test_off.py", "test_good.py")
    assert suite.heard.statuses() == {"test_broken.py": "error", "test_off.py": "skipped"}
    assert suite.heard.result("test_broken.py").message == "ModuleNotFoundError: No module named 'no_such_module'"
    assert suite.heard.result("test_off.py").message == "not on this machine"
    assert (outcome.status, outcome.reason) == (Status.FAILED, "1 of 2 tests failed: test_broken.py")


def test_no_tests(suite: Suite) -> None:
    suite.write(test_it="")
    outcome = suite.run("test_it.py")
    assert (outcome.status, suite.heard.results) == (Status.NO_TESTS, [])


def test_long_details_are_cut_in_the_middle(suite: Suite) -> None:
    suite.write(
        test_it="""
        def test_it():
            print("ä" * 300_000)
            assert False, "\\udc80"
        """
    )
    suite.run("test_it.py")
    details = suite.heard.result("test_it").details
    assert 60_000 < len(details) < 70_000
    assert "characters left out" in details
    assert suite.heard.warnings == []


class TestSignals:
    SLEEPER = """
        import time
        import pytest

        @pytest.fixture
        def database():
            yield
            print("torn", "down", flush=True)

        def test_it(database):
            print("in the", "test", flush=True)
            time.sleep(60)
        """

    def stop_in_the_test(self, suite: Suite) -> Outcome:
        suite.heard.on_output = lambda: b"in the test" in suite.heard.output and suite.control.cancel()
        return suite.run("test_it.py", addopts="-s")

    def test_sigterm_tears_fixtures_down(self, suite: Suite) -> None:
        suite.write(test_it=self.SLEEPER)
        outcome = self.stop_in_the_test(suite)
        assert (outcome.status, outcome.exit_code) == (Status.INTERRUPTED, 2)
        assert outcome.reason == "stopped while running test_it.py::test_it"
        assert b"torn down" in suite.heard.output
        assert suite.heard.statuses() == {}, "it was broken off, it did not fail"

    def test_a_handler_of_the_users_stays(self, suite: Suite) -> None:
        handler = "signal.signal(signal.SIGTERM, lambda *_: pytest.exit('our own', returncode=7))"
        suite.write(conftest=f"import pytest, signal\n{handler}", test_it=self.SLEEPER)
        outcome = self.stop_in_the_test(suite)
        assert (outcome.status, outcome.exit_code) == (Status.INTERRUPTED, 7)

    def test_the_default_is_back_at_the_end(self, suite: Suite) -> None:
        suite.write(
            conftest="""
            import atexit, signal
            atexit.register(lambda: print("at exit", signal.getsignal(signal.SIGTERM) == signal.SIG_DFL))
            """,
            test_it="""
            import signal
            def test_it(): assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
            """,
        )
        assert suite.run("test_it.py").status is Status.PASSED
        assert b"at exit True" in suite.heard.output


class TestPipe:
    def test_children_do_not_inherit_it(self, suite: Suite) -> None:
        suite.write(
            test_it="""
            import os, subprocess, sys

            def test_it():
                assert "HARNESS_TEST_EVENTS_FD" not in os.environ
                listing = "import os; print(len(os.listdir('/dev/fd')))"
                run = lambda close: subprocess.check_output([sys.executable, "-c", listing], close_fds=close)
                assert run(False) == run(True)

            def test_nested():
                nested = [sys.executable, "-m", "pytest", "-p", "harness_pytest", "inner.py"]
                subprocess.run(nested, check=True)

            def test_forked():
                if pid := os.fork():
                    os.waitpid(pid, 0)
            """,
            inner="def test_inner(): pass",
        )
        # The forked child goes on as a second pytest.
        suite.run("test_it.py", "inner.py")
        assert suite.heard.statuses() == {
            "test_it": "passed",
            "test_nested": "passed",
            "test_forked": "passed",
            "test_inner": "passed",
        }
        assert suite.heard.warnings == []

    def test_a_file_that_takes_its_number_is_not_written_to(self, suite: Suite) -> None:
        suite.write(
            test_it="""
            import os

            def test_it(tmp_path):
                os.closerange(3, 100)
                for n in range(100):
                    os.open(f"victim{n}", os.O_RDWR | os.O_CREAT)

            def test_next():
                assert not any(os.path.getsize(f"victim{n}") for n in range(100))
            """
        )
        suite.run("test_it.py", addopts="-s")
        assert not any((suite.directory / f"victim{n}").stat().st_size for n in range(100))
        assert b"2 passed" in suite.heard.output

    @pytest.mark.parametrize("number", ["", "none", "99"])
    def test_without_it_pytest_is_as_ever(self, suite: Suite, number: str) -> None:
        suite.write(
            test_it=f"""
            import os, signal, subprocess, sys

            def test_it():
                env = {{**os.environ, "HARNESS_TEST_EVENTS_FD": "{number}"}}
                nested = [sys.executable, "-m", "pytest", "-p", "harness_pytest", "inner.py"]
                subprocess.run(nested, env=env, check=True)
            """,
            inner="""
            import signal
            def test_inner(): assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
            """,
        )
        assert suite.run("test_it.py").status is Status.PASSED


class TestSuddenEnds:
    @pytest.mark.parametrize(
        ("end", "status", "reason"),
        [
            ("os._exit(0)", Status.FAILED, "exit code 0 while running test_it.py::test_it"),
            ("os.kill(os.getpid(), 9)", Status.KILLED, "killed by SIGKILL while running test_it.py::test_it"),
            ("pytest.exit('enough', returncode=0)", Status.FAILED, "exit code 0 while running test_it.py::test_it"),
        ],
    )
    def test_in_a_test(self, suite: Suite, end: str, status: Status, reason: str) -> None:
        suite.write(test_it=f"import os, pytest\ndef test_it(): {end}")
        outcome = suite.run("test_it.py")
        assert (outcome.status, outcome.reason) == (status, reason)
        assert suite.heard.statuses() == {"test_it": "error"}

    def test_before_the_tests(self, suite: Suite) -> None:
        suite.write(conftest="import os; os._exit(0)", test_it="def test_it(): pass")
        outcome = suite.run("test_it.py")
        assert (outcome.status, outcome.reason) == (Status.FAILED, "exit code 0, but its tests were not over")

    def test_after_the_tests_it_is_their_own_affair(self, suite: Suite) -> None:
        suite.write(
            conftest="import os\ndef pytest_sessionfinish(exitstatus): os._exit(exitstatus)",
            test_it="def test_it(): pass",
        )
        assert suite.run("test_it.py").status is Status.PASSED
