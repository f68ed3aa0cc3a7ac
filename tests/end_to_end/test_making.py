"""Runs that are stopped while an environment is made, and what the harness could stumble over before it starts."""

import os
import signal
from pathlib import Path

from projects import Harness, eventually

SLOW = """
[isolation.slow]
kind = "command"
setup = "touch making; sleep 1000"

[[phases]]
name = "p"

[[phases.groups]]
name = "a"
command = "true"
isolate = "slow"

[[phases.groups]]
name = "bad"
command = "until test -e making; do sleep 0.01; done; false"
"""


def test_ctrl_c_breaks_the_making_off(harness: Harness) -> None:
    harness.plan(SLOW)
    process = harness.start("test", "--groups", "a")
    eventually((harness.directory / "making").exists, "a setup under way")
    os.kill(process.pid, signal.SIGINT)
    ran = harness.finish(process)
    assert ran.code == -signal.SIGINT, ran.stderr
    assert ran.statuses == {"a": "interrupted"}
    assert ran.files.group_log("a").exists()


def test_so_does_fail_fast(harness: Harness) -> None:
    harness.plan(SLOW)
    ran = harness.run("test", "--parallel", "--fail-fast")
    assert (ran.code, ran.statuses) == (1, {"a": "interrupted", "bad": "failed"}), ran.stderr


def test_a_group_whose_environment_cannot_be_made_has_a_log_that_says_so(harness: Harness) -> None:
    harness.plan(SLOW.replace("touch making; sleep 1000", "echo no such luck >&2; exit 3"))
    ran = harness.run("test", "--groups", "a")
    assert (ran.code, ran.statuses) == (3, {"a": "error"})
    assert "no such luck" in ran.log("a")
    assert "[isolation.slow] could not be made" in ran.stdout


def test_garbage_among_the_journals_holds_nobody_up(harness: Harness) -> None:
    harness.plan(SLOW.replace("touch making; sleep 1000", "true"))
    journals = harness.directory / ".harness" / "leases"
    journals.mkdir(parents=True)
    (journals / "20260101_000000-00.jsonl").write_bytes(b'{"did":"making","token":"\xff"}\n\x00\n')
    assert harness.run("test", "--groups", "a").code == 0
    assert list(journals.iterdir()) == []
    assert harness.run("gc").code == 0


def test_what_a_test_does_to_the_journals_costs_no_result(harness: Harness) -> None:
    plan = SLOW.replace("touch making; sleep 1000", "true")
    harness.plan(plan.replace('command = "true"', 'command = "rm -rf .harness/leases; touch .harness/leases"'))
    ran = harness.run("test", "--groups", "a")
    assert ran.statuses == {"a": "passed"}
    assert "Traceback" not in ran.stderr


def test_two_runs_of_one_second_let_each_other_be(harness: Harness, tmp_path: Path) -> None:
    harness.plan("""
        [isolation.tmpdir]
        check = true
        ignore = ["logs-*"]

        [[phases]]
        name = "p"

        [[phases.groups]]
        name = "a"
        command = "sleep $SECONDS_TO_SLEEP"
        isolate = "tmpdir"
        """)
    started = [
        harness.start("test", "--log-dir", str(tmp_path / f"logs-{n}"), env={"SECONDS_TO_SLEEP": seconds})
        for n, seconds in enumerate(("0.3", "1.5"))
    ]
    assert [harness.finish(process).code for process in started] == [0, 0]
