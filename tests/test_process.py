"""process/ against real, ill-behaved children. Children say when they are ready; nobody sleeps and hopes."""

import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.logfile import LogFile
from harness.masking import Secrets
from harness.process import SIDE_VARIABLE, Child, Control, Exit, ToolError, run, run_tool
from harness.profile import Sampler
from harness.pump import READ_SIZE

LONG = 60.0  # seconds: longer than any test, so that whoever waits for it has failed


def go(argv: list[str], **changes: Any) -> tuple[Exit, bytes]:
    """Run `argv` with defaults; returns its end and its output."""
    output = bytearray()
    arguments: dict[str, Any] = {
        "env": dict(os.environ),
        "directory": "/",
        "output": output.extend,
        "timeout": LONG,
        "grace": LONG,
        "control": Control(),
        "spawned": lambda _: None,
        "side": None,
    }
    return run(argv, **(arguments | changes)), bytes(output)


def bash(script: str, **changes: Any) -> tuple[Exit, bytes]:
    return go(["bash", "-c", script], **changes)


def python(script: str, **changes: Any) -> tuple[Exit, bytes]:
    return go([sys.executable, "-S", "-c", script], **changes)


def when_ready(action: Callable[[], None]) -> Callable[[bytes], None]:
    """An output sink that does `action` once, when the first output comes."""
    left = [action]

    def sink(_: bytes) -> None:
        if left:
            left.pop()()

    return sink


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    """A pipe with a name. A child writes a line into it when it is ready."""
    path = tmp_path / "ready"
    os.mkfifo(path)
    return path


def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.005)
    return True


def is_dead(pid: int) -> bool:
    """Gone, or dead and waiting for an init that may not care."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except FileNotFoundError:
        return True


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


class TestEnding:
    @pytest.mark.parametrize("code", [0, 1, 77, 255])
    def test_exit_code(self, code: int) -> None:
        end, _ = bash(f"exit {code}")
        assert (end.exit_code, end.signal) == (code, None)
        assert (end.timed_out, end.stopped, end.leaked) == (False, False, False)

    @pytest.mark.parametrize("name", ["KILL", "TERM", "USR1"])
    def test_signal_of_its_own(self, name: str) -> None:
        end, _ = bash(f"kill -{name} $$")
        assert (end.exit_code, end.signal) == (None, signal.Signals[f"SIG{name}"])
        assert (end.timed_out, end.stopped) == (False, False)

    def test_usage_is_measured(self) -> None:
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        end, _ = python(f"x = bytearray({own + 64_000_000}); sum(range(1_000_000))")
        assert end.cpu_seconds > 0
        assert own + 64_000_000 < end.peak_memory < own + 300_000_000
        assert 0 < end.duration < LONG
        assert abs(end.started_at - time.time()) < LONG

    def test_the_memory_of_the_harness_is_not_taken_for_the_groups(self) -> None:
        assert bash("true")[0].peak_memory == 0

    def test_usage_is_that_of_the_whole_tree_also_of_what_nobody_waited_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Three that hold 50 MB and burn 0.3 s each are killed together with their leader."""
        sampler = Sampler(interval=1e9)  # it looks when it is told to
        monkeypatch.setattr("harness.process.running.SAMPLER", sampler)
        control, output = Control(), bytearray()

        def look_when_all_are_ready(data: bytes) -> None:
            output.extend(data)
            if len(output) == 3:
                sampler.look()
                control.kill()

        child = "held = bytearray(50_000_000); held[::4096] = b'x' * len(held[::4096])\n"
        child += "    while time.process_time() < 0.3: pass\n    os.write(1, b'!'); signal.pause()"
        script = f"import os, signal, time\nfor _ in range(3):\n  if not os.fork():\n    {child}\nsignal.pause()"
        end, _ = python(script, output=look_when_all_are_ready, control=control)
        assert end.cpu_seconds > 0.8
        assert 150_000_000 < end.peak_memory < 1_000_000_000

    def test_no_timeout(self) -> None:
        end, _ = bash("exit 3", timeout=None)
        assert end.exit_code == 3


