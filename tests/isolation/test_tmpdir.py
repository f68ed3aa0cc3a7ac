"""The kind `tmpdir`: what it makes, what it removes whatever tests did to it, the files outside that it looks at."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InfrastructureError
from harness.isolation.lease import Context, Lease, new_token
from harness.isolation.tmpdir import removal as removal
from harness.isolation.tmpdir.files import WatchedFiles
from harness.isolation.tmpdir.kind import TmpDir
from harness.isolation.tmpdir.removal import remove_tree

ROOT = os.geteuid() == 0
NOBODY = 65534
WRITE = """
import os, sys
print(flush=True)
at = 0
while True:
    at += 1
    try:
        open(os.path.join(sys.argv[1], str(at % 50)), "w").close()
    except FileNotFoundError:
        sys.exit(3)
"""


def options(**changed: object) -> dict[str, object]:
    return {"home": False, "watch": (".",), "ignore": ()} | changed


def planned(kind: TmpDir) -> Lease:
    lease = Lease(token=new_token(), entry="tmp", kind="tmpdir", run_id="20260101_000000", group="g")
    return msgspec.structs.replace(lease, details=dict(kind.plan(lease)))


class World:
    """A kind, and leases of it with all that the journal would know."""

    def __init__(self, kind: TmpDir) -> None:
        self.kind = kind
        self.leases: list[Lease] = []

    def make(self) -> tuple[Lease, Path]:
        lease = planned(self.kind)
        details = dict(lease.details)
        self.kind.make(lease, details.update)
        self.leases.append(msgspec.structs.replace(lease, details=details))
        return self.leases[-1], Path(details["directory"])


@pytest.fixture
def world(context: Context) -> Iterator[World]:
    world = World(TmpDir(options(), context))
    yield world
    for lease in world.leases:
        shutil.rmtree(lease.details["directory"], ignore_errors=True)


def test_it_is_private_and_short_enough_for_a_socket(world: World) -> None:
    lease = planned(world.kind)
    made = world.kind.make(lease, dict)
    directory = Path(made.variables["TMPDIR"])
    assert made.variables == dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(directory))
    assert made.roles == {"directory": "TMPDIR"}
    assert directory.stat().st_mode & 0o777 == 0o700
    assert lease.token in directory.name
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(directory / ".s.PGSQL.5432"))
    world.kind.release(lease)
    assert not directory.exists()


def test_a_long_tmpdir_of_ours_is_not_handed_on(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", f"/{'x' * 60}")
    assert Path(planned(TmpDir(options(), context)).details["directory"]).parent == Path("/tmp").resolve()


def test_where_tmpdir_is_watched_its_own_doings_are_no_contamination() -> None:
    """In a process of its own: Python looks only once where it can write."""
    script = """
