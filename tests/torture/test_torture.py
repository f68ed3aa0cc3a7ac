"""The torture itself, in small: what it counts, where it injects, what it writes down."""

import shutil
from pathlib import Path

import pytest
from torture.injections import Place, _numbered
from torture.page import BEGIN, END, PAGE, render, written_into
from torture.trials import carry_out, left_boxes, project


def test_a_trial_that_fails_is_counted_and_its_project_is_kept() -> None:
    def good() -> None:
        with project("good") as stage:
            kept.append(stage.directory)

    def bad() -> None:
        with project("bad") as stage:
            kept.append(stage.directory)
            (stage.directory / "box-1").touch()
            stage.judge(inventory=lambda: left_boxes(stage))

    kept: list[Path] = []
    result = carry_out("both", [good, bad], 1)
    assert result.row[:3] == ["both", "2", "1"]
    assert "box-1" in result.faults[0]
    assert str(kept[1].parent) in result.faults[0]
    assert [path.exists() for path in kept] == [False, True]
    shutil.rmtree(kept[1].parent)


TRACE = """\
openat(AT_FDCWD, "/usr/lib/x", O_RDONLY|O_CLOEXEC) = 3
openat(AT_FDCWD</p>, "/p/logs/events.jsonl", O_WRONLY|O_CREAT, 0600) = 4
write(1</dev/null>, "hello", 5) = 5
write(4</p/logs/events.jsonl>, "{}", 2) = 2
unlink("/p/x") = 0
openat(AT_FDCWD, "/p/harness.toml", O_RDONLY|O_CLOEXEC) = 3
"""


def test_it_injects_at_the_calls_that_touch_the_project(tmp_path: Path) -> None:
    (tmp_path / "trace").write_text(TRACE)
    assert list(_numbered(tmp_path / "trace", "/p/")) == [
        Place("openat", 2, True),
        Place("write", 2, True),
        Place("unlink", 1, False),
        Place("openat", 3, False),
    ]


def test_the_page_has_a_place_for_the_table_and_keeps_all_else() -> None:
    last = {
        "kills": {"date": "2026-01-01", "commit": "abc", "machine": "m", "seed": 7, "rows": [["it", "2", "0", "1 s"]]}
    }
    table = render(last)
    assert "| it | 2 | 0 | 1 s | 2026-01-01, abc |" in table
    page = PAGE.read_text()
    written = written_into(page, table)
    assert table in written
    assert written_into(written, table) == written
    assert written.partition(BEGIN)[0] == page.partition(BEGIN)[0]
    assert written.partition(END)[2] == page.partition(END)[2]


def test_an_unknown_part_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from torture import __main__ as door

    monkeypatch.setattr("sys.argv", ["torture", "kils"])
    with pytest.raises(SystemExit):
        door.main()