class TestSurroundings:
    def test_output_is_stdout_and_stderr_in_order(self) -> None:
        _, output = bash("echo one; echo two >&2; echo three")
        assert output == b"one\ntwo\nthree\n"

    def test_environment_is_whole(self) -> None:
        _, output = go(["/usr/bin/env"], env={"ONLY": "this"})
        assert output == b"ONLY=this\n"

    def test_directory(self, tmp_path: Path) -> None:
        _, output = bash("pwd -P", directory=tmp_path)
        assert output.decode().strip() == str(tmp_path.resolve())

    def test_stdin_is_at_its_end(self) -> None:
        end, output = go(["cat"])
        assert (end.exit_code, output) == (0, b"")

    def test_session_and_group_of_its_own(self) -> None:
        _, output = python("import os; print(os.getpid() == os.getsid(0) == os.getpgid(0))")
        assert output == b"True\n"

    def test_inherits_no_descriptors(self) -> None:
        reading, writing = os.pipe()
        os.set_inheritable(writing, True)
        try:
            _, output = bash(f"echo x 2>/dev/null >&{writing} || echo closed")
        finally:
            os.close(reading)
            os.close(writing)
        assert output == b"closed\n"

    def test_spawned_gets_the_pid(self) -> None:
        pids: list[int] = []
        _, output = bash("echo $$", spawned=pids.append)
        assert int(output) == pids[0]


class TestOutput:
    def test_all_bytes_arrive(self) -> None:
        _, output = python("import sys; sys.stdout.buffer.write(bytes(range(256)))")
        assert output == bytes(range(256))

    def test_flood_without_newline_comes_in_pieces(self) -> None:
        sizes: list[int] = []
        end, _ = bash("head -c 50000000 /dev/zero", output=lambda data: sizes.append(len(data)))
        assert end.exit_code == 0
        assert sum(sizes) == 50_000_000
        assert max(sizes) <= READ_SIZE

    def test_a_process_that_closes_its_output_is_waited_for(self, ready: Path) -> None:
        end, _ = bash(f"exec >&- 2>&-; echo >{ready}; exit 7", spawned=lambda _: ready.read_text() and None)
        assert end.exit_code == 7

    def test_a_sink_that_raises_ends_the_process(self) -> None:
        pids: list[int] = []

        def sink(_: bytes) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            bash("echo; sleep 60", output=sink, spawned=pids.append)
        assert is_dead(pids[0])


class TestNotStarted:
    def test_missing_program(self) -> None:
        with pytest.raises(FileNotFoundError) as caught:
            go(["/no/such/program"])
        assert caught.value.filename == "/no/such/program"

    def test_missing_directory(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError) as caught:
            go(["true"], directory=str(tmp_path / "missing"))
        assert caught.value.filename == str(tmp_path / "missing")

    def test_not_executable(self, tmp_path: Path) -> None:
        script = tmp_path / "script"
        script.write_text("#!/bin/sh\n")
        with pytest.raises(PermissionError):
            go([str(script)])

    def test_leaves_no_descriptors(self) -> None:
        before = open_descriptors()
        for _ in range(20):
            with pytest.raises(FileNotFoundError):
                go(["/no/such/program"], side=lambda _: None)
        assert open_descriptors() <= before

    def test_cancelled_before(self) -> None:
        control = Control()
        control.cancel()
        pids: list[int] = []
        end, _ = go(["true"], control=control, spawned=pids.append)
        assert (end.exit_code, end.signal, end.stopped) == (None, None, True)
        assert pids == []


