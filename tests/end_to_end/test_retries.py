"""Whole runs in which something fails and is tried again, excused, or repeated."""

import pytest
from projects import Harness

from harness.events import AttemptFinished, AttemptStarted, RetryScheduled, RunStarted, decode
from harness.files import all_runs

# Fails until it has been called so often. Groups of one name share a counter.
FAILS = 'n=$(cat {name}.n 2>/dev/null || echo 0); echo $((n + 1)) > {name}.n; [ "$n" -ge {times} ]'


def group(name: str, command: str, *lines: str) -> str:
    return "\n".join(("[[phases.groups]]", f'name = "{name}"', f"command = '''{command}'''", *lines, ""))


def plan(*groups: str, run: str = "") -> str:
    return "\n".join(("[run]", run, "[[phases]]", 'name = "p"', *groups))


def test_a_retry_comes_after_its_delay(harness: Harness) -> None:
    harness.plan(plan(group("shaky", FAILS.format(name="a", times=2)), run='retries = 2\nretry_delay = "0.2s"'))
    ran = harness.run("test", "--parallel")
    assert (ran.code, ran.statuses) == (0, {"shaky": "flaky"})
    scheduled = [event for event in ran.events if isinstance(event.data, RetryScheduled)]
    ended = [event for event in ran.events if isinstance(event.data, AttemptFinished)]
    started = [event for event in ran.events if isinstance(event.data, AttemptStarted)]
    assert [event.data.attempt for event in scheduled] == [2, 3]
    for failure, retry, start in zip(ended, scheduled, started[1:], strict=False):
        assert start.elapsed - failure.elapsed >= retry.data.delay
    assert [event.data.slot for event in started] == [0, 0, 0]


def test_a_retry_alone_has_nothing_beside_it(harness: Harness) -> None:
    others = [group(f"g{number}", "true", 'depends_on = { group = "shaky", after = "any" }') for number in range(2)]
    busy = [group(f"b{number}", "sleep 0.1") for number in range(4)]
    shaky = group("shaky", FAILS.format(name="a", times=1), "retries = 1", "retry_alone = true", 'retry_delay = "0s"')
    harness.plan(plan(shaky, *busy, *others))
    ran = harness.run("test", "--parallel", "--jobs", "2")
    assert (ran.code, ran.statuses["shaky"]) == (0, "flaky")
    running: set[str] = set()
    for event in ran.events:
        if isinstance(event.data, AttemptStarted):
            running.add(event.data.group)
            if event.data.group == "shaky" and event.data.attempt == 2:
                assert running == {"shaky"}
        elif isinstance(event.data, AttemptFinished):
            running.discard(event.data.outcome.group)


def test_a_run_stopped_between_two_attempts_ends_at_once(harness: Harness) -> None:
    import signal

    harness.plan(plan(group("broken", "false"), run='retries = 1\nretry_delay = "10m"'))
    process = harness.start("test", "--parallel")
    harness.await_event(RetryScheduled, 1)
    process.send_signal(signal.SIGINT)
    ran = harness.finish(process)
    assert ran.code in (-signal.SIGINT, 130)
    assert ran.statuses == {"broken": "failed"}


@pytest.mark.parametrize(("flaky", "code"), [("pass", 0), ("fail", 1)])
def test_the_plan_says_what_flaky_is_worth(harness: Harness, flaky: str, code: int) -> None:
    shaky = group("shaky", FAILS.format(name="a", times=1))
    harness.plan(plan(shaky, run=f'retries = 1\nretry_delay = "0s"\nflaky = "{flaky}"'))
    ran = harness.run("test")
    assert (ran.code, ran.statuses) == (code, {"shaky": "flaky"})


QUARANTINE = """
[[quarantine]]
{what}
reason = "HTTP 500 from the mail server"
expires = {expires}
"""


