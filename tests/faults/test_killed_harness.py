"""Cases 8, 9 and 10: kill -9 of the harness, and of whatever watches it, at any moment of a run."""

import contextlib
import random
import shutil
import sys
import time

import psutil
import pytest
from faults.killing import BOX, await_silence, boxes, guardians, kill_guardian, processes
from faults.stage import Stage
from projects import eventually

GRACE = 1.0
PATIENCE = 20.0  # seconds that the guardian's two may take on a machine that is busy
STUBBORN = "trap '' TERM; touch up-$HARNESS_GROUP; while :; do sleep 1000; done"
DAEMON = "setsid sh -c 'touch up-$HARNESS_GROUP; exec sleep 1000' >/dev/null 2>&1 & exec sleep 1000"


def started(stage: Stage) -> int:
    return len(list(stage.directory.glob("up-*")))


def test_case_08_a_killed_harness_leaves_nothing_behind(stage: Stage) -> None:
    stage.groups(STUBBORN, DAEMON, "true", "true", run=f'grace = "{GRACE}s"', head=BOX, more='isolate = ["box"]')
    process = stage.start("test", "--parallel", "--jobs", "2")
    eventually(lambda: started(stage) == 2, "two groups")
    stage.kill(process)
    await_silence(stage, GRACE + PATIENCE)
    ran = stage.newest()
    assert ran.statuses == {"g0": "lost", "g1": "lost", "g2": "not_run", "g3": "not_run"}
    assert stage.run("gc").code == 0
    stage.judge(inventory=lambda: boxes(stage))


def test_case_08_the_guardian_reads_nothing_of_the_users(stage: Stage) -> None:
    """What it imports once it is needed must not be found among the modules of the project."""
    stage.groups(STUBBORN, run=f'grace = "{GRACE}s"')
    stage.write("src/secrets.py", "raise SystemExit")
    variables = {"PYTHONPATH": str(stage.directory / "src"), "PYTHONHOME": "/nowhere"}
    process = stage.start("test", env=variables)
    eventually(lambda: started(stage) == 1, "a group")
    stage.kill(process)
    await_silence(stage, GRACE + PATIENCE)
    assert stage.newest().statuses == {"g0": "lost"}
    stage.judge()


def test_case_08_of_a_run_whose_directory_was_removed_no_process_is_left(stage: Stage) -> None:
    """`git clean -dfx` while it runs."""
    stage.groups(STUBBORN, run=f'grace = "{GRACE}s"')
    process = stage.start("test")
    eventually(lambda: started(stage) == 1, "a group")
    shutil.rmtree(stage.directory / ".harness")
    stage.kill(process)
    await_silence(stage, GRACE + PATIENCE)
    assert stage.newest().statuses == {"g0": "lost"}
    stage.judge()


def test_case_09_a_project_that_was_moved_is_finished_where_it_is(stage: Stage) -> None:
    project = stage.directory = stage.directory / "old"
    project.mkdir()
    stage.groups(STUBBORN, "true", run=f'grace = "{GRACE}s"')
    process = stage.start("test", "--jobs", "1")
    eventually(lambda: started(stage) == 1, "a group")
    stage.directory = project.rename(project.with_name("new"))
    stage.kill(process)
    await_silence(stage, GRACE + PATIENCE)
    assert stage.run("gc").code == 0
    assert stage.newest().statuses == {"g0": "lost", "g1": "not_run"}
    assert not project.exists()
    stage.judge()


def test_case_08_a_visit_to_what_the_run_had_kept_goes_on(stage: Stage) -> None:
    stage.groups("exit 1", STUBBORN, run=f'grace = "{GRACE}s"', head=BOX, more='isolate = ["box"]')
    process = stage.start("test", "--jobs", "1", "--keep-environment")
    eventually(lambda: started(stage) == 1, "the second group")
    there = "touch visiting; until [ -e go ]; do sleep 0.01; done; ls box-* $HARNESS_RUN_DIR/events.jsonl"
    visit = stage.start("enter", "g0", "--", "sh", "-c", there)
    stage.await_file("visiting")
    stage.kill(process)
    eventually(lambda: not guardians(stage), "the end of the guardian")
    stage.write("go", "")
    ran = stage.finish(visit)
    assert ran.code == 0, ran.stderr
    assert stage.newest().statuses == {"g0": "failed", "g1": "lost"}
    assert stage.run("gc", "--kept").code == 0
    stage.judge(inventory=lambda: boxes(stage))