class TestLadder:
    def test_cancel_is_sigterm(self) -> None:
        control = Control()
        end, _ = bash("echo; exec sleep 60", control=control, output=when_ready(control.cancel))
        assert (end.signal, end.stopped, end.timed_out) == (signal.SIGTERM, True, False)

    def test_cancel_from_another_thread(self) -> None:
        control = Control()
        canceller = threading.Thread(target=control.cancel)
        end, _ = bash("exec sleep 60", control=control, spawned=lambda _: canceller.start())
        assert (end.signal, end.stopped) == (signal.SIGTERM, True)
        canceller.join()

    def test_who_ignores_sigterm_is_killed_after_the_grace(self) -> None:
        control = Control()
        end, _ = bash("trap '' TERM; echo; sleep 60", control=control, grace=0.05, output=when_ready(control.cancel))
        assert (end.signal, end.stopped) == (signal.SIGKILL, True)

    def test_who_exits_0_on_sigterm_was_stopped_all_the_same(self) -> None:
        control = Control()
        script = "trap 'exit 0' TERM; echo; while :; do read -t 0.01 <> <(:); done"
        end, _ = bash(script, control=control, output=when_ready(control.cancel))
        assert (end.exit_code, end.stopped) == (0, True)

    def test_kill_does_not_wait_for_the_grace(self) -> None:
        control = Control()
        end, _ = bash("trap '' TERM; echo; sleep 60", control=control, output=when_ready(control.kill))
        assert (end.signal, end.stopped) == (signal.SIGKILL, True)

    def test_kill_shortens_the_grace(self) -> None:
        control = Control()

        def sink(data: bytes) -> None:
            (control.kill if b"no" in data else control.cancel)()

        script = "trap 'echo no' TERM; echo; while :; do read -t 0.01 <> <(:); done"
        end, _ = bash(script, control=control, output=sink)
        assert (end.signal, end.stopped) == (signal.SIGKILL, True)

    def test_timeout(self, ready: Path) -> None:
        end, _ = bash(f"echo >{ready}; exec sleep 60", timeout=0.01, spawned=lambda _: ready.read_text() and None)
        assert (end.signal, end.timed_out, end.stopped) == (signal.SIGTERM, True, False)

    def test_timeout_then_exit_0(self, ready: Path) -> None:
        script = f"trap 'exit 0' TERM; echo >{ready}; while :; do read -t 0.01 <> <(:); done"
        end, _ = bash(script, timeout=0.01, spawned=lambda _: ready.read_text() and None)
        assert (end.exit_code, end.timed_out) == (0, True)

    def test_timeout_then_sigkill(self, ready: Path) -> None:
        script = f"trap '' TERM; echo >{ready}; sleep 60"
        end, _ = bash(script, timeout=0.01, grace=0.05, spawned=lambda _: ready.read_text() and None)
        assert (end.signal, end.timed_out) == (signal.SIGKILL, True)

    def test_only_the_leader_gets_sigterm(self, ready: Path) -> None:
        """So that it can still use its children while it tears down."""
        control = Control()
        script = f"""
            (trap 'echo child $((6 * 7))' TERM; trap 'used=1' USR1; echo >{ready}
            while test -z "$used"; do read -t 0.01 <> <(:); done; echo still $((7 * 7))) & child=$!
            read <{ready}
            trap 'kill -USR1 $child; wait $child; exit 0' TERM
            echo
            wait"""
        output = bytearray()
        begin = when_ready(control.cancel)

        def sink(data: bytes) -> None:
            output.extend(data)
            begin(data)

        bash(script, control=control, output=sink)
        assert b"still 49" in output
        assert b"child 42" not in output

    def test_a_stopped_process_takes_sigterm(self) -> None:
        def wait_until_stopped(pid: int) -> None:
            os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)

        end, _ = bash("kill -STOP $$; sleep 60", timeout=0.01, spawned=wait_until_stopped)
        assert (end.signal, end.timed_out) == (signal.SIGTERM, True)

    def test_cancel_after_the_end_changes_nothing(self) -> None:
        control = Control()
        end, _ = go(["true"], control=control)
        control.cancel()
        control.kill()
        assert (end.exit_code, end.stopped) == (0, False)

    def test_cancel_that_finds_it_ended_changes_nothing(self) -> None:
        control = Control()

        def wait_for_the_end(pid: int) -> None:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            control.cancel()

        end, _ = go(["true"], control=control, spawned=wait_for_the_end)
        assert (end.exit_code, end.stopped) == (0, False)

    def test_cancel_races_with_the_end(self) -> None:
        stops = 0
        for turn in range(200):
            control = Control()
            stopper = threading.Timer(turn * 10e-6, control.kill if turn % 2 else control.cancel)
            end, _ = go(["true"], control=control, spawned=lambda _, stopper=stopper: stopper.start())
            stopper.cancel()
            assert end.stopped or end.exit_code == 0
            assert end.exit_code == 0 or end.signal in (signal.SIGTERM, signal.SIGKILL)
            stops += end.stopped
        assert stops < 200


