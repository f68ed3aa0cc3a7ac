"""Cases 1 to 6: runs that are stopped from the keyboard, by a signal, by a terminal that closes."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from faults.stage import Stage
from projects import eventually

from harness.events import SignalReceived

FOREVER = "exec sleep 1000"
STUBBORN = "trap '' INT TERM; touch up-$HARNESS_GROUP; while :; do sleep 1000; done"
BOX = """
    [isolation.box]
    kind = "command"
    setup = "touch box-$HARNESS_LEASE; echo BOX=1 > $HARNESS_ENV"
    teardown = "{teardown}rm -f box-$HARNESS_LEASE"
"""


def boxes(stage: Stage) -> frozenset[str]:
    return frozenset(path.name for path in stage.directory.glob("box-*"))


def test_case_01_control_c_stops_what_runs_and_releases_what_it_had(stage: Stage) -> None:
    stage.groups(*[FOREVER] * 8, head=BOX.format(teardown=""), more='isolate = ["box"]')
    terminal = stage.on_terminal("test", "--parallel", "--jobs", "3")
    terminal.until(lambda: b"g2" in terminal.shown and len(boxes(stage)) == 3, "three groups")
    stage.await_running(3)
    terminal.type("\x03")
    assert terminal.finish() == -signal.SIGINT, "a shell reports 130"
    ran = stage.newest()
    assert sorted(ran.statuses.values()) == ["interrupted"] * 3 + ["not_run"] * 5
    assert ran.report["summary"]["exit_code"] == 130
    stage.judge(inventory=lambda: boxes(stage))


def test_case_02_control_c_twice_does_not_wait_for_the_grace(stage: Stage) -> None:
    stage.groups(*[STUBBORN] * 3, run='grace = "60s"')
    terminal = stage.on_terminal("test", "--parallel", "--jobs", "2")
    terminal.until(lambda: len(list(stage.directory.glob("up-*"))) == 2, "both groups")
    terminal.type("\x03")
    stage.await_event(SignalReceived)
    terminal.type("\x03")
    typed = time.monotonic()
    assert terminal.finish() == -signal.SIGINT
    assert time.monotonic() - typed < 30, "two seconds on a machine that has nothing else to do; never the grace"
    assert sorted(stage.newest().statuses.values()) == ["interrupted", "interrupted", "not_run"]
    stage.judge()


def test_case_03_a_teardown_that_is_under_way_is_not_cut_short(stage: Stage) -> None:
    wait = "touch going; until [ -e go ]; do sleep 0.02; done; "
    stage.groups("true", "true", head=BOX.format(teardown=wait), more='isolate = ["box"]')
    process = stage.start("test")
    stage.await_file("going")
    process.send_signal(signal.SIGINT)
    stage.await_event(SignalReceived)
    stage.write("go", "")
    ran = stage.finish(process)
    assert ran.code == -signal.SIGINT
    assert ran.statuses == {"g0": "passed", "g1": "not_run"}, "its tests had passed before"
    stage.judge(inventory=lambda: boxes(stage))


def test_case_03_a_teardown_that_never_ends_has_a_deadline_of_its_own(stage: Stage) -> None:
    more = "sleep 1000; "
    entry = BOX.format(teardown=f"touch going; {more}") + '    timeout = "1s"\n'
    stage.groups("true", head=entry, more='isolate = ["box"]')
    process = stage.start("test")
    stage.await_file("going")
    process.send_signal(signal.SIGINT)
    ran = stage.finish(process)
    assert ran.code == -signal.SIGINT
    assert ran.report["suites"][0]["leaked"] is True
    stage.judge(inventory=lambda: boxes(stage))


def test_case_04_sigterm(stage: Stage) -> None:
    stage.groups(*[FOREVER] * 3)
    process = stage.start("test", "--parallel", "--jobs", "2")
    stage.await_running(2)
    process.send_signal(signal.SIGTERM)
    ran = stage.finish(process)
    assert ran.code == -signal.SIGTERM
    assert ran.report["summary"]["exit_code"] == 143
    assert sorted(ran.statuses.values()) == ["interrupted", "interrupted", "not_run"]
    stage.judge()


def test_case_05_a_terminal_that_is_closed(stage: Stage) -> None:
    stage.groups(*[FOREVER] * 3)
    terminal = stage.on_terminal("test", "--parallel", "--jobs", "2")
    terminal.until(lambda: b"g1" in terminal.shown, "two groups")
    stage.await_running(2)
    terminal.hang_up()
    assert terminal.finish() == -signal.SIGHUP
    ran = stage.newest()
    assert ran.report["summary"]["exit_code"] == 129
    assert sorted(ran.statuses.values()) == ["interrupted", "interrupted", "not_run"]
    stage.judge()


def test_case_06_under_nohup_the_run_goes_on(stage: Stage) -> None:
    stage.groups(*["until [ -e go ]; do sleep 0.02; done"] * 3)
    process = stage.start("test", "--parallel", "--jobs", "3", nohup=True)
    stage.await_running(3)
    os.kill(process.pid, signal.SIGHUP)
    stage.write("go", "")
    ran = stage.finish(process)
    assert (ran.code, set(ran.statuses.values())) == (0, {"passed"})
    stage.judge()


def is_loading(process: "subprocess.Popen[str]") -> bool:
    """Whether Python itself has started, and loads the harness: before that nobody but Python answers Ctrl-C."""
    maps = Path(f"/proc/{process.pid}/maps")
    return process.poll() is not None or "/msgspec/" in maps.read_text()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="what a process has loaded is known from /proc alone")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_cases_01_04_05_at_the_very_start_and_at_the_very_end(stage: Stage, number: int) -> None:
    """Whatever the moment: either the run says that it was stopped, or that it was over."""
    stage.groups("true")
    for delay in (0.0, 0.03, 0.06, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5):
        process = stage.start("test")
        eventually(lambda process=process: is_loading(process), "Python's own start")
        time.sleep(delay)  # any moment will do: this is not waiting for anything
        process.send_signal(number)
        assert stage.finish(process).code in (0, -number), "the harness ends by the signal, or had ended"
    stage.judge()