import sys, tempfile
from pathlib import Path
import msgspec
from harness.isolation.lease import Context, Lease
from harness.isolation.tmpdir.kind import TmpDir
opened, honest = [], tempfile._os.open
tempfile._os.open = lambda *words: opened.append(words) or honest(*words)
kind = TmpDir({"home": False, "watch": (".",), "ignore": ()}, Context(Path(sys.argv[1]), "0f0f", "r", {}))
before = kind.look(None)
tried = len(opened)
lease = Lease("0123456789ab", "tmp", "tmpdir", "r", "g")
lease = msgspec.structs.replace(lease, details=dict(kind.plan(lease)))
kind.make(lease, dict)
assert Path(lease.details["directory"]).parent == Path(sys.argv[1]).resolve()
print(tried, len(opened) - tried, kind.look(None) == before)
"""
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        argv = [sys.executable, "-c", script, place]
        env = os.environ | {"TMPDIR": place, "PYTHONPATH": str(Path(__file__).parents[2])}
        ran = subprocess.run(argv, env=env, capture_output=True, text=True)
    assert ran.stdout == "1 0 True\n", ran.stderr


def test_a_home_lies_in_it(context: Context) -> None:
    kind = TmpDir(options(home=True), context)
    lease = planned(kind)
    home = Path(kind.make(lease, dict).variables["HOME"])
    assert home.parent == Path(lease.details["directory"])
    assert home.stat().st_mode & 0o777 == 0o700
    again = planned(kind)
    assert "HOME" not in TmpDir(options(), context).make(again, dict).variables
    for it in (lease, again):
        kind.release(it)
    assert not home.exists()


def test_released_twice_before_it_was_made_and_in_another_process(world: World, context: Context) -> None:
    world.kind.release(planned(world.kind))
    world.kind.release(msgspec.structs.replace(planned(world.kind), details={}))
    lease, directory = world.make()
    (directory / "a").mkdir()
    TmpDir(options(), context).release(lease)
    assert not directory.exists()
    world.kind.release(lease)


def test_where_something_stands_already_it_is_not_taken(world: World) -> None:
    lease = planned(world.kind)
    world.leases.append(lease)
    Path(lease.details["directory"]).mkdir()
    with pytest.raises(InfrastructureError, match=r"cannot make .*: File exists"):
        world.kind.make(lease, dict)


def test_a_directory_that_does_not_bear_the_token_is_never_removed(world: World, tmp_path: Path) -> None:
    lease, _ = world.make()
    precious = tmp_path / "precious"
    precious.mkdir()
    for place in (precious, precious / f"harness-{new_token()}"):
        with pytest.raises(InfrastructureError, match=lease.token):
            world.kind.release(msgspec.structs.replace(lease, details={"directory": str(place)}))
    assert precious.is_dir()


def test_links_are_removed_and_not_followed(world: World, tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    lease, directory = world.make()
    (directory / "link").symlink_to(tmp_path)
    world.kind.release(lease)
    assert not directory.exists()
    lease, directory = world.make()
    directory.rmdir()
    directory.symlink_to(tmp_path)
    world.kind.release(lease)
    assert not directory.is_symlink()
    assert (tmp_path / "precious").exists()


@pytest.mark.skipif(not ROOT, reason="only root can give a file away")
def test_what_a_stranger_put_in_its_place_is_left_alone(world: World) -> None:
    lease, directory = world.make()
    moved = directory.rename(directory.with_suffix(".old"))
    directory.mkdir()
    os.chown(directory, NOBODY, NOBODY)
    world.kind.release(lease)
    assert directory.is_dir()
    moved.rmdir()


@pytest.mark.skipif(not ROOT, reason="only root can give a file away")
def test_it_is_removed_though_tests_gave_it_to_another_user(world: World) -> None:
    lease, directory = world.make()
    os.chown(directory, NOBODY, NOBODY)
    world.kind.release(lease)
    assert not directory.exists()


def build_a_fortress(directory: Path) -> None:
    """Directories and files that nobody may enter, read or change."""
    for name in ("closed", "blind", "fixed"):
        (directory / name / "inside").mkdir(parents=True)
        (directory / name / "inside" / "file").touch(mode=0)
    (directory / "closed" / "inside").chmod(0)
    for name, mode in (("closed", 0), ("blind", 0o300), ("fixed", 0o500)):
        (directory / name).chmod(mode)
    directory.chmod(0)


def test_what_nobody_may_enter_is_removed(world: World) -> None:
    lease, directory = world.make()
    build_a_fortress(directory)
    world.kind.release(lease)
    assert not directory.exists()


@pytest.mark.skipif(not ROOT, reason="others than root have just shown it")
def test_an_ordinary_user_removes_what_nobody_may_enter() -> None:
    script = f"""
