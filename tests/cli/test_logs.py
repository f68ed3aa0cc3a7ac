"""`logs`: which log, how much of it, until when, and in what form it reaches a pipe or a terminal."""

import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from harness.cli.logs import Harmless, goes_on, logs, offset_of_last
from harness.cli.runs import Watched
from harness.errors import UsageError
from harness.events import AttemptFinished, AttemptStarted, GroupFinished, RunFinished, ServiceStarted
from harness.model import Group, GroupResult, Outcome, Status
from harness.reporters.text import harmless

from .conftest import FakeRun

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 30.0
NOBODY = 2**22 + 1  # no process has such a number
HOSTILE = b"plain \x1b[31mred\x1b[0m \x1b]0;title\x07bell\x07 \x9b2J \xff\xfe\r\n10%\r20%\rdone\nlast"


def started(run: FakeRun, group: str, content: bytes | None) -> Path:
    log = run.files.group_log(group)
    if content is not None:
        log.write_bytes(content)
    run.add(1.0, AttemptStarted(group=group, attempt=1, slot=0, log=str(log)))
    return log


def ended(run: FakeRun, group: str, status: Status = Status.PASSED) -> None:
    run.add(2.0, GroupFinished(result=GroupResult(group=group, status=status)))


# Which log


def test_without_group_the_logs_of_the_newest_run_are_listed(call, fake_run) -> None:
    fake_run("20250101_120000").start("old")
    run = fake_run("20250101_120000-10").start("core", "search", "waiting")
    run.add(0.5, ServiceStarted(service="web", pid=1, port=1, log=str(run.files.service_log("web"))))
    for group in ("core", "search"):
        started(run, group, b"")
    ended(run, "core", Status.FAILED)
    assert call(logs).output.splitlines() == [
        "run 20250101_120000-10",
        "  ✗ failed   core    logs/core_20250101_120000-10.log",
        "  ▸ running  search  logs/search_20250101_120000-10.log",
        "  service    web     logs/run_20250101_120000-10/service-web.log",
        "  all                logs/parallel_run_20250101_120000-10.log",
    ]


def test_group_log_comes_byte_for_byte_into_a_pipe(call, fake_run) -> None:
    started(fake_run("20250101_120000").start("core"), "core", HOSTILE)
    assert call(logs, "core").stdout_bytes == HOSTILE


def test_path(call, fake_run) -> None:
    log = started(fake_run("20250101_120000").start("core"), "core", b"x")
    assert call(logs, "--path", "core").output == f"{log}\n"


def test_service_log(call, fake_run) -> None:
    run = fake_run("20250101_120000").start("core")
    log = run.files.service_log("web")
    log.write_bytes(b"listening\n")
    run.add(0.5, ServiceStarted(service="web", pid=1, port=1, log=str(log)))
    assert call(logs, "web").stdout == "listening\n"


def test_group_that_the_newest_run_left_out_is_found_in_an_older_one(call, fake_run) -> None:
    for run_id, content in (("20250101_120000-2", b"two"), ("20250101_120000-10", b"ten"), ("20241231_235959", b"old")):
        started(fake_run(run_id).start("core"), "core", content)
    fake_run("20250102_000000").start("search")
    (fake_run("20250101_130000").files.log_dir / "a_core_20250101_130000.log").write_bytes(b"of another group")
    result = call(logs, "core")
    assert result.stdout == "ten"
    assert (
        "core has no log in the newest run, 20250102_000000; this is logs/core_20250101_120000-10.log" in result.stderr
    )


@pytest.mark.parametrize(
    ("name", "hint"), [("serch", 'did you mean "search"?'), ("financal", 'did you mean "financial"?'), ("xyz", "")]
)
def test_unknown_group(call, fake_run, name: str, hint: str) -> None:
    fake_run("20250101_120000").start("search")  # financial is in the plan only
    with pytest.raises(UsageError) as caught:
        call(logs, name)
    assert caught.value.message == f'there is no log of "{name}"'
    assert caught.value.cure == hint


def test_wrong_plan_hides_no_log(call, fake_run, project: Path) -> None:
    started(fake_run("20250101_120000").start("core"), "core", b"x")
    (project / "harness.toml").write_text('[run]\nlog_dir = "logs"\nnonsense = 1\n')
    assert call(logs, "core").stdout == "x"


