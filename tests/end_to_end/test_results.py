"""Groups whose command tells of its tests by a report: in the run's report, in its JUnit, in its exit code."""

import xml.etree.ElementTree as ElementTree

from projects import Harness

PLAN = """
    [[phases]]
    name = "parallel"

    [[phases.groups]]
    name = "shell"
    command = "sh tests.sh"
    results = "tap"

    [[phases.groups]]
    name = "java"
    command = "sh write.sh"
    results = "junit:reports/*.xml"
"""


def test_the_tests_of_commands_are_in_every_report(harness: Harness) -> None:
    harness.plan(PLAN)
    harness.write("tests.sh", "echo 1..2; echo ok 1 - works; echo not ok 2 - breaks; echo '# it broke'; exit 1\n")
    harness.write("write.sh", "mkdir reports; echo '<testsuite><testcase name=\"a\"/></testsuite>' >reports/a.xml\n")
    ran = harness.run("test", "--parallel")
    assert ran.code == 1, ran.stderr
    assert ran.statuses == {"shell": "failed", "java": "passed"}
    assert ran.status_file("shell")["REASON"] == "1 of 2 tests failed: breaks"
    tests = {suite["name"]: {test["id"]: test for test in suite["test_results"]} for suite in ran.report["suites"]}
    assert {name: {test: row["status"] for test, row in rows.items()} for name, rows in tests.items()} == {
        "shell": {"works": "passed", "breaks": "failed"},
        "java": {"a": "passed"},
    }
    assert tests["shell"]["breaks"]["message"] == "it broke"
    cases = ElementTree.parse(ran.files.junit).getroot().iter("testcase")
    assert [case.get("name") for case in cases if case.find("failure") is not None] == ["breaks"]
    assert "not ok 2 - breaks\n" in ran.log("shell")


def test_a_report_from_an_earlier_run_does_not_pass_a_group(harness: Harness) -> None:
    harness.plan(PLAN)
    harness.write("tests.sh", "echo 1..1; echo ok 1\n")
    harness.write("write.sh", "true\n")
    harness.write("reports/a.xml", '<testsuite><testcase name="a"/></testsuite>')
    ran = harness.run("test", "--parallel")
    assert ran.code == 1, ran.stderr
    assert ran.statuses == {"shell": "passed", "java": "failed"}
    assert "reports/a.xml is left from before, and was not written again" in ran.stdout
