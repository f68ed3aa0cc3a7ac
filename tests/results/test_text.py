"""Lines and texts: bounded, one line where one line is meant, and nothing lost that fits."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model import TestStatus
from harness.results import KnownTests, Sink
from harness.results.lines import LONGEST_LINE, Lines
from harness.results.text import LONGEST_MESSAGE, MOST_DETAILS, Excerpt, message_of, name_of, visible


@given(st.lists(st.binary(max_size=20).map(lambda data: data.replace(b"x", b"\n"))))
def test_lines_are_those_of_the_whole(pieces: list[bytes]) -> None:
    lines = Lines()
    found = [line for piece in pieces for line in lines.feed(piece)]
    *expected, rest = b"".join(pieces).split(b"\n")
    assert found == [(line, False) for line in expected]
    assert lines.rest() == (rest, False)


def test_a_line_without_end_takes_no_memory() -> None:
    lines = Lines()
    for _ in range(100):
        assert not list(lines.feed(b"x" * 65_536))
        assert len(lines._line) <= LONGEST_LINE
    assert list(lines.feed(b"\nshort\n")) == [(b"x" * LONGEST_LINE, True), (b"short", False)]


def test_a_line_of_just_the_length_is_whole() -> None:
    assert list(Lines().feed(b"x" * LONGEST_LINE + b"\n")) == [(b"x" * LONGEST_LINE, False)]


@given(st.text())
def test_names_are_one_line_and_can_be_written(text: str) -> None:
    assert name_of(text).isprintable()
    name_of(text).encode()


@pytest.mark.parametrize(
    ("text", "name"),
    [(" a b ", "a b"), ("a\nb", "a\\nb"), ("\ud800", "\\ud800"), ("ä", "ä"), ("x" * 2000, "x" * 999 + "…")],
)
def test_names(text: str, name: str) -> None:
    assert name_of(text) == name


def test_visible() -> None:
    assert visible("a\x1b[31m\u2028") == "a\\x1b[31m\\u2028"


@pytest.mark.parametrize(
    ("text", "message"), [("", ""), ("\n  \n first \nsecond", "first"), ("\x85a", "a"), ("x" * 3000, "x" * 1999 + "…")]
)
def test_messages(text: str, message: str) -> None:
    assert message_of(text) == message


@given(st.lists(st.text(max_size=10)))
def test_an_excerpt_keeps_all_that_fits(pieces: list[str]) -> None:
    excerpt = Excerpt()
    for piece in pieces:
        excerpt.add(piece)
    assert str(excerpt) == "".join(pieces)


@pytest.mark.parametrize("piece", [1, 7, 1000, 300_000])
def test_an_excerpt_keeps_both_ends(piece: int) -> None:
    text = "".join(f"{number:07}" for number in range(300_000 // 7))
    excerpt = Excerpt()
    for begin in range(0, len(text), piece):
        excerpt.add(text[begin : begin + piece])
    half = MOST_DETAILS // 2
    gap = f"\n… {len(text) - MOST_DETAILS} characters left out …\n"
    assert str(excerpt) == text[:half] + gap + text[-half:]
    assert str(excerpt) == str(excerpt)


def test_secrets_are_masked_before_a_text_is_cut() -> None:
    told: list[Any] = []
    sink = Sink(KnownTests("g", 1, told.append, mask=lambda text: text.replace("s3cr3t", "***")))
    sink.add(
        "a",
        TestStatus.FAILED,
        0.0,
        "m" * (LONGEST_MESSAGE - 4) + "s3cr3t",
        "d" * (MOST_DETAILS // 2 - 3) + "s3cr3t" + "d" * MOST_DETAILS,
    )
    assert "s3" not in told[-1].result.message + told[-1].result.details
