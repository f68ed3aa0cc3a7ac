"""A run's file in .harness/runs: there until it is finished, and nobody's only once all who attend to it have gone."""

import os
import shutil
import stat
from pathlib import Path

import msgspec
import pytest

from harness.unfinished import UNFINISHED, Facts, abandoned, attend, begin


@pytest.fixture
def facts(tmp_path: Path) -> Facts:
    return Facts(
        run_id="20260101_000000",
        log_dir=str(tmp_path / "logs"),
        project=str(tmp_path),
        test_root=str(tmp_path),
        here=str(tmp_path),
        door="./exec.sh local",
        history_runs=200,
        writer="0a1b2c3d",
    )


def test_whoever_attends_to_it_keeps_others_away(facts: Facts, tmp_path: Path) -> None:
    run = begin(facts)
    assert abandoned(tmp_path, print) == []
    run.close()
    (found,) = abandoned(tmp_path, print)
    assert (found.facts, found.path) == (facts, run.path)
    assert abandoned(tmp_path, print) == []  # we attend to it now
    found.finished()
    found.close()
    assert list(Path(tmp_path, UNFINISHED).iterdir()) == []


def test_who_inherits_the_lock_attends_to_it_too(facts: Facts, tmp_path: Path) -> None:
    run = begin(facts)
    inherited = os.dup(run.lock)
    run.close()
    assert abandoned(tmp_path, print) == []
    guardian = attend(run.path, inherited)
    assert guardian
    assert guardian.facts == facts
    guardian.finished()
    guardian.close()


def test_one_whose_harness_died_before_it_was_written_is_removed(facts: Facts, tmp_path: Path) -> None:
    run = begin(facts)
    run.close()
    run.path.write_bytes(run.path.read_bytes()[:-1])
    assert abandoned(tmp_path, print) == []
    assert list(Path(tmp_path, UNFINISHED).iterdir()) == []


def test_one_that_cannot_be_read_is_told_and_keeps_from_no_other(facts: Facts, tmp_path: Path) -> None:
    runs = [begin(facts) for _ in range(2)]
    for run in runs:
        run.close()
    foreign, good = (run.path for run in runs)
    foreign.write_bytes(b'{"run":1}')
    blocked = foreign.with_name("00000000_000000-0.json")
    blocked.mkdir()
    told: list[str] = []
    (found,) = abandoned(tmp_path, told.append)
    assert found.path == good
    found.close()
    assert [line.split()[4] for line in told] == [str(blocked), str(foreign)]
    assert foreign.exists()


def test_the_oldest_comes_first_and_two_of_one_second_are_two(facts: Facts, tmp_path: Path) -> None:
    for run_id in ("20260101_000002", "20260101_000001", "20260101_000001"):
        begin(Facts(**{name: getattr(facts, name) for name in facts.__struct_fields__} | {"run_id": run_id})).close()
    found = abandoned(tmp_path, print)
    assert [run.facts.run_id for run in found] == ["20260101_000001", "20260101_000001", "20260101_000002"]
    for run in found:
        run.close()


def test_others_cannot_read_it(facts: Facts) -> None:
    run = begin(facts)
    assert stat.S_IMODE(run.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(run.path.parent.stat().st_mode) == 0o700
    run.close()


def test_a_project_without_runs_has_none(tmp_path: Path) -> None:
    assert abandoned(tmp_path, print) == []
    assert not (tmp_path / ".harness").exists()


def test_in_a_project_that_was_moved_it_is_where_that_is_now(facts: Facts, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    run = begin(facts_of(facts, old))
    guardian = attend(run.path, run.lock)
    assert guardian
    assert not guardian.is_elsewhere
    old.rename(new)
    assert guardian.is_elsewhere
    run.close()
    (found,) = abandoned(new, print)
    assert found.facts == facts_of(facts, new)
    assert found.run_dir == run.run_dir == str(old / "logs" / "run_20260101_000000")
    found.close()


def test_a_log_directory_that_is_not_in_the_project_does_not_move_with_it(facts: Facts, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    begin(msgspec.structs.replace(facts, project=str(old))).close()
    old.rename(new)
    (found,) = abandoned(new, print)
    assert found.facts == msgspec.structs.replace(facts, project=str(new))
    found.close()


def test_one_that_was_removed_is_not_elsewhere(facts: Facts) -> None:
    run = begin(facts)
    run.path.unlink()
    assert not run.is_elsewhere
    run.close()


def test_a_copy_is_left_alone_while_the_first_is_there(facts: Facts, tmp_path: Path) -> None:
    first, copy = tmp_path / "first", tmp_path / "copy"
    run = begin(facts_of(facts, first))
    shutil.copytree(first, copy)
    assert abandoned(copy, print) == []
    run.finished()
    run.close()
    (found,) = abandoned(copy, print)
    assert found.facts == facts_of(facts, copy)
    found.close()


def facts_of(facts: Facts, project: Path) -> Facts:
    """As they would be in `project`."""
    where = str(project)
    return msgspec.structs.replace(facts, project=where, test_root=where, here=where, log_dir=str(project / "logs"))
