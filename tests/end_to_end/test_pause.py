"""Ctrl-Z on a real terminal: everything stands still, the clocks too, and `fg` goes on."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Callable

import psutil
import pytest
from projects import Harness, Ran, eventually
from terminals import CTRL_C, CTRL_Z, HARNESS, Terminal

from harness.events import (
    AttemptFinished,
    LeaseEnded,
    RunFinished,
    RunPaused,
    RunResumed,
    ServiceStarted,
    TestFinished,
    TestStarted,
)

LIMIT = 4.0  # seconds: a deadline of something that is paused for longer
WAIT = "until [ -e go ]; do sleep 0.02; done"
TWO_GROUPS = f'''
    [run]
    timeout = "{LIMIT:g}s"
    grace = "60s"

    [[phases]]
    name = "p"

    [[phases.groups]]
    name = "a"
    command = "{WAIT}"

    [[phases.groups]]
    name = "b"
    command = "{WAIT}"
'''
# A shell with job control would go on without a child of which it hears that it was stopped.
JOBS = f'''
    [[phases.groups]]
    name = "jobs"
    command = """
        set -m
        ({WAIT}) & setsid -w bash -c '{WAIT}'
        ({WAIT})
        [ -e go ] && wait
    """
'''

Open = Callable[[], Terminal]


def of_attempts(harness: Harness) -> list[psutil.Process]:
    found = []
    for process in harness.bearers():
        with contextlib.suppress(psutil.Error):
            if "HARNESS_ATTEMPT" in process.environ():
                found.append(process)
    return found


def are_stopped(harness: Harness) -> bool:
    statuses = set()
    for process in of_attempts(harness):
        with contextlib.suppress(psutil.Error):
            statuses.add(process.status())
    return statuses == {psutil.STATUS_STOPPED}


def ran(harness: Harness) -> Ran:
    return Ran(0, "", "", harness.directory / "logs")


def pause(harness: Harness, terminal: Terminal) -> None:
    terminal.type(CTRL_Z)
    terminal.await_text("Stopped")  # the shell says so: it has its terminal back
    eventually(lambda: are_stopped(harness), "all to stand still")


def test_groups_and_their_clocks_stand_still_until_fg(harness: Harness, open_terminal: Open) -> None:
    server = f"exec {sys.executable} -m http.server --bind 127.0.0.1 {{port}}"
    service = f'[[services]]\nname = "web"\ncommand = "{server}"\nready = {{ http = "/" }}\n'
    harness.plan(textwrap.dedent(TWO_GROUPS + JOBS) + service)
    terminal = open_terminal()
    terminal.run(f"{HARNESS} test --parallel")
    harness.await_running(3)
    pause(harness, terminal)
    stopped_at = time.monotonic()
    harness.await_event(RunPaused)
    (web,) = [stamped.data for stamped in ran(harness).events if isinstance(stamped.data, ServiceStarted)]
    with urllib.request.urlopen(f"http://127.0.0.1:{web.port}/", timeout=30) as answer:
        assert answer.status == 200, "who pauses a run may look into its services"
    harness.write("go", "")
    time.sleep(LIMIT + 0.5)
    assert are_stopped(harness)
    terminal.run("fg")
    terminal.await_text("resumed")
    stood = time.monotonic() - stopped_at
    terminal.await_text("3 groups passed")
    terminal.await_prompt()
    (resumed,) = [stamped.data for stamped in ran(harness).events if isinstance(stamped.data, RunResumed)]
    assert LIMIT < resumed.seconds < stood + 5
    for stamped in ran(harness).events:
        if isinstance(stamped.data, AttemptFinished):
            assert stamped.data.outcome.duration < LIMIT
        if isinstance(stamped.data, RunFinished):
            took = stamped.time - ran(harness).events[0].time
            assert stamped.data.duration == pytest.approx(took - resumed.seconds, abs=0.5)
    assert ran(harness).report["summary"]["paused"] == pytest.approx(resumed.seconds, abs=0.001)
    assert of_attempts(harness) == []


def test_twice_and_then_ctrl_c(harness: Harness, open_terminal: Open) -> None:
    harness.plan(TWO_GROUPS)
    terminal = open_terminal()
    terminal.run(f"{HARNESS} test --parallel")
    harness.await_running(2)
    for _ in range(2):
        pause(harness, terminal)
        terminal.run("fg")
        terminal.await_text("resumed")
    terminal.type(CTRL_C)
    terminal.await_text("(exit code 130)")
    terminal.await_prompt()
    assert set(ran(harness).statuses.values()) == {"interrupted"}
    assert of_attempts(harness) == []


def test_what_asks_a_paused_run_to_stop_is_heard_when_it_goes_on(harness: Harness, open_terminal: Open) -> None:
    harness.plan(TWO_GROUPS)
    terminal = open_terminal()
    terminal.run(f"{HARNESS} test --parallel")
    harness.await_running(2)
    pause(harness, terminal)
    terminal.run("kill -TERM %1")  # bash continues what it terminates
    terminal.run("fg")
    terminal.await_text("(exit code 143)")
    terminal.await_prompt()
    assert set(ran(harness).statuses.values()) == {"interrupted"}
    assert of_attempts(harness) == []


def test_below_make(harness: Harness, open_terminal: Open) -> None:
    harness.plan(TWO_GROUPS)
    harness.write("Makefile", f"all:\n\t@{HARNESS} test --parallel\n")
    terminal = open_terminal()
    terminal.run("make")
    harness.await_running(2)
    pause(harness, terminal)
    harness.write("go", "")
    terminal.run("fg")
    terminal.await_text("2 groups passed")
    terminal.await_prompt()


def test_while_services_start(harness: Harness, open_terminal: Open) -> None:
    """What the service needs comes while the run stands still, and later than its time for becoming ready."""
    server = f"{WAIT}; exec {sys.executable} -m http.server --bind 127.0.0.1 {{port}}"
    harness.plan(
        f"""
        [[services]]
        name = "web"
        command = "{server}"
        ready = {{ http = "/", timeout = "{LIMIT:g}s" }}

        [[phases]]
        name = "p"

        [[phases.groups]]
        name = "g"
        command = "true"
        """
    )
    terminal = open_terminal()
    terminal.run(f"{HARNESS} test")
    harness.await_event(ServiceStarted)
    terminal.type(CTRL_Z)
    terminal.await_text("Stopped")
    time.sleep(LIMIT)
    harness.write("go", "")
    terminal.run("fg")
    terminal.await_text("1 group passed")
    terminal.await_prompt()


@pytest.mark.parametrize("step", ["setup", "teardown"])
def test_while_a_lease_is_made_or_removed(harness: Harness, open_terminal: Open, step: str) -> None:
    """It goes on while the run stands still, and its deadline does not pass."""
    slow = f"touch under_way; {WAIT}; touch over"
    harness.plan(
        f"""
        [isolation.slow]
        kind = "command"
        setup = "{slow if step == "setup" else "true"}"
        teardown = "{slow if step == "teardown" else "true"}"
        timeout = "{LIMIT:g}s"

        [[phases]]
        name = "p"

        [[phases.groups]]
        name = "g"
        command = "true"
        isolate = ["slow"]
        """
    )
    terminal = open_terminal()
    terminal.run(f"{HARNESS} test")
    eventually((harness.directory / "under_way").exists, "the step")
    terminal.type(CTRL_Z)
    terminal.await_text("Stopped")
    time.sleep(LIMIT)
    harness.write("go", "")
    eventually((harness.directory / "over").exists, "the end of the step")
    terminal.run("fg")
    terminal.await_text("1 group passed")
    terminal.await_prompt()
    assert [it.data.ending for it in ran(harness).events if isinstance(it.data, LeaseEnded)] == ["released"]


def test_while_everything_is_put_away(harness: Harness, open_terminal: Open) -> None:
    """A lease that is handed on is removed when all groups have ended."""
    harness.plan(
        """
        [isolation.slow]
        kind = "command"
        setup = "true"
        teardown = "touch under_way; until [ -e go ]; do sleep 0.02; done"
        reuse = true

        [[phases]]
        name = "p"

        [[phases.groups]]
        name = "g"
        command = "true"
        isolate = ["slow"]
        """
    )
    terminal = open_terminal()
    terminal.run(f"{HARNESS} test")
    eventually((harness.directory / "under_way").exists, "the removal")
    terminal.type(CTRL_Z)
    terminal.await_text("Stopped")
    harness.write("go", "")
    terminal.run("fg")
    terminal.await_text("1 group passed")
    terminal.await_prompt()
    assert [it.data.ending for it in ran(harness).events if isinstance(it.data, LeaseEnded)] == ["released"]


def test_warm_pytest(harness: Harness, open_terminal: Open) -> None:
    """Its forks stop as any other process, and no test is told to have lasted for the pause."""
    tests = [f'[[phases.groups]]\nname = "{name}"\ntests = "test_{name}.py"' for name in "ab"]
    harness.plan("\n".join(['[[phases]]\nname = "p"', *tests]))
    for name in "ab":
        harness.write(
            f"test_{name}.py",
            f"""
            import pathlib, time

            def test_waits():
                pathlib.Path("{name}").touch()
                while not pathlib.Path("go").exists():
                    time.sleep(0.02)
            """,
        )
    terminal = open_terminal()
    terminal.run(f"{HARNESS} test --parallel")
    eventually(lambda: all((harness.directory / name).exists() for name in "ab"), "both tests")
    pause(harness, terminal)
    harness.write("go", "")
    time.sleep(1)
    terminal.run("fg")
    terminal.await_text("2 groups passed")
    terminal.await_prompt()
    began: dict[str, float] = {}
    for stamped in ran(harness).events:
        match stamped.data:
            case TestStarted(group=group):
                began[group] = stamped.time
            case TestFinished(group=group, result=result):
                assert stamped.time - began.pop(group) - result.duration > 0.9
    assert not began
    assert "a pytest of its own" not in ran(harness).log("a") + ran(harness).log("b")


def test_the_display_leaves_the_terminal_in_order(harness: Harness, open_terminal: Open) -> None:
    """What is shown between Ctrl-Z and `fg` is not drawn over."""
    harness.plan(TWO_GROUPS)
    terminal = open_terminal()
    terminal.run(f"{HARNESS} test --parallel")
    harness.await_running(2)
    terminal.await_text("0 of 2 groups")
    pause(harness, terminal)
    after = terminal.shown.rpartition("paused")[2]
    assert "of 2 groups" not in after
    assert "\x1b[1A" not in after, "nothing goes back to lines that are not ours any more"
    harness.write("go", "")
    terminal.run("fg")
    terminal.await_text("resumed")
    terminal.await_text("2 of 2 groups")
    terminal.await_prompt()


# --- without a terminal


def start(harness: Harness, **how: object) -> subprocess.Popen[str]:
    """In a group of its own of our session, as a shell would."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-m", "harness", "test", "--parallel"],
        cwd=harness.directory,
        env=harness.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **how,  # type: ignore[call-overload]
    )
    harness.processes.append(process)
    return process


