"""run_attempt: what stands in the log, what it notifies, and how it judges each ending. Real processes."""

import errno
import os
import pickle
import re
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.attempt import Left, Output, run_attempt
from harness.events import AnyEvent, AttemptSpawned, TestFinished, TestStarted
from harness.judging import _span
from harness.masking import Secrets
from harness.model import Job, Outcome, Status, TestStatus
from harness.process import Control

HEADER = r"=== financial · attempt %d · \d{4}-\d\d-\d\d \d\d:\d\d:\d\d · slot 2 · \$ "


class Heard:
    """Collects what an attempt notifies."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = []
        self.output = bytearray()
        self.on_spawned: Callable[[], object] = lambda: None
        self.on_output: Callable[[], object] = lambda: None

    def __call__(self, event: AnyEvent | Output) -> None:
        if isinstance(event, Output):
            self.output += event.data
            self.on_output()
        else:
            self.events.append(event)
            if isinstance(event, AttemptSpawned):
                self.on_spawned()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "financial.log"


@pytest.fixture
def ready(tmp_path: Path, heard: Heard) -> Path:
    """A pipe with a name. No deadline comes before the child has written a line into it."""
    path = tmp_path / "ready"
    os.mkfifo(path)
    heard.on_spawned = path.read_text
    return path


@pytest.fixture
def make(tmp_path: Path, log: Path) -> Callable[..., Job]:
    def job(command: str | tuple[str, ...], **changes: Any) -> Job:
        fields: dict[str, Any] = {
            "run_id": "20260101_000000",
            "group": "financial",
            "attempt": 1,
            "slot": 2,
            "argv": ("bash", "-c", command) if isinstance(command, str) else command,
            "env": dict(os.environ),
            "directory": str(tmp_path),
            "log": str(log),
            "timeout": 60.0,
            "grace": 60.0,
            "statuses": {0: Status.PASSED, 5: Status.NO_TESTS},
            "reports_tests": False,
        }
        return Job(**(fields | changes))

    return job


Make = Callable[..., Job]


def send(*lines: str) -> str:
    """Shell that reports test events."""
    return "".join(f"echo '{line}' >&$HARNESS_TEST_EVENTS_FD; " for line in lines)


BEGIN = '{"event": "begin"}'
END = '{"event": "end"}'


def start(test: str) -> str:
    return f'{{"event": "start", "id": "{test}"}}'


def finish(test: str, status: str) -> str:
    return f'{{"event": "finish", "id": "{test}", "status": "{status}", "duration": 0.5}}'


def judged(outcome: Outcome) -> tuple[Status, str]:
    return outcome.status, outcome.reason


class TestLog:
    def test_header_then_output(self, make: Make, heard: Heard, log: Path) -> None:
        run_attempt(make("echo one; echo two >&2"), heard)
        header, _, rest = log.read_text().partition("\n")
        assert re.fullmatch(HEADER % 1 + r"bash -c 'echo one; echo two >&2'", header)
        assert rest == "one\ntwo\n"
        assert heard.output == b"one\ntwo\n"

    def test_attempts_stand_under_one_another(self, make: Make, heard: Heard, log: Path) -> None:
        for attempt, output in enumerate(["no newline", "newline\\n", ""], 1):
            run_attempt(make(("printf", output), attempt=attempt), heard)
        lines = log.read_text().splitlines()
        assert re.match(HEADER % 1, lines[0])
        assert lines[1] == "no newline"
        assert re.match(HEADER % 2, lines[2])
        assert lines[3] == "newline"
        assert re.match(HEADER % 3, lines[4])
        assert len(lines) == 5

    def test_byte_for_byte(self, make: Make, heard: Heard, log: Path) -> None:
        script = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 1000)"
        run_attempt(make((sys.executable, "-S", "-c", script)), heard)
        assert log.read_bytes().partition(b"\n")[2] == bytes(range(256)) * 1000

    def test_header_is_one_line(self, make: Make, heard: Heard, log: Path) -> None:
        run_attempt(make("# one\n# two\x1b[31m"), heard)
        assert log.read_text().count("\n") == 1
        assert r"# one\n# two\x1b[31m" in log.read_text()

    def test_private(self, make: Make, heard: Heard, log: Path) -> None:
        run_attempt(make("true"), heard)
        assert log.stat().st_mode & 0o777 == 0o600

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
    def test_full_from_the_beginning(self, make: Make, heard: Heard) -> None:
        outcome = run_attempt(make("echo", log="/dev/full"), heard)
        assert judged(outcome) == (Status.ERROR, f"cannot write the log /dev/full: {os.strerror(errno.ENOSPC)}")
        assert heard.events == []

    def test_full_in_the_midst(self, make: Make, heard: Heard, log: Path) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            outcome = run_attempt(make("head -c 200000 /dev/zero; exec sleep 60"), heard)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, before)
        assert judged(outcome) == (Status.ERROR, f"cannot write the log {log}: {os.strerror(errno.EFBIG)}")
        assert outcome.signal == signal.SIGTERM
        assert log.stat().st_size == 100_000

    def test_missing_directory(self, make: Make, heard: Heard, tmp_path: Path) -> None:
        path = str(tmp_path / "missing" / "log")
        outcome = run_attempt(make("echo", log=path), heard)
        assert judged(outcome) == (Status.ERROR, f"cannot write the log {path}: {os.strerror(errno.ENOENT)}")


class TestNotStarted:
    def reason(self, job: Job) -> str:
        outcome = run_attempt(job, lambda _: None)
        assert (outcome.status, outcome.exit_code, outcome.signal) == (Status.ERROR, None, None)
        prefix, _, reason = outcome.reason.partition(": ")
        assert prefix == "could not be started"
        assert "\n" not in reason
        return reason

    def test_missing_program(self, make: Make) -> None:
        reason = self.reason(make(("/no/such/program",)))
        assert reason == "/no/such/program was not found, or the interpreter that its #! line names"

    def test_missing_directory(self, make: Make) -> None:
        assert self.reason(make("true", directory="/no/such/dir")) == "directory /no/such/dir does not exist"

    def test_not_executable(self, make: Make, tmp_path: Path) -> None:
        (tmp_path / "script").touch()
        assert self.reason(make((str(tmp_path / "script"),))).startswith(f"{tmp_path}/script may not be executed")

    def test_no_program(self, make: Make, tmp_path: Path) -> None:
        (tmp_path / "script").write_text("text")
        (tmp_path / "script").chmod(0o700)
        assert self.reason(make((str(tmp_path / "script"),))) == "neither a program nor a script with a #! line"

    def test_no_descriptors(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        def none_left() -> tuple[int, int]:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        monkeypatch.setattr(os, "pipe", none_left)
        assert self.reason(make("true")).startswith("too many open files: raise `ulimit -n`")

    def test_nul_in_an_argument(self, make: Make) -> None:
        assert self.reason(make(("echo", "a\0b"))) == "embedded null byte"

    def test_stopped_before(self, make: Make, heard: Heard, log: Path) -> None:
        control = Control()
        control.cancel()
        outcome = run_attempt(make("echo"), heard, control)
        assert judged(outcome) == (Status.INTERRUPTED, "stopped before it had started")
        assert heard.events == []
        assert log.read_text().startswith("=== financial")

    def test_a_listener_that_raises(self, make: Make) -> None:
        def listener(_: object) -> None:
            raise ZeroDivisionError("oops")

        outcome = run_attempt(make("sleep 60"), listener)
        assert judged(outcome) == (Status.ERROR, "the harness failed: ZeroDivisionError: oops")


class TestJudgement:
    def test_passed(self, make: Make, heard: Heard) -> None:
        outcome = run_attempt(make("true"), heard)
        assert judged(outcome) == (Status.PASSED, "")
        assert (outcome.group, outcome.attempt, outcome.exit_code) == ("financial", 1, 0)
        assert outcome.started_at > 0
        assert outcome.duration > 0
        assert outcome.cpu_seconds > 0

    def test_spawned(self, make: Make, heard: Heard) -> None:
        run_attempt(make("echo $$"), heard)
        argv = ("bash", "-c", "echo $$")
        assert heard.events == [AttemptSpawned(group="financial", attempt=1, pid=int(heard.output), argv=argv)]

    @pytest.mark.parametrize(
        ("code", "expected"),
        [
            (1, (Status.FAILED, "exit code 1")),
            (5, (Status.NO_TESTS, "no tests ran")),
            (130, (Status.FAILED, "exit code 130")),
        ],
    )
    def test_exit_code(self, make: Make, heard: Heard, code: int, expected: tuple[Status, str]) -> None:
        outcome = run_attempt(make(f"exit {code}"), heard)
        assert judged(outcome) == expected
        assert outcome.exit_code == code

    @pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT"])
    def test_killed(self, make: Make, heard: Heard, name: str) -> None:
        outcome = run_attempt(make(f"kill -{name[3:]} $$; sleep 60"), heard)
        assert judged(outcome) == (Status.KILLED, f"killed by {name}")
        assert (outcome.exit_code, outcome.signal) == (None, signal.Signals[name])

    def test_timed_out(self, make: Make, heard: Heard, ready: Path) -> None:
        outcome = run_attempt(make(f"echo >{ready}; exec sleep 60", timeout=0.1), heard)
        assert judged(outcome) == (Status.TIMED_OUT, "no end after 0.1s: SIGTERM")

    def test_timed_out_though_it_ignores_it(self, make: Make, heard: Heard, ready: Path) -> None:
        script = f"trap '' TERM; echo >{ready}; sleep 60"
        outcome = run_attempt(make(script, timeout=0.1, grace=0.05), heard)
        assert judged(outcome) == (Status.TIMED_OUT, "no end after 0.1s: SIGTERM, then SIGKILL after 0.05s")

    def test_timed_out_though_it_exits_0(self, make: Make, heard: Heard, ready: Path) -> None:
        script = f"trap 'exit 0' TERM; echo >{ready}; while :; do read -t 0.01 <> <(:); done"
        outcome = run_attempt(make(script, timeout=0.1), heard)
        assert (outcome.status, outcome.exit_code) == (Status.TIMED_OUT, 0)

    def test_stopped(self, make: Make, heard: Heard) -> None:
        control = Control()
        heard.on_output = control.cancel
        outcome = run_attempt(make("echo; exec sleep 60"), heard, control)
        assert judged(outcome) == (Status.INTERRUPTED, "stopped")

    def test_leaked_is_a_separate_fact(self, make: Make, heard: Heard) -> None:
        outcome = run_attempt(make("sleep 60 & exit 0"), heard)
        assert (outcome.status, outcome.leaked) == (Status.PASSED, True)

    def test_job_and_outcome_travel(self, make: Make, heard: Heard) -> None:
        job = pickle.loads(pickle.dumps(make("true")))
        outcome = run_attempt(job, heard)
        assert pickle.loads(pickle.dumps(outcome)) == outcome


class TestTests:
    def test_events(self, make: Make, heard: Heard) -> None:
        script = send(BEGIN, start("t.py::a"), finish("t.py::a", "passed"), END)
        outcome = run_attempt(make(script, reports_tests=True), heard)
        assert judged(outcome) == (Status.PASSED, "")
        spawned, started, finished = heard.events
        assert isinstance(spawned, AttemptSpawned)
        assert started == TestStarted(group="financial", attempt=1, test="t.py::a")
        assert isinstance(finished, TestFinished)
        assert (finished.result.status, finished.result.duration) == (TestStatus.PASSED, 0.5)

    def test_reason_names_the_failed(self, make: Make, heard: Heard) -> None:
        script = send(finish("t.py::a", "failed"), finish("t.py::b", "passed"), finish("t.py::c[x]", "error"))
        outcome = run_attempt(make(script + "exit 1", reports_tests=True), heard)
        assert judged(outcome) == (Status.FAILED, "2 of 3 tests failed: a, c[x]")

    def test_reason_names_three_at_most(self, make: Make, heard: Heard) -> None:
        script = send(*(finish(f"t.py::{name}", "failed") for name in "abcde"))
        outcome = run_attempt(make(script + "exit 1", reports_tests=True), heard)
        assert judged(outcome) == (Status.FAILED, "5 of 5 tests failed: a, b, c and 2 more")

    @pytest.mark.parametrize(
        ("end", "expected"),
        [
            ("kill -KILL $$", (Status.KILLED, "killed by SIGKILL while running t.py::b")),
            ("exit 3", (Status.FAILED, "exit code 3 while running t.py::b")),
            ("exit 0", (Status.FAILED, "exit code 0 while running t.py::b")),
            ("exit 5", (Status.FAILED, "exit code 5 while running t.py::b")),
        ],
    )
    def test_death_in_the_midst_of_a_test(
        self, make: Make, heard: Heard, end: str, expected: tuple[Status, str]
    ) -> None:
        script = send(BEGIN, finish("t.py::a", "failed"), start("t.py::b")) + end
        outcome = run_attempt(make(script, reports_tests=True), heard)
        assert judged(outcome) == expected
        last = heard.events[-1]
        assert isinstance(last, TestFinished)
        assert (last.result.id, last.result.status) == ("t.py::b", TestStatus.ERROR)
        assert last.result.message == expected[1]

    def test_a_test_that_is_broken_off_did_not_fail(self, make: Make, heard: Heard) -> None:
        control = Control()
        heard.on_output = control.cancel
        script = send(BEGIN, start("t.py::a")) + "echo; exec sleep 60"
        outcome = run_attempt(make(script, reports_tests=True), heard, control)
        assert judged(outcome) == (Status.INTERRUPTED, "stopped while running t.py::a")
        assert not [event for event in heard.events if isinstance(event, TestFinished)]

    def test_exit_0_before_the_session_is_over_is_no_pass(self, make: Make, heard: Heard) -> None:
        outcome = run_attempt(make(send(BEGIN), reports_tests=True), heard)
        assert judged(outcome) == (Status.FAILED, "exit code 0, but its tests were not over")

    @pytest.mark.parametrize(
        ("script", "reason"), [(finish("t.py::a", "failed"), "1 of 1 test failed: a"), ("", "exit code 3")]
    )
    def test_of_a_session_that_was_not_over_the_exit_code_says_enough(
        self, make: Make, heard: Heard, script: str, reason: str
    ) -> None:
        outcome = run_attempt(make(send(BEGIN, script) + "exit 3", reports_tests=True), heard)
        assert judged(outcome) == (Status.FAILED, reason)

    def test_exit_0_with_a_failed_test_is_no_pass(self, make: Make, heard: Heard) -> None:
        script = send(BEGIN, start("t.py::a"), finish("t.py::a", "failed"), END)
        outcome = run_attempt(make(script, reports_tests=True), heard)
        assert judged(outcome) == (Status.FAILED, "exit code 0, but 1 of 1 test failed: a")

    def test_no_tests_is_what_the_job_makes_of_it(self, make: Make, heard: Heard) -> None:
        outcome = run_attempt(make("exit 5", statuses={5: Status.SKIPPED}), heard)
        assert judged(outcome) == (Status.SKIPPED, "no tests ran")

    def test_a_process_that_reports_nothing_is_judged_by_its_code(self, make: Make, heard: Heard) -> None:
        assert judged(run_attempt(make("true", reports_tests=True), heard)) == (Status.PASSED, "")

    @pytest.mark.parametrize(
        ("script", "failed_tests"),
        [
            (send(BEGIN, finish("t.py::a", "failed"), finish("b.py", "error"), END) + "exit 1", ("t.py::a", "b.py")),
            (send(BEGIN, finish("t.py::a", "failed"), END), ("t.py::a",)),  # exit code 0
            (send(BEGIN, finish("t.py::a", "failed"), END) + "exit 2", ()),  # interrupted, or an internal error
            (send(BEGIN, finish("t.py::a", "failed")) + "exit 1", ()),  # the session was not over
            (send(BEGIN, finish("t.py::a", "failed"), start("t.py::b"), END) + "exit 1", ()),
            (send(BEGIN, finish("t.py::a", "failed"), END) + "kill -KILL $$", ()),
            (send(BEGIN, finish("t.py::a", "passed"), END) + "exit 1", ()),
            (send(BEGIN, finish("t.py::a", "passed"), END), ()),
        ],
    )
    def test_the_failed_tests_where_they_alone_are_why(
        self, make: Make, heard: Heard, script: str, failed_tests: tuple[str, ...]
    ) -> None:
        assert run_attempt(make(script, reports_tests=True), heard).failed_tests == failed_tests

    def test_timed_out_test_is_named(self, make: Make, heard: Heard, ready: Path) -> None:
        script = send(start("t.py::a")) + f"echo >{ready}; exec sleep 60"
        outcome = run_attempt(make(script, reports_tests=True, timeout=0.1), heard)
        assert judged(outcome) == (Status.TIMED_OUT, "no end after 0.1s while running t.py::a: SIGTERM")


TAP = "printf '1..%s\\nok 1 - a\\nnot ok 2 - b\\n' "


class TestResults:
    """Commands whose tests are told by a report."""

    @pytest.mark.parametrize(
        ("script", "status", "reason", "failed_tests"),
        [
            ("echo 1..1; echo ok 1", Status.PASSED, "", ()),
            (TAP + "2", Status.FAILED, "exit code 0, but 1 of 2 tests failed: b", ("b",)),
            (TAP + "2; exit 7", Status.FAILED, "1 of 2 tests failed: b", ("b",)),
            (
                TAP + "3",
                Status.FAILED,
                "exit code 0, but 1 of 2 tests failed: b; its output promises 3 tests, and has 2",
                (),
            ),
            (
                TAP + "3; exit 1",
                Status.FAILED,
                "1 of 2 tests failed: b; its output promises 3 tests, and has 2",
                (),
            ),
            (TAP + "2; kill -KILL $$", Status.KILLED, "killed by SIGKILL", ()),
            ("echo 1..2; echo ok 1", Status.FAILED, "exit code 0, but its output promises 2 tests, and has 1", ()),
            ("echo 1..1; echo ok 1; exit 3", Status.FAILED, "exit code 3", ()),
            ("true", Status.FAILED, "exit code 0, but its output has no TAP in it", ()),
            ("exit 127", Status.FAILED, "exit code 127; its output has no TAP in it", ()),
            ("echo 1..0", Status.NO_TESTS, "no tests ran", ()),
            ("echo '1..0 # SKIP no net'", Status.NO_TESTS, "no tests ran: no net", ()),
            ("echo '1..1'; echo 'ok 1 # SKIP no net'", Status.PASSED, "", ()),
        ],
    )
    def test_printed(
        self, make: Make, heard: Heard, script: str, status: Status, reason: str, failed_tests: tuple[str, ...]
    ) -> None:
        outcome = run_attempt(make(script, results="tap"), heard)
        assert judged(outcome) == (status, reason)
        assert outcome.failed_tests == failed_tests

    def test_events_come_with_the_lines_and_the_log_has_them_all(self, make: Make, heard: Heard, log: Path) -> None:
        told: list[int] = []
        heard.on_output = lambda: told.append(len(heard.events))
        run = '{"Action":"run","Package":"p","Test":"A"}'
        ends = '{"Action":"pass","Package":"p","Test":"A"}', '{"Action":"pass","Package":"p"}'
        script = f"echo '{run}'; read -t 0.01 <> <(:); printf '%s\\n' '{ends[0]}' '{ends[1]}'"
        outcome = run_attempt(make(script, results="go"), heard)
        assert judged(outcome) == (Status.PASSED, "")
        assert [type(event) for event in heard.events] == [AttemptSpawned, TestStarted, TestFinished]
        assert log.read_text().splitlines()[1:] == [run, *ends]
        assert told[0] >= 2  # the spawn, and the start that stood in the first output

    def test_a_test_that_was_running(self, make: Make, heard: Heard) -> None:
        script = """echo '{"Action":"run","Package":"p","Test":"A"}'; exit 2"""
        outcome = run_attempt(make(script, results="go"), heard)
        assert judged(outcome) == (Status.FAILED, "exit code 2 while running p::A")
        last = heard.events[-1]
        assert isinstance(last, TestFinished)
        assert (last.result.status, last.result.message) == (TestStatus.ERROR, "exit code 2 while running p::A")
        assert outcome.failed_tests == ()

    def test_what_was_reported_before_it_was_stopped_counts(self, make: Make, heard: Heard) -> None:
        control = Control()
        heard.on_output = control.cancel
        script = "echo not ok 1 - a; exec sleep 60"
        outcome = run_attempt(make(script, results="tap"), heard, control)
        assert judged(outcome) == (Status.INTERRUPTED, "stopped")
        assert [event.result.id for event in heard.events if isinstance(event, TestFinished)] == ["a"]
        assert outcome.failed_tests == ()

    def test_what_was_reported_before_time_was_up_counts(
        self, make: Make, heard: Heard, ready: Path, tmp_path: Path
    ) -> None:
        script = f"printf '1..1\\nnot ok 1 - a\\n' >out.tap; echo >{ready}; exec sleep 60"
        outcome = run_attempt(make(script, results="tap:out.tap", timeout=0.1), heard)
        assert judged(outcome) == (Status.TIMED_OUT, "no end after 0.1s: SIGTERM")
        assert [event.result.id for event in heard.events if isinstance(event, TestFinished)] == ["a"]
        assert outcome.failed_tests == ()

    @pytest.mark.parametrize(
        ("script", "status", "reason"),
        [
            ("echo '<testsuite><testcase name=\"a\"/></testsuite>' >a.xml", Status.PASSED, ""),
            (
                "echo '<testsuite><testcase name=\"a\"><failure/></testcase></testsuite>' >a.xml; exit 1",
                Status.FAILED,
                "1 of 1 test failed: a",
            ),
            ("echo '<testsuite/>' >a.xml", Status.NO_TESTS, "no tests ran"),
            (
                "true",
                Status.FAILED,
                "exit code 0, but a.xml was not written: mend the command, or `results` in the plan",
            ),
            (
                "exit 4",
                Status.FAILED,
                "exit code 4; a.xml was not written: mend the command, or `results` in the plan",
            ),
        ],
    )
    def test_written(self, make: Make, heard: Heard, script: str, status: Status, reason: str) -> None:
        assert judged(run_attempt(make(script, results="junit:a.xml"), heard)) == (status, reason)

    def test_the_report_of_the_attempt_before_is_not_read(self, make: Make, heard: Heard, tmp_path: Path) -> None:
        write = "echo '<testsuite><testcase name=\"a\"/></testsuite>' >a.xml"
        assert run_attempt(make(write, results="junit:a.xml"), heard).status is Status.PASSED
        outcome = run_attempt(make("true", results="junit:a.xml", attempt=2), heard)
        assert judged(outcome) == (
            Status.FAILED,
            "exit code 0, but a.xml is left from before, and was not written again",
        )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "0.25s"), (5.0, "5s"), (60.0, "1m"), (90.0, "1m30s"), (300.0, "5m"), (3661.0, "1h1m1s")],
)
def test_span(seconds: float, text: str) -> None:
    assert _span(seconds) == text


def test_secrets_of_its_environment_are_known_before_it_prints(make: Make, heard: Heard, log: Path) -> None:
    """Though nothing was known when the attempt began."""
    secrets = Secrets()

    class Learning:
        def enter(self, job: Job, _control: Control) -> Job:
            secrets.learn_given({"KEY": "made-just-now-1"}, ["KEY"])
            return job

        def leave(self, _job: Job, _status: Status) -> Left:
            return Left()

    run_attempt(make("echo made-just-now-1"), heard, surroundings=Learning(), secrets=secrets)
    assert log.read_text().splitlines()[1:] == ["***"]
    assert heard.output == b"***\n"
