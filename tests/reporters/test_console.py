"""The console and the main log, by whole texts."""

import io
from typing import Any

import pytest

from harness.model import Group, Phase, Status
from harness.reporters import Detail
from harness.reporters.console import Console, MainLog

MIXED = """\
Run 20250102_030405 · local · 6 groups, 4 at a time

  core      1 group     one at a time, smoke 1
  parallel  4 groups
  complex   1 group
  stress    1 group     off: RUN_STRESS_TESTS is not true
  3 groups not selected

  each group logs to logs/GROUP_20250102_030405.log

00:00.4  ✓ service     postgres ready in 0.40 s on port 5555

core
00:00.5  ▸ started     core
00:02.0  ✓ passed      core           1.5 s  1 test

parallel
00:02.0  ▸ started     basic
00:02.0  ▸ started     search
00:02.0  ▸ started     slow
00:02.0  ▸ started     financial
00:04.0  ✗ test        financial     0.50 s  test_pay.py::test_refund
                       assert 409 == 200
00:04.0  ↻ failed      search         2.0 s  exit code 1, tries again in 1.0 s
00:05.0  ↻ retry       search     attempt 2 of 2
00:05.5  ✓ passed      basic          3.5 s  leaked
00:06.0  ≈ flaky       search         3.0 s  passed on attempt 2 of 2
00:06.5  ✗ failed      financial      4.5 s  1 of 2 tests failed
                       log logs/financial_20250102_030405.log
00:07.0  ✗ timed_out   slow           5.0 s  no end within 5 s
                       log logs/slow_20250102_030405.log

complex
00:07.0  – skipped     scenarios             financial failed
00:07.0  – skipped     mass                  RUN_STRESS_TESTS is not true
"""

SUMMARY = """\

Summary

  group      phase     status               tests    duration    attempts  note
  ---------  --------  -----------  -------------  ----------  ----------  ----------------------------
  core       core      ✓ passed                 1       1.5 s           1
  basic      parallel  ✓ passed                         3.5 s           1  leaked
  search     parallel  ≈ flaky                          3.0 s           2  passed on attempt 2 of 2
  slow       parallel  ✗ timed_out                      5.0 s           1
  financial  parallel  ✗ failed     1 failed of 2       4.5 s           1
  scenarios  complex   – skipped                                           financial failed
  mass       stress    – skipped                                           RUN_STRESS_TESTS is not true

✗ slow timed_out: no end within 5 s
    log logs/slow_20250102_030405.log

✗ financial failed: 1 of 2 tests failed
    test_pay.py::test_refund
        assert 409 == 200
    the end of logs/financial_20250102_030405.log
    │ collecting
    │ E   assert 409 == 200

Rerun what failed:
  ./exec.sh local test --groups slow,financial --parallel

  groups           2 passed, 1 failed, 1 flaky, 1 timed_out, 2 skipped
  tests            2 passed, 1 failed
  total time       8.0 s
  sequential time  17.5 s
  speedup          2.2 ×
  lower bound      7.0 s with 4 jobs, and the run took 1.14 × that
  bound by         parallel: the longest group, slow (5.0 s)
  log              logs/parallel_run_20250102_030405.log
  reports          logs/run_20250102_030405/

✗ 2 of 7 groups failed (exit code 1)
"""

COMPACT = """\
Run 20250102_030405 · local · 6 groups, 4 at a time
00:04.0  ✗ test        financial     0.50 s  test_pay.py::test_refund
                       assert 409 == 200
00:06.5  ✗ failed      financial      4.5 s  1 of 2 tests failed
                       log logs/financial_20250102_030405.log
00:07.0  ✗ timed_out   slow           5.0 s  no end within 5 s
                       log logs/slow_20250102_030405.log
"""

STOPPED = """\
Run 20250102_030405 · local · 3 groups, 4 at a time · stops after 1 failure

  p  3 groups

  each group logs to logs/GROUP_20250102_030405.log

p
00:00.2  ▸ started     a
00:00.2  ▸ started     b
00:03.0  ■ SIGINT      stopping; again to kill
00:03.1  ■ interrupted a      2.9 s
00:03.2  ■ interrupted b      3.0 s
00:03.2  – not_run     c
00:03.3  ■ warning     the disk is slow

Summary

  group    phase    status           tests    duration
  -------  -------  -------------  -------  ----------
  a        p        ■ interrupted                2.9 s
  b        p        ■ interrupted                3.0 s
  c        p        – not_run

Run what is left:
  ./exec.sh local test --groups a,b,c --parallel

  groups           2 interrupted, 1 not_run
  total time       3.4 s
  log              logs/parallel_run_20250102_030405.log
  reports          logs/run_20250102_030405/

✗ stopped by SIGINT (exit code 130)
"""