import os, sys
sys.path[:0] = [{str(Path(__file__).parents[2])!r}, {str(Path(__file__).parent)!r}]
from pathlib import Path
from harness.isolation.tmpdir.removal import remove_tree
from test_tmpdir import build_a_fortress
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
directory = Path(sys.argv[1], "tree")
directory.mkdir()
build_a_fortress(directory)
remove_tree(directory)
print(directory.exists())
"""
    with tempfile.TemporaryDirectory() as place:
        os.chown(place, NOBODY, NOBODY)
        ran = subprocess.run(
            [sys.executable, "-c", script, place],
            cwd="/",
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
            capture_output=True,
            text=True,
        )
    assert ran.stdout == "False\n", ran.stderr


def test_a_tree_deeper_than_paths_may_be_is_removed(world: World) -> None:
    lease, directory = world.make()
    here = os.open(directory, os.O_RDONLY)
    for _ in range(700):
        os.mkdir("dddddddd", dir_fd=here)
        below = os.open("dddddddd", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    world.kind.release(lease)
    assert not directory.exists()


def test_what_somebody_still_writes_is_removed(world: World) -> None:
    lease, directory = world.make()
    argv = [sys.executable, "-S", "-c", WRITE, str(directory)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as writer:
        try:
            assert writer.stdout
            writer.stdout.readline()
            world.kind.release(lease)
            assert not directory.exists()
            assert writer.wait(timeout=60) == 3
        finally:
            writer.kill()


def test_one_file_that_comes_too_late_makes_it_try_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "tree"
    (directory / "a").mkdir(parents=True)
    removing, late = os.rmdir, [1, 2, 3]

    def rmdir(path: str, dir_fd: int) -> None:
        if late:
            (directory / "a" / str(late.pop())).touch()
        removing(path, dir_fd=dir_fd)

    monkeypatch.setattr(removal.os, "rmdir", rmdir)
    remove_tree(directory)
    assert not directory.exists()
    assert not late


def test_what_cannot_be_removed_is_named_and_the_rest_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where chattr has made a file immutable, or another user owns it."""
    directory = tmp_path / "tree"
    (directory / "a").mkdir(parents=True)
    for name in ("a/fixed", "a/b", "c"):
        (directory / name).touch()
    removing = os.unlink

    def unlink(path: str, dir_fd: int) -> None:
        if path == "fixed":
            raise PermissionError(1, "Operation not permitted")
        removing(path, dir_fd=dir_fd)

    monkeypatch.setattr(removal.os, "unlink", unlink)
    with pytest.raises(InfrastructureError, match=rf"cannot remove {directory}/a/fixed: Operation not permitted"):
        remove_tree(directory)
    assert [str(path.relative_to(directory)) for path in sorted(directory.rglob("*"))] == ["a", "a/fixed"]


