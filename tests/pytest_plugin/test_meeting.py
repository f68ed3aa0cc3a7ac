"""Where the processes of a run meet: who runs beside whom, who is told of, and that nothing waits for ever."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent

import pytest
from projects import DEADLINE, eventually

from harness.pytest_plugin.harness_fixtures import meeting
from harness.pytest_plugin.harness_fixtures.meeting import Other, hold_shared, others, remove, temporary_directory

PLUGIN = Path(meeting.__file__).parent.parent
START = "import os, sys\nfrom harness_fixtures.meeting import *\nimport harness_fixtures.meeting as meeting\n"
# Runs tests whose markers stand in the arguments ("-": none); each says when it has begun, and ends when a line comes.
TESTS = """
meeting.PATIENCE = float(os.environ.get("PATIENCE", "600"))
for number, markers in enumerate(sys.argv[1:]):
    print("asks", flush=True)
    with around_test(f"test_a.py::test_{number}", set(markers.split(","))):
        print("begun", flush=True)
        sys.stdin.readline()
"""


class Process:
    """A process of a run, at the other end of two pipes."""

    def __init__(self, script: str, *arguments: str, **env: str) -> None:
        # Outside of the meeting that this test itself may take part in.
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("HARNESS_", "PYTEST_"))}
        self.shared = env.get("HARNESS_SHARED", "")
        self.popen = subprocess.Popen(
            [sys.executable, "-c", START + dedent(script), *arguments],
            env={**clean, "PYTHONPATH": str(PLUGIN), **env},
            stdin=-1,
            stdout=-1,
            text=True,
        )
        # What never comes is the end of its output.
        self._deadline = threading.Timer(DEADLINE, self._give_up)
        self._deadline.start()
        self._was_late = False

    def _give_up(self) -> None:
        self._was_late = True
        self.popen.kill()

    def end(self) -> None:
        self._deadline.cancel()
        self.kill()
        assert not self._was_late, "something waited that should not have"

    def reads(self, line: str) -> None:
        assert self.popen.stdout.readline() == line + "\n"

    def begins(self) -> None:
        self.reads("asks")
        self.reads("begun")

    def goes_on(self) -> None:
        self.popen.stdin.write("\n")
        self.popen.stdin.flush()

    def waits(self) -> None:
        """Asks, and then stands before a lock; or keeps the gate closed, as a serial test does. The kernel tells it."""
        self.reads("asks")
        eventually(self.is_locked_out, "it waits")

    def is_locked_out(self) -> bool:
        gate = f":{Path(self.shared, 'gate').stat().st_ino} "
        own = [line for line in Path("/proc/locks").read_text().splitlines() if f" {self.popen.pid} " in line]
        return any("->" in line or gate in line for line in own)

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()


Start = Callable[..., Process]
needs_proc_locks = pytest.mark.skipif(not Path("/proc/locks").exists(), reason="only Linux says who waits for a lock")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """start(markers, …): a process that runs these tests, one after the other, in the meeting of `tmp_path`."""
    with ExitStack() as stack:

        def started(*markers: str, script: str = TESTS, **env: str) -> Process:
            process = Process(script, *markers, **{"HARNESS_SHARED": str(tmp_path), **env})
            stack.enter_context(process.popen)
            stack.callback(process.end)
            return process

        yield started


# Who runs beside whom


def test_tests_without_markers_run_side_by_side(start: Start) -> None:
    for process in [start("-"), start("slow"), start("-")]:
        process.begins()


@needs_proc_locks
def test_a_serial_test_waits_for_those_that_run_and_keeps_the_others_waiting(start: Start) -> None:
    one, other = start("-", "-"), start("-")
    one.begins()
    other.begins()
    serial = start("serial")
    serial.waits()
    one.goes_on()
    one.waits()  # its next test came after the serial one: else they would never leave it a gap
    other.goes_on()
    serial.reads("begun")
    late = start("serial")
    late.waits()
    serial.goes_on()
    for process in (one, late):
        process.reads("begun")
        process.goes_on()
        assert process.popen.wait(60) == 0


@pytest.mark.parametrize("marker", ["redis_isolated", "heavy_resource"])
def test_two_with_the_same_marker_exclude_one_another_and_nobody_else(
    start: Start, tmp_path: Path, marker: str
) -> None:
    first, second = start(marker), start("-", marker)
    first.begins()
    second.begins()
    second.goes_on()
    second.reads("asks")
    start("-").begins()  # later than the second asked, and yet it runs
    assert len(seen_from(str(tmp_path))) == 2
    first.goes_on()
    second.reads("begun")


def seen_from(shared: str, *, waiting: bool = False) -> list[Other]:
    """Those that run, or those that wait."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(meeting, "_meeting", None)
        monkeypatch.setenv("HARNESS_SHARED", shared)
        return [other for other in others() if other.waits == waiting]


