"""Whole runs of a splittable group: its files side by side, and one group in all that is left behind."""

import os
import signal
from pathlib import Path

from projects import Harness, Ran, eventually

from harness.events import AttemptFinished, AttemptStarted, GroupFinished, TestStarted

PLAN = """
    [run]
    retry_delay = "0s"

    [isolation.tmpdir]

    [[phases]]
    name = "p"

    [[phases.groups]]
    name = "search"
    tests = "test_*.py"
    splittable = true
    isolate = "tmpdir"
    retries = 1

    [[phases.groups]]
    name = "after"
    command = "cat ended-*"
    depends_on = ["search"]
"""
# Passes only beside its partner. Says where it was, each time that it ran.
BESIDE = """
    import json, os, time
    from pathlib import Path

    HERE = Path(__file__).parent

    def test_beside():
        (HERE / "here-{me}").touch()
        until = time.monotonic() + 60
        while not (HERE / "here-{partner}").exists():
            assert time.monotonic() < until, "nobody came"
            time.sleep(0.01)

    def test_of_its_own():
        print("this is {me}")
        with (HERE / "ran-{me}").open("a") as file:
            print(os.environ["TMPDIR"], os.environ["HARNESS_SLOT"], os.environ["HARNESS_PART"], file=file)
        (HERE / "ended-{me}").write_text("{me} ")
        assert not {fails} or os.environ["HARNESS_ATTEMPT"] > "1"
"""
# Ends when its harness has.
ORPHAN = """
    import os, time

    def test_waits():
        parent = os.getppid()
        while os.getppid() == parent:
            time.sleep(0.05)
"""


def project(harness: Harness, plan: str = PLAN, *, fails: bool) -> None:
    harness.plan(plan)
    harness.write("test_a.py", BESIDE.format(me="a", partner="b", fails=False))
    harness.write("test_b.py", BESIDE.format(me="b", partner="a", fails=fails))


def where(harness: Harness, name: str) -> list[list[str]]:
    return [line.split() for line in (harness.directory / f"ran-{name}").read_text().splitlines()]


def order(ran: Ran) -> list[str]:
    """Starts and ends of attempts, as they came."""
    told = []
    for stamped in ran.events:
        match stamped.data:
            case AttemptStarted() as event:
                told.append(f"start {event.group} {event.part}#{event.attempt}")
            case AttemptFinished(outcome=outcome):
                told.append(f"end {outcome.group} {outcome.part}#{outcome.attempt}")
    return told


def test_files_run_side_by_side_and_a_failed_one_is_tried_again_alone(harness: Harness) -> None:
    project(harness, fails=True)
    ran = harness.run("test", "--parallel", "--jobs", "2")
    assert (ran.code, ran.statuses) == (0, {"search": "flaky", "after": "passed"}), ran.stdout

    told = order(ran)
    assert set(told[:2]) == {"start search test_a.py#1", "start search test_b.py#1"}
    assert [line for line in told if "#2" in line] == ["start search test_b.py#2", "end search test_b.py#2"]
    assert told[-2:] == ["start after #1", "end after #1"]

    (a,), (first, again) = where(harness, "a"), where(harness, "b")
    assert len({a[0], first[0], again[0]}) == 3, "each attempt of each file has an environment of its own"
    assert a[1] != first[1] == again[1], "each file has a slot of its own"
    assert (a[2], first[2]) == ("test_a.py", "test_b.py")
    assert not [directory for directory in (a[0], first[0], again[0]) if Path(directory).exists()]

    suite, _ = ran.report["suites"]
    assert [test["id"].partition("::")[0] for test in suite["test_results"]] == ["test_a.py"] * 2 + ["test_b.py"] * 2
    assert suite["attempts"] == 2
    assert [e.data.result.group for e in ran.events if isinstance(e.data, GroupFinished)] == ["search", "after"]
    assert ran.status_file("search")["STATUS"] == "flaky"
    assert set(ran.log("after").splitlines()[1].split()) == {"a", "b"}