PASSED = """\
Run 20250102_030405 · local · 1 group, one at a time

  p  1 group

  each group logs to logs/GROUP_20250102_030405.log

p
00:00.0  ▸ started     a
02:05.0  ✓ passed      a  2 min 05 s

Summary

  group    phase    status      tests    duration
  -------  -------  --------  -------  ----------
  a        p        ✓ passed           2 min 05 s

  groups           1 passed
  total time       2 min 05 s
  log              logs/parallel_run_20250102_030405.log
  reports          logs/run_20250102_030405/

✓ 1 group passed
"""


def test_a_run_with_an_ending_of_most_kinds(history: Any, play_mixed_run: Any) -> None:
    play_mixed_run(history.play_to(Console))
    assert history.said == MIXED + SUMMARY


def test_compact_shows_failures_and_the_summary(history: Any, play_mixed_run: Any) -> None:
    play_mixed_run(history.play_to(Console, detail=Detail.COMPACT))
    passed = "  core       core      ✓ passed                 1       1.5 s           1\n"
    assert history.said == COMPACT + SUMMARY.replace(passed, "")


def test_compact_has_no_table_when_there_is_nothing_to_remark(history: Any, make_phase: Any) -> None:
    history.play_to(Console, detail=Detail.COMPACT)
    history.start(make_phase("p", "a"))
    history.ends("a", 1.0, "passed", 1.0)
    history.finish(1.0)
    assert history.said == (
        "Run 20250102_030405 · local · 1 group, 4 at a time\n\nSummary\n\n"
        "  groups           1 passed\n  total time       1.0 s\n  sequential time  1.0 s\n  speedup          1.0 ×\n"
        "  lower bound      1.0 s with 4 jobs, and the run took 1.00 × that\n"
        "  bound by         p: the longest group, a (1.0 s)\n"
        "  log              logs/parallel_run_20250102_030405.log\n  reports          logs/run_20250102_030405/\n\n"
        "✓ 1 group passed\n"
    )


def test_a_flaky_pass_is_never_silent(history: Any, make_phase: Any) -> None:
    history.play_to(Console)
    history.start(make_phase("p", "a", "b"))
    history.ends("a", 1.0, "flaky", 1.0, attempts=2)
    history.ends("b", 1.0, "passed", 1.0)
    history.finish(1.0)
    assert history.said.endswith("✓ 2 groups passed, 1 of them only when tried again\n")


def test_a_run_that_was_stopped(history: Any, make_phase: Any) -> None:
    history.play_to(Console)
    history.start(make_phase("p", "a", "b", "c"), fail_fast=1)
    history.phase("p", 0.1)
    history.attempt("a", 0.2)
    history.attempt("b", 0.2)
    history.signal("SIGINT", 3.0, "stopping; again to kill")
    history.ends("a", 3.1, "interrupted", 2.9)
    history.ends("b", 3.2, "interrupted", 3.0)
    history.ends("c", 3.2, "not_run", attempts=0)
    history.warn("the disk is slow", 3.3)
    history.finish(3.4, 130, "SIGINT")
    assert history.said == STOPPED


def test_what_failed_and_what_is_left_are_two_ways_to_go_on(history: Any, make_phase: Any) -> None:
    history.play_to(Console)
    history.start(make_phase("p", "a", "b"))
    history.attempt("a", 0.0)
    history.ends("a", 1.0, "failed", 1.0)
    history.signal("SIGINT", 1.5, "stopping")
    history.ends("b", 2.0, "not_run", attempts=0)
    history.finish(2.0, 130, "SIGINT")
    assert (
        "Rerun what failed:\n  ./exec.sh local test --groups a --parallel\n\n"
        "Rerun that, and what is left:\n  ./exec.sh local test --last-failed --parallel\n"
    ) in history.said


def test_a_sequential_run_that_passed(history: Any, make_phase: Any) -> None:
    history.play_to(Console)
    history.start(make_phase("p", "a"), parallel=False)
    history.phase("p", 0.0)
    history.attempt("a", 0.0)
    history.ends("a", 125.0, "passed", 125.0)
    history.finish(125.0)
    assert history.said == PASSED