def test_redis_isolated_tests_with_a_redis_of_their_own_run_side_by_side(start: Start) -> None:
    lease = json.dumps([{"entry": "db", "kind": "postgres", "roles": {}}, {"entry": "x", "kind": "redis", "roles": {}}])
    for process in [start("redis_isolated", HARNESS_LEASES=lease) for _ in range(2)]:
        process.begins()
    start("redis_isolated", HARNESS_LEASES="[]").begins()


def test_as_many_heavy_tests_as_the_plan_says(start: Start, tmp_path: Path) -> None:
    heavy = [start("heavy_resource", HARNESS_HEAVY="2") for _ in range(3)]
    for process in heavy:
        process.reads("asks")
    eventually(lambda: len(seen_from(str(tmp_path))) == 2, "two of them run")
    # The third is given every chance to begin wrongly: those that take their turn now are told of after it would be.
    begun = [process for process in heavy if process.popen.pid in pids(tmp_path / "heavy")]
    assert len(begun) == 2
    (third,) = set(heavy) - set(begun)
    begun[0].reads("begun")
    begun[0].goes_on()
    third.reads("begun")


def pids(directory: Path) -> set[int]:
    """Of the processes that hold a place."""
    inodes = {path.stat().st_ino for path in directory.glob("place-*")}
    lines = [line.replace("->", "").split() for line in Path("/proc/locks").read_text().splitlines()]
    return {int(line[4]) for line in lines if int(line[5].rpartition(":")[2]) in inodes}


def test_a_killed_test_holds_nothing(start: Start) -> None:
    killed = start("serial,redis_isolated,heavy_resource")
    killed.begins()
    after = start("serial,redis_isolated,heavy_resource")
    after.reads("asks")
    killed.kill()
    after.reads("begun")


@needs_proc_locks
def test_a_killed_test_that_waited_holds_nobody_up(start: Start) -> None:
    first = start("-")
    first.begins()
    killed = start("serial")
    killed.waits()
    late = start("-")
    late.waits()
    killed.kill()
    late.reads("begun")


@needs_proc_locks
def test_an_interrupted_test_that_waited_holds_nobody_up(start: Start) -> None:
    first = start("-")
    first.begins()
    script = """
    print("asks", flush=True)
    try:
        with around_test("test_a.py::test_b", {"serial", "heavy_resource"}):
            pass
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.stdin.readline()                # its session goes on for a while, as pytest's does
    """
    stopped = start(script=script)
    stopped.waits()
    stopped.popen.send_signal(2)
    stopped.reads("interrupted")
    start("heavy_resource").begins()


def test_all_combinations_in_many_processes_come_to_an_end(start: Start) -> None:
    """No order of taking leads to a deadlock, and what excludes one another never runs at once."""
    script = """
    import random
    chance = random.Random(int(sys.argv[1]))
    for number in range(40):
        markers = {marker for marker in MARKERS if chance.random() < 0.3}
        with around_test(str(number), markers):
            inside = {name: os.open(os.environ["HARNESS_SHARED"] + "/judge-" + name, os.O_RDWR | os.O_CREAT)
                      for name in ["all", *markers - {"serial"}]}
            for name, descriptor in inside.items():
                import fcntl
                alone = name != "all" or "serial" in markers
                fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            for descriptor in inside.values():
                os.close(descriptor)
    """
    for process in [start(str(seed), script=script) for seed in range(6)]:
        assert process.popen.wait(60) == 0


