"""Case 7: Ctrl-Z stops the groups with the harness, and their clocks; `fg` lets all of them go on."""

import sys
import time

import psutil
from faults.killing import processes
from faults.stage import Stage, Terminal
from projects import eventually

PAUSE = 5.0  # longer than the timeout
GROUP = """
import pathlib, time
ticks = 0
while not pathlib.Path("go").exists():
    time.sleep(0.05)
    ticks += 1
    pathlib.Path("ticks.new").write_text(str(ticks))
    pathlib.Path("ticks.new").rename("ticks")
"""


def test_case_07_control_z_stops_the_groups_and_their_clocks(stage: Stage) -> None:
    stage.write("group.py", GROUP)
    stage.groups(f"exec {sys.executable} -S group.py", run='timeout = "4s"')
    shell = Terminal(stage, ["bash", "--norc", "--noprofile", "-i"], {"PS1": "ready> "})
    shell.until(lambda: b"ready> " in shell.shown, "the shell")
    shell.type(f"{sys.executable} -I -m harness test\n")
    stage.await_file("ticks")
    shell.type("\x1a")
    shell.until(lambda: b"ready> " in shell.shown.partition(b"Stopped")[2], "the shell's word that it is stopped")
    group = [it for it in processes(stage) if "group.py" in " ".join(it.cmdline())]
    assert group
    eventually(lambda: all(it.status() == psutil.STATUS_STOPPED for it in group), "the end of ticking")
    ticks = (stage.directory / "ticks").read_text()
    time.sleep(PAUSE)  # the time that the case is about
    assert (stage.directory / "ticks").read_text() == ticks, "what is stopped does nothing"
    shell.type("fg; echo ended=$?\n")
    eventually(lambda: (stage.directory / "ticks").read_text() != ticks, "the group going on")
    stage.write("go", "")
    shell.until(lambda: b"ended=0" in shell.shown, "the end of the run")
    shell.type("exit\n")
    shell.finish()
    ran = stage.newest()
    assert ran.statuses == {"g0": "passed"}, "its clock stood still"
    assert ran.report["suites"][0]["duration"] < PAUSE
    stage.judge()


def test_case_07_control_c_after_control_z_ends_what_is_stopped(stage: Stage) -> None:
    stage.groups("touch up; exec sleep 1000", run='grace = "60s"')
    shell = Terminal(stage, ["bash", "--norc", "--noprofile", "-i"], {"PS1": "ready> "})
    shell.until(lambda: b"ready> " in shell.shown, "the shell")
    shell.type(f"{sys.executable} -I -m harness test\n")
    stage.await_file("up")
    shell.type("\x1a")
    shell.until(lambda: b"ready> " in shell.shown.partition(b"Stopped")[2], "the shell's word that it is stopped")
    # The shell forgets the rest of a line whose job dies of SIGINT.
    shell.type("kill -INT %1; fg\n")
    shell.until(lambda: b"ready> " in shell.shown.partition(b"exit code 130")[2], "the end of the run")
    shell.type("exit\n")
    shell.finish()
    assert stage.newest().statuses == {"g0": "interrupted"}
    stage.judge()
