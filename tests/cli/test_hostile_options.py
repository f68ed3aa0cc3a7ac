"""Whatever stands behind an option or in a variable, a command ends with 0, 2 or 4, and says why on a line."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import ended

from harness.config.options import OPTIONS

PLAN = """
[variables.N]
type = "count"
[[phases]]
name = "p"
when = "WHEN"
[[phases.groups]]
name = "g"
tests = ["test_a.py"]
"""
VALUES = [
    *("", " ", "0", "-1", "+1", "1_0", "0x1", "1.5", " 1", "1 ", "1e9", "999999", "9" * 5000, "٣", "nan", "inf", "abc"),
    *("1h", "1/0", "0/1", "1/1", "2/1", "1/99999", "1024/1024", "a,b", ",", ",,,", "a" * 50_000, "é" * 300, "-", "--"),
    *("\n", "\x1b[31m", "\udcff", "\u202e", "%00", "$(touch pwned)", "../..", "/", "*", "[", "not", "(" * 2000, "@"),
    *("g", "test_a.py", "::", "a::b::c[", "TestA", "TestA::test_b", "HEAD", "HEAD..", "--output=pwned", "not " * 200),
]
TEXTS = [option for option in OPTIONS if option.metavar]
COMMANDS = [
    *(["plan", "--jobs"], ["plan", "--compare"], ["plan", "--format"], ["history"], ["history", "--limit"], ["cache"]),
    *(["logs"], ["logs", "-n"], ["logs", "--log-dir"], ["status", "--log-dir"], ["names"], ["merge"]),
]


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    project = tmp_path / "project"
    project.mkdir()
    (project / "harness.toml").write_text(PLAN)
    (project / "test_a.py").write_text("class TestA:\n    def test_b(self): pass\n")
    monkeypatch.chdir(project)
    for name in ("MAX_PARALLEL_JOBS", "N", "FORCE_COLOR", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WHEN", "1")
    yield
    assert sorted(path.name for path in project.iterdir()) == ["harness.toml", "test_a.py"]


def judge(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    code, said = ended(words, monkeypatch)
    assert code in (0, 2, 4), said
    assert "Traceback" not in said
    assert bool(said) is bool(code), said
    assert all(line.isprintable() or words[0] != "test" for line in said.splitlines())
    return code


@pytest.mark.parametrize("option", TEXTS, ids=lambda option: option.name)
def test_options(option: object, monkeypatch: pytest.MonkeyPatch) -> None:
    flag = option.flags[0]  # type: ignore[attr-defined]
    between = "=" if flag.startswith("--") else ""
    codes = {judge(["test", "--dry-run", f"{flag}{between}{value}"], monkeypatch) for value in VALUES}
    assert 2 in codes


@pytest.mark.parametrize("name", ["MAX_PARALLEL_JOBS", "WHEN", "N", "NO_COLOR", "FORCE_COLOR", "TERM", "CI"])
def test_variables(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in VALUES:
        monkeypatch.setenv(name, value)
        judge(["test", "--dry-run"], monkeypatch)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for value in VALUES:
        if value not in ("/", "../.."):  # which may hold anything
            judge([*words, value], monkeypatch)


@pytest.mark.parametrize("option", ["--project", "--environment"])
def test_what_comes_before_the_command(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in VALUES:
        judge([option, value, "list"], monkeypatch)