@pytest.mark.parametrize(
    ("mount", "told_by"),
    [
        ("mount --bind {0}/precious '{0}/tree/a b'", "/proc/self/mountinfo"),
        ("mount -t tmpfs none '{0}/tree/a b'", "/there is no procfs"),
    ],
)
def test_what_is_mounted_in_it_stays(tmp_path: Path, mount: str, told_by: str) -> None:
    (tmp_path / "tree" / "a b").mkdir(parents=True)
    (tmp_path / "tree" / "other").touch()
    (tmp_path / "precious").mkdir()
    script = f"""
set -e
mkdir -p {tmp_path}/precious; touch {tmp_path}/precious/file
{mount.format(tmp_path)} || exit 77
touch '{tmp_path}/tree/a b/file'
{sys.executable} -c 'import sys; from pathlib import Path; from harness.isolation.tmpdir import removal
removal._MOUNTS = Path(sys.argv[2]); removal.remove_tree(Path(sys.argv[1]))' {tmp_path}/tree "{told_by}" || true
ls '{tmp_path}/tree' '{tmp_path}/tree/a b'
"""
    argv = ["unshare", "-Urm", "bash", "-c", script]
    if not shutil.which("unshare"):
        pytest.skip("no unshare(1)")
    ran = subprocess.run(argv, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    if ran.returncode in (77, 1):
        pytest.skip(f"may not mount here: {ran.stderr}")
    assert f"cannot remove {tmp_path}/tree/a b: something is mounted there" in ran.stderr
    assert ran.stdout == f"{tmp_path}/tree:\na b\n\n{tmp_path}/tree/a b:\nfile\n"


# --- files outside


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("a.txt", "src/b.py", "src/deep/c.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    return tmp_path


def names(watched: WatchedFiles) -> set[str]:
    return set(watched.look())


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def test_files_of_the_project_are_seen_with_size_and_time(context: Context) -> None:
    path = context.project / "out" / "a.txt"
    path.parent.mkdir()
    path.write_text("twelve bytes")
    os.utime(path, ns=(0, 1_000_000_000_123_456_789))
    ((name, told),) = TmpDir(options(), context).look(None).items()
    assert name == "file out/a.txt"
    assert told.startswith("12 bytes, modified 2001-09-")
    assert told.endswith(".123456789")


def test_made_changed_removed_and_linked_files_are_seen(project: Path) -> None:
    watched = WatchedFiles(project, ["."], [])
    before = dict(watched.look())
    assert changed(before, dict(watched.look())) == set()
    (project / "src/new").touch()
    (project / "src/b.py").write_text("xy")
    (project / "a.txt").unlink()
    (project / "link").symlink_to("/")
    assert changed(before, dict(watched.look())) == {"file src/new", "file src/b.py", "file a.txt", "file link"}


@pytest.mark.parametrize(
    "name",
    [
        *(".git/index", ".harness/history.sqlite3", "src/__pycache__/b.cpython-311.pyc", ".pytest_cache/x", "x.pyc"),
        *(".mypy_cache/x", ".ruff_cache/x", ".venv/bin/python", "node_modules/x", "htmlcov/index.html", ".coverage"),
        *(".coverage.host.1", "test-report.json", "g_20260101_000000.log", ".g_status_20260101_000000-2"),
        *(".test-report.json.ab12.tmp", "run_20260101_000000/events.jsonl", "out/run_20260101_000000-2/x"),
        *("out/run_20260101_000000/x", "harness-0123456789ab/x", "harness-0123456789ab-away/x"),
    ],
)
def test_what_tools_and_the_harness_write_is_left_out(project: Path, name: str) -> None:
    before = names(WatchedFiles(project, ["."], []))
    (project / name).parent.mkdir(parents=True, exist_ok=True)
    (project / name).write_text("x")
    assert names(WatchedFiles(project, ["."], [])) == before


def test_all_that_lies_beside_the_logs_of_runs_is_left_out(project: Path) -> None:
    (project / "logs" / "run_20260101_000000").mkdir(parents=True)
    (project / "logs" / "anything").touch()
    assert "file logs/anything" not in names(WatchedFiles(project, ["."], []))
    assert "file logs/anything" in names(WatchedFiles(project, ["logs"], []))


def test_globs_leave_out_files_and_whole_directories(project: Path) -> None:
    assert names(WatchedFiles(project, ["."], ["*.txt"])) == {"file src/b.py"}
    assert names(WatchedFiles(project, ["."], ["src/deep/"])) == {"file a.txt", "file src/b.py"}
    assert names(WatchedFiles(project, ["."], ["src", "a.*"])) == set()


def test_directories_elsewhere_are_watched_under_their_whole_names(project: Path, tmp_path_factory) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "x").touch()
    watched = WatchedFiles(project, ["src", str(other), "missing", f"../{other.name}"], [])
    assert names(watched) == {"file src/b.py", "file src/deep/c.txt", f"file {other}/x"}


def test_many_files_are_counted_by_directory_from_the_first_look_on(project: Path) -> None:
    watched = WatchedFiles(project, ["."], [], most=2)
    before = dict(watched.look())
    assert before.keys() == {"directory ./", "directory src/", "directory src/deep/"}
    assert before["directory src/"].startswith("1 files, modified ")
    (project / "src/new").touch()
    assert changed(before, dict(watched.look())) == {"directory src/"}
    few = WatchedFiles(project, ["."], [], most=4)
    few.look()
    (project / "one more").touch()
    assert "file one more" in names(few)


@given(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=50))
def test_any_name_is_told_in_one_printable_line(name: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, os.fsdecode(b"z" + name.encode()[:200] + b"\xff")).touch()
        (told,) = WatchedFiles(Path(directory), ["."], []).look()
    assert told.isprintable()
    told.encode()