@needs_proc_locks
def test_a_serial_test_does_not_wait_for_ever_for_one_that_waits_for_the_next_of_another_process(
    start: Start,
) -> None:
    """As with a lock in a fixture of a module: its second test has to run before the lock is free."""
    holds_it, needs_it = start("-", "-"), start("-")
    for process in (holds_it, needs_it):
        process.begins()
    serial = start("serial", PATIENCE="0.05")  # only now: it would not have waited for what had not begun
    serial.waits()
    holds_it.goes_on()
    holds_it.begins()  # although the serial test came first
    for process in (holds_it, needs_it):
        process.goes_on()
    serial.reads("begun")


@needs_proc_locks
def test_who_was_interrupted_while_it_waited_says_for_whom(start: Start, tmp_path: Path) -> None:
    script = """
    try:
        with around_test("test_b.py::test_waits", {MARKER} & MARKERS):
            pass
    except Waited as error:
        print(error, flush=True)
    """

    def said(marker: str) -> str:
        process = start(script=script.replace("MARKER}", f"{marker!r}}}"))
        waits = lambda: [other for other in seen_from(str(tmp_path), waiting=True) if "waits" in other.test]  # noqa: E731
        eventually(lambda: len(waits()) == 1, "it waits")
        eventually(process.is_locked_out, "it waits at a lock")
        process.popen.send_signal(2)
        line: str = process.popen.stdout.readline()
        return line.partition(" s for ")[2].rstrip()

    running = start("serial,redis_isolated", HARNESS_GROUP="exports")
    running.begins()
    assert said("-") == "serial exports · test_a.py::test_0"
    assert said("serial") == "exports · test_a.py::test_0"
    assert said("redis_isolated") == "redis_isolated exports · test_a.py::test_0"
    running.kill()
    start("-", HARNESS_GROUP="docs", PYTEST_XDIST_WORKER="gw1").begins()
    start("serial", HARNESS_GROUP="late").waits()
    assert said("-") == "serial late · test_a.py::test_0, which waits too"
    assert said("serial") == "docs · gw1 · test_a.py::test_0"


# Processes inside a test, and what tests do to a process


INSIDE = """
import subprocess
with around_test("outer", {"serial"}):
    print("begun", flush=True)
    if len(sys.argv) > 1:
        os.environ["HARNESS_SHARED"] = sys.argv[1]
        subprocess.run([sys.executable, "-c", *sys.argv[2:]], check=True)
"""


def test_a_pytest_inside_a_test_does_not_wait_for_that_test(start: Start, tmp_path: Path) -> None:
    """Also where one stands between the two that is in a meeting of its own."""
    outer, own = str(tmp_path), tmp_path / "own"
    own.mkdir()
    script = START + INSIDE
    process = start(str(own), script, outer, script, outer, script, str(own), script, script=INSIDE)
    assert process.popen.communicate(timeout=60)[0] == "begun\n" * 5


def test_a_test_inside_a_test_of_the_same_process(start: Start, tmp_path: Path) -> None:
    script = """
    with around_test("outer", set()):
        with around_test("inner", {"serial"}):
            pass
        print("begun", flush=True)
        sys.stdin.readline()
    """
    outer = start(script=script)
    outer.reads("begun")
    serial = start("serial")
    serial.reads("asks")
    assert [other.test for other in seen_from(str(tmp_path))] == ["outer"]
    outer.goes_on()
    serial.reads("begun")


def test_a_forked_child_lets_go_of_nothing(start: Start) -> None:
    script = """
    with around_test("test", {"heavy_resource"}):
        child = os.fork()
    if child:
        os.waitpid(child, 0)
        sys.exit()
    with around_test("in the child", {"serial"}):
        print("begun", flush=True)
        sys.stdin.readline()
    """
    start(script=script).reads("begun")


