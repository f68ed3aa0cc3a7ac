"""Whole runs of small projects: what they do, and what they leave behind."""

import json
import os
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from projects import Harness

from harness.events import AttemptStarted, GroupFinished, PhaseStarted

SUITE = """
    [[phases]]
    name = "core"
    sequential = true

    [[phases.groups]]
    name = "core"
    tests = "test_core.py"

    [[phases]]
    name = "parallel"

    [[phases.groups]]
    name = "pages"
    tests = "test_pages.py"
    category = "web"

    [[phases.groups]]
    name = "build"
    command = "echo built by $HARNESS_GROUP on $HARNESS_SLOT; exit ${BUILD_CODE:-0}"
    category = "tools"

    [[phases.groups]]
    name = "ship"
    command = ["true"]
    depends_on = "build"
    category = "tools"

    [[phases]]
    name = "stress"
    when = "RUN_STRESS_TESTS"

    [[phases.groups]]
    name = "stress"
    command = "true"
"""
CORE = "def test_core():\n    assert {answer} == 42\n"
PAGES = """
    import os

    class TestHome:
        def test_title(self):
            assert os.environ.get("TITLE", "right") == "right"

        def test_footer(self):
            print("a word from the footer")

    def test_about():
        pass
"""


@pytest.fixture
def suite(harness: Harness) -> Harness:
    harness.plan(SUITE)
    harness.write("test_core.py", CORE.format(answer=42))
    harness.write("test_pages.py", PAGES)
    return harness


def test_a_run_that_passes_leaves_everything_that_the_docs_promise(suite: Harness) -> None:
    ran = suite.run("test", "--parallel")
    assert ran.code == 0, ran.stderr
    assert ran.stderr == ""
    expected = {"core": "passed", "pages": "passed", "build": "passed", "ship": "passed", "stress": "skipped"}
    assert ran.statuses == expected
    assert {group: ran.status_file(group)["STATUS"] for group in expected} == expected
    assert "built by build on" in ran.log("build")
    assert "3 passed" in ran.log("pages")
    assert "test_core.py" in ran.log("core")
    assert not ran.files.group_log("stress").exists()
    assert "RUN_STRESS_TESTS=true" in ran.status_file("stress")["REASON"]
    summary = ran.report["summary"]
    assert (summary["total"], summary["passed"], summary["failed"], summary["skipped"]) == (5, 4, 0, 1)
    assert json.loads(ran.files.test_report.read_text())["suites"] == ran.report["suites"]
    cases = [case.get("name") for case in ElementTree.parse(ran.files.junit).iter("testcase")]
    assert len(cases) == 4 + 3, cases  # a case per pytest test, and one for each command or skipped group
    spans = {event["name"] for event in json.loads(ran.files.trace.read_text())["traceEvents"]}
    assert {"core", "pages", "build", "ship"} <= spans
    assert ran.files.main_log.read_text() == ran.stdout
    assert "\x1b" not in ran.stdout


def test_bash_can_source_the_status_files(suite: Harness) -> None:
    ran = suite.run("test", "--parallel")
    for group, status in ran.statuses.items():
        script = f'set -eu; source "{ran.files.status(group)}"; echo "$GROUP $STATUS $ATTEMPTS"'
        said = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.split()
        assert said == [group, status, "0" if status == "skipped" else "1"]


def test_stress_runs_when_asked_for(suite: Harness) -> None:
    assert suite.run("test", env={"RUN_STRESS_TESTS": "true"}).statuses["stress"] == "passed"
    assert suite.run("test", "--phases", "stress").statuses == {"stress": "passed"}


def test_a_failing_test_fails_its_group_and_no_other(suite: Harness) -> None:
    ran = suite.run("test", "--parallel", env={"TITLE": "wrong"})
    assert ran.code == 1
    assert ran.statuses == {
        "core": "passed",
        "pages": "failed",
        "build": "passed",
        "ship": "passed",
        "stress": "skipped",
    }
    assert "test_pages.py::TestHome::test_title" in ran.stdout
    assert "AssertionError" in ran.stdout or "assert 'wrong' == 'right'" in ran.stdout  # the end of its log
    assert str(ran.files.group_log("pages").relative_to(suite.directory)) in ran.stdout
    assert "test --groups pages --parallel" in ran.stdout
    tree = ElementTree.parse(ran.files.junit)
    assert [case.get("name") for case in tree.iter("testcase") if case.find("failure") is not None] == ["test_title"]