@pytest.mark.parametrize("detail", list(Detail))
def test_the_main_log_says_what_the_console_says_but_for_the_colours(
    history: Any, play_mixed_run: Any, detail: Detail
) -> None:
    plain = io.StringIO()
    uncoloured = Console(history.context(stream=plain, detail=detail))
    history.play_to(MainLog, Console, lambda _: uncoloured, colour=True, detail=detail)
    play_mixed_run(history)
    assert "\x1b[31m✗ failed" in history.said
    assert history.files.main_log.read_text("utf-8") == plain.getvalue()
    assert "\x1b" not in plain.getvalue()
    assert history.files.main_log.stat().st_mode & 0o777 == 0o600


def test_without_colours_the_marks_and_words_still_tell_every_status_apart(history: Any, make_phase: Any) -> None:
    history.play_to(Console)
    history.start(make_phase("p", *(status.value for status in Status)))
    for status in Status:
        history.ends(status.value, 1.0, status.value, attempts=0)
    lines = [line.split()[1:4] for line in history.said.splitlines() if line.startswith("00:01.0")]
    assert [(word, group) for _, word, group in lines] == [(status, status) for status in Status]


def test_a_console_that_knows_only_ascii(history: Any, play_mixed_run: Any) -> None:
    raw = io.BytesIO()
    history.play_to(Console, stream=io.TextIOWrapper(raw, encoding="ascii"))
    play_mixed_run(history)
    assert history.warnings == []
    said = raw.getvalue().decode("ascii")
    assert "00:06.5  x failed      financial      4.5 s  1 of 2 tests failed\n" in said
    assert "    | collecting\n" in said


def test_verbose_output_never_mixes_the_lines_of_two_groups(history: Any, make_phase: Any) -> None:
    history.play_to(Console, detail=Detail.VERBOSE)
    history.start(make_phase("p", "a", "long"))
    before = len(history.said)
    history.output("a", b"one\ntw")
    history.output("long", "grüße".encode()[:3])
    history.output("a", b"o\n\nfin")
    history.output("long", "grüße".encode()[3:] + b"\r\n")
    history.output("a", b"al")
    history.ends("a", 1.0, "passed", 1.0)
    history.output("long", b"\x1b[31mred\x1b[0m \x07 10%\r20%")
    history.finish(2.0)
    said = history.said[before:].partition("\nSummary")[0]
    assert said == (
        "a    │ one\na    │ two\na    │\nlong │ grüße\na    │ final\n"
        "00:01.0  ✓ passed      a         1.0 s\nlong │ 20%\n"
    )


def test_output_without_a_newline_is_not_held_back_for_ever(history: Any, make_phase: Any) -> None:
    history.play_to(Console, detail=Detail.VERBOSE)
    history.start(make_phase("p", "a"))
    before = len(history.said)
    for _ in range(9):
        history.output("a", b"x" * 1000)
    assert history.said[before:] == f"a │ {'x' * 500}…\n"


def test_live_output_is_for_verbose_only(history: Any, make_phase: Any) -> None:
    history.play_to(Console)
    history.start(make_phase("p", "a"))
    before = history.said
    history.output("a", b"noise\n")
    assert history.said == before