def test_a_forked_child_holds_nothing_after_the_death_of_its_parent(start: Start) -> None:
    script = """
    import signal
    with around_test("test", MARKERS):
        reading, writing = os.pipe()
        if os.fork():
            os.close(writing)
            os.read(reading, 1)
            os.kill(os.getpid(), signal.SIGKILL)
        print("begun", os.getpid(), flush=True)
        os.close(writing)
        signal.pause()
    """
    process = start(script=script)
    child = int(process.popen.stdout.readline().split()[1])
    try:
        assert process.popen.wait(60) == -9
        start("serial,redis_isolated,heavy_resource").begins()
    finally:
        os.kill(child, 9)


@needs_proc_locks
def test_a_test_that_closes_every_file_spoils_only_its_own_promise(start: Start, tmp_path: Path) -> None:
    script = """
    with around_test("closes", set()):
        os.closerange(3, 100)
        own = [os.open(os.devnull, os.O_RDWR) for _ in range(10)]
    for number in own:
        os.write(number, b"still open")
    with around_test("next", {"serial"}):
        print("begun", flush=True)
        sys.stdin.readline()
    """
    closing = start(script=script)
    closing.reads("begun")
    assert [other.test for other in seen_from(str(tmp_path))] == ["next"]
    start("-").waits()


# Where they meet


def test_without_the_harness_and_without_xdist_nothing_is_done(tmp_path: Path, start: Start) -> None:
    script = "with around_test('x', MARKERS): print(others(), os.environ.get(WITHIN))"
    assert start(script=script, HARNESS_SHARED="").popen.communicate()[0] == "[] None\n"
    assert list(tmp_path.iterdir()) == []


def test_the_workers_of_a_plain_xdist_meet_in_a_directory_of_their_own(start: Start, tmp_path: Path) -> None:
    directory = temporary_directory(f"../{tmp_path}")
    assert directory.parent == Path(tempfile.gettempdir())
    script = f"meeting.hand_over(meeting.Path({str(directory)!r}))" + TESTS
    env = {"script": script, "HARNESS_SHARED": "", "PYTEST_XDIST_WORKER": "gw3"}
    try:
        first = start("serial", **env)
        first.begins()
        assert directory.stat().st_mode & 0o777 == 0o700
        assert [(other.group, other.worker, other.test) for other in seen_from(str(directory))] == [
            ("", "gw3", "test_a.py::test_0")
        ]
        second = start("-", **env)
        second.reads("asks")
        first.goes_on()
        second.reads("begun")
    finally:
        remove(directory)
    assert not directory.exists()
    remove(directory)


@pytest.mark.parametrize("made", ["link", "file", "foreign"])
def test_what_somebody_else_put_there_is_neither_used_nor_removed(start: Start, tmp_path: Path, made: str) -> None:
    directory = temporary_directory(f"{tmp_path}/run")
    target = tmp_path / "target"
    target.mkdir()
    (target / "precious").touch()
    if made == "link":
        directory.symlink_to(target)
    elif made == "file":
        directory.touch()
    elif os.getuid() == 0:
        directory.mkdir()
        os.chown(directory, 12345, 12345)
    else:
        pytest.skip("only root can make a directory that belongs to somebody else")
    try:
        script = (
            f"meeting.hand_over(meeting.Path({str(directory)!r}))\nwith around_test('x', {{'serial'}}): print('begun')"
        )
        process = start(script=script, HARNESS_SHARED="")
        assert process.popen.communicate()[0] == ""
        assert process.popen.returncode == 1
        remove(directory)
        assert directory.is_symlink() or directory.exists()
        assert [path.name for path in target.iterdir()] == ["precious"]
    finally:
        directory.rmdir() if made == "foreign" else directory.unlink()


def test_a_directory_that_is_gone_stops_only_tests_that_rely_on_it(start: Start, tmp_path: Path) -> None:
    script = """
    import warnings
    warnings.simplefilter("always")
    with warnings.catch_warnings(record=True) as warned, around_test("x", {"slow"}):
        print("begun", *(str(each.message)[:44] for each in warned), flush=True)
    try:
        with around_test("x", {"slow", "serial"}):
            print("begun")
    except MeetingError as error:
        print(error)
    """
    said = start(script=script, HARNESS_SHARED=str(tmp_path / "gone")).popen.communicate()[0].splitlines()
    assert said[0] == "begun the tests of this run cannot see one another"
    assert said[1].endswith("; so serial cannot be kept")


