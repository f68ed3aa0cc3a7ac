"""Cases 21, 22, 23 and 28: disks that are full, that take nothing, and deaths in the midst of writing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from faults.stage import Stage

PHASES = """
    [isolation.box]
    kind = "command"
    setup = "touch box-$HARNESS_LEASE; echo BOX=1 > $HARNESS_ENV"
    teardown = "rm -f box-$HARNESS_LEASE"

    [[phases]]
    name = "first"

    [[phases.groups]]
    name = "first"
    command = "{first}"
    isolate = "box"

    [[phases]]
    name = "second"
"""
GROUP = '\n[[phases.groups]]\nname = "{name}"\ncommand = "{command}"\nisolate = "box"\n'


def test_case_21_a_log_that_cannot_be_written_fails_its_group_alone(stage: Stage) -> None:
    plant = "ln -s /dev/full logs/victim_$HARNESS_RUN_ID.log"
    groups = [GROUP.format(name=name, command="echo hello") for name in ("victim", "other")]
    stage.plan(PHASES.format(first=plant) + "".join(groups))
    ran = stage.run("test", "--parallel")
    assert ran.statuses == {"first": "passed", "victim": "error", "other": "passed"}
    assert "No space left" in ran.status_file("victim")["REASON"]
    assert ran.code == 3
    stage.judge()


needs_namespaces = pytest.mark.skipif(
    not shutil.which("unshare") or subprocess.run(["unshare", "-Urm", "true"], capture_output=True).returncode != 0,
    reason="a disk of our own to fill needs `unshare -Urm`, which this machine lacks or does not allow",
)
# What was on the disk is brought out of the namespace, in which alone it exists.
INSIDE = """
mkdir logs && mount -t tmpfs -o size=256k none logs || exit 99
"$@"
code=$?
rm -f logs/ballast
cp -a logs kept
exit $code
"""


@needs_namespaces
def test_case_22_a_full_disk_stops_the_run_and_is_named(stage: Stage) -> None:
    fill = "cat /dev/zero > logs/ballast; echo the disk is full"
    groups = [GROUP.format(name=f"g{n}", command="touch started-$HARNESS_GROUP; exec sleep 0.2") for n in range(6)]
    stage.plan(PHASES.format(first=fill) + "".join(groups))
    words = [sys.executable, "-I", "-m", "harness", "test", "--parallel", "--jobs", "2"]
    ran = stage.finish(stage.start_process(["unshare", "-Urm", "sh", "-c", INSIDE, "sh", *words]))
    (stage.directory / "kept").rename(stage.directory / "logs")
    assert ran.code == 3, ran.stdout + ran.stderr
    assert "No space left on device" in ran.stderr
    assert str(stage.directory / "logs") in ran.stderr
    assert len(list(stage.directory.glob("started-*"))) < 6, "no group starts that nobody could tell of"
    boxes = lambda: frozenset(path.name for path in stage.directory.glob("box-*"))  # noqa: E731
    stage.judge(broken_reports=True, history=False, inventory=boxes)
    assert "its reports are whole now" in stage.run("gc").stdout
    assert set(stage.newest().statuses.values()) <= {"passed", "error", "interrupted", "lost", "not_run"}
    stage.judge(inventory=boxes)


def test_case_23_a_log_directory_that_cannot_be_made_is_refused_first(stage: Stage) -> None:
    stage.groups("touch started")
    ran = stage.run("test", "--log-dir", "/proc/harness/logs")
    assert ran.code == 3
    assert "/proc/harness/logs" in ran.stderr
    assert not (stage.directory / "started").exists()
    stage.judge()


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_case_23_a_log_directory_that_is_read_only_is_refused_first(stage: Stage) -> None:
    stage.groups("touch started")
    (stage.directory / "logs").mkdir(mode=0o555)
    ran = stage.run("test")
    assert ran.code == 3
    assert str(stage.directory / "logs") in ran.stderr
    assert not (stage.directory / "started").exists()
    assert list((stage.directory / "logs").iterdir()) == []
    stage.judge()


WRITES = """
import sys
from pathlib import Path
from harness.files import write_atomically
write_atomically(Path(sys.argv[1]), sys.argv[2].encode() * 50_000)
"""


@pytest.mark.skipif(not shutil.which("strace"), reason="a death at a chosen system call needs strace")
@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_case_28_a_death_at_any_call_leaves_the_old_file_or_the_new(stage: Stage, tmp_path: Path, call: str) -> None:
    report = tmp_path / "report.json"
    report.write_text("old" * 50_000)
    deaths = 0
    for number in range(1, 1000):
        inject = f"inject={call}:signal=KILL:when={number}"
        command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", inject]
        # -B: Python's own caches would be written the first time, and not the second.
        written = subprocess.run([*command, sys.executable, "-IB", "-c", WRITES, str(report), "new"])
        assert report.read_text() in ("old" * 50_000, "new" * 50_000)
        if written.returncode == 0:
            break
        deaths += 1
    assert report.read_text() == "new" * 50_000
    for left in tmp_path.glob("*.tmp"):
        left.unlink()  # of a process that nobody could ask any more
    assert deaths
    stage.judge()


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are UTF-8")
@pytest.mark.parametrize("place", ["project", "log directory", "where the user stands"])
def test_case_23_a_path_that_no_report_can_name_is_refused(stage: Stage, place: str) -> None:
    stage.groups("true")
    top, nameless = stage.directory, stage.directory / os.fsdecode(b"caf\xe9")
    nameless.mkdir()
    words: tuple[str, ...] = ()
    if place == "project":
        (top / "harness.toml").rename(nameless / "harness.toml")
        stage.directory = nameless
    elif place == "log directory":
        words = ("--log-dir", str(nameless))
    else:
        stage.directory = nameless
    ran = stage.run("test", *words)
    assert ran.code == 2
    assert "is not UTF-8" in ran.stderr
    assert list(nameless.iterdir()) == ([nameless / "harness.toml"] if place == "project" else [])
    stage.directory = top
    stage.judge()
