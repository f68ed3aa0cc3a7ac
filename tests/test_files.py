import os
import re
import stat
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ExitCode, InfrastructureError
from harness.files import RunFiles, all_runs, open_private, open_run, private_directory, safe_name, write_atomically

NOON = datetime(2025, 1, 2, 12, 0, 0)

# Names that lie close together, as well as any at all: letters of both cases, what is replaced, what looks hashed.
names = st.one_of(
    st.text(max_size=130),
    st.text(alphabet="aAbß_.-/ \n", max_size=6),
    st.text(alphabet="ab", min_size=95, max_size=105),
    st.sampled_from(["a", "b/", "-rf"]).map(safe_name),
)


@pytest.mark.parametrize("name", ["financial", "basic_features", "a-b.c", "7", "x" * 100, "run"])
def test_a_safe_name_stays_as_it_is(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("../../x", r"_\._\.\._x-[0-9a-f]{8}"),
        ("-rf", r"_rf-[0-9a-f]{8}"),
        (".hidden", r"_hidden-[0-9a-f]{8}"),
        ("two\nlines", r"two_lines-[0-9a-f]{8}"),
        ("Upper", r"Upper-[0-9a-f]{8}"),
        ("", r"_-[0-9a-f]{8}"),
        ("x" * 300, r"x{91}-[0-9a-f]{8}"),
        ("\u202eright-to-left", r"_right-to-left-[0-9a-f]{8}"),
        ("parallel_run", r"parallel_run-[0-9a-f]{8}"),  # its log would be the main log
        ("a-0123abcd", r"a-0123abcd-[0-9a-f]{8}"),  # or it could meet another name's hash
        ("\ud800", r"_-[0-9a-f]{8}"),
    ],
)
def test_any_other_name_is_made_safe_and_told_apart_by_a_hash(name: str, shape: str) -> None:
    assert re.fullmatch(shape, safe_name(name))


@given(names)
def test_safe_names_are_short_and_have_nothing_special(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", safe_name(name))


@given(st.sets(names, min_size=2))
def test_distinct_names_make_distinct_files_also_where_case_is_ignored(several: set[str]) -> None:
    assert len({safe_name(name).casefold() for name in several}) == len(several)


def test_a_run_claims_its_second_and_the_next_one_counts_on(tmp_path: Path) -> None:
    runs = [open_run(tmp_path / "logs", NOON) for _ in range(3)]
    assert [run.run_id for run in runs] == ["20250102_120000", "20250102_120000-2", "20250102_120000-3"]
    assert all(stat.S_IMODE(run.run_dir.stat().st_mode) == 0o700 for run in runs)


def test_every_file_has_the_name_that_the_specification_gives_it(tmp_path: Path) -> None:
    files = RunFiles(tmp_path, "20250102_120000")
    relative = [
        str(path.relative_to(tmp_path))
        for path in (
            files.main_log, files.group_log("financial"), files.status("financial"), files.events, files.report,
            files.junit, files.test_report, files.service_log("postgres"),
        )
    ]  # fmt: skip
    assert relative == [
        "parallel_run_20250102_120000.log",
        "financial_20250102_120000.log",
        ".financial_status_20250102_120000",
        "run_20250102_120000/events.jsonl",
        "run_20250102_120000/report.json",
        "run_20250102_120000/junit.xml",
        "test-report.json",
        "run_20250102_120000/service-postgres.log",
    ]


def test_a_log_directory_that_cannot_be_made_is_refused_with_path_and_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InfrastructureError) as caught:
        open_run(tmp_path / "file" / "logs", NOON)
    assert caught.value.message == f"cannot write to the log directory {tmp_path}/file/logs: Not a directory"
    assert caught.value.exit_code == ExitCode.INFRASTRUCTURE
    assert "--log-dir" in caught.value.cure


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_log_directory_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InfrastructureError, match="Permission denied"):
        open_run(tmp_path, NOON)


def test_runs_are_sorted_by_their_ids(tmp_path: Path) -> None:
    assert all_runs(tmp_path) == all_runs(tmp_path / "missing") == []
    for name in ("run_20250102_120000-10", "run_20250102_120000-9", "run_20250101_235959", "run_x", "parallel_run"):
        (tmp_path / name).mkdir()
    ids = [run.run_id for run in all_runs(tmp_path)]
    assert ids == ["20250102_120000-10", "20250102_120000-9", "20250101_235959"]


def test_a_file_is_replaced_whole_private_and_without_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_atomically(path, b"old")
    before = path.open("rb")
    write_atomically(path, b"new")
    with before:
        assert before.read() == b"old"  # whoever had it open keeps the whole old file
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_replacement_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "report.json"
    write_atomically(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_that_another_process_took_for_its_temporary_file_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.files._NUMBERS", iter([7, 8]))
    monkeypatch.setattr("harness.files.WRITER", "other")
    foreign = tmp_path / ".report.json.other-7.tmp"
    foreign.write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        write_atomically(tmp_path / "report.json", b"ours")
    assert foreign.read_bytes() == b"theirs"
    write_atomically(tmp_path / "report.json", b"ours")
    assert foreign.read_bytes() == b"theirs"


def test_a_file_of_the_current_directory_is_replaced_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_atomically(Path("report.json"), b"new")
    assert (tmp_path / "report.json").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


class TestOpenPrivate:
    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for two users")
    @pytest.mark.parametrize("what", ["link", "file", "pipe"])
    def test_what_somebody_else_has_laid_is_refused(self, tmp_path: Path, what: str) -> None:
        path, target = tmp_path / "log", tmp_path / "target"
        target.write_text("before")
        match what:
            case "link":
                path.symlink_to(target)
            case "file":
                path.touch()
            case "pipe":
                os.mkfifo(path)
        os.lchown(path, 65534, 65534)
        for flags in (os.O_WRONLY | os.O_APPEND, os.O_RDWR):
            with pytest.raises(OSError, match=r"symbolic links|not a file of our own|No such device"):
                open_private(path, flags)
        assert target.read_text() == "before"

    def test_a_second_name_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "target").touch()
        (tmp_path / "log").hardlink_to(tmp_path / "target")
        with pytest.raises(PermissionError, match="not a file of our own"):
            open_private(tmp_path / "log", os.O_RDWR)

    def test_our_own_links_are_followed(self, tmp_path: Path) -> None:
        (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
        os.close(open_private(tmp_path / "log", os.O_RDWR))
        assert (tmp_path / "elsewhere").stat().st_mode & 0o777 == 0o600


def test_what_is_missing_above_a_private_directory_is_private_too(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    before = os.umask(0)
    try:
        private_directory(tmp_path / "a/b")
        private_directory(tmp_path / "a/b")
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in (".", "a", "a/b")]
    assert modes == [0o755, 0o700, 0o700]
