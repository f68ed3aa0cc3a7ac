import os
from pathlib import Path

import pytest

from harness.config.dotenv import parse_dotenv, read_env_files
from harness.errors import UsageError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("KEY=value", "value"),
        ("  export KEY = two words  ", "two words"),
        ("KEY=", ""),
        ("KEY= # nothing", ""),
        ("KEY=a#b # comment", "a#b"),
        ("KEY=\"a # b\" # comment", "a # b"),
        ('KEY="line\\n\\t\\"q\\" \\\\ \\$X \\z"', 'line\n\t"q" \\ $X \\z'),
        ("KEY='$HOME \\n \"x\"'", '$HOME \\n "x"'),
        ('KEY="first\nsecond"', "first\nsecond"),
        ("KEY=$HOME/${X}", "$HOME/${X}"),
        ("KEY=a=b==", "a=b=="),
        ("KEY=it's", "it's"),
        ("KEY=1\r", "1\r".strip()),
        ("KEY=first\nKEY=second", "second"),
        ("# KEY=comment\n\n \t\nKEY=x\n# end", "x"),
    ],
)  # fmt: skip
def test_lines(text: str, value: str) -> None:
    assert parse_dotenv(text, ".env") == {"KEY": value}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("A=1\nhunter2", ".env:2: has no = after the name"),
        ("1A=hunter2", ".env:1: does not begin with a variable's name: letters, digits and _"),
        ("A B=hunter2", ".env:1: does not begin with a variable's name: letters, digits and _"),
        ('A="hunter2', '.env:1: has no closing "'),
        ("A='hunter2' hunter2", ".env:1: has text after the closing quote"),
        ('A="x\ny"\nB="hunter2', '.env:3: has no closing "'),
        ("A=hunter2\0", ".env:1: holds a NUL character"),
    ],
)
def test_bad_lines_are_named_and_no_value_is_shown(text: str, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_dotenv(text, ".env")
    assert caught.value.message == problem
    assert "hunter2" not in caught.value.message + caught.value.cure


def test_all_bad_lines_come_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        parse_dotenv("a\nB=1\nc\n", "x.env")
    assert [line.split(" ")[0] for line in caught.value.message.splitlines()] == ["x.env:1:", "x.env:3:"]


def test_a_later_file_wins_and_a_missing_one_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_bytes(b"\xef\xbb\xbfA=1\r\nB=1\r\n")
    (tmp_path / "b.env").write_text("B=2")
    assert read_env_files(tmp_path, ["a.env", "missing.env", "b.env"]) == {"A": "1", "B": "2"}


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "dir.env").mkdir()
    (tmp_path / "bad.env").write_bytes(b"A=1\nB=\xff\n")
    with pytest.raises(UsageError, match=r"^dir\.env: Is a directory"):
        read_env_files(tmp_path, ["dir.env"])
    os.mkfifo(tmp_path / "pipe.env")
    with pytest.raises(UsageError, match=r"^pipe\.env: is no regular file"):
        read_env_files(tmp_path, ["pipe.env"])
    (tmp_path / "huge.env").touch()
    os.truncate(tmp_path / "huge.env", 1 << 40)
    with pytest.raises(UsageError, match=r"^huge\.env: is no regular file of at most 1 MiB"):
        read_env_files(tmp_path, ["huge.env"])
    with pytest.raises(UsageError, match=r"^bad\.env:2: is not UTF-8"):
        read_env_files(tmp_path, ["bad.env"])
