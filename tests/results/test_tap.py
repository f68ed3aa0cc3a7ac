"""TAP: what each line means, and what is missing."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.events import TestFinished
from harness.results import KnownTests, Sink
from harness.results.tap import TapReader

NODE = r"""
TAP version 13
# Subtest: top
ok 1 - top
  ---
  duration_ms: 1.5
  ...
# Subtest: suite
    # Subtest: one
    ok 1 - one
      ---
      duration_ms: 0.25
      ...
    # Subtest: two \# x
    not ok 2 - two \# x
      ---
      duration_ms: 1250
      location: '/project/a.test.mjs:4:42'
      error: '1 == 2'
      cause:
        error: 'another'
        duration_ms: 7
      stack: |-
        TestContext.<anonymous> (file:///project/a.test.mjs:4:67)
      ...
    # Subtest: three
    ok 3 - three # SKIP no net
    # Subtest: four
    ok 4 - four # TODO
    1..4
not ok 2 - suite
  ---
  error: '1 subtest failed'
  ...
1..2
# tests 7
# fail 1
"""


class TestLines:
    @pytest.mark.parametrize(
        ("line", "test", "status"),
        [
            ("ok", "test 1", "passed"),
            ("ok 1", "test 1", "passed"),
            ("ok 1 - works", "works", "passed"),
            ("ok 1 works", "works", "passed"),
            ("ok - works", "works", "passed"),
            ("ok works", "works", "passed"),
            ("ok 1 - - works", "- works", "passed"),
            ("ok 1 -dashed", "-dashed", "passed"),
            ("ok 1 - works\r", "works", "passed"),
            ("\ufeffok 1 - works", "works", "passed"),
            ("not ok 1 - works", "works", "failed"),
            ("not   ok 1 - works", "works", "failed"),
            ("not ok", "test 1", "failed"),
            ("ok 1 # SKIP", "test 1", "skipped"),
            ("ok 1 - works # skip no net", "works", "skipped"),
            ("ok 1 - works # Skipped: no net", "works", "skipped"),
            ("ok 1 - works #SKIP no net", "works", "skipped"),
            ("not ok 1 - works # SKIP no net", "works", "skipped"),  # as bats writes it
            ("not ok 1 - works # TODO later", "works", "xfailed"),
            ("ok 1 - works # TODO later", "works", "xpassed"),
            ("not ok 1 - works \\# TODO later", "works # TODO later", "failed"),
            ("not ok 1 - see a.html#todo", "see a.html#todo", "failed"),
            ("not ok 1 - works # todolist", "works", "xfailed"),
            ("not ok 1 - works # to do", "works # to do", "failed"),
            ("ok 1 - a\\\\b", "a\\b", "passed"),
            ("ok 1 - 99999999999", "99999999999", "passed"),
            ("ok 1 - works # time=250ms", "works", "passed"),
            ("not ok 1 - works # TODO later # time=250ms", "works", "xfailed"),
        ],
    )
    def test_a_test(self, read, line: str, test: str, status: str) -> None:
        reading = read("tap", f"1..1\n{line}\n")
        assert (reading.statuses, reading.problem) == ({test: status}, "")

    @pytest.mark.parametrize(
        "line",
        [
            "okay",
            "ok, that went well",
            "Ok 1",
            "nok 1",
            "not okay",
            " ok 1",
            "   not ok 1",
            "\tok 1",
            "x ok 1",
            "1..x",
            "2..3",
            "",
            "pragma +strict",
        ],
    )
    def test_no_test(self, read, line: str) -> None:
        reading = read("tap", f"1..1\nok 1 - works\n{line}\n")
        assert (reading.statuses, reading.problem) == ({"works": "passed"}, "")

    @pytest.mark.parametrize("version", ["", "TAP version 12\n", "TAP version 13\n", "TAP version 14\n"])
    def test_versions(self, read, version: str) -> None:
        assert read("tap", f"{version}1..1\nok 1 - a\n").is_good

    def test_reasons(self, read) -> None:
        reading = read("tap", "1..2\nok 1 - a # SKIP no \\# net\nnot ok 2 - b # TODO later\n")
        assert [result.message for result in reading.results] == ["no # net", "later"]

    def test_namesakes_are_told_apart(self, read) -> None:
        reading = read("tap", "1..4\nok 1 - a\nnot ok 2 - a\nok 3 - a (2)\nok 4 - a\n")
        assert reading.statuses == {"a": "passed", "a (2)": "failed", "a (2) (2)": "passed", "a (3)": "passed"}

    def test_where_there_are_many_files_the_file_is_in_the_id(self, read) -> None:
        assert list(read("tap", "1..1\nok 1 - a\n", file="out/x.tap").statuses) == ["out/x.tap::a"]

    def test_a_line_is_taken_when_the_next_one_comes(self) -> None:
        events: list[object] = []
        reader = TapReader(Sink(KnownTests("search", 1, events.append)))
        told = []
        for line in (b"1..2\n", b"ok 1 - a\n", b"ok 2", b" - b\n", b"# end\n"):
            reader.feed(line)
            told.append(len(events))
        assert told == [0, 0, 0, 1, 1]
        assert reader.close() == ""
        assert len(events) == 2


class TestDurations:
    def test_time_between_the_lines(self) -> None:
        events: list[TestFinished] = []
        now = iter([10.0, 11.5, 14.0, 14.25, 15.0, 16.0, 17.0])
        reader = TapReader(Sink(KnownTests("search", 1, events.append), clock=lambda: next(now)))  # type: ignore[arg-type]
        reader.feed(b"1..3\nok 1 - a\nok 2 - b\n    1..1\n    ok 1 - d\nok 3 - c\n")
        reader.close()
        durations = {event.result.id: event.result.duration for event in events}
        assert durations == {"a": 1.5, "b": 2.5, "c > d": 0.25, "c": 1.0}

    def test_of_a_file_nothing_is_known(self, read) -> None:
        assert [result.duration for result in read("tap", "1..1\nok 1 - a\n").results] == [0.0]

    @pytest.mark.parametrize(("said", "seconds"), [("250ms", 0.25), ("1.5s", 1.5), ("2h", 0.0)])
    def test_of_the_line(self, read, said: str, seconds: float) -> None:
        assert read("tap", f"1..1\nok 1 - a # time={said}\n").results[0].duration == seconds


class TestDiagnostics:
    def test_yaml(self, read) -> None:
        two = read("tap", NODE).of("suite > two # x")
        assert (two.duration, two.message) == (1.25, "1 == 2")
        assert "location: '/project/a.test.mjs:4:42'\n" in two.details
        assert "  TestContext.<anonymous>" in two.details

    @pytest.mark.parametrize(
        ("yaml", "message"),
        [
            ("message: plain words", "plain words"),
            ('message: "in quotes"', "in quotes"),
            ("message: |-\n    the first\n    the second", "the first"),
            ("message: >\n    folded", "folded"),
            ("severity: fail", ""),
            ("data:\n    message: not this", ""),
        ],
    )
    def test_message_of_yaml(self, read, yaml: str, message: str) -> None:
        reading = read("tap", f"1..1\nnot ok 1 - a\n  ---\n  {yaml}\n  ...\n# not this\n")
        assert reading.results[0].message == message

    def test_comments(self, read) -> None:
        """As bats and Test::More write them."""
        reading = read(
            "tap", "1..2\nnot ok 1 - a\n# (in test file a.bats, line 3)\n#   `false' failed\nok 2 - b\n# x\n"
        )
        assert reading.of("a").message == "(in test file a.bats, line 3)"
        assert reading.of("a").details == "(in test file a.bats, line 3)\n  `false' failed\n"
        assert (reading.of("b").message, reading.of("b").details) == ("", "")

    def test_the_name_of_the_next_subtest_is_no_comment_on_the_last_test(self, read) -> None:
        reading = read("tap", "1..2\nnot ok 1 - a\n# Subtest: b\n    1..1\n    ok 1 - c\nok 2 - b\n")
        assert (reading.of("a").message, reading.of("a").details) == ("", "")

    def test_a_yaml_block_that_does_not_end_swallows_no_test(self, read) -> None:
        reading = read("tap", "1..2\nok 1 - a\n  ---\n  message: x\nnot ok 2 - b\n")
        assert reading.statuses == {"a": "passed", "b": "failed"}

    def test_what_stands_in_yaml_is_no_test(self, read) -> None:
        reading = read("tap", "1..1\nok 1 - a\n  ---\n  not ok 2 - b\n    not ok 3 - c\n\n  Bail out!\n  ...\n")
        assert (reading.statuses, reading.problem) == ({"a": "passed"}, "")


class TestWhole:
    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("1..2\nok 1\nok 2\n", ""),
            ("ok 1\nok 2\n1..2\n", ""),
            ("1..2\nok 2\nok 1\n", ""),
            ("1..2\nok\nok\n", ""),
            ("1..2\nok 1\nok 2", ""),
            ("1..0 # SKIP no net\n", ""),
            ("", "has no TAP in it"),
            ("hello\n", "has no TAP in it"),
            ("ok 1\nok 2\n", "has no plan (1..N): did its writer break off?"),
            ("TAP version 14\n", "has no plan (1..N): did its writer break off?"),
            ("1..3\nok 1\nok 2\n", "promises 3 tests, and has 2"),
            ("1..1\nok 1\nok 2\n", "promises 1 tests, and has 2"),
            ("1..0\nok 1\n", "promises 0 tests, and has 1"),
            ("1..2\nok 1\nok 1\n", "has test number 1 twice"),
            ("1..2\nok 1\nok 3\n", "has a test 3, beyond its plan 1..2"),
            ("1..1\nok 1\n1..1\nok 1\n", "has two plans: write each program's TAP to a file of its own"),
            ("1..1\nok 1\nBail out! No database.\n", "bails out: No database."),
            ("Bail out!\n", "bails out: it does not say why"),
            ("1..1\n    ok 1 - a\n    1..1\n", "breaks off in a subtest"),
            ("1..1\n    ok 1 - a\nok 1 - b\n", "has a subtest, b, that has no plan (1..N): did its writer break off?"),
            ("1..1\n    1..2\n    ok 1 - a\nok 1 - b\n", "has a subtest, b, that promises 2 tests, and has 1"),
            ("1..1\n    1..1\n    ok 1 - a\n    Bail out! x\nok 1 - b\n", "bails out: x"),
        ],
    )
    def test_problem(self, read, text: str, problem: str) -> None:
        assert read("tap", text).problem == problem

    def test_why_there_are_none(self, read) -> None:
        for text in ("1..0 # SKIP no net\n", "1..0 # Skipped: no net\n", "1..0 # no net\n"):
            reading = read("tap", text)
            assert (reading.results, reading.tests.why_none) == ([], "no net")

    @given(
        statuses=st.lists(st.sampled_from(["ok", "not ok"]), min_size=1, max_size=8),
        plan_first=st.booleans(),
        data=st.data(),
    )
    def test_only_what_the_plan_promises_is_whole(
        self, read, statuses: list[str], plan_first: bool, data: st.DataObject
    ) -> None:
        lines = [f"{status} {number}\n" for number, status in enumerate(statuses, 1)]
        shuffled = data.draw(st.permutations(lines))
        plan = f"1..{len(lines)}\n"
        all_there = read("tap", plan + "".join(shuffled) if plan_first else "".join(shuffled) + plan)
        assert all_there.problem == ""
        assert len(all_there.tests.failed) == statuses.count("not ok")
        lost = data.draw(st.sampled_from(shuffled))
        shuffled.remove(lost)
        assert read("tap", plan + "".join(shuffled)).problem
        twice = data.draw(st.sampled_from(lines))
        assert read("tap", plan + "".join([*shuffled, twice])).problem or twice == lost

    def test_a_failed_parent_accounts_for_what_its_subtests_lack(self, read) -> None:
        reading = read("tap", "1..1\n    1..2\n    ok 1 - a\nnot ok 1 - b\n")
        assert (reading.statuses, reading.problem) == ({"b > a": "passed", "b": "failed"}, "")


class TestSubtests:
    def test_named_by_their_parents(self, read) -> None:
        reading = read("tap", NODE)
        assert reading.problem == ""
        assert reading.statuses == {
            "top": "passed",
            "suite > one": "passed",
            "suite > two # x": "failed",
            "suite > three": "skipped",
            "suite > four": "xpassed",
            "suite": "failed",
        }

    def test_of_subtests_beside_tests(self, read) -> None:
        inner = "        ok 1 - x\n        1..1\n    ok 1 - b\n    ok 2 - c\n        not ok 1 - y\n        1..1\n"
        reading = read("tap", inner + "    not ok 3 - d\n    1..3\nnot ok 1 - a\nok 2 - e\n1..2\n")
        assert reading.problem == ""
        assert reading.statuses == {
            "a > b > x": "passed",
            "a > b": "passed",
            "a > c": "passed",
            "a > d > y": "failed",
            "a > d": "failed",
            "a": "failed",
            "e": "passed",
        }

    def test_a_failed_subtest_counts_though_its_parent_says_ok(self, read) -> None:
        reading = read("tap", "1..1\n    1..1\n    not ok 1 - a\nok 1 - b\n")
        assert reading.tests.failed == ["b > a"]

    @pytest.mark.parametrize(("parent", "status"), [("not ok 1 - b # TODO", "xfailed"), ("ok 1 - b # SKIP", "skipped")])
    def test_directives_hold_for_all_within(self, read, parent: str, status: str) -> None:
        reading = read("tap", f"1..1\n    1..1\n    not ok 1 - a\n{parent}\n")
        assert reading.statuses == {"b > a": status, "b": status}

    def test_what_breaks_off_is_told(self, read) -> None:
        reading = read("tap", "1..2\nok 1 - a\n    ok 1 - b\n        not ok 1 - c\n")
        assert list(reading.statuses.items()) == [("a", "passed"), ("b", "passed"), ("c", "failed")]
        assert reading.problem == "breaks off in a subtest"


def run_tool(directory: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """As the harness runs a command: its errors among its output."""
    return subprocess.run(
        argv, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False
    )


@pytest.mark.skipif(not shutil.which("perl"), reason="needs perl")
def test_perl(read, tmp_path: Path) -> None:
    (tmp_path / "a.t").write_text(
        "use Test::More; $| = 1; ok(1, 'works'); is(1, 2, 'equal');\n"
        "SKIP: { skip 'no net', 1; } TODO: { local $TODO = 'later'; ok(0, 'better'); }\n"
        "subtest inner => sub { plan tests => 1; ok(1, 'x') }; done_testing;\n"
    )
    ran = run_tool(tmp_path, "perl", "a.t")
    if "Can't locate Test" in ran.stdout:
        pytest.skip("needs Test::More")
    reading = read("tap", ran.stdout)
    assert reading.problem == ""
    expected = ["passed", "failed", "skipped", "xfailed", "passed", "passed"]
    names = ["works", "equal", "test 3", "better", "inner > x", "inner"]
    assert reading.statuses == dict(zip(names, expected, strict=True))
    assert reading.of("equal").message == "Failed test 'equal'"
    assert "expected: '2'" in reading.of("equal").details


@pytest.mark.skipif(not shutil.which("bats"), reason="needs bats")
def test_bats(read, tmp_path: Path) -> None:
    tests = (
        '@test "works" {\n  true\n}\n',
        '@test "breaks" {\n  false\n}\n',
        '@test "left out" {\n  skip "no net"\n}\n',
    )
    (tmp_path / "a.bats").write_text("".join(tests))
    for formatter in ("tap", "tap13"):
        reading = read("tap", run_tool(tmp_path, "bats", "--formatter", formatter, "a.bats").stdout)
        assert reading.problem == ""
        assert reading.statuses == {"works": "passed", "breaks": "failed", "left out": "skipped"}
        assert "`false' failed" in reading.of("breaks").details
        assert "(in test file a.bats, line 5)" in reading.of("breaks").message


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
def test_node(read, tmp_path: Path) -> None:
    (tmp_path / "a.test.js").write_text(
        "const {test, describe, it} = require('node:test');\n"
        "test('top', () => {});\n"
        "describe('suite', () => { it('one', () => {}); it('two', () => { throw new Error('oops'); }); });\n"
    )
    ran = run_tool(tmp_path, "node", "--test", "--test-reporter=tap", "a.test.js")
    if "TAP version" not in ran.stdout:
        pytest.skip("needs a node with a test runner")
    reading = read("tap", ran.stdout)
    assert reading.problem == ""
    names = {test.rpartition(" > ")[2]: status for test, status in reading.statuses.items()}
    assert names["top"] == names["one"] == "passed"
    assert names["two"] == names["suite"] == "failed"
