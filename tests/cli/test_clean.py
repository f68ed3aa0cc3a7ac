"""`clean`: what goes, and above all what stays."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli.clean import clean
from harness.errors import InfrastructureError

from .conftest import FakeRun

NOBODY = 2**22 + 1  # no process has such a number


def fill(run: FakeRun) -> set[str]:
    """All files that a run leaves; returns their names."""
    run.start("core")
    files = run.files
    made = [files.main_log, files.group_log("core"), files.status("core"), files.group_log("../x"), files.report]
    made += [files.service_log("web"), files.log_dir / f".{files.status('core').name}.abc_123.tmp"]
    for path in made:
        path.touch()
    return {path.name for path in made if path.parent == files.log_dir} | {files.run_dir.name}


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_runs_that_have_ended_go_with_all_their_files(call, fake_run: Callable[..., FakeRun], project: Path) -> None:
    for run_id in ("20250101_120000", "20250101_120000-2"):
        fill(fake_run(run_id, pid=NOBODY))
    (project / "logs/test-report.json").touch()
    (project / "logs/.gitkeep").touch()
    (project / ".harness/cache/postgres-1").mkdir(parents=True)
    (project / ".harness/history.sqlite3").touch()
    result = call(clean)
    assert result.output == f"removed 2 runs from {project}/logs\n"
    assert names(project / "logs") == {".gitkeep"}
    assert names(project / ".harness") == {"history.sqlite3"}


def test_running_run_and_the_cache_stay(call, fake_run: Callable[..., FakeRun], project: Path) -> None:
    running = fill(fake_run("20250101_120000"))
    fill(fake_run("20250101_120000-2", pid=NOBODY))
    (project / "logs/test-report.json").touch()
    (project / ".harness/cache").mkdir(parents=True)
    result = call(clean)
    assert result.output == f"removed 1 run from {project}/logs, kept 1, 1 run still going on\n"
    assert names(project / "logs") == {*running, "test-report.json"}
    assert (project / ".harness/cache").exists()


def test_newest_runs_are_kept(call, fake_run: Callable[..., FakeRun], project: Path) -> None:
    for run_id in ("20250101_120000-9", "20250101_120000-10", "20250101_120000"):
        fake_run(run_id, pid=NOBODY).start("core")
    call(clean, "--keep", "2")
    assert names(project / "logs") == {"run_20250101_120000-9", "run_20250101_120000-10"}


@pytest.mark.parametrize(
    "foreign",
    [
        "notes.txt",
        "core_20250101_120001.log",  # of a run whose directory is not here
        "x20250101_120000.log",
        "core_20250101_120000.log.gz",
        ".core_status_20250101_120000.bak",
        "core_20250101_120000-2.log",
        "test-report.json.old",
        "run_notes",
    ],
)
def test_what_is_not_a_run_s_stays(call, fake_run: Callable[..., FakeRun], project: Path, foreign: str) -> None:
    fill(fake_run("20250101_120000", pid=NOBODY))
    (project / "logs" / foreign).touch()
    call(clean)
    assert names(project / "logs") == {foreign}


def test_directory_behind_a_link_is_not_entered(call, project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "precious").touch()
    os.utime(elsewhere, (0, 0))
    (project / "logs").mkdir()
    (project / "logs/run_20250101_120000").symlink_to(elsewhere)
    call(clean)
    assert (elsewhere / "precious").exists()


def test_damaged_journal_does_not_keep_a_run(call, fake_run: Callable[..., FakeRun], project: Path) -> None:
    run = fake_run("20250101_120000")
    run.files.events.write_bytes(b"garbage\n")
    os.utime(run.files.run_dir, (0, 0))
    call(clean)
    assert names(project / "logs") == set()


def test_nothing_to_remove(call, project: Path) -> None:
    assert call(clean).output == f"removed 0 runs from {project}/logs\n"
    assert not (project / "logs").exists()


def test_what_cannot_be_removed_is_named(
    call, fake_run: Callable[..., FakeRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fake_run("20250101_120000", pid=NOBODY)
    fill(run)

    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(InfrastructureError, match=r"cannot remove .*20250101_120000.*: Permission denied"):
        call(clean)
    assert run.files.run_dir.exists()  # so that the next clean still knows the run