def test_the_command_shown_for_a_rerun_reruns_it(suite: Harness) -> None:
    ran = suite.run("test", "--parallel", env={"TITLE": "wrong"})
    (line,) = [line for line in ran.stdout.splitlines() if "test --groups" in line]
    words = line.split()
    assert words[0] == "harness"
    assert suite.run(*words[1:]).statuses == {"pages": "passed"}


def test_a_failing_command_skips_what_depends_on_it(suite: Harness) -> None:
    ran = suite.run("test", "--parallel", env={"BUILD_CODE": "7"})
    assert ran.code == 1
    assert ran.statuses["build"] == "failed"
    assert ran.status_file("build")["EXIT_CODE"] == "7"
    assert ran.statuses["ship"] == "skipped"
    assert ran.status_file("ship")["REASON"] == "depends on build, which failed"
    assert ran.statuses["pages"] == "passed"


def test_a_failing_core_ends_the_run(suite: Harness) -> None:
    suite.write("test_core.py", CORE.format(answer=41))
    ran = suite.run("test", "--parallel")
    assert ran.code == 1
    assert ran.statuses == {
        "core": "failed",
        "pages": "skipped",
        "build": "skipped",
        "ship": "skipped",
        "stress": "skipped",
    }
    assert [stamped.data.phase for stamped in ran.events if isinstance(stamped.data, PhaseStarted)] == ["core"]


MEET = """
    # Ends when {size} of its kind have been seen at once, which takes {size} slots.
    touch met/$HARNESS_GROUP
    until [ "$(ls met | wc -l)" -ge {size} ]; do sleep 0.01; done
"""


@pytest.mark.parametrize("jobs", [1, 2, 8])
def test_max_parallel_jobs_is_honoured_exactly(harness: Harness, jobs: int) -> None:
    """As many as allowed are really in flight together, or the first ones would wait for ever; and never one more."""
    groups = "".join(f'[[phases.groups]]\nname = "g{n}"\ncommand = ["bash", "meet"]\n' for n in range(jobs * 2))
    harness.plan(f'[[phases]]\nname = "parallel"\n{groups}')
    harness.write("meet", MEET.format(size=jobs))
    (harness.directory / "met").mkdir()
    ran = harness.run("test", "--parallel", env={"MAX_PARALLEL_JOBS": str(jobs)})
    assert ran.code == 0
    assert ran.most_at_once() == jobs


def test_without_parallel_one_group_runs_at_a_time(suite: Harness) -> None:
    assert suite.run("test", env={"MAX_PARALLEL_JOBS": "8"}).most_at_once() == 1


@pytest.mark.parametrize("bad", ["abc", "0", "-1", "1_0", "٣", "999999"])
def test_bad_variables_are_refused_before_anything_starts(suite: Harness, bad: str) -> None:
    ran = suite.run("test", "--parallel", env={"MAX_PARALLEL_JOBS": bad})
    assert ran.code == 2
    assert "MAX_PARALLEL_JOBS" in ran.stderr
    assert bad in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not ran.log_dir.exists()


def test_selecting(suite: Harness) -> None:
    assert set(suite.run("test", "--categories", "tools").statuses) == {"build", "ship"}
    assert set(suite.run("test", "--suites", "pages,ship").statuses) == {"pages", "ship"}
    nothing = suite.run("test", "--groups", "pages", "--categories", "tools")
    assert nothing.code == 4
    typo = suite.run("test", "--groups", "pagse")
    assert typo.code == 2
    assert "pages" in typo.stderr


@pytest.mark.parametrize(
    ("name", "tests"),
    [
        ("pages", 3),
        ("test_pages", 3),
        ("test_pages.py", 3),
        ("TestHome", 2),
        ("test_pages.py::TestHome::test_footer", 1),
        ("footer", 1),
    ],
)
def test_one_test_by_any_name(suite: Harness, name: str, tests: int) -> None:
    ran = suite.run("test", "--t", name)
    assert ran.code == 0
    assert ran.statuses == {"pages": "passed"}
    assert ran.report["suites"][0]["tests"]["passed"] == tests
    assert "pages" in ran.stdout
    assert f"{tests} passed" in ran.stdout  # pytest's own words, shown live