BUSY = """
import os, psycopg
with psycopg.connect(os.environ["DB_URL"]) as session:
    open("up-0", "w").close()
    session.execute("SELECT count(*) FROM generate_series(1, 10000000) a, generate_series(1, 10000000) b")
"""


@pytest.mark.slow
def test_case_08_a_postgres_in_the_midst_of_a_query_is_ended(stage: Stage) -> None:
    stage.write("busy.py", BUSY)
    server = '[[services]]\nname = "db"\nkind = "postgres"\ngrace = "1s"\n'
    stage.groups(
        f"exec {sys.executable} busy.py", run=f'grace = "{GRACE}s"', head=server,
        more='services = ["db"]\nenv = { DB_URL = "{db.url}" }',
    )  # fmt: skip
    process = stage.start("test")
    eventually(lambda: started(stage) == 1 and len(in_a_query(stage)) == 1, "a query")
    (backend,) = in_a_query(stage)
    stage.kill(process)
    eventually(lambda: not backend.is_running(), "the end of the query")
    await_silence(stage, GRACE + PATIENCE)
    assert stage.newest().statuses == {"g0": "lost"}
    stage.judge()


def in_a_query(stage: Stage) -> list[psutil.Process]:
    """The sessions of its PostgreSQL that work, by what they write over their command lines, and environments."""
    found = []
    for server in processes(stage):
        with contextlib.suppress(psutil.Error):
            found += [each for each in server.children() if " ".join(each.cmdline()).rstrip().endswith(" SELECT")]
    return found


def test_case_08_the_next_start_sweeps_what_a_killed_run_had(stage: Stage) -> None:
    stage.groups(STUBBORN, "true", run=f'grace = "{GRACE}s"', head=BOX, more='isolate = ["box"]')
    process = stage.start("test", "--parallel", "--jobs", "1")
    eventually(lambda: started(stage) == 1, "a group")
    stage.kill(process)
    ran = stage.run("test", "--groups", "g1")
    assert (ran.code, ran.statuses) == (0, {"g1": "passed"}), ran.stderr
    await_silence(stage, GRACE + PATIENCE)
    stage.judge(inventory=lambda: boxes(stage))


@pytest.mark.parametrize("cure", [("gc",), ("test", "--groups", "g2")], ids=["gc", "the next start"])
def test_case_09_a_killed_harness_with_a_killed_guardian(stage: Stage, cure: tuple[str, ...]) -> None:
    stage.groups(STUBBORN, DAEMON, "true", run=f'grace = "{GRACE}s"', head=BOX, more='isolate = ["box"]')
    process = stage.start("test", "--parallel", "--jobs", "2")
    eventually(lambda: started(stage) == 2, "two groups")
    assert guardians(stage), "nothing watches the run"
    kill_guardian(stage)
    stage.kill(process)
    assert stage.run(*cure).code == 0
    assert not list(processes(stage)), "what it swept is gone when it returns"
    first = min((stage.directory / "logs").glob("run_*"))
    assert (first / "report.json").exists()
    stage.judge(inventory=lambda: boxes(stage))


def test_case_09_what_a_dead_run_was_is_told_to_the_next_one(stage: Stage) -> None:
    stage.groups(STUBBORN, "true", run=f'grace = "{GRACE}s"')
    process = stage.start("test", "--parallel", "--jobs", "1")
    eventually(lambda: started(stage) == 1, "a group")
    kill_guardian(stage)
    stage.kill(process)
    swept = stage.run("gc")
    assert swept.code == 0
    assert stage.newest().statuses == {"g0": "lost", "g1": "not_run"}
    assert stage.newest().files.run_id in swept.stdout + swept.stderr, "it says which run it has brought to its end"
    stage.judge()


SHORT = ["sleep 0.1", "sleep 0.2", "exit 1", "sleep 0.05; true"]


@pytest.mark.parametrize("seed", range(6))
def test_case_10_a_kill_at_a_random_moment(stage: Stage, seed: int) -> None:
    """Two hundred of them are in `make torture`."""
    chance = random.Random(seed)
    stage.groups(*SHORT, head=BOX, more='isolate = ["box"]')
    process = stage.start("test", "--parallel", "--jobs", "2")
    time.sleep(chance.uniform(0.0, 0.8))
    if seed % 2:
        kill_guardian(stage)
    stage.kill(process)
    if not seed % 2:
        await_silence(stage, GRACE + PATIENCE)
    assert stage.run("gc").code == 0
    stage.judge(inventory=lambda: boxes(stage))