def test_who_waits_for_us_sees_that_we_stopped(harness: Harness) -> None:
    harness.plan(TWO_GROUPS)
    process = start(harness, process_group=0)
    harness.await_running(2)
    process.send_signal(signal.SIGTSTP)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    assert os.WSTOPSIG(status) == signal.SIGTSTP
    assert are_stopped(harness)
    process.send_signal(signal.SIGINT)  # heard when it goes on
    process.send_signal(signal.SIGCONT)
    done = harness.finish(process)
    assert done.code == -signal.SIGINT
    assert set(done.statuses.values()) == {"interrupted"}
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("what", ["nobody could continue it", "it is ignored", "it did not stop"])
def test_where_there_is_nothing_to_pause(harness: Harness, what: str) -> None:
    harness.plan(TWO_GROUPS)
    before = signal.getsignal(signal.SIGTSTP)
    if what == "it is ignored":
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    process = start(harness, **({"start_new_session": True} if "nobody" in what else {"process_group": 0}))
    signal.signal(signal.SIGTSTP, before)
    harness.await_running(2)
    process.send_signal(signal.SIGCONT if what == "it did not stop" else signal.SIGTSTP)
    if "nobody" in what:
        harness.await_event(RunResumed)
    harness.write("go", "")
    done = harness.finish(process)
    assert (done.code, set(done.statuses.values())) == (0, {"passed"})
    paused = [stamped for stamped in done.events if isinstance(stamped.data, RunPaused)]
    assert bool(paused) == ("nobody" in what)