class TestSurvivors:
    def test_a_child_that_keeps_the_pipe_is_leaked_and_killed(self) -> None:
        end, output = bash("sleep 60 & echo $!")
        assert (end.exit_code, end.leaked) == (0, True)
        assert until(lambda: is_dead(int(output)))

    @pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
    @pytest.mark.skipif(os.getpriority(os.PRIO_PROCESS, 0) == 19, reason="not seen at the lowest priority")
    def test_a_child_without_the_pipe_is_leaked_and_killed(self) -> None:
        end, output = bash("sleep 60 >/dev/null 2>&1 & echo $!")
        assert (end.exit_code, end.leaked) == (0, True)
        assert until(lambda: is_dead(int(output)))

    def test_the_dead_that_nobody_reaped_are_no_leak(self) -> None:
        script = "import os; pid = os.fork() or os._exit(0); os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)"
        end, _ = python(script)
        assert (end.exit_code, end.leaked) == (0, False)

    def test_a_leader_that_ends_on_sigterm_before_its_child(self) -> None:
        control = Control()
        output = bytearray()

        def sink(data: bytes) -> None:
            output.extend(data)
            control.cancel()

        end, _ = bash("(trap '' TERM; sleep 60) & echo $!; wait", control=control, output=sink)
        assert (end.signal, end.stopped, end.leaked) == (signal.SIGTERM, True, True)
        assert until(lambda: is_dead(int(output)))

    def test_a_daemon_that_holds_the_pipe_does_not_hold_us(self) -> None:
        script = """
import os, signal
if pid := os.fork():
    print(pid)
else:
    os.setsid()
    signal.pause()
"""
        end, output = python(script)
        os.kill(int(output), signal.SIGKILL)
        assert (end.exit_code, end.leaked) == (0, True)

    def test_a_daemon_that_floods_does_not_hold_us(self) -> None:
        script = """
import os
reading, writing = os.pipe()
if pid := os.fork():
    os.read(reading, 1)
    os.write(1, b"%d\\n" % pid)
else:
    os.setsid()
    os.write(writing, b"!")
    while True:
        os.write(1, b"\\n" * 1000)
"""
        end, output = python(script)
        os.kill(int(output.split()[0]), signal.SIGKILL)
        assert (end.exit_code, end.leaked) == (0, True)

    def test_what_the_leader_wrote_last_is_read_though_a_daemon_holds_the_pipe(self) -> None:
        script = """
import os, signal
if pid := os.fork():
    os.write(1, b"%d\\n" % pid + b"x" * 60_000)
else:
    os.setsid()
    signal.pause()
"""
        _, output = python(script)
        daemon, _, rest = output.partition(b"\n")
        os.kill(int(daemon), signal.SIGKILL)
        assert len(rest) == 60_000


class TestSide:
    def test_its_bytes_arrive(self) -> None:
        events = bytearray()
        end, output = bash(f'echo out; printf side >&"${SIDE_VARIABLE}"', side=events.extend)
        assert (end.exit_code, output, bytes(events)) == (0, b"out\n", b"side")

    def test_who_holds_only_it_is_no_leak_and_no_delay(self) -> None:
        script = f"""
import os, signal
reading, writing = os.pipe()
if pid := os.fork():
    os.read(reading, 1)
    print(pid)
    os.write(int(os.environ["{SIDE_VARIABLE}"]), b"last words")
else:
    os.setsid()
    os.close(1)
    os.close(2)
    os.write(writing, b"!")
    signal.pause()
"""
        events = bytearray()
        end, output = python(script, side=events.extend)
        os.kill(int(output), signal.SIGKILL)
        assert (end.exit_code, end.leaked, bytes(events)) == (0, False, b"last words")

    @pytest.mark.skipif(sys.platform != "linux", reason="pipes of a chosen size")
    def test_what_is_left_in_it_at_the_end_is_read(self) -> None:
        script = f"""
import fcntl, os
side = int(os.environ["{SIDE_VARIABLE}"])
fcntl.fcntl(side, 1031, 500_000)  # F_SETPIPE_SZ
os.write(side, b"x" * 500_000)
"""
        events = bytearray()
        python(script, side=events.extend, spawned=lambda pid: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT))
        assert len(events) == 500_000

    def test_none_unless_asked_for(self) -> None:
        """Also not one of a harness that runs this harness."""
        _, output = bash(f'echo "${SIDE_VARIABLE}"', env={**os.environ, SIDE_VARIABLE: "99"})
        assert output == b"\n"


