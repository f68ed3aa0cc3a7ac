"""Case 24: a machine that gives few descriptors, and no more processes or threads."""

import shutil
import sys

import pytest
from faults.stage import Stage
from projects import Ran

HARNESS = [sys.executable, "-I", "-m", "harness"]
MAY_BE = {"passed", "error", "interrupted", "not_run"}  # but nothing that would blame a test


def is_clear(ran: Ran, cure: str) -> None:
    """All have passed, fewer at a time; or it is said what is lacking."""
    if ran.code == 0:
        assert set(ran.statuses.values()) == {"passed"}
        return
    assert ran.code == 3, ran.stdout + ran.stderr
    assert cure in ran.stdout + ran.stderr
    assert set(ran.statuses.values()) <= MAY_BE


@pytest.mark.parametrize("descriptors", [32, 48, 64])
def test_case_24_with_few_descriptors_fewer_run_at_a_time(stage: Stage, descriptors: int) -> None:
    stage.groups(*["sleep 0.2"] * 20)
    process = stage.start("test", "--parallel", "--jobs", "20", before=f"ulimit -n {descriptors}")
    is_clear(stage.finish(process), "ulimit -n")
    stage.judge()


@pytest.mark.skipif(not shutil.which("strace"), reason="to be refused a process at a chosen moment needs strace")
@pytest.mark.parametrize("which", ["4+", "9+4", "14"])
def test_case_24_when_no_process_may_be_made_it_is_said(stage: Stage, which: str) -> None:
    stage.groups(*["sleep 0.05"] * 12)
    inject = f"inject=clone,clone3,fork,vfork:error=EAGAIN:when={which}"
    strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=clone,clone3,fork,vfork", "-e", inject]
    ran = stage.finish(stage.start_process([*strace, *HARNESS, "test", "--parallel", "--jobs", "12"]))
    is_clear(ran, "ulimit -u")
    stage.judge()
