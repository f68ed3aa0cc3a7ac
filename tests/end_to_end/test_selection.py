"""Whole runs of a part of the suite: what is cached, what has changed, what failed the last time."""

import json
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest
from projects import Harness, Ran, eventually

from harness.events import AttemptStarted, GroupFinished, ServiceStarted
from harness.files import all_runs

PLAN = """
    [run]
    test_root = "it"

    [[phases]]
    name = "core"
    sequential = true

    [[phases.groups]]
    name = "core"
    tests = "test_core.py"
    inputs = ["src/core/**"]

    [[phases]]
    name = "parallel"

    [[phases.groups]]
    name = "api"
    tests = "api/test_*.py"
    inputs = ["src/api/**", "src/shared.txt"]

    [[phases.groups]]
    name = "web"
    command = "grep -q good src/web/page.txt"
    inputs = ["src/web/*", "src/shared.txt"]
    depends_on = "api"

    [[phases.groups]]
    name = "smoke"
    command = "true"
"""
API = """
    import pathlib
    import pytest

    @pytest.mark.parametrize("name", ["x.txt"])
    def test_content(name):
        assert "good" in pathlib.Path("../src/api", name).read_text()

    class TestMore:
        def test_always(self):
            pass

        def test_shared(self):
            assert "good" in pathlib.Path("../src/shared.txt").read_text()
"""
FILES = ("src/core/c.txt", "src/api/x.txt", "src/web/page.txt", "src/shared.txt")


@pytest.fixture
def suite(harness: Harness) -> Harness:
    harness.plan(PLAN)
    harness.write("it/test_core.py", "def test_core():\n    pass\n")
    harness.write("it/api/test_api.py", API)
    for name in FILES:
        harness.write(name, "good\n")
    return harness


def ran_groups(ran: Ran) -> list[str]:
    """The groups of which something really ran, in that order."""
    return [stamped.data.group for stamped in ran.events if isinstance(stamped.data, AttemptStarted)]


def cases_of(ran: Ran, group: str) -> list[str]:
    """The names of the tests of a group that ran."""
    (suite,) = ElementTree.parse(ran.files.junit).getroot().findall(f"./testsuite[@name='{group}']")
    return sorted(case.get("name", "") for case in suite.findall("testcase"))


def test_what_has_not_changed_is_cached_and_one_input_makes_its_groups_run(suite: Harness) -> None:
    first = suite.run("test")
    assert first.code == 0, first.stderr
    assert ran_groups(first) == ["core", "api", "web", "smoke"]

    second = suite.run("test", "--parallel")
    assert second.code == 0, second.stderr
    assert second.statuses == {"core": "cached", "api": "cached", "web": "cached", "smoke": "passed"}
    assert ran_groups(second) == ["smoke"]

    suite.write("src/api/x.txt", "good again\n")
    assert ran_groups(suite.run("test")) == ["api", "smoke"]
    suite.write("src/shared.txt", "good too\n")
    assert ran_groups(suite.run("test")) == ["api", "web", "smoke"]
    # What a cached group was to come before may start.
    suite.write("src/web/page.txt", "good as well\n")
    assert ran_groups(suite.run("test")) == ["web", "smoke"]
    suite.write("src/core/new.txt", "")
    assert ran_groups(suite.run("test")) == ["core", "smoke"]
    assert ran_groups(suite.run("test")) == ["smoke"]
    assert ran_groups(suite.run("test", "--no-cache")) == ["core", "api", "web", "smoke"]
    # Who names one, or wants it again and again, wants it to run.
    assert ran_groups(suite.run("test", "--groups", "api")) == []
    assert ran_groups(suite.run("test", "--t", "api")) == ["api"]
    assert ran_groups(suite.run("test", "--groups", "api", "--repeat", "2")) == ["api"]


def test_a_cached_group_is_shown_as_such_and_never_counted_as_a_run(suite: Harness) -> None:
    passed_in = suite.run("test").files.run_id
    second = suite.run("test")
    summary = second.report["summary"]
    assert summary["passed"] == 1, summary
    assert "3 cached" in second.stdout
    listed = suite.run("test", "--dry-run").stdout
    assert f"  web (cached: unchanged since run {passed_in})\n  smoke\n    $ bash -c true\n" in listed
    (suite_of_api,) = ElementTree.parse(second.files.junit).getroot().findall("./testsuite[@name='api']")
    assert suite_of_api.find(".//skipped") is not None
    explained = json.loads(suite.run("cache", "--format", "json").stdout)["groups"]
    assert {entry["group"]: entry["cached"] for entry in explained} == {
        "core": True,
        "api": True,
        "web": True,
        "smoke": False,
    }
    assert explained[0]["why"] == f"unchanged since run {passed_in}"


def test_a_cached_group_starts_no_service(harness: Harness) -> None:
    harness.plan("""
        [[services]]
        name = "idle"
        command = "exec sleep 600"

        [[phases]]
        name = "only"

        [[phases.groups]]
        name = "needy"
        command = "true"
        inputs = "input.txt"

        [[phases.groups]]
        name = "modest"
        command = "true"
        services = []
    """)
    harness.write("input.txt", "")

    def services(ran: Ran) -> int:
        return sum(isinstance(stamped.data, ServiceStarted) for stamped in ran.events)

    assert services(harness.run("test")) == 1
    assert services(harness.run("test")) == 0
    harness.write("input.txt", "new")
    assert services(harness.run("test")) == 1


