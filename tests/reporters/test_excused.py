"""Groups that were cached, and failures in quarantine: shown by every reporter, and never red."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from harness.reporters import Detail, standard
from harness.reporters.console import Console
from harness.reporters.github import GitHub
from harness.verify import verify

REASON = "rate limit, until 2026-01-31"
CONSOLE = """\

p
00:00.0  ✓ cached      quick                nothing has changed since it passed in run 20250101_000000
00:00.0  ▸ started     checkout
00:00.0  ▸ started     mail
00:01.0  ✗ test        checkout     0.50 s  test_pay.py::test_card
                       assert 429 == 200
00:02.0  ✗ failed      checkout      2.0 s  1 of 2 tests failed, quarantined: rate limit, until 2026-01-31
                       log logs/checkout_20250102_030405.log
00:03.0  ✗ timed_out   mail          3.0 s  no end within 3 s, quarantined: rate limit, until 2026-01-31
                       log logs/mail_20250102_030405.log

Summary

  group     phase    status               tests    duration  note
  --------  -------  -----------  -------------  ----------  ------------------------
  quick     p        ✓ cached                                from run 20250101_000000
  checkout  p        ✗ failed     1 failed of 2       2.0 s  in quarantine
  mail      p        ✗ timed_out                      3.0 s  in quarantine

✗ checkout failed: 1 of 2 tests failed, quarantined: rate limit, until 2026-01-31
    test_pay.py::test_card
        assert 429 == 200
    the end of logs/checkout_20250102_030405.log
    │ E   assert 429 == 200

✗ mail timed_out: no end within 3 s, quarantined: rate limit, until 2026-01-31
    log logs/mail_20250102_030405.log

  groups           1 cached, 2 failed in quarantine
  tests            1 passed, 1 failed
