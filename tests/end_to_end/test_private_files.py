"""What a run makes can hold secrets: it is for its owner alone, whatever the umask, and wherever others can write."""

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from projects import Harness

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for two users")
PLAN = f"""
    [run]
    test_root = "tests"
    warm = true

    [resources]
    api = {{ rate = "1000/s" }}
    places = {{ concurrent = 2 }}

    [[services]]
    name = "server"
    command = "echo up; exec sleep 1000"
    ready = {{ log = "up" }}

    [isolation.tmpdir]
    home = true

    [isolation.made]
    kind = "command"
    setup = 'echo A_KEY=secret >"$HARNESS_ENV"; ls -la "$(dirname "$HARNESS_ENV")"'

    [isolation.ports]

    [[phases]]
    name = "all"

    [[phases.groups]]
    name = "one"
    tests = "test_one.py"
    isolate = ["tmpdir", "made", "ports"]

    [[phases.groups]]
    name = "halves"
    tests = ["test_a.py", "test_b.py"]
    splittable = true
    isolate = ["tmpdir"]

    [[phases.groups]]
    name = "many"
    tests = "test_many.py"
    workers = 2
    isolate = ["made"]

    [[phases.groups]]
    name = "budget"
    command = ["{sys.executable}", "-I", "-m", "harness", "hold", "places", "--", "false"]
"""
# Each looks at the same things while the run goes on: what is gone at its end must have been private, too.
TEST = """
    import os
    import stat
    from pathlib import Path

    PROJECT = Path(__file__).resolve().parents[1]


    def open_to_others():
        yield from (path for path in (PROJECT / "logs", PROJECT / ".harness") if path.lstat().st_mode & 0o077)
        for path in (PROJECT / ".harness").rglob("*"):
            if path.is_file() and path.lstat().st_mode & 0o077:
                yield path


    def test_it(rate_limit):
        with rate_limit("api"):
            assert [str(path) for path in open_to_others()] == []
        if "TMPDIR" in os.environ and os.environ["HARNESS_GROUP"] != "many":
            assert stat.S_IMODE(Path(os.environ["TMPDIR"]).stat().st_mode) == 0o700
        assert os.environ["HARNESS_GROUP"] != "one"
"""


@pytest.fixture(params=[0o000, 0o022, 0o777], ids="umask {:03o}".format)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(0o022)
    os.umask(before)
    yield request.param
    os.umask(before)


def open_to_others(directory: Path) -> list[str]:
    """Files that others may use, and directories that they may enter from outside."""
    found = []
    for path in directory.iterdir():
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_symlink():
            continue
        if mode != (0o700 if path.is_dir() else 0o600):
            found.append(f"{path}: {mode:03o}")
        if path.is_dir():
            found += [] if mode == 0o700 else open_to_others(path)
            # Within a private one, what is a directory needs not be.
            found += [f"{file}: {stat.S_IMODE(file.lstat().st_mode):03o}" for file in _files_open_to_others(path)]
    return found


def _files_open_to_others(directory: Path) -> Iterator[Path]:
    return (path for path in directory.rglob("*") if path.is_file() and stat.S_IMODE(path.lstat().st_mode) != 0o600)


@pytest.fixture
def suite(harness: Harness) -> Harness:
    harness.plan(PLAN)
    for name in ("one", "a", "b", "many"):
        harness.write(f"tests/test_{name}.py", TEST)
    return harness


def test_everything_is_for_its_owner_alone(suite: Harness, umask: int, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir(mode=0o700)
    os.umask(umask)
    try:
        ran = suite.run("test", "--parallel", "--keep-environment", env={"TMPDIR": str(temporary)})
    finally:
        os.umask(0o022)
    assert ran.code == 1, ran.stderr
    assert ran.statuses == {"one": "failed", "halves": "passed", "many": "passed", "budget": "failed"}
    failed = [test["message"] for suite in ran.report["suites"] for test in suite["test_results"] if test["message"]]
    assert failed == ["AssertionError: assert 'one' != 'one'"]
    for made in ("logs", ".harness"):
        assert stat.S_IMODE((suite.directory / made).stat().st_mode) == 0o700
        assert open_to_others(suite.directory / made) == []
    assert open_to_others(temporary) == []
    kept = {path.name for path in (suite.directory / ".harness").iterdir()}
    assert {"history.sqlite3", "kept", "leases", "budgets"} <= kept
    assert list(temporary.iterdir())


def test_a_log_directory_that_is_there_keeps_its_mode(harness: Harness) -> None:
    harness.plan("[[phases]]\nname = 'p'\n[[phases.groups]]\nname = 'g'\ncommand = 'true'")
    (harness.directory / "logs").mkdir(mode=0o755)
    (harness.directory / "logs").chmod(0o755)
    assert harness.run("test").code == 0
    assert stat.S_IMODE((harness.directory / "logs").stat().st_mode) == 0o755
    assert open_to_others(harness.directory / "logs") == []


@as_root
@pytest.mark.parametrize("laid", ["link", "file", "pipe"])
def test_what_somebody_else_has_laid_in_the_log_directory_is_not_written_to(harness: Harness, laid: str) -> None:
    """Under the names that a run's logs will have. The first group acts for him, since he has to guess the second."""
    target = harness.directory / "target"
    target.write_text("before")
    lay = {"link": f"ln -s {target} $log", "file": "touch $log; chmod 666 $log", "pipe": "mkfifo $log; chmod 666 $log"}
    harness.plan(
        f"""
        [[phases]]
        name = "p"
        sequential = true

        [[phases.groups]]
        name = "he"
        command = "log=logs/victim_$HARNESS_RUN_ID.log; {lay[laid]}; chown -h {NOBODY} $log"

        [[phases.groups]]
        name = "victim"
        command = "echo a secret"
        """
    )
    ran = harness.run("test")
    assert ran.statuses == {"he": "passed", "victim": "error"}
    assert target.read_text() == "before"
    reason = ran.status_file("victim")["REASON"]
    assert reason.startswith(f"cannot write the log {ran.files.group_log('victim')}: ")
    if laid == "file":
        assert reason.endswith("it was there already, and is not a file of our own")
        assert ran.files.group_log("victim").read_bytes() == b""


def test_a_second_name_of_another_file_is_not_written_to(harness: Harness) -> None:
    (harness.directory / "target").write_text("before")
    harness.plan(
        """
        [[phases]]
        name = "p"
        sequential = true

        [[phases.groups]]
        name = "he"
        command = "ln target logs/victim_$HARNESS_RUN_ID.log"

        [[phases.groups]]
        name = "victim"
        command = "echo a secret"
        """
    )
    assert harness.run("test").statuses == {"he": "passed", "victim": "error"}
    assert (harness.directory / "target").read_text() == "before"