def test_a_group_in_quarantine_fails_without_failing_the_run(harness: Harness) -> None:
    excuse = QUARANTINE.format(what='group = "shaky"', expires='"2999-12-31"')
    after = group("after", "true", 'depends_on = "shaky"')
    harness.plan(plan(group("shaky", "false"), after) + excuse)
    ran = harness.run("test", "--parallel", "--fail-fast")
    assert (ran.code, ran.statuses) == (0, {"shaky": "failed", "after": "passed"})
    assert "HTTP 500 from the mail server (until 2999-12-31)" in ran.stdout


def test_a_test_in_quarantine_excuses_no_other(harness: Harness) -> None:
    tests = "def test_a():\n    assert False\n\ndef test_b(request):\n    assert {b}\n"
    excuse = QUARANTINE.format(what='test = "test_it.py::test_a"', expires="2999-12-31")
    harness.plan('[[phases]]\nname = "p"\n[[phases.groups]]\nname = "it"\ntests = "test_it.py"\n' + excuse)
    harness.write("test_it.py", tests.format(b=True))
    assert harness.run("test").code == 0
    harness.write("test_it.py", tests.format(b=False))
    assert harness.run("test").code == 1


def test_an_expired_quarantine_is_a_wrong_plan(harness: Harness) -> None:
    excuse = QUARANTINE.format(what='group = "shaky"', expires='"2020-01-31"')
    harness.plan(plan(group("shaky", "false")) + excuse)
    ran = harness.run("test")
    assert ran.code == 2
    assert 'quarantine[0].expires: the quarantine of "shaky" expired' in ran.stderr
    assert not (harness.directory / "logs").exists()


def test_repeat_ends_with_the_first_run_that_fails(harness: Harness) -> None:
    harness.plan(plan(group("odd", 'echo x >> runs; [ "$(wc -l < runs)" -lt 3 ]', 'inputs = "harness.toml"')))
    ran = harness.run("test", "--repeat", "5")
    assert ran.code == 1
    assert (harness.directory / "runs").read_text() == "x\n" * 3


def test_the_same_seed_is_the_same_order(harness: Harness) -> None:
    harness.plan(plan(*(group(f"g{number}", "true") for number in range(12))))
    orders = []
    for words in (["--shuffle", "7"], ["--shuffle", "7"], ["--shuffle", "8"], []):
        ran = harness.run("test", *words)
        assert ran.code == 0
        orders.append([event.data.group for event in ran.events if isinstance(event.data, AttemptStarted)])
    assert orders[0] == orders[1] != orders[2]
    assert orders[3] == sorted(orders[3], key=lambda name: int(name[1:])) != orders[0]
    ran = harness.run("test", "--shuffle")
    (started,) = (event.data for event in ran.events if isinstance(event.data, RunStarted))
    assert started.shuffled
    assert f"seed {started.seed}" in ran.stdout


@pytest.mark.parametrize("words", [["--markers", "fast"], ["-k", "quick"]])
def test_a_group_without_any_of_the_tests_asked_for_holds_nobody_up(harness: Harness, words: list[str]) -> None:
    harness.plan(
        """
        [[phases]]
        name = "core"
        sequential = true
        [[phases.groups]]
        name = "core"
        tests = "test_core.py"
        [[phases]]
        name = "p"
        [[phases.groups]]
        name = "it"
        tests = "test_it.py"
        depends_on = "core"
        """
    )
    harness.write("test_core.py", "def test_slow():\n    pass\n")
    harness.write("test_it.py", "import pytest\n\n@pytest.mark.fast\ndef test_quick():\n    pass\n")
    harness.write("pytest.ini", "[pytest]\nmarkers = fast\n")
    ran = harness.run("test", "--parallel", *words)
    assert (ran.code, ran.statuses) == (0, {"core": "skipped", "it": "passed"})


def test_each_repetition_draws_an_order_of_its_own(harness: Harness) -> None:
    harness.plan(plan(*(group(f"g{number}", "true") for number in range(3))))
    assert harness.run("test", "--repeat", "3", "--shuffle").code == 0
    journals = [run.events.read_bytes().splitlines()[0] for run in all_runs(harness.directory / "logs")]
    seeds = {event.seed for event in (decode(line).data for line in journals) if isinstance(event, RunStarted)}
    assert len(seeds) == len(journals) == 3