"""


def excused_run(history: Any, make_phase: Any) -> None:
    """One group is cached; of one a test fails, and one times out, both in quarantine. The run passes."""
    history.start(make_phase("p", "quick", "checkout", "mail"))
    history.phase("p", 0.0)
    reason = "nothing has changed since it passed in run 20250101_000000"
    history.ends("quick", 0.0, "cached", reason=reason, attempts=0, cached_from="20250101_000000")
    history.attempt("checkout", 0.0, log=b"E   assert 429 == 200\n")
    history.attempt("mail", 0.0)
    history.test("checkout", 0.5, "test_pay.py::test_cash")
    history.test("checkout", 1.0, "test_pay.py::test_card", "failed", "assert 429 == 200", "test_pay.py:7: Error\n")
    history.ends("checkout", 2.0, "failed", 2.0, "exit code 1", quarantined=REASON)
    history.ends("mail", 3.0, "timed_out", 3.0, "no end within 3 s", quarantined=REASON)
    history.finish(4.0)


def test_the_console_shows_them_for_what_they_are(history: Any, make_phase: Any) -> None:
    excused_run(history.play_to(Console), make_phase)
    shown = history.said.partition("/GROUP_20250102_030405.log\n")[2]
    before, ends, after = shown.partition("  tests            1 passed, 1 failed\n")
    assert before + ends == CONSOLE
    assert "Rerun" not in shown
    assert after.endswith("\n✓ 0 groups passed, 1 cached, 2 failed in quarantine\n")


def test_nothing_of_it_is_red_but_the_failed_tests(history: Any, make_phase: Any) -> None:
    excused_run(history.play_to(Console, colour=True), make_phase)
    red = [line for line in history.said.splitlines() if "31m" in line]
    assert ["✗ test" in line or "1 failed" in line for line in red] == [True, True]
    assert "\x1b[33m✗ failed" in history.said


def test_compact_leaves_out_what_is_cached(history: Any, make_phase: Any) -> None:
    excused_run(history.play_to(Console, detail=Detail.COMPACT), make_phase)
    assert "quick" not in history.said
    assert history.said.count("✗ failed") == 2


def test_failures_that_decide_stand_before_those_in_quarantine_and_alone_are_rerun(
    history: Any, make_phase: Any
) -> None:
    history.play_to(Console)
    history.start(make_phase("p", "known", "new"))
    history.ends("known", 1.0, "failed", 1.0, "exit code 1", quarantined=REASON)
    history.ends("new", 1.0, "failed", 1.0, "exit code 2")
    history.finish(2.0, 1)
    said = history.said
    assert said.index("✗ new failed: exit code 2\n") < said.index("✗ known failed: exit code 1, quarantined: ")
    assert "test --groups new --parallel\n" in said


def test_junit_stays_green_and_says_why(history: Any, make_phase: Any) -> None:
    excused_run(history.play_to(lambda context: standard(context, live=False, github=False)[3]), make_phase)
    root = ElementTree.parse(history.files.junit).getroot()
    assert [root.get(kind) for kind in ("tests", "failures", "errors", "skipped")] == ["4", "0", "0", "3"]
    cases = {case.get("name"): case for case in root.iter("testcase")}
    shown = {
        name: (case.find("skipped").get("message"), case.findtext("system-out"))  # type: ignore[union-attr]
        for name, case in cases.items()
        if len(case)
    }
    assert shown == {
        "cached": ("nothing has changed since it passed in run 20250101_000000", None),
        "test_card": (f"quarantined: {REASON}", "failed\nassert 429 == 200\ntest_pay.py:7: Error\n"),
        "timed_out": (f"quarantined: {REASON}", "no end within 3 s"),
    }
    listed = {prop.get("name"): prop.get("value") for prop in root.iter("property")}
    assert (listed["cached_from"], listed["quarantined"]) == ("20250101_000000", REASON)


def test_github_warns_instead_of_failing(history: Any, make_phase: Any) -> None:
    step_summary = history.root / "summary.md"
    excused_run(history.play_to(GitHub, step_summary=step_summary), make_phase)
    annotations = [line for line in history.said.splitlines() if "title=" in line]
    assert annotations == [
        f"::warning title=test_pay.py%3A%3Atest_card::quarantined: {REASON}: assert 429 == 200",
        f"::warning title=mail timed_out::no end within 3 s, quarantined: {REASON}",
    ]
    said = step_summary.read_text("utf-8")
    assert said.startswith(
        "### Integration tests passed\n\n0 of 3 groups passed, 1 cached, 2 failed in quarantine in 4.0 s, "
    )
    assert "<summary>test&#95;pay&#46;py&#58;&#58;test&#95;card</summary>" in said


def report_of(history: Any) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(history.files.report.read_text())
    return report


def test_the_report_counts_them_apart(history: Any, make_phase: Any) -> None:
    excused_run(history.play_to(lambda context: standard(context, live=False, github=False)[2]), make_phase)
    report = report_of(history)
    counts = {kind: report["summary"][kind] for kind in ("total", "passed", "cached", "failed", "quarantined")}
    assert counts == {"total": 3, "passed": 0, "cached": 1, "failed": 0, "quarantined": 2}
    assert report["summary"]["sequential_time"] == 5.0
    quick, checkout, _ = report["suites"]
    assert (quick["cached_from"], quick["duration"], quick["error_message"]) == ("20250101_000000", 0.0, None)
    assert (checkout["status"], checkout["quarantined"]) == ("failed", REASON)


def test_the_report_tells_where_a_run_stands(history: Any, make_phase: Any) -> None:
    history.play_to(lambda context: standard(context, live=False, github=False)[2])
    history.start(
        make_phase("p", "a"), commit="ab12", dirty=True, shard="2/4", seed=7, predicted=1.25, all_groups=("a", "b")
    )
    history.ends("a", 1.0, "passed", 1.0, waited={"slots": 0.5})
    history.finish(1.0)
    report = report_of(history)
    told = {key: report["summary"][key] for key in ("commit", "dirty", "shard", "seed", "predicted")}
    assert told == {"commit": "ab12", "dirty": True, "shard": "2/4", "seed": 7, "predicted": 1.25}
    assert report["suites"][0]["waited"] == {"slots": 0.5}


def test_the_validator_finds_nothing_wrong_with_it(history: Any, make_phase: Any) -> None:
    history.play_to(*_all_of_a_run(history))
    excused_run(history, make_phase)
    assert verify(history.files, history.record) == []


def test_the_validator_finds_nothing_wrong_with_a_run_that_was_stopped(history: Any, make_phase: Any) -> None:
    """What was interrupted is red, although it is no failure."""
    history.play_to(*_all_of_a_run(history))
    history.start(make_phase("p", "a"))
    history.attempt("a", 0.0)
    history.ends("a", 1.0, "interrupted", 1.0)
    history.finish(2.0, 130, "SIGINT")
    assert verify(history.files, history.record) == []


def test_the_validator_minds_a_quarantined_group_that_is_red(history: Any, make_phase: Any) -> None:
    history.play_to(*_all_of_a_run(history))
    excused_run(history, make_phase)
    path: Path = history.files.junit
    path.write_text(path.read_text("utf-8").replace("<skipped", "<failure").replace("</skipped", "</failure"), "utf-8")
    problems = verify(history.files, history.record)
    assert [problem for problem in problems if "'mail'" in problem] == [
        "junit.xml says red of group 'mail', the events say green"
    ]


def _all_of_a_run(history: Any) -> list[Any]:
    made = standard(history.context(), live=False, github=False)
    return [lambda _, reporter=reporter: reporter for reporter in made]
