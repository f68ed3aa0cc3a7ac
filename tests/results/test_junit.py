"""JUnit XML in the dialects of those who write it, and what is refused."""

import subprocess
import sys
from pathlib import Path

import pytest

PYTEST = """<?xml version="1.0" encoding="utf-8"?>
<testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="1" skipped="2" tests="5" time="0.12">
<testcase classname="tests.test_a.TestB" name="test_one" time="0.010" />
<testcase classname="tests.test_a" name="test_two[x::y]" time="0.020"><failure message="assert 1 == 2">line 1
line 2</failure><system-out>printed</system-out></testcase>
<testcase classname="tests.test_a" name="test_three" time="0"><skipped type="pytest.skip" message="no net">why</skipped>
</testcase>
<testcase classname="tests.test_a" name="test_four" time="0"><skipped type="pytest.xfail" message="later" /></testcase>
<testcase classname="tests.test_a" name="test_five" time="0.0"><error message="failed on setup">trace</error></testcase>
</testsuite></testsuites>"""

SUREFIRE = """<?xml version="1.0" encoding="UTF-8"?>
<testsuite xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" name="a.BTest" time="1,234.5" tests="4" errors="0"
    skipped="0" failures="1" flakes="1">
  <properties><property name="os" value="x"/></properties>
  <testcase name="passes" classname="a.BTest" time="1,234.5"/>
  <testcase name="fails" classname="a.BTest" time="0.1">
    <failure message="expected" type="AssertionError"><![CDATA[at a.BTest:1 <&>]]></failure>
    <rerunFailure message="again" type="AssertionError"><stackTrace>at</stackTrace></rerunFailure>
  </testcase>
  <testcase name="flaky" classname="a.BTest" time="0.1">
    <flakyFailure message="once" type="AssertionError"><stackTrace>at</stackTrace></flakyFailure>
    <flakyError message="twice" type="IOError"/>
  </testcase>
  <testcase name="rerun" classname="a.BTest" time="0.1"><rerunError message="once"/></testcase>
  <system-out>all of it</system-out>
</testsuite>"""

JEST = """<testsuites name="jest tests" tests="2" failures="1" errors="0" time="1.5">
  <testsuite name="sum" errors="0" failures="1" skipped="0" tests="2" timestamp="2026-01-01T00:00:00" time="1">
    <testcase classname="sum adds" name="sum adds" time="0.004"></testcase>
    <testcase classname="sum breaks" name="sum breaks" time="0.001">
      <failure>Error: expect(received).toBe(expected)
    at Object</failure>
    </testcase>
  </testsuite>
</testsuites>"""

GTEST = """<testsuites tests="3" failures="1" disabled="1" errors="0" time="0.01" name="AllTests">
  <testsuite name="Foo" tests="3" failures="1" disabled="1" skipped="1" errors="0" time="0.01">
    <testcase name="Ok" file="a.cc" line="1" status="run" result="completed" time="0.001" classname="Foo" />
    <testcase name="Bad" status="run" result="completed" time="0." classname="Foo">
      <failure message="a.cc:5&#x0A;Expected equality" type=""><![CDATA[a.cc:5
Expected equality]]></failure>
      <failure message="second" type=""/>
    </testcase>
    <testcase name="DISABLED_Off" status="notrun" result="suppressed" time="0." classname="Foo" />
    <testcase name="Skip" status="run" result="skipped" time="0." classname="Foo"><skipped message="why"/></testcase>
  </testsuite>
</testsuites>"""

GO_JUNIT = """<testsuites tests="2" failures="1" errors="1">
  <testsuite name="example.com/a" tests="2" failures="1" errors="0" id="0" time="0.002">
    <testcase name="TestA" classname="example.com/a" time="0.001"/>
    <testcase name="TestA/sub" classname="example.com/a" time="0.001"><failure message="Failed">x</failure></testcase>
  </testsuite>
  <testsuite name="example.com/b" tests="1" failures="0" errors="1" id="1" time="0.0">
    <testcase name="" classname="example.com/b"><error message="Build error">b.go:1</error></testcase>
  </testsuite>
</testsuites>"""

NESTED = """<testsuites><testsuite name="outer"><testsuite name="inner">
  <testcase name="deep"/></testsuite><testcase name="shallow"/></testsuite><testcase name="bare"/></testsuites>"""