def test_names_reasons_and_logs_are_inert(history: Any) -> None:
    name = "a\x1b[2J\n::error::x"
    group = Group(name=name, phase="p\x1b]0;t\x07", command="x")

    history.play_to(Console, colour=True, detail=Detail.VERBOSE)
    history.start(Phase(name="p\x1b]0;t\x07", groups=(group,)))
    history.phase("p\x1b]0;t\x07", 0.0)
    history.attempt(name, 0.0, log=b"\x1b]0;title\x07\x1b[2Jfirst\n\xff\x00\x9b1m##[add-mask]x \xe2\x80\xae\n")
    history.test(name, 0.5, "t\r::error::[\x1b[31m]", "failed", "m\n::error::y")
    history.output(name, b"\x1b[2J::error::z\n")
    history.ends(name, 1.0, "error", 1.0, "r\x1b[2J\n::error::w\u202e", quarantined="q\x1b[2J\n::error::v")
    history.finish(1.0, 1)
    painted = history.said
    for code in ("0", "1", "2", "31", "32", "33", "34", "35", "36", "1;31", "1;32", "1;33"):
        painted = painted.replace(f"\x1b[{code}m", "")
    assert not [c for c in painted if (ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 or c == "\u202e"]
    assert not [line for line in painted.splitlines() if line.lstrip().startswith("::") or "##[" in line]
    assert "a\\x1b[2J\\n::error::x" in painted


def test_what_is_said_of_a_service_is_inert(history: Any, make_phase: Any) -> None:
    history.play_to(Console)
    history.files.service_log("db").write_bytes(b"\x1b]0;t\x07::error::x ##[error]y\n")
    history.start(make_phase("p", "a"))
    history.service_failed("db", 5.0, "no\x1b[2J\n::error::x ##[error]y")
    assert history.said.endswith(
        "00:05.0  ✗ service     db failed: no\\x1b[2J\\n::error::x ## [error]y\n"
        "    the end of logs/run_20250102_030405/service-db.log\n    │ : :error::x ## [error]y\n"
    )


def test_a_service_that_fails_shows_its_log(history: Any, make_phase: Any) -> None:
    history.play_to(Console)
    history.files.service_log("db").write_text("ready\nout of memory\n")
    history.start(make_phase("p", "a"))
    history.phase("p", 0.2)
    history.service_failed("db", 5.0, "ended with exit code 1")
    assert history.said.endswith(
        "00:05.0  ✗ service     db failed: ended with exit code 1\n"
        "    the end of logs/run_20250102_030405/service-db.log\n    │ ready\n    │ out of memory\n"
    )


def test_many_failing_tests_are_cut_short(history: Any, make_phase: Any) -> None:
    history.play_to(Console)
    history.start(make_phase("p", "a"))
    history.attempt("a", 0.0)
    for number in range(15):
        history.test("a", 1.0, f"t{number}", "failed")
    assert history.said.count("✗ test") == 10
    assert history.said.endswith("more failures of this group are in its log\n")
    history.ends("a", 2.0, "failed", 2.0)
    history.finish(2.0, 1)
    assert "    t9\n    … and 5 more\n" in history.said


def test_the_command_to_rerun_is_quoted_for_the_shell(history: Any, make_phase: Any) -> None:
    history.play_to(Console)
    history.start(make_phase("p", "$(touch pwned)", "b c"))
    for name in ("$(touch pwned)", "b c"):
        history.ends(name, 1.0, "failed", 1.0, "exit code 1")
    history.finish(1.0, 1)
    assert "  ./exec.sh local test --groups '$(touch pwned),b c' --parallel\n" in history.said


def test_paths_outside_of_where_the_user_stands_are_absolute(history: Any, play_mixed_run: Any, tmp_path: Any) -> None:
    play_mixed_run(history.play_to(Console, here=tmp_path / "elsewhere"))
    assert f"  log              {tmp_path}/logs/parallel_run_20250102_030405.log\n" in history.said
    assert "│ collecting" in history.said


def test_a_retry_says_when(history: Any, make_phase: Any) -> None:
    history.play_to(Console)
    history.start(make_phase("p", "a", "b"))
    for group, alone in (("a", False), ("b", True)):
        history.attempt(group, 0.0)
        history.attempt_ends(group, 1.0, "timed_out", 1.0, "no end\x1b[2J" if alone else "")
        history.retries(group, 1.0, 2, delay=1.44, alone=alone)
    assert history.said.endswith(
        "00:01.0  ↻ timed_out   a      1.0 s  tries again in 1.4 s\n"
        "00:00.0  ▸ started     b\n"
        "00:01.0  ↻ timed_out   b      1.0 s  no end\\x1b[2J, tries again once nothing else runs\n"
    )


@pytest.mark.parametrize(
    ("started", "head", "below"),
    [
        ({"shard": "2/4"}, " · shard 2/4", ""),
        ({"seed": 42}, "", ""),  # of the retries' jitter
        ({"seed": 42, "shuffled": True}, " · shuffled, seed 42", ""),
        ({"commit": "0123456789abcdef"}, "", "  commit 0123456789ab\n"),
        ({"commit": "0123456789abcdef", "dirty": True}, "", "  commit 0123456789ab and uncommitted changes\n"),
    ],
)
def test_the_head_tells_what_a_run_can_be_repeated_by(
    history: Any, make_phase: Any, started: dict[str, Any], head: str, below: str
) -> None:
    history.play_to(Console)
    history.start(make_phase("p", "a"), **started)
    assert history.said == (
        f"Run 20250102_030405 · local · 1 group, 4 at a time{head}\n\n  p  1 group\n{below}\n"
        "  each group logs to logs/GROUP_20250102_030405.log\n\n"
    )


def test_what_is_wrong_with_a_report_is_said_beside_its_failures(history: Any, make_phase: Any) -> None:
    history.play_to(Console)
    history.start(make_phase("p", "a"))
    history.attempt("a", 0.0)
    history.test("a", 1.0, "t1", "failed")
    history.ends("a", 2.0, "failed", 2.0, "1 of 1 test failed: t1; its output promises 3 tests, and has 1")
    history.finish(2.0, 1)
    assert "1 of 1 test failed; its output promises 3 tests, and has 1\n" in history.said