def test_log_dir_of_the_plan_and_of_the_option(call, fake_run, project: Path) -> None:
    started(fake_run("20250101_120000").start("core"), "core", b"x")
    (project / "logs").rename(project / "elsewhere")
    (project / "elsewhere/core_20250101_120000.log").write_bytes(b"moved")
    with pytest.raises(UsageError, match="there is no run in"):
        call(logs, "core")
    assert call(logs, "core", "--log-dir", "elsewhere").stdout == "moved"
    (project / "harness.toml").write_text('[run]\nlog_dir = "elsewhere"\n')
    assert call(logs, "core").stdout == "moved"


@pytest.mark.parametrize("options", [["-f"], ["--path"], ["-n", "3"]])
def test_options_of_one_log_need_a_group(call, fake_run, options: list[str]) -> None:
    fake_run("20250101_120000").start("core", "search")
    with pytest.raises(UsageError) as caught:
        call(logs, *options)
    assert caught.value.cure == "one of them: core, search"


# How much of it


@pytest.mark.parametrize(
    "content", [b"", b"one", b"one\n", b"1\n2\n3\n", b"1\n2\n3", b"\n\n\n", b"a" * 70_000 + b"\nz\n"]
)
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
def test_last_lines(tmp_path: Path, content: bytes, count: int) -> None:
    log = tmp_path / "log"
    log.write_bytes(content)
    with log.open("rb") as file:
        lines = content.splitlines(keepends=True)
        assert content[offset_of_last(file, count) :] == b"".join(
            lines[len(lines) - count :] if count < len(lines) else lines
        )


def test_last_lines_across_blocks(tmp_path: Path) -> None:
    lines = [b"%07d\n" % number for number in range(50_000)]
    (tmp_path / "log").write_bytes(b"".join(lines))
    with (tmp_path / "log").open("rb") as file:
        for count in (1, 8_191, 8_192, 8_193, 20_000, 49_999):
            assert offset_of_last(file, count) == 8 * (50_000 - count)


def test_lines_option(call, fake_run) -> None:
    started(fake_run("20250101_120000").start("core"), "core", b"1\n2\n3\n")
    assert call(logs, "-n", "2", "core").stdout == "2\n3\n"


# Until when