def test_fail_fast_stops_what_runs(harness: Harness) -> None:
    harness.plan(
        """
        [[phases]]
        name = "p"

        [[phases.groups]]
        name = "slow"
        command = "sleep 1000"

        [[phases.groups]]
        name = "bad"
        command = "false"

        [[phases.groups]]
        name = "later"
        command = "true"
        """
    )
    ran = harness.run("test", "--parallel", "--jobs", "2", "--fail-fast")
    assert ran.code == 1
    assert ran.statuses == {"slow": "interrupted", "bad": "failed", "later": "not_run"}


def test_timeouts(harness: Harness) -> None:
    harness.plan(
        """
        [run]
        grace = 0.1

        [[phases]]
        name = "p"

        [[phases.groups]]
        name = "stubborn"
        command = "trap '' TERM; while :; do sleep 1000; done"
        timeout = 0.3
        """
    )
    ran = harness.run("test")
    assert ran.code == 1
    assert ran.statuses == {"stubborn": "timed_out"}


def test_the_global_timeout(harness: Harness) -> None:
    harness.plan(
        """
        [[phases]]
        name = "p"

        [[phases.groups]]
        name = "slow"
        command = "sleep 1000"

        [[phases.groups]]
        name = "later"
        command = "true"
        """
    )
    ran = harness.run("test", "--global-timeout", "1s")
    assert ran.code == 1
    assert ran.statuses == {"slow": "timed_out", "later": "not_run"}


def test_a_retry_that_passes_is_flaky_and_says_so(harness: Harness) -> None:
    harness.plan(
        """
        [[phases]]
        name = "p"

        [[phases.groups]]
        name = "moody"
        command = "echo attempt $HARNESS_ATTEMPT; [ $HARNESS_ATTEMPT = 2 ]"
        retries = 1
        """
    )
    ran = harness.run("test")
    assert ran.code == 0
    assert ran.statuses == {"moody": "flaky"}
    assert ran.log("moody").count("===") >= 2
    assert "attempt 1\n" in ran.log("moody")
    assert "attempt 2\n" in ran.log("moody")


def test_where_variables_come_from(harness: Harness) -> None:
    """The shell is over .env, .env over the plan, and in the plan the group over the run."""
    harness.plan(
        """
        [run]
        env = { A = "run", B = "run", C = "run", D = "run" }

        [[phases]]
        name = "p"

        [[phases.groups]]
        name = "shown"
        command = "echo $A $B $C $D"
        env = { B = "group", C = "group", D = "group" }
        """
    )
    harness.write(".env", "C=dotenv\nD=dotenv\n")
    ran = harness.run("test", env={"D": "shell"})
    assert "run group dotenv shell" in ran.log("shown").splitlines()


def test_two_runs_at_once_leave_separate_files(suite: Harness) -> None:
    first, second = suite.start("test"), suite.start("test")
    assert suite.finish(first).code == 0
    assert suite.finish(second).code == 0
    runs = sorted((suite.directory / "logs").glob("run_*"))
    assert len(runs) == 2
    for run in runs:
        report = json.loads((run / "report.json").read_text())
        assert report["summary"]["passed"] == 4


def test_verbose_prefixes_every_line_by_its_group(suite: Harness) -> None:
    ran = suite.run("test", "--parallel", "--verbose")
    assert any(line.startswith("build") and "built by build on" in line for line in ran.stdout.splitlines())


def test_dry_run_and_list_start_nothing(suite: Harness) -> None:
    for option in ("--dry-run", "--list"):
        ran = suite.run("test", "--parallel", option)
        assert ran.code == 0
        assert "pages" in ran.stdout
        assert not ran.log_dir.exists()
    assert "-m pytest" in suite.run("test", "--dry-run").stdout