def test_the_log_has_every_attempt_whole_under_its_header(harness: Harness) -> None:
    project(harness, PLAN.replace("retries = 1", ""), fails=True)
    ran = harness.run("test", "--parallel", "--jobs", "2")
    assert (ran.code, ran.statuses) == (1, {"search": "failed", "after": "skipped"})
    first, one, other = ran.log("search").split("=== search/")
    assert first == ""
    for block in (one, other):
        name = block.partition(" · ")[0]
        assert f"{name} " in block
        assert block.count("test session starts") == 1
        assert block.rstrip().endswith("====")
        assert ("this is b" in block) == (name == "test_b.py"), "pytest shows the output of what failed"
    assert not list(ran.files.run_dir.glob("part-*"))
    report = ran.report["suites"]
    assert report[0]["error_message"] == "test_b.py: 1 of 2 tests failed: test_of_its_own"
    assert report[1]["reason"] == "depends on search, which failed"


def test_only_the_failed_test_runs_again_and_what_passed_is_known_by_file(harness: Harness) -> None:
    project(harness, PLAN.replace("retries = 1", ""), fails=True)
    assert harness.run("test", "--parallel", "--jobs", "2", "--groups", "search").code == 1
    harness.write("test_b.py", BESIDE.format(me="b", partner="a", fails=False))
    again = harness.run("test", "--parallel", "--jobs", "2", "--last-failed", "--groups", "search")
    assert (again.code, again.statuses) == (0, {"search": "passed"})
    assert [test["id"] for test in again.report["suites"][0]["test_results"]] == ["test_b.py::test_of_its_own"]
    assert order(again) == ["start search #1", "end search #1"], "one file is no part"


def test_the_environment_of_a_failed_file_can_be_kept_and_entered_and_swept(harness: Harness) -> None:
    project(harness, PLAN.replace("retries = 1", ""), fails=True)
    ran = harness.run("test", "--parallel", "--jobs", "2", "--keep-environment")
    assert "the environment of search/test_b.py is kept: `enter search/test_b.py` opens it" in ran.stdout
    ((kept, *_),), ((gone, *_),) = where(harness, "b"), where(harness, "a")
    assert (Path(kept).exists(), Path(gone).exists()) == (True, False)
    told = ["sh", "-c", "echo $TMPDIR $HARNESS_GROUP $HARNESS_PART"]
    assert harness.run("enter", "search/test_b.py", "--", *told).stdout.split() == [kept, "search", "test_b.py"]
    assert "there is no group" in harness.run("enter", "search/test_a.py", "--", *told).stderr
    whole = harness.run("enter", "search", "--", *told)
    assert whole.stdout.split()[1:] == ["search"], "a visit to the group is to all of it"
    assert "of search/test_b.py" in harness.run("gc", "--kept").stdout
    assert not Path(kept).exists()
    assert not list((harness.directory / ".harness" / "kept").iterdir())


def test_a_dry_run_shows_the_command_of_each_file(harness: Harness) -> None:
    project(harness, fails=False)
    commands = [line for line in harness.run("test", "--dry-run").stdout.splitlines() if "-m pytest" in line]
    assert [line.rpartition(" ")[2] for line in commands] == ["test_a.py", "test_b.py"]


def test_what_its_parts_wrote_is_in_its_log_though_the_harness_was_killed(harness: Harness) -> None:
    harness.plan(PLAN)
    for name in "ab":
        harness.write(f"test_{name}.py", ORPHAN)
    process = harness.start("test", "--parallel", "--jobs", "2")
    harness.await_event(TestStarted, 2)
    os.kill(process.pid, signal.SIGKILL)
    ran = harness.finish(process)
    eventually(lambda: not harness.survivors(), "the end of the orphans and of the guardian")
    assert ran.statuses == {"search": "lost", "after": "not_run"}
    blocks = ran.log("search").split("=== search/")[1:]
    assert sorted(block[:9] for block in blocks) == ["test_a.py", "test_b.py"]
    assert all("test session starts" in block for block in blocks)
    assert not list(ran.files.run_dir.glob("part-*"))


def test_it_stops_as_one(harness: Harness) -> None:
    harness.plan(PLAN)
    harness.write("test_a.py", "def test_a():\n    pass\n")
    for name in "bcd":
        harness.write(f"test_{name}.py", f"import time\ndef test_{name}():\n    time.sleep(1000)\n")
    process = harness.start("test", "--parallel", "--jobs", "2")
    harness.await_running(3)
    os.kill(process.pid, signal.SIGINT)
    ran = harness.finish(process)
    assert (ran.code, ran.statuses) == (-signal.SIGINT, {"search": "interrupted", "after": "not_run"})
    assert ran.log("search").count("=== search/") == 3
