from typing import Any

from harness.model import Group, Phase
from harness.reporters.base import Context
from harness.reporters.github import GitHub, markdown


def guarded(context: Context) -> GitHub:
    return GitHub(context, token=lambda: "TOKEN")


COMMANDS = """\
::group::financial: the end of logs/financial_20250102_030405.log
::stop-commands::TOKEN
collecting
E   assert 409 == 200
::TOKEN::
::endgroup::
::error file=integration-tests/test_pay.py,line=7,title=test_pay.py%3A%3Atest_refund::assert 409 == 200
::error title=slow timed_out::no end within 5 s
"""

SUMMARY = """\
### Integration tests failed

3 of 7 groups passed in 8.0 s, 2.2 × as fast as one after another.

| group     | status      |   tests |   duration |                                      |
|-----------|-------------|---------|------------|--------------------------------------|
| core      | ✓ passed    |       1 |      1.5 s | 1 test                               |
| basic     | ✓ passed    |         |      3.5 s |                                      |
| search    | ≈ flaky     |         |      3.0 s | passed on attempt 2 of 2             |
| slow      | ✗ timed_out |         |      5.0 s | no end within 5 s                    |
| financial | ✗ failed    |       2 |      4.5 s | 1 of 2 tests failed                  |
| scenarios | – skipped   |         |            | financial failed                     |
| mass      | – skipped   |         |            | RUN&#95;STRESS&#95;TESTS is not true |

<details><summary>test&#95;pay&#46;py&#58;&#58;test&#95;refund</summary>

<pre>
test&#95;pay&#46;py&#58;7&#58; AssertionError
</pre>

</details>
"""


def test_failures_become_folded_logs_annotations_and_a_step_summary(history: Any, play_mixed_run: Any) -> None:
    tests = history.root / "integration-tests"
    tests.mkdir()
    (tests / "test_pay.py").touch()
    step_summary = history.root / "summary.md"
    step_summary.write_text("before\n")
    history.play_to(guarded, step_summary=step_summary, workspace=history.root, test_root=tests)
    play_mixed_run(history)
    assert history.warnings == []
    assert history.said == COMMANDS
    assert step_summary.read_text("utf-8") == "before\n" + SUMMARY


def test_nothing_that_a_test_says_is_a_command(history: Any) -> None:
    name = "g,a:%0A\n::error::x"
    history.play_to(guarded)
    history.start(Phase(name="p", groups=(Group(name=name, phase="p", command="x"),)))
    history.attempt(name, 0.0, log=b"::set-env::x\n##[error]y\n  ::endgroup::\n")
    history.ends(name, 1.0, "error", 1.0, "r%\n::error::z")
    assert history.said.splitlines() == [
        "::group::g,a:%250A\\n::error::x: the end of logs/" + history.files.group_log(name).name,
        "::stop-commands::TOKEN",
        ": :set-env::x",
        "## [error]y",
        "  : :endgroup::",
        "::TOKEN::",
        "::endgroup::",
        "::error title=g%2Ca%3A%250A\\n%3A%3Aerror%3A%3Ax error::r%25\\n::error::z",
    ]


def test_the_token_is_another_one_each_time(history: Any, make_phase: Any) -> None:
    history.play_to(GitHub)
    history.start(make_phase("p", "a", "b"))
    for group in "ab":
        history.attempt(group, 0.0, log=b"x\n")
        history.ends(group, 1.0, "failed", 1.0)
    tokens = {line for line in history.said.splitlines() if line.startswith("::stop-commands::")}
    assert len(tokens) == 2
    assert min(map(len, tokens)) > 40


def test_foreign_text_in_the_step_summary_is_only_text() -> None:
    assert markdown("<b>|`*_[x](y)\n\x1b") == ("&#60;b&#62;&#124;&#96;&#42;&#95;&#91;x&#93;(y)&#92;n&#92;x1b")


def test_nobody_is_mentioned_and_nothing_is_linked_in_the_step_summary() -> None:
    assert markdown("@octocat #1") == "&#64;<!-- -->octocat &#35;<!-- -->1"
    assert markdown("https://x.org www.x.org") == "https&#58;//x&#46;org www&#46;x&#46;org"
