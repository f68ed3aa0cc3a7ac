"""Case 27: two runs of one project, started at the same moment. `make torture` does it fifty times."""

import shutil

from faults.agreement import runs_of
from faults.killing import BOX, boxes
from faults.stage import Stage

SUITE = """
    [isolation.box]
    kind = "command"
    setup = "touch box-$HARNESS_LEASE; echo BOX=1 > $HARNESS_ENV"
    teardown = "rm -f box-$HARNESS_LEASE"

    [[phases]]
    name = "p"
    [[phases.groups]]
    name = "a"
    command = "ls box-*; sleep 0.1"
    isolate = "box"
    [[phases.groups]]
    name = "b"
    command = "exit 1"
"""


def start_twice(stage: Stage) -> None:
    """Both at once; raises unless each has its own files, whole, and the history has both."""
    before = len(runs_of(stage.directory))
    both = [stage.start("test", "--parallel") for _ in range(2)]
    ran = [stage.finish(process) for process in both]
    assert [it.code for it in ran] == [1, 1], [it.stderr for it in ran]
    assert len(runs_of(stage.directory)) == before + 2


def test_case_27_two_runs_at_once_share_no_file(stage: Stage) -> None:
    stage.plan(SUITE)
    for _ in range(5):
        start_twice(stage)
    stage.judge(inventory=lambda: frozenset(path.name for path in stage.directory.glob("box-*")))


def test_case_27_whoever_starts_in_a_copy_lets_the_first_run_be(stage: Stage) -> None:
    first = stage.directory = stage.directory / "first"
    first.mkdir()
    box = BOX.replace("box-", f"{stage.directory}/box-")
    waits = "touch up-0; until [ -e go ]; do sleep 0.01; done; ls box-*"
    stage.groups(waits, head=box, more='isolate = ["box"]')
    process = stage.start("test")
    stage.await_file("up-0")
    stage.directory = first.with_name("copy")
    shutil.copytree(first, stage.directory)
    assert stage.run("gc").code == 0
    stage.directory = first
    stage.write("go", "")
    assert stage.finish(process).code == 0
    assert stage.newest().statuses == {"g0": "passed"}
    stage.judge(inventory=lambda: boxes(stage))
