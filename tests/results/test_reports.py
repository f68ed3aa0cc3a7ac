"""report_of: which file is read, which is not, and what is said about it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.events import AnyEvent, TestFinished, Warned
from harness.results import READERS, KnownTests, Report, report_of

GOOD = '<testsuite><testcase name="{}"/></testsuite>'


class Attempt:
    """One attempt of a command in `directory`."""

    def __init__(self, directory: Path, results: str) -> None:
        self.events: list[AnyEvent] = []
        self.report: Report = report_of(results, str(directory), KnownTests("search", 1, self.events.append))

    @property
    def tests(self) -> list[str]:
        return [event.result.id for event in self.events if isinstance(event, TestFinished)]

    @property
    def warnings(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Warned)]


Begin = Callable[[str], Attempt]


@pytest.fixture
def begin(tmp_path: Path) -> Begin:
    return lambda results: Attempt(tmp_path, results)


def test_every_format_of_the_plan_has_a_reader() -> None:
    from harness.planning.types import Results

    assert set(READERS) == set(Results.FORMATS)


def test_a_file_that_the_command_wrote(begin: Begin, tmp_path: Path) -> None:
    attempt = begin("junit:out/a.xml")
    attempt.report.feed(b"output that is no report")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.xml").write_text(GOOD.format("a"))
    assert attempt.report.close() == ""
    assert (attempt.tests, attempt.warnings) == (["a"], [])


@pytest.mark.parametrize("results", ["junit:out/a.xml", "junit:out/*.xml"])
def test_no_file(begin: Begin, results: str) -> None:
    path = results.removeprefix("junit:")
    assert begin(results).report.close() == f"{path} was not written: mend the command, or `results` in the plan"


def test_a_file_from_before(begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(GOOD.format("a"))
    attempt = begin("junit:a.xml")
    assert attempt.report.close() == "a.xml is left from before, and was not written again"
    assert attempt.tests == []


@pytest.mark.parametrize("how", ["in place", "replaced", "touched"])
def test_a_file_from_before_that_was_written_again(begin: Begin, tmp_path: Path, how: str) -> None:
    """The text may be the same; whoever has written it has run the tests."""
    path = tmp_path / "a.xml"
    path.write_text(GOOD.format("a"))
    os.utime(path, ns=(0, 1_000_000_000))
    attempt = begin("junit:a.xml")
    if how == "replaced":
        (tmp_path / "b.xml").write_text(GOOD.format("a"))
        os.utime(tmp_path / "b.xml", ns=(0, 1_000_000_000))
        (tmp_path / "b.xml").replace(path)
    elif how == "in place":
        path.write_text(GOOD.format("longer"))
        os.utime(path, ns=(0, 1_000_000_000))
    else:
        os.utime(path, ns=(0, 2_000_000_000))
    assert attempt.report.close() == ""
    assert len(attempt.tests) == 1


def test_of_many_files_those_from_before_are_left_out_and_named(begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "old\n.xml").write_text(GOOD.format("old"))
    attempt = begin("junit:*.xml")
    for name in ("b", "a"):
        (tmp_path / f"{name}.xml").write_text(GOOD.format("same"))
    (tmp_path / ".hidden.xml").write_text(GOOD.format("hidden"))
    (tmp_path / "directory.xml").mkdir()
    assert attempt.report.close() == ""
    assert attempt.tests == ["same", "same (2)"]
    assert attempt.warnings == ["search: left from before, and not read: old\\n.xml"]


def test_files_at_any_depth(begin: Begin, tmp_path: Path) -> None:
    attempt = begin("tap:out/**/*.tap")
    for name in ("out/b.tap", "out/x/y/a.tap"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1..1\nok 1 - works\n")
    assert attempt.report.close() == ""
    assert attempt.tests == ["out/b.tap::works", "out/x/y/a.tap::works"]


def test_a_glob_over_links_that_lead_upward_ends(begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "out" / "a").mkdir(parents=True)
    for name in ("b", "c"):
        (tmp_path / "out" / "a" / name).symlink_to("..")
    attempt = begin("tap:out/**/*.tap")
    (tmp_path / "out" / "a" / "t.tap").write_text("1..1\nok 1 - x\n")
    assert attempt.report.close() == ""


def test_problems_name_their_files(begin: Begin, tmp_path: Path) -> None:
    attempt = begin("tap:*.tap")
    for name in "abcd":
        (tmp_path / f"{name}.tap").write_text("ok 1 - works\n" if name != "b" else "1..1\nok 1\n")
    said = attempt.report.close()
    no_plan = "has no plan (1..N): did its writer break off?"
    assert said == f"a.tap {no_plan}; c.tap {no_plan}; and 1 more like that"
    assert len(attempt.tests) == 4


def test_a_pipe_is_not_waited_for(begin: Begin, tmp_path: Path) -> None:
    attempt = begin("tap:a.tap")
    os.mkfifo(tmp_path / "a.tap")
    assert attempt.report.close() == "a.tap is not a regular file"


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero")
def test_a_device_is_not_read(begin: Begin, tmp_path: Path) -> None:
    attempt = begin("tap:a.tap")
    (tmp_path / "a.tap").symlink_to("/dev/zero")
    assert attempt.report.close() == "a.tap is not a regular file"


def test_a_link_to_nowhere_is_no_file(begin: Begin, tmp_path: Path) -> None:
    attempt = begin("tap:a.tap")
    (tmp_path / "a.tap").symlink_to("nowhere")
    assert "was not written" in attempt.report.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(begin: Begin, tmp_path: Path) -> None:
    attempt = begin("tap:a.tap")
    (tmp_path / "a.tap").write_text("1..1\nok 1\n")
    (tmp_path / "a.tap").chmod(0)
    assert attempt.report.close() == "a.tap cannot be read: Permission denied"


def test_a_file_that_is_too_large(begin: Begin, tmp_path: Path) -> None:
    attempt = begin("tap:a.tap")
    (tmp_path / "a.tap").write_text("1..1\nok 1 - a\n")
    os.truncate(tmp_path / "a.tap", 65 * 1024 * 1024)
    assert attempt.report.close() == "a.tap is larger than 64 MiB: write several, and name them by a glob"
    assert attempt.tests == ["a"]


@pytest.mark.parametrize(
    ("results", "text"), [("tap", b"hi\nok 1 - a\n1..1\n"), ("go", b'{"Action":"pass","Test":"a"}\n')]
)
def test_printed_reports_are_read_as_they_come(begin: Begin, results: str, text: bytes) -> None:
    attempt = begin(results)
    attempt.report.feed(text)
    assert attempt.tests == ["a"]


def test_printed_reports_name_the_output(begin: Begin) -> None:
    attempt = begin("tap")
    attempt.report.feed(b"hello\n")
    assert attempt.report.close() == "its output has no TAP in it"
    assert attempt.tests == []
