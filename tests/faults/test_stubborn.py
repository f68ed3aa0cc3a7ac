"""Cases 11, 12, 15, 19, 20 and 25: tests that do not end when they should, or not as they should."""

import sys

from faults.stage import Stage

LOOP = "while :; do sleep 1000; done"


def test_case_11_who_ignores_sigterm_is_killed_after_the_grace(stage: Stage) -> None:
    stage.groups(f"trap '' TERM; {LOOP}", "true", run='timeout = "1s"\ngrace = "0.5s"')
    ran = stage.run("test", "--parallel")
    assert ran.statuses == {"g0": "timed_out", "g1": "passed"}
    assert ran.status_file("g0")["STATUS"] == "timed_out"
    assert ran.code == 1
    stage.judge()


def test_case_12_a_child_that_ignores_sigterm_does_not_outlive_its_leader(stage: Stage) -> None:
    # The leader has its own child ignore SIGTERM, and ends on it at once.
    leader = f"(trap '' TERM; touch up; {LOOP}) & until [ -e up ]; do sleep 0.01; done; trap 'exit 0' TERM; wait"
    stage.groups(leader, run='timeout = "1s"\ngrace = "30s"')
    ran = stage.run("test")
    assert ran.statuses == {"g0": "timed_out"}
    stage.judge()


FORKS = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    if os.fork() == 0:
        {detach}
        time.sleep(1000)
        os._exit(0)
    open("up", "w").close()
    time.sleep(0.005)
"""


def test_case_15_who_forks_all_the_time_is_killed_with_all_of_them(stage: Stage) -> None:
    stage.write("forks.py", FORKS.format(detach="pass"))
    stage.groups(f"exec {sys.executable} -S forks.py", run='timeout = "1s"\ngrace = "0.3s"')
    ran = stage.run("test")
    assert ran.statuses == {"g0": "timed_out"}
    stage.judge()


def test_case_19_stdin_is_at_its_end(stage: Stage) -> None:
    stage.groups("cat; read -r line || echo end of file")
    terminal = stage.on_terminal("test")
    terminal.type("typed by somebody\n")
    assert terminal.finish() == 0
    ran = stage.newest()
    assert "end of file" in ran.log("g0")
    assert "typed" not in ran.log("g0")
    stage.judge()


def test_case_20_the_terminal_is_out_of_reach(stage: Stage) -> None:
    stage.groups("stty raw -echo </dev/tty; printf '\\033[2J' >/dev/tty; echo tried")
    terminal = stage.on_terminal("test")
    before = terminal.attributes()
    terminal.until(lambda: terminal.process.poll() is not None, "the end")
    assert terminal.attributes() == before
    assert b"\x1b[2J" not in terminal.shown
    assert terminal.finish() == 0
    assert "tried" in stage.newest().log("g0")
    stage.judge()


def test_case_25_who_kills_itself_has_not_passed(stage: Stage) -> None:
    stage.groups("kill -9 $$", "kill -TERM $$", "kill -9 $$; exit 0")
    ran = stage.run("test", "--parallel")
    assert ran.statuses == {"g0": "killed", "g1": "killed", "g2": "killed"}
    assert "SIGKILL" in ran.status_file("g0")["REASON"]
    assert ran.code == 1
    stage.judge()


def test_case_25_a_pytest_that_kills_itself_has_not_passed(stage: Stage) -> None:
    stage.write("test_it.py", "import os\ndef test_a(): pass\ndef test_b(): os.kill(os.getpid(), 9)\n")
    stage.plan('[[phases]]\nname = "p"\n[[phases.groups]]\nname = "g"\ntests = "test_it.py"\n')
    ran = stage.run("test")
    assert ran.statuses == {"g": "killed"}
    assert ran.code == 1
    stage.judge()


def test_case_11_a_group_that_exits_0_at_its_deadline_has_timed_out(stage: Stage) -> None:
    stage.groups("trap 'exit 0' TERM; while :; do sleep 0.05; done", run='timeout = "1s"')
    assert stage.run("test").statuses == {"g0": "timed_out"}
    stage.judge()