class TestUpkeep:
    def test_many_runs_leave_nothing(self) -> None:
        pids: list[int] = []

        def some(count: int) -> None:
            for _ in range(count):
                go(["true"], side=lambda _: None, spawned=pids.append)

        before = open_descriptors()
        threads = [threading.Thread(target=some, args=(150,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert open_descriptors() <= before
        assert len(pids) == 300
        for pid in pids:
            with pytest.raises(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    def test_without_pidfd(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
        before = open_descriptors()
        control = Control()
        assert bash("echo; exit 5")[0].exit_code == 5
        end, _ = bash("echo; exec sleep 60", control=control, output=when_ready(control.cancel))
        assert (end.signal, end.stopped) == (signal.SIGTERM, True)
        assert until(lambda: open_descriptors() <= before)


def child(script: str, log: Path, directory: str | Path = "/", **changes: Any) -> Child:
    argv = ["bash", "-c", script]
    return Child(argv, env=dict(os.environ), directory=directory, log=LogFile(str(log), Secrets()), **changes)


def reads(log: Path, text: str) -> Callable[[], bool]:
    return lambda: text in log.read_text()


class TestChild:
    def test_output_is_appended(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        log.write_text("before\n")
        process = child("echo out; echo err >&2; exit 4", log)
        assert process.wait(LONG) == 4
        assert process.poll() == 4
        assert log.read_text() == "before\nout\nerr\n"

    def test_log_is_private(self, tmp_path: Path) -> None:
        child("true", tmp_path / "log").wait(LONG)
        assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600

    def test_wait_has_a_limit(self, tmp_path: Path) -> None:
        process = child("sleep 60", tmp_path / "log")
        assert process.wait(0.01) is None
        assert process.poll() is None
        process.stop(LONG)
        assert process.poll() == -signal.SIGTERM

    def test_stop_with_another_signal(self, tmp_path: Path) -> None:
        process = child("trap 'exit 9' INT; echo up; while :; do read -t 0.01 <> <(:); done", tmp_path / "log")
        assert until(reads(tmp_path / "log", "up"))
        process.stop(LONG, signal.SIGINT)
        assert process.poll() == 9

    def test_stop_kills_after_the_grace_and_again_does_nothing(self, tmp_path: Path) -> None:
        process = child("trap '' TERM; echo up; sleep 60", tmp_path / "log")
        assert until(reads(tmp_path / "log", "up"))
        process.stop(0.01)
        process.stop(0.01)
        assert process.poll() == -signal.SIGKILL

    @pytest.mark.parametrize("end", ["stop", "wait"])
    def test_its_group_dies_with_it(self, tmp_path: Path, end: str) -> None:
        log = tmp_path / "log"
        process = child(f"(trap '' TERM; exec sleep 60) & echo $!.; {'wait' if end == 'stop' else 'exit 0'}", log)
        assert until(reads(log, "."))
        if end == "stop":
            process.stop(LONG)
        else:
            process.wait(None)
        assert until(lambda: is_dead(int(log.read_text().strip(".\n"))))

    def test_one_thread_waits_while_another_stops(self, tmp_path: Path) -> None:
        before = open_descriptors()
        process = child("sleep 60", tmp_path / "log")
        codes: list[int | None] = []
        waiters = [threading.Thread(target=lambda: codes.append(process.wait(None))) for _ in range(3)]
        for waiter in waiters:
            waiter.start()
        process.stop(LONG)
        for waiter in waiters:
            waiter.join()
        assert codes == [-signal.SIGTERM] * 3
        assert open_descriptors() <= before

    def test_its_last_lines_are_in_the_log_when_its_end_is_known(self, tmp_path: Path) -> None:
        for number in range(20):
            process = child("printf '%0100000d' 7; echo; echo last", tmp_path / f"log-{number}")
            assert process.wait(None) == 0
            assert (tmp_path / f"log-{number}").read_text() == "0" * 99_999 + "7\nlast\n"

    def test_it_never_waits_for_its_output_to_be_read(self, tmp_path: Path) -> None:
        """Neither where nobody asks after it, nor where the log takes nothing."""
        (tmp_path / "full").symlink_to("/dev/full")
        for name in ("log", "full"):
            process = child(
                f"head -c 5000000 /dev/zero; touch done-{name}; sleep 60", tmp_path / name, directory=tmp_path
            )
            assert until((tmp_path / f"done-{name}").exists)
            process.stop(LONG)

    def test_a_daemon_that_holds_its_output_holds_up_nobody(self, tmp_path: Path) -> None:
        before, threads = open_descriptors(), threading.active_count()
        log = tmp_path / "log"
        daemon = "setsid bash -c 'echo $$.; exec sleep 60' &"
        process = child(f"{daemon} until grep -q . log; do read -t 0.01 <> <(:); done; exit 3", log, directory=tmp_path)
        began = time.monotonic()
        assert process.wait(None) == 3
        assert time.monotonic() - began < LONG
        assert threading.active_count() <= threads
        assert open_descriptors() <= before
        os.kill(int(log.read_text().strip(".\n")), signal.SIGKILL)

    def test_secrets_and_too_much(self, tmp_path: Path) -> None:
        secrets = Secrets(["*"])
        secrets.learn({"A": "abcd-1234"})
        script = "printf abcd-; sleep 0.05; echo 1234; yes abcd-1234 | head -n 100000; echo end"
        log = LogFile(str(tmp_path / "log"), secrets, limit=100_000)
        assert Child(["bash", "-c", script], env=dict(os.environ), directory="/", log=log).wait(None) == 0
        text = (tmp_path / "log").read_text()
        assert set(text.split("\n")) - {"***", "", "**", "*"} == {
            "end",
            "=== 300.1 KB left out here: log_limit is 100 KB",
        }
        assert len(text) <= 100_000

    def test_cannot_be_started(self, tmp_path: Path) -> None:
        before = open_descriptors()
        with pytest.raises(OSError, match="cannot write the log"):
            child("true", tmp_path / "no" / "log")
        with pytest.raises(FileNotFoundError):
            Child(["/no/such/program"], env={}, directory="/", log=LogFile(str(tmp_path / "log"), Secrets()))
        assert open_descriptors() <= before

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
    def test_as_another_user(self, tmp_path: Path) -> None:
        process = child("id -u; id -G", tmp_path / "log", user=(65534, 65533))
        assert process.wait(LONG) == 0
        assert (tmp_path / "log").read_text() == "65534\n65533\n"


class TestTool:
    def test_its_stdout(self) -> None:
        assert run_tool(["bash", "-c", "echo out; echo err >&2"], timeout=LONG) == "out\n"

    def test_failure_shows_command_code_and_last_lines(self) -> None:
        with pytest.raises(ToolError) as caught:
            run_tool(["bash", "-c", "for i in {1..9}; do echo line $i >&2; done; exit 3"], timeout=LONG)
        assert caught.value.message.startswith("bash -c '")
        assert caught.value.message.endswith(
            "exit code 3\n  line 5\n  line 6\n  line 7\n  line 8\n  line 9",
        )
        assert caught.value.exit_code == 3

    def test_failure_unchecked(self) -> None:
        assert run_tool(["bash", "-c", "echo out; exit 3"], timeout=LONG, check=False) == "out\n"

    def test_missing(self) -> None:
        with pytest.raises(ToolError, match="/no/such/program: could not be started"):
            run_tool(["/no/such/program"], timeout=LONG)

    def test_environment_and_directory(self, tmp_path: Path) -> None:
        assert run_tool(["/bin/pwd"], env={}, directory=tmp_path, timeout=LONG).strip() == str(tmp_path.resolve())

    def test_timeout_kills_its_group(self, tmp_path: Path) -> None:
        pid = tmp_path / "pid"
        with pytest.raises(ToolError, match=r"no end after 1\.5 s"):
            run_tool(["bash", "-c", f"sleep 60 & echo $! >{pid}; wait"], timeout=1.5)
        assert until(lambda: is_dead(int(pid.read_text())))