@pytest.mark.parametrize(
    ("text", "statuses"),
    [
        (
            PYTEST,
            {
                "tests.test_a.TestB::test_one": "passed",
                "tests.test_a::test_two[x::y]": "failed",
                "tests.test_a::test_three": "skipped",
                "tests.test_a::test_four": "xfailed",
                "tests.test_a::test_five": "error",
            },
        ),
        (
            SUREFIRE,
            {
                "a.BTest::passes": "passed",
                "a.BTest::fails": "failed",
                "a.BTest::flaky": "passed",
                "a.BTest::rerun": "passed",
            },
        ),
        (JEST, {"sum adds::sum adds": "passed", "sum breaks::sum breaks": "failed"}),
        (GTEST, {"Foo::Ok": "passed", "Foo::Bad": "failed", "Foo::DISABLED_Off": "skipped", "Foo::Skip": "skipped"}),
        (
            GO_JUNIT,
            {"example.com/a::TestA": "passed", "example.com/a::TestA/sub": "failed", "example.com/b": "error"},
        ),
        (NESTED, {"deep": "passed", "shallow": "passed", "bare": "passed"}),
        ('<testsuite xmlns="http://x"><testcase name="a"><failure/></testcase></testsuite>', {"a": "failed"}),
        ("<testsuite><testcase/></testsuite>", {"(no name)": "passed"}),
        ('<testsuite><testcase name="a" status="failed"/></testsuite>', {"a": "failed"}),
        (
            '<testsuite><testcase name="a"><skipped/><error/><failure/></testcase></testsuite>',
            {"a": "failed"},
        ),
        (
            '<testsuites><testsuite name="s"><error message="m"/><testcase name="a"/></testsuite></testsuites>',
            {"s": "error", "a": "passed"},
        ),
        (
            '<testsuite><testcase name="a"/><testcase name="a"><failure/></testcase></testsuite>',
            {"a": "passed", "a (2)": "failed"},
        ),
        ('<testsuite><testcase name="a&#10;b\u202e"/></testsuite>', {"a\\nb\\u202e": "passed"}),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 40 else "",
)
def test_dialects(read, text: str, statuses: dict[str, str]) -> None:
    reading = read("junit", text)
    assert (reading.statuses, reading.problem) == (statuses, "")


def test_what_is_told_of_a_failure(read) -> None:
    two = read("junit", PYTEST).of("tests.test_a::test_two[x::y]")
    assert (two.message, two.details, two.duration) == ("assert 1 == 2", "line 1\nline 2\nprinted", 0.02)
    bad = read("junit", GTEST).of("Foo::Bad")
    assert (bad.message, bad.details) == ("a.cc:5", "a.cc:5\nExpected equality\nsecond")
    breaks = read("junit", JEST).of("sum breaks::sum breaks")
    assert breaks.message == "Error: expect(received).toBe(expected)"
    assert read("junit", SUREFIRE).of("a.BTest::fails").details == "at a.BTest:1 <&>"
    assert read("junit", PYTEST).of("tests.test_a::test_three").message == "no net"


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("1.5", 1.5),
        ("1,234.5", 1234.5),
        ("", 0.0),
        ("soon", 0.0),
        ("nan", 0.0),
        ("inf", 0.0),
        ("1e999", 0.0),
        ("-3", 0.0),
    ],
)
def test_durations(read, time: str, seconds: float) -> None:
    reading = read("junit", f'<testsuite><testcase name="a" time="{time}"/></testsuite>')
    assert reading.results[0].duration == seconds


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not whole JUnit XML (no element found: line 1, column 0): did its writer break off?"),
        (PYTEST[:-1], "is not whole JUnit XML (unclosed token"),
        ("all good", "is not whole JUnit XML (syntax error"),
        ('<?xml version="1.0" encoding="klingon"?><testsuites/>', "is not whole JUnit XML ("),
        ("<html><body/></html>", "is not JUnit XML: its root is <html>"),
        ("<testcase name='a'/>", "is not JUnit XML: its root is <testcase>"),
        ("<testsuites/><testsuites/>", "is not whole JUnit XML (junk after document element"),
        ("<!DOCTYPE testsuites><testsuites/>", "has a DOCTYPE, which is refused"),
        ("<testsuite>" * 101, "is nested deeper than 100 elements"),
        ('<testsuite failures="1"><testcase name="a"/></testsuite>', "counts failures, but shows none"),
        ('<testsuite errors="1,000"><testcase name="a"/></testsuite>', "counts failures, but shows none"),
        ('<testsuite tests="3"></testsuite>', "counts tests, but shows none"),
    ],
)
def test_problems(read, text: str, problem: str) -> None:
    reading = read("junit", text)
    assert reading.problem.startswith(problem)


@pytest.mark.parametrize("text", ["<testsuites/>", '<testsuites tests="0"><testsuite/></testsuites>'])
def test_no_tests_is_no_problem_of_the_report(read, text: str) -> None:
    reading = read("junit", text)
    assert (reading.results, reading.problem) == ([], "")


BOMB = """<?xml version="1.0"?><!DOCTYPE testsuites [<!ENTITY a "aaaaaaaaaa">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">
]><testsuites><testsuite><testcase name="&c;"/></testsuite></testsuites>"""
OUTSIDE = """<!DOCTYPE testsuites [<!ENTITY x SYSTEM "file:///etc/hostname">]>
<testsuite><testcase name="&x;"/></testsuite>"""


@pytest.mark.parametrize("text", [BOMB, OUTSIDE])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("piece", [0, 1])
def test_entities_are_refused_in_any_encoding(read, text: str, encoding: str, piece: int) -> None:
    reading = read("junit", text.encode(encoding), piece=piece)
    assert (reading.results, reading.problem) == ([], "has a DOCTYPE, which is refused: write it without")


def test_what_came_before_the_break_is_told(read) -> None:
    reading = read("junit", PYTEST[: PYTEST.index("test_three")])
    assert list(reading.statuses.values()) == ["passed", "failed"]
    assert reading.problem


@pytest.mark.parametrize("family", ["xunit1", "xunit2"])
def test_what_pytest_writes(read, tmp_path: Path, family: str) -> None:
    (tmp_path / "test_a.py").write_text(
        "import pytest\n"
        "def test_passes(): pass\n"
        "def test_fails(): assert 1 == 2\n"
        "@pytest.mark.xfail\ndef test_later(): assert 0\n"
        "@pytest.mark.skip(reason='no net')\ndef test_out(): pass\n"
        "@pytest.fixture\ndef broken(): raise ValueError\ndef test_error(broken): pass\n"
    )
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", f"junit_family={family}"]
    argv += ["--rootdir=.", "-c", "/dev/null", "--junitxml=out.xml", "test_a.py"]
    subprocess.run(argv, cwd=tmp_path, capture_output=True, timeout=60, check=False)
    reading = read("junit", (tmp_path / "out.xml").read_bytes())
    assert reading.problem == ""
    assert reading.statuses == {
        "test_a::test_passes": "passed",
        "test_a::test_fails": "failed",
        "test_a::test_later": "xfailed",
        "test_a::test_out": "skipped",
        "test_a::test_error": "error",
    }