def test_paused_again_while_it_goes_on(harness: Harness) -> None:
    harness.plan(TWO_GROUPS.replace(f"{LIMIT:g}s", "60s"))
    process = start(harness, process_group=0)
    us = psutil.Process(process.pid)
    harness.await_running(2)
    for milliseconds in range(0, 24, 4):
        process.send_signal(signal.SIGTSTP)
        eventually(lambda: us.status() == psutil.STATUS_STOPPED, "that it stands still")
        process.send_signal(signal.SIGCONT)
        time.sleep(milliseconds / 1000)
    process.send_signal(signal.SIGCONT)
    harness.write("go", "")
    assert harness.finish(process).code == 0


def test_continued_before_it_has_stopped(harness: Harness) -> None:
    """As below `make`, which the shell sees stopped, and continues with all others, before we are ready to stop."""
    harness.plan(TWO_GROUPS.replace(f"{LIMIT:g}s", "60s"))
    process = start(harness, process_group=0)
    harness.await_running(2)
    for milliseconds in (*range(0, 30, 2), *range(30, 150, 10)):
        process.send_signal(signal.SIGTSTP)
        time.sleep(milliseconds / 1000)
        process.send_signal(signal.SIGCONT)
        eventually(lambda: not are_stopped(harness), "that all goes on")
    harness.write("go", "")
    done = harness.finish(process)
    assert (done.code, set(done.statuses.values())) == (0, {"passed"})