def test_a_failure_is_never_cached(suite: Harness) -> None:
    suite.run("test")
    suite.write("src/web/page.txt", "bad\n")
    assert suite.run("test").statuses["web"] == "failed"
    assert suite.run("test").statuses["web"] == "failed"
    suite.write("src/web/page.txt", "good\n")  # as it was when it passed
    assert suite.run("test").statuses["web"] == "passed"
    assert suite.run("test").statuses["web"] == "cached"


def test_what_was_edited_while_it_ran_runs_again(suite: Harness) -> None:
    suite.write(
        "it/test_core.py", "import pathlib\ndef test_core():\n    pathlib.Path('../src/core/c.txt').write_text('x')\n"
    )
    ran = suite.run("test")
    assert ran.code == 0
    assert "core" in ran.stderr
    assert "src/core/c.txt changed" in ran.stderr
    assert ran_groups(suite.run("test")) == ["core", "smoke"]


def test_last_failed_runs_what_failed_and_nothing_else(suite: Harness) -> None:
    suite.write("src/shared.txt", "bad\n")
    first = suite.run("test")
    assert first.statuses == {"core": "passed", "api": "failed", "web": "skipped", "smoke": "passed"}

    again = suite.run("test", "--last-failed")
    assert again.code == 1
    assert again.statuses == {"api": "failed", "web": "skipped"}
    assert cases_of(again, "api") == ["test_shared"]

    suite.write("src/shared.txt", "good\n")
    mended = suite.run("test", "--last-failed")
    assert mended.code == 0, mended.stdout
    assert ran_groups(mended) == ["api", "web"]
    assert cases_of(mended, "api") == ["test_shared"]

    nothing = suite.run("test", "--last-failed")
    assert nothing.code == 4
    assert "nothing to run" in nothing.stderr


def test_last_failed_runs_a_group_whole_whose_failed_test_is_gone(suite: Harness) -> None:
    suite.write("src/api/x.txt", "bad\n")
    assert suite.run("test").statuses["api"] == "failed"
    suite.write("src/api/x.txt", "good\n")
    suite.write("it/api/test_api.py", API.replace("test_content", "test_renamed"))
    mended = suite.run("test", "--last-failed")
    assert mended.code == 0, mended.stdout
    assert cases_of(mended, "api") == ["test_always", "test_renamed[x.txt]", "test_shared"]


def test_changed_runs_what_git_says_has_changed(suite: Harness) -> None:
    def git(*words: str) -> None:
        settings = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        subprocess.run(["git", *settings, *words], cwd=suite.directory, check=True, capture_output=True)

    suite.write(".gitignore", "logs/\n.harness/\n__pycache__/\n.pytest_cache/\n")
    git("init", "-q", "-b", "main")
    git("add", "-A")
    git("commit", "-q", "-m", "x")
    suite.write("src/api/x.txt", "good again\n")
    assert ran_groups(suite.run("test", "--changed")) == ["api", "smoke"]
    git("commit", "-q", "-a", "-m", "y")
    assert ran_groups(suite.run("test", "--changed")) == ["smoke"]
    assert ran_groups(suite.run("test", "--changed", "HEAD~1", "--no-cache")) == ["api", "smoke"]
    refused = suite.run("test", "--changed", "nowhere")
    assert refused.code == 2
    assert 'git knows no commit "nowhere"' in refused.stderr


ONE = """
    [[phases]]
    name = "p"

    [[phases.groups]]
    name = "one"
    command = "test ! -e FAIL && {more}"
    inputs = "in.txt"

    [[phases.groups]]
    name = "slow"
    command = "test ! -e FAIL || while kill -0 $PPID 2> /dev/null; do sleep 0.05; done"
"""


@pytest.fixture
def one(harness: Harness) -> Harness:
    """A group that has passed, and now fails for what is none of its inputs."""
    harness.plan(ONE.format(more="true"))
    harness.write("in.txt", "")
    assert harness.run("test").statuses["one"] == "passed"
    assert harness.run("test").statuses["one"] == "cached"
    harness.write("FAIL", "")
    return harness


def is_cached(harness: Harness) -> bool:
    explained = json.loads(harness.run("cache", "--format", "json", "one").stdout)["groups"]
    return bool(explained[0]["cached"])


def test_an_older_pass_does_not_outlive_a_harness_that_was_killed(one: Harness) -> None:
    process = one.start("test", "--no-cache", "--parallel")
    eventually(lambda: len(all_runs(one.directory / "logs")) == 3, "the third run")
    one.await_event(GroupFinished, 1)
    process.kill()
    one.finish(process)
    eventually(lambda: not one.survivors(), "the end of the group that watches its harness")
    assert not is_cached(one)


def test_an_older_pass_does_not_outlive_a_failure_whose_report_could_not_be_written(one: Harness) -> None:
    report = one.directory / "logs" / "test-report.json"
    report.unlink()
    report.mkdir()
    ran = one.run("test", "--no-cache", "--groups", "one")
    assert ran.code == 3
    assert "a report of this run could not be written" in ran.stderr
    report.rmdir()
    assert not is_cached(one)
    assert one.run("test", "--last-failed", "--list").stdout.split() == ["p", "(1", "at", "a", "time)", "one"]


def test_environments_do_not_mix(harness: Harness) -> None:
    harness.plan(
        """
        [environments.staging]
        env = { CODE = "1" }
        [[phases]]
        name = "p"
        [[phases.groups]]
        name = "a"
        command = "exit ${CODE:-0}"
        """
    )
    assert harness.run("--environment", "staging", "test").code == 1
    assert harness.run("test").code == 0
    assert harness.run("test", "--last-failed").code == 4
    assert harness.run("--environment", "staging", "test", "--last-failed").statuses == {"a": "failed"}
    assert json.loads(harness.run("flaky", "--format", "json").stdout)["items"][0]["verdict"] != "flaky"
