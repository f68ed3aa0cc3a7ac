"""What git says of real repositories, made for each test."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.git import Head, changed_files, head


def git(directory: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=directory, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(autouse=True)
def nobody_s_settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "somebody")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "somebody@example.org")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path_factory.getbasetemp()))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two files in one commit."""
    git(tmp_path, "init", "-q", "-b", "main")
    for name in ("a.py", "sub/b.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("one\n" * 10)
    commit(tmp_path)
    return tmp_path


def commit(directory: Path) -> str:
    git(directory, "add", "-A")
    git(directory, "commit", "-q", "-m", "x", "--allow-empty")
    return git(directory, "rev-parse", "HEAD")


def no_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def test_head_of_a_clean_tree(repository: Path) -> None:
    assert head(repository) == Head(git(repository, "rev-parse", "HEAD"), dirty=False)
    assert head(repository / "sub") == head(repository)


def test_whatever_differs_makes_a_tree_dirty(repository: Path) -> None:
    (repository / "new").touch()
    git(repository, "add", "new")
    assert head(repository).dirty
    commit(repository)
    (repository / "a.py").unlink()
    assert head(repository / "sub").dirty


def test_head_is_the_same_detached_and_in_a_worktree(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = head(repository)
    git(repository, "checkout", "-q", "--detach")
    assert head(repository) == before
    worktree = tmp_path_factory.mktemp("trees") / "worktree"
    git(repository, "worktree", "add", "-q", str(worktree))
    assert head(worktree) == before


def test_without_a_commit_there_is_none(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert head(tmp_path) == Head("", dirty=False)


def test_outside_git_and_without_git_there_is_no_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert head(tmp_path) == Head("", dirty=False)
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    assert head(tmp_path).commit
    no_git(monkeypatch, tmp_path)
    assert head(tmp_path) == Head("", dirty=False)


def test_head_starts_no_daemon_and_takes_no_lock(repository: Path) -> None:
    """A lock that another git holds is not waited for, and the monitor of the repository's settings does not run."""
    monitor = repository / ".git/monitor"
    monitor.write_text(f"#!/bin/sh\ntouch {repository}/.git/ran\n")
    monitor.chmod(monitor.stat().st_mode | stat.S_IXUSR)
    git(repository, "config", "core.fsmonitor", str(monitor))
    os.utime(repository / "a.py", (1, 1))  # git would note in the index that only the time is new
    index = (repository / ".git/index").read_bytes()
    expected = Head(git(repository, "rev-parse", "HEAD"), dirty=False)
    assert head(repository) == expected
    assert (repository / ".git/index").read_bytes() == index
    assert not (repository / ".git/ran").exists()
    (repository / ".git/index.lock").touch()
    assert head(repository) == expected


def test_changed_files_are_those_of_the_working_tree(repository: Path) -> None:
    assert changed_files(repository, "HEAD") == frozenset()
    (repository / "a.py").write_text("two\n")
    (repository / "sub/b.py").unlink()
    (repository / "new").touch()
    (repository / ".gitignore").write_text("ignored\n")
    (repository / "ignored").touch()
    assert changed_files(repository, "HEAD") == {"a.py", "sub/b.py", "new", ".gitignore"}


def test_both_names_of_a_rename_have_changed(repository: Path) -> None:
    git(repository, "config", "diff.renames", "true")
    git(repository, "mv", "a.py", "c.py")
    assert changed_files(repository, "HEAD") == {"a.py", "c.py"}


def test_changed_files_are_relative_to_the_project(repository: Path) -> None:
    (repository / "a.py").write_text("two\n")
    (repository / "sub/b.py").write_text("two\n")
    (repository / "sub/new").touch()
    assert changed_files(repository / "sub", "HEAD") == {"b.py", "new"}


def test_what_the_other_branch_has_done_since_is_not_ours(repository: Path) -> None:
    git(repository, "checkout", "-q", "-b", "feature")
    (repository / "sub/b.py").write_text("two\n")
    commit(repository)
    git(repository, "checkout", "-q", "main")
    (repository / "a.py").write_text("theirs\n")
    commit(repository)
    git(repository, "checkout", "-q", "feature")
    assert changed_files(repository, "main") == {"sub/b.py"}


@pytest.mark.parametrize(
    "name", ["with space", 'quo"te', "tab\there", "new\nline", "ümlaut", "back\\slash", os.fsdecode(b"\xff\xfe")]
)
def test_names_come_as_they_are(repository: Path, name: str) -> None:
    (repository / name).touch()
    assert changed_files(repository, "HEAD") == {name}
    commit(repository)
    (repository / name).write_text("x")
    assert changed_files(repository, "HEAD") == {name}


def test_a_repository_inside_counts_with_its_files(repository: Path) -> None:
    inner = repository / "inner"
    inner.mkdir()
    git(inner, "init", "-q")
    (inner / "x.py").touch()
    commit(inner)
    assert {"inner", "inner/x.py"} <= changed_files(repository, "HEAD")


@pytest.mark.parametrize("ref", ["nowhere", "--all", "-x", "--since=now", "--git-dir", "HEAD:a.py", "main..main", ""])
def test_unknown_commit_is_refused(repository: Path, ref: str) -> None:
    with pytest.raises(UsageError, match="--changed: git knows no commit") as caught:
        changed_files(repository, ref)
    assert "fetch" in caught.value.cure


def test_no_common_ancestor_is_refused(repository: Path) -> None:
    git(repository, "checkout", "-q", "--orphan", "other")
    (repository / "a.py").write_text("two")
    commit(repository)
    with pytest.raises(UsageError, match="no common ancestor"):
        changed_files(repository, "main")


def test_without_git_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"^--changed: git does not answer here: not a git repository"):
        changed_files(tmp_path, "HEAD")
    no_git(monkeypatch, tmp_path)
    with pytest.raises(UsageError, match="could not be started"):
        changed_files(tmp_path, "HEAD")


def test_a_file_that_nobody_told_git_of_makes_it_dirty(repository: Path) -> None:
    (repository / "logs").mkdir()
    (repository / "logs" / "a.log").touch()
    assert not head(repository, ignoring=("logs", "/elsewhere", "../up")).dirty
    (repository / "script.sh").touch()
    assert head(repository, ignoring=("logs",)).dirty
