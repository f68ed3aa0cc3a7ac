import re
from collections.abc import Callable

import pytest

from harness.errors import UsageError
from harness.values import parse_count, parse_duration, parse_switch, quoted, read_duration, read_size, shown_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("1h30m", 5400), ("1h", 3600), ("1m30s", 90), ("1.5s", 1.5), ("90", 90), ("0.25", 0.25),
     ("720h", 2_592_000), ("007s", 7)],
)  # fmt: skip
def test_durations_are_seconds(text: str, seconds: float) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", " ", "5 minutes", "5M", "m", "-5s", "+5s", "1_0s", "٥s", "1e3", "nan", "inf", "5m ", " 5m", "5s1m", "1.5m",
     "0", "0s", "721h", "9" * 400, "99999999h", "5m\n"],
)  # fmt: skip
def test_what_is_no_duration_is_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--timeout: ") as caught:
        parse_duration(text, "--timeout")
    assert quoted(text) in caught.value.message
    assert "\n" not in caught.value.message


def test_nothing_is_a_duration_where_it_is_allowed() -> None:
    assert parse_duration("0", "grace", zero=True) == 0
    with pytest.raises(UsageError, match=r'^grace: "" is not a duration'):
        parse_duration("", "grace", zero=True)


@pytest.mark.parametrize(
    ("text", "size", "shown"),
    [("10KB", 10_000, "10 KB"), ("1GB", 10**9, "1 GB"), ("1.5GB", 1_500_000_000, "1.5 GB"), ("20000B", 20_000, "20 KB"),
     ("1 GiB", 2**30, "1.1 GB"), ("64KiB", 65_536, "65.5 KB"), ("500kB", 500_000, "500 KB"),
     ("1000TB", 10**15, "1000 TB")],
)  # fmt: skip
def test_sizes_are_bytes(text: str, size: int, shown: str) -> None:
    assert read_size(text) == size
    assert shown_size(size) == shown


def test_no_limit_is_a_size_and_few_bytes_are_shown() -> None:
    assert read_size("unlimited") is None
    assert [shown_size(0), shown_size(999)] == ["0 B", "999 B"]


@pytest.mark.parametrize(
    ("text", "why"),
    [(text, "is not a size; write 500MB, 1GB or") for text in
     ("", "1", "1G", "GB", "-1GB", "1_0GB", "٥GB", "1e3GB", "1.GB", " 1GB", "1GB\n", "1  GB", "none", "9" * 400 + "GB")]
    + [(text, "is less than 10 KB") for text in ("0B", "0GB", "9999B", "9.999KB")]
    + [(text, "is more than 1000 TB") for text in ("1001TB", "999999999999999TiB")],
)  # fmt: skip
def test_what_is_no_size_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(f"{quoted(text)} {why}")):
        read_size(text)


@pytest.mark.parametrize(("text", "count"), [("1", 1), ("4", 4), ("1024", 1024)])
def test_counts(text: str, count: int) -> None:
    assert parse_count(text, "MAX_PARALLEL_JOBS") == count


@pytest.mark.parametrize(
    "text",
    ["abc", "", " ", "0", "-1", "+1", "1_0", "٤", "４", "999999", "1025", " 4", "4 ", "4\n", "4.0", "1e2", "0x4", "04",
     "9" * 5000, "4;rm"],
)  # fmt: skip
def test_what_is_no_count_is_refused_by_name_value_and_bounds(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_count(text, "MAX_PARALLEL_JOBS")
    assert caught.value.message == f"MAX_PARALLEL_JOBS: {quoted(text)} is not a whole number from 1 to 1024"


@pytest.mark.parametrize(("text", "on"), [("true", True), ("On", True), ("1", True), ("no", False), ("", False)])
def test_switches(text: str, on: bool) -> None:
    assert parse_switch(text, "RUN_STRESS_TESTS") is on


def test_a_bad_switch_is_refused_by_name_value_and_choices() -> None:
    with pytest.raises(UsageError, match=r'^RUN_STRESS_TESTS: "abc" is neither true nor false'):
        parse_switch("abc", "RUN_STRESS_TESTS")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a", '"a"'),
        ('a"b', '"a\\"b"'),
        ("a\nb\x1b[31m", '"a\\nb\\x1b[31m"'),
        ("\u202eabc", '"\\u202eabc"'),
        ("é", '"é"'),
    ],
)
def test_values_in_messages_are_one_visible_line(text: str, shown: str) -> None:
    assert quoted(text) == shown


@pytest.mark.parametrize("length", [60, 61, 10_000])
def test_long_values_are_cut(length: int) -> None:
    assert len(quoted("x" * length)) == 62


@pytest.mark.parametrize("parse", [parse_count, parse_duration, parse_switch])
def test_no_message_holds_a_raw_escape(parse: Callable[[str, str], object]) -> None:
    with pytest.raises(UsageError) as caught:
        parse("\x1b]0;title\x07", "X")
    assert caught.value.message.isprintable()