def test_a_log_directory_that_cannot_be_made_is_refused(suite: Harness) -> None:
    suite.write("taken", "a file")
    ran = suite.run("test", "--log-dir", "taken/logs")
    assert ran.code == 3
    assert "taken/logs" in ran.stderr


def test_the_journal_is_in_order_and_ends_every_group_once(suite: Harness) -> None:
    events = suite.run("test", "--parallel").events
    assert [stamped.seq for stamped in events] == list(range(1, len(events) + 1))
    assert [stamped.elapsed for stamped in events] == sorted(stamped.elapsed for stamped in events)
    ended = [stamped.data.result.group for stamped in events if isinstance(stamped.data, GroupFinished)]
    assert sorted(ended) == ["build", "core", "pages", "ship", "stress"]
    started = [stamped.data.group for stamped in events if isinstance(stamped.data, AttemptStarted)]
    assert started.index("build") < started.index("ship")


def test_the_pipeline_stops_at_the_first_stage_that_fails(suite: Harness) -> None:
    suite.plan(
        SUITE
        + """
    [[pipeline]]
    name = "lint"
    command = "echo linted; grep SigIgn /proc/self/status || true"

    [[pipeline]]
    name = "suite"
    suite = true

    [[pipeline]]
    name = "publish"
    command = "echo published"
    """
    )
    good = suite.finish(suite.start("cicd", "--parallel", nohup=True))
    assert good.code == 0
    assert good.stdout.splitlines()[-1] == "tests: 6 passed, 0 failed, 1 skipped"
    assert "published" in good.stdout
    if ignored := re.search(r"SigIgn:\s*(\w+)", good.stdout):
        assert not int(ignored[1], 16) & 0b11, "a stage hears SIGHUP and SIGINT"
    bad = suite.run("cicd", "--parallel", env={"TITLE": "wrong"})
    assert bad.code == 1
    assert "published" not in bad.stdout
    assert bad.stdout.splitlines()[-1] == "tests: 5 passed, 1 failed, 1 skipped"


def test_help_at_every_level_has_examples(harness: Harness) -> None:
    assert "Examples:" in harness.run("--help").stdout
    for command in ("test", "cicd", "list", "plan", "logs", "status", "setup", "clean"):
        said = harness.run(command, "--help").stdout
        assert "Example" in said, command


def test_mistyped_commands_and_options_are_guessed(suite: Harness) -> None:
    assert "test" in suite.run("tset").stderr
    assert "--parallel" in suite.run("test", "--paralel").stderr


def test_a_forgotten_environment_is_pointed_out(suite: Harness) -> None:
    said = suite.run("--environment", "test", "--parallel").stderr
    assert "./exec.sh local test" in said


def test_a_pipe_that_closes_early_is_no_error(suite: Harness) -> None:
    groups = "".join(f'[[phases.groups]]\nname = "group-{n}"\ncommand = "true"\n' for n in range(5000))
    suite.plan(f'[[phases]]\nname = "p"\n{groups}')
    process = suite.start("list")
    assert process.stdout
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    _, stderr = process.communicate(timeout=60)
    assert stderr == ""


def test_files_of_a_run_are_for_their_owner_alone(suite: Harness) -> None:
    ran = suite.run("test")
    for path in [*ran.files.run_dir.iterdir(), ran.files.main_log, ran.files.group_log("pages")]:
        assert Path(path).stat().st_mode & 0o077 == 0, path
    assert os.access(ran.files.run_dir, os.R_OK)


def test_results_that_do_not_add_up_are_never_a_pass(harness: Harness) -> None:
    """A group that tampers with what another left behind stands for a harness that loses it."""
    harness.plan(
        """
        [[phases]]
        name = "one"

        [[phases.groups]]
        name = "a"
        command = "true"

        [[phases]]
        name = "two"

        [[phases.groups]]
        name = "b"
        command = "rm logs/.a_status_*"
        """
    )
    ran = harness.run("test")
    assert ran.code == 70
    assert "contradict" in ran.stderr
    assert ".a_status_" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_completion(harness: Harness) -> None:
    asked = {"_HARNESS_COMPLETE": "bash_complete", "COMP_WORDS": "harness test --par", "COMP_CWORD": "2"}
    assert harness.run(env=asked).stdout.splitlines() == ["plain,--parallel"]