# Who runs now


def test_others_are_told_by_group_worker_test_and_seconds(start: Start, tmp_path: Path) -> None:
    start("-", HARNESS_GROUP="search", PYTEST_XDIST_WORKER="gw1").begins()
    start("-", HARNESS_GROUP="ünï\n").begins()
    first, second = seen_from(str(tmp_path))
    assert first[:3] == ("search", "gw1", "test_a.py::test_0")
    assert second[:3] == ("ünï\n", "master", "test_a.py::test_0")
    assert 0 <= first.seconds < 60


@needs_proc_locks
def test_those_that_wait_are_told_of_as_waiting(start: Start, tmp_path: Path) -> None:
    start("serial,slow").begins()
    start("heavy_resource", HARNESS_GROUP="late").waits()
    assert [(other.waits, other.markers) for other in seen_from(str(tmp_path))] == [(False, ("serial",))]
    (waiting,) = seen_from(str(tmp_path), waiting=True)
    assert (waiting.name, waiting.markers) == ("late · test_a.py::test_0", ("heavy_resource",))


def test_who_has_died_or_is_between_two_tests_is_not_told_of(start: Start, tmp_path: Path) -> None:
    between = start(script="with around_test('x', set()): pass\nprint('over', flush=True)\nsys.stdin.readline()")
    between.reads("over")
    dead = start("-")
    dead.begins()
    assert len(seen_from(str(tmp_path))) == 1
    dead.kill()
    assert seen_from(str(tmp_path)) == []


def test_a_process_does_not_tell_of_itself_and_long_names_are_cut(start: Start, tmp_path: Path) -> None:
    script = "with around_test('😀' * 100_000, set()): print(others(), flush=True); sys.stdin.readline()"
    start(script=script).reads("[]")
    assert [other.test for other in seen_from(str(tmp_path))] == ["😀" * 500]


def test_a_shorter_name_after_a_longer_one(start: Start, tmp_path: Path) -> None:
    script = """
    for name in ("x" * 300, "y"):
        with around_test(name, set()):
            print("begun", flush=True)
            sys.stdin.readline()
    """
    process = start(script=script)
    for name in ("x" * 300, "y"):
        process.reads("begun")
        assert [other.test for other in seen_from(str(tmp_path))] == [name]
        process.goes_on()


# Groups that are no pytest


def never() -> bool:
    return False


@needs_proc_locks
def test_no_serial_test_runs_while_a_command_group_does(start: Start, tmp_path: Path) -> None:
    with hold_shared(tmp_path, never, "docker") as held:
        assert held
        assert [other[:3] for other in seen_from(str(tmp_path))] == [("docker", "", "")]
        start("-").begins()
        serial = start("serial", "-")
        serial.waits()
    assert len(seen_from(str(tmp_path))) == 1
    assert serial.popen.poll() is None


def test_a_command_group_waits_for_a_serial_test_until_it_ends(start: Start, tmp_path: Path) -> None:
    serial = start("serial")
    serial.begins()
    asked = threading.Event()

    def go_on() -> bool:
        if not asked.is_set():
            asked.set()
            assert [other.test for other in seen_from(str(tmp_path))] == ["test_a.py::test_0"]
            assert [other.group for other in seen_from(str(tmp_path), waiting=True)] == ["docker"]
            serial.goes_on()
        return False

    with hold_shared(tmp_path, go_on, "docker") as held:
        assert held
        assert asked.is_set()


def test_a_command_group_that_is_stopped_while_it_waits_holds_nothing(start: Start, tmp_path: Path) -> None:
    serial = start("serial", "serial")
    serial.begins()
    with hold_shared(tmp_path, lambda: True) as held:
        assert not held
        serial.goes_on()
        serial.begins()
    assert list((tmp_path / "running").iterdir()) != []
