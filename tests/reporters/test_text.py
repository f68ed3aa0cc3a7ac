import json
from pathlib import Path

import hostile
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.reporters import text


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (0.0, "0.00 s"), (0.994, "0.99 s"), (1.04, "1.0 s"), (59.94, "59.9 s"), (59.96, "1 min 00 s"),
        (125.4, "2 min 05 s"), (3599.6, "1 h 00 min"), (7325.0, "2 h 02 min"),
    ],
)  # fmt: skip
def test_durations_for_people(duration: float, expected: str) -> None:
    assert text.seconds(duration) == expected


@pytest.mark.parametrize(
    ("size", "expected"), [(0, "0 MB"), (812_400_000, "812 MB"), (999_999_999, "1000 MB"), (1_440_000_000, "1.4 GB")]
)
def test_memory_for_people(size: int, expected: str) -> None:
    assert text.memory(size) == expected


@pytest.mark.parametrize(
    ("environ", "is_terminal", "expected"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"TERM": "dumb"}, True, False),
        ({"NO_COLOR": ""}, True, True),  # empty counts as absent: no-color.org
        ({"NO_COLOR": "1"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, False, True),
        ({"FORCE_COLOR": "0"}, True, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
    ],
)
def test_one_function_decides_about_colours(environ: dict[str, str], is_terminal: bool, expected: bool) -> None:
    assert text.decide_colour(environ, is_terminal) is expected


@pytest.mark.parametrize(
    ("environ", "is_terminal", "expected"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "xterm"}, False, False),
        ({"TERM": "xterm", "FORCE_COLOR": "1"}, False, False),
        ({"TERM": "dumb"}, True, False),
        ({}, True, False),
        ({"TERM": "xterm", "CI": "true"}, True, False),
        ({"TERM": "xterm", "CI": "false"}, True, True),
    ],
)
def test_a_display_that_redraws_is_for_terminals_only(
    environ: dict[str, str], is_terminal: bool, expected: bool
) -> None:
    assert text.decide_live(environ, is_terminal) is expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("plain\r\n", "plain"),
        ("\x1b[1;31mred\x1b[0m \x1b]8;;http://x\x1b\\link\x1b]8;;\x07", "red link"),
        ("10%\r50%\r100%", "100%"),
        ("a\tb\x00\x07\x7f", "a       b"),
        ("\x9b31mred \x1b(Bx \x1bcy", "red x y"),
        ("\u202eabc\u2066", "abc"),
        ("\u061ca\u200bb\u2060c\ufeff", "abc"),
        ("\x1b]0;never ended", ""),
        ("##[error]x", "## [error]x"),
        ("a ##vso[task.setvariable]x", "a ## vso[task.setvariable]x"),
        ("::error::x", ": :error::x"),
        ("\u00a0 ::error::x", "\u00a0 : :error::x"),
        ("\x1b[1m\u200b::error::x", ": :error::x"),
        ("a ::b::", "a ::b::"),
        ("y" * 501, "y" * 500 + "…"),
    ],
)
def test_a_log_line_is_shown_as_it_would_have_looked(line: str, expected: str) -> None:
    assert text.clean(line) == expected


@given(st.text())
def test_foreign_text_has_no_escapes_and_ends_no_line(foreign: str) -> None:
    for made in (text.clean(foreign), text.printable(foreign)):
        assert "\x1b" not in made
        assert made.isprintable() or made.splitlines() in ([], [made])
        assert text.unpainted(made) == made
        assert hostile.objections(made) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a\tb\n", "a\\tb\\n"),
        ("\x1b[31m\x9b", "\\x1b[31m\\x9b"),
        ("\u202ea\u200b\udcff", "\\u202ea\\u200b\\udcff"),
        (" ::error::x", " : :error::x"),
        ("##[x] ##teamcity[y]", "## [x] ## teamcity[y]"),
        ("$(rm) <b> %s 中文", "$(rm) <b> %s 中文"),
    ],
)
def test_a_name_is_one_line_in_which_everything_is_seen(name: str, expected: str) -> None:
    assert text.printable(name) == expected


def test_an_escape_that_never_ends_hides_no_further_line() -> None:
    assert text.without_escapes("\x1b]0;hidden\nshown") == "\nshown"


def test_json_for_a_console_holds_no_command_and_means_the_same() -> None:
    told = {"##[error]": ["##vso[x]", "é\x7f\u202e"]}
    assert hostile.objections(text.json_text(told)) == []
    assert json.loads(text.json_text(told)) == told


def test_a_tail_may_be_that_of_one_part(tmp_path: Path) -> None:
    log = tmp_path / "log"
    blocks = ["one", "two\n=== 1 failed in 0.1 s ===", "three", "four", "five"]
    names = ["s/a", "s/b", "s/a", "s/b", "s/b.py"]
    log.write_text(
        "".join(f"=== {n} · attempt 1 · now · slot 0 · $ x\n{b}\n" for n, b in zip(names, blocks, strict=True))
    )
    assert text.tail(log, 1, "s/a") == ["three"]
    assert text.tail(log, 9, "s/b") == ["=== s/b · attempt 1 · now · slot 0 · $ x", "four"]
    assert text.tail(log, 1, "s/b.py") == ["five"]
    assert text.tail(log, 1, "s/gone") == ["five"]
    log.write_text("=== s/a · attempt 1 · now\n1\n2\n=== s/b · attempt 1 · now\n3\n")
    assert text.tail(log, 2, "s/a") == ["1", "2"]


def test_a_tail_is_the_last_lines_and_reads_no_more_than_it_must(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert text.tail(log, 3) == []
    log.write_bytes(b"one\ntwo\nthree\nfour\n\n\n")
    assert text.tail(log, 3) == ["two", "three", "four"]
    log.write_bytes(b"x" * 300_000 + b"\nlast")
    assert text.tail(log, 3) == ["x" * 500 + "…", "last"]
    log.write_bytes(b"\n\n")
    assert text.tail(log, 3) == []