def follow(project: Path, *arguments: str) -> subprocess.Popen[bytes]:
    program = "import sys; from harness.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "--project", str(project), "logs", "-f", *arguments]
    return subprocess.Popen(
        command,
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.fixture
def watchdog() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Kills what is put into it, so that a read from it cannot wait for ever."""
    processes: list[subprocess.Popen[bytes]] = []
    timer = threading.Timer(DEADLINE, lambda: [process.kill() for process in processes])
    timer.start()
    yield processes
    timer.cancel()
    for process in processes:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()


def stream(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def test_follow_shows_what_comes_until_the_group_ends(project: Path, fake_run, watchdog) -> None:
    run = fake_run("20250101_120000").start("core", "search")
    log = started(run, "core", b"before\n")
    process = follow(project, "core")
    watchdog.append(process)
    assert stream(process.stdout).readline() == b"before\n"
    with log.open("ab") as file:
        file.write(b"while\n")
        file.flush()
        assert stream(process.stdout).readline() == b"while\n"
        file.write(b"the end, without newline")
    ended(run, "core")  # the run itself goes on
    assert stream(process.stdout).read() == b"the end, without newline"
    assert process.wait() == 0


def test_follow_waits_for_the_group_to_start(project: Path, fake_run, watchdog) -> None:
    run = fake_run("20250101_120000").start("core")
    process = follow(project, "core")
    watchdog.append(process)
    assert stream(process.stderr).readline() == "harness: waiting for core to start …\n".encode()
    log = started(run, "core", None)
    log.write_bytes(b"now\n")
    assert stream(process.stdout).readline() == b"now\n"
    ended(run, "core")
    assert process.wait() == 0


@pytest.mark.parametrize(
    ("pid", "ending"), [(os.getpid(), [RunFinished(exit_code=0, duration=1.0)]), (NOBODY, [])], ids=["ended", "died"]
)
def test_follow_ends_with_a_run_that_is_over(project: Path, fake_run, watchdog, pid: int, ending: list) -> None:
    run = fake_run("20250101_120000", pid=pid).start("core")
    started(run, "core", b"all\n")
    run.add(3.0, *ending)
    process = follow(project, "core")
    watchdog.append(process)
    assert stream(process.stdout).read() == b"all\n"
    assert process.wait() == 0


def test_follow_does_not_wait_for_a_group_that_will_not_start(project: Path, fake_run, watchdog) -> None:
    run = fake_run("20250101_120000").start("core", "search")
    ended(run, "core", Status.SKIPPED)
    process = follow(project, "core")
    watchdog.append(process)
    assert stream(process.stderr).read() == b'error: there is no log of "core"\n'
    assert process.wait() == 2


def test_a_file_that_runs_has_a_log_of_its_own_until_its_end(call, project: Path, fake_run, watchdog) -> None:
    run = fake_run("20250101_120000")
    run.start(Group(name="search", phase="all", tests=("a.py", "b.py"), splittable=True))
    log = run.files.part_log("search/a.py")
    log.write_bytes(b"so far\n")
    run.add(1.0, AttemptStarted(group="search", part="a.py", attempt=1, slot=0, log=str(run.files.group_log("search"))))
    with pytest.raises(UsageError) as caught:
        call(logs, "search")
    assert caught.value.cure == "each has a log of its own until then: search/a.py"
    assert call(logs, "search/a.py").stdout == "so far\n"
    assert goes_on(Watched(run.files), "search/a.py")
    process = follow(project, "search/a.py")
    watchdog.append(process)
    assert stream(process.stdout).readline() == b"so far\n"
    with log.open("ab") as file:
        file.write(b"the end\n")
    run.files.group_log("search").write_bytes(log.read_bytes())
    log.unlink()
    outcome = Outcome(group="search", part="a.py", attempt=1, status=Status.PASSED, started_at=1.0, duration=1.0)
    run.add(2.0, AttemptFinished(outcome=outcome))
    assert not goes_on(Watched(run.files), "search/a.py")
    assert stream(process.stdout).read() == b"the end\n"
    assert process.wait() == 0
    assert call(logs, "search").stdout == "so far\nthe end\n"
    after = call(logs, "search/a.py")
    assert (after.stdout, after.stderr) == (
        "so far\nthe end\n",
        "harness: search/a.py has run; what it wrote is in the log of search\n",
    )


def test_follow_waits_for_a_file_to_start(project: Path, fake_run, watchdog) -> None:
    run = fake_run("20250101_120000")
    run.start(Group(name="search", phase="all", tests=("a.py", "b.py"), splittable=True))
    process = follow(project, "search/b.py")
    watchdog.append(process)
    assert stream(process.stderr).readline() == "harness: waiting for search/b.py to start …\n".encode()
    run.files.part_log("search/b.py").write_bytes(b"here\n")
    run.add(1.0, AttemptStarted(group="search", part="b.py", attempt=1, slot=0, log=str(run.files.group_log("search"))))
    assert stream(process.stdout).readline() == b"here\n"
    outcome = Outcome(group="search", part="b.py", attempt=1, status=Status.PASSED, started_at=1.0, duration=1.0)
    run.add(2.0, AttemptFinished(outcome=outcome))
    assert process.wait() == 0


# In what form


def on_a_terminal(project: Path, *arguments: str) -> bytes:
    """What `logs` writes to a terminal."""
    master, slave = pty.openpty()
    program = "import sys; from harness.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "--project", str(project), "logs", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    process = subprocess.Popen(command, env=env, stdout=slave, stderr=subprocess.PIPE, stdin=slave)
    os.close(slave)
    shown, deadline = b"", time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        try:
            data = os.read(master, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not data:
            break
        shown += data
    os.close(master)
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, err
    return shown.replace(b"\r\n", b"\n")


def test_terminal_gets_nothing_that_acts(project: Path, fake_run) -> None:
    started(fake_run("20250101_120000").start("core"), "core", HOSTILE)
    assert on_a_terminal(project, "core").decode() == "plain red bell \ufffd2J \ufffd\ufffd\ndone\nlast"


def test_terminal_gets_all_with_raw(project: Path, fake_run) -> None:
    started(fake_run("20250101_120000").start("core"), "core", b"\x1b[31mred\x1b[0m\n")
    assert on_a_terminal(project, "--raw", "core") == b"\x1b[31mred\x1b[0m\n"


def test_line_without_end_is_shown_all_the_same(project: Path, fake_run) -> None:
    started(fake_run("20250101_120000").start("core"), "core", b"x" * 300_000)
    assert on_a_terminal(project, "core") == b"x" * 300_000


def test_line_without_end_is_not_held_in_memory(capsys: pytest.CaptureFixture[str]) -> None:
    writer = Harmless()
    writer.write(b"x" * 100_000)
    assert capsys.readouterr().out == "x" * 100_000


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("\u202egnp.exe", "gnp.exe"),
        ("tab\tkept", "tab\tkept"),
        ("a\x08b\x00", "ab"),
        ("50%\r100%\r", "100%"),
        ("ünï ✓ 日本", "ünï ✓ 日本"),
    ],
)
def test_harmless(line: str, shown: str) -> None:
    assert harmless(line) == shown
