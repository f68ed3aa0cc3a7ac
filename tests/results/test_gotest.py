"""`go test -json`: literal streams, as `go doc test2json` and cmd/go's own tests have them. Go itself is not needed."""

import json

import pytest


def lines(*events: dict[str, object] | str) -> str:
    return "".join((event if isinstance(event, str) else json.dumps(event)) + "\n" for event in events)


def event(action: str, test: str = "", package: str = "example.com/a", **fields: object) -> dict[str, object]:
    event: dict[str, object] = {"Time": "2026-01-01T00:00:00.0Z", "Action": action, "Package": package}
    return event | ({"Test": test} if test else {}) | fields


def said(text: str, test: str = "", package: str = "example.com/a") -> dict[str, object]:
    return event("output", test, package, Output=text + "\n")


START = event("start")
PASS = event("pass", Elapsed=0.1)
FAIL = event("fail", Elapsed=0.1)

WHOLE = lines(
    START,
    event("run", "TestA"),
    said("=== RUN   TestA", "TestA"),
    said("--- PASS: TestA (0.02s)", "TestA"),
    event("pass", "TestA", Elapsed=0.02),
    event("run", "TestB"),
    said("=== RUN   TestB", "TestB"),
    said("=== PAUSE TestB", "TestB"),
    event("pause", "TestB"),
    event("cont", "TestB"),
    said("=== CONT  TestB", "TestB"),
    event("run", "TestB/one"),
    said("    b_test.go:8: expected 1", "TestB/one"),
    said("    --- FAIL: TestB/one (0.00s)", "TestB/one"),
    event("fail", "TestB/one", Elapsed=0.5),
    said("--- FAIL: TestB (0.00s)", "TestB"),
    event("fail", "TestB", Elapsed=0.5),
    event("run", "TestC"),
    said("    c_test.go:5: no net", "TestC"),
    said("--- SKIP: TestC (0.00s)", "TestC"),
    event("skip", "TestC", Elapsed=0),
    said("FAIL"),
    said("FAIL\texample.com/a\t0.6s"),
    FAIL,
)


def test_one_package(read) -> None:
    reading = read("go", WHOLE)
    assert reading.problem == ""
    assert reading.statuses == {
        "example.com/a::TestA": "passed",
        "example.com/a::TestB/one": "failed",
        "example.com/a::TestB": "failed",
        "example.com/a::TestC": "skipped",
    }
    one = reading.of("example.com/a::TestB/one")
    assert (one.duration, one.message) == (0.5, "b_test.go:8: expected 1")
    assert one.details == "    b_test.go:8: expected 1\n    --- FAIL: TestB/one (0.00s)\n"
    assert reading.of("example.com/a::TestC").message == "c_test.go:5: no net"
    assert (reading.of("example.com/a::TestA").message, reading.of("example.com/a::TestA").details) == ("", "")


def test_starts_are_told_as_they_come(read) -> None:
    kinds = [(type(event).__name__, getattr(event, "test", "")) for event in read("go", WHOLE).events[:2]]
    assert kinds == [("TestStarted", "example.com/a::TestA"), ("TestFinished", "")]


def test_packages_are_mixed(read) -> None:
    reading = read(
        "go",
        lines(
            event("start", package="a"),
            event("start", package="b"),
            event("run", "TestX", "a"),
            event("run", "TestX", "b"),
            said("of a", "TestX", "a"),
            said("of b", "TestX", "b"),
            event("fail", "TestX", "b"),
            event("pass", "TestX", "a"),
            event("fail", package="b"),
            event("pass", package="a"),
        ),
    )
    assert (reading.statuses, reading.problem) == ({"b::TestX": "failed", "a::TestX": "passed"}, "")
    assert reading.of("b::TestX").details == "of b\n"


@pytest.mark.parametrize(
    ("text", "statuses"),
    [
        # Older than 1.20: nothing says that a package starts.
        (lines(event("run", "TestA"), event("pass", "TestA"), PASS), {"example.com/a::TestA": "passed"}),
        # No test files.
        (lines(START, said("?   \texample.com/a\t[no test files]"), event("skip")), {}),
        # -count=2.
        (
            lines(START, *[event(action, "TestA") for action in ("run", "pass", "run", "fail")], FAIL),
            {"example.com/a::TestA": "passed", "example.com/a::TestA (2)": "failed"},
        ),
        # Told twice that it began: it is one test all the same.
        (
            lines(START, event("run", "TestA"), event("run", "TestA"), event("pass", "TestA"), PASS),
            {"example.com/a::TestA": "passed"},
        ),
        # Benchmarks: one that logs ends with `bench`, one that does not has no end of its own.
        (
            lines(START, event("run", "BenchmarkA"), event("bench", "BenchmarkB"), PASS),
            {"example.com/a::BenchmarkB": "passed", "example.com/a::BenchmarkA": "passed"},
        ),
        # test2json without -p: no package.
        ('{"Action":"run","Test":"TestA"}\n{"Action":"pass","Test":"TestA"}\n{"Action":"pass"}\n', {"TestA": "passed"}),
        # Whatever is printed between.
        (
            lines("go: downloading x", START, "{", "{not json}", '{"Action": 1}', "[]", event("dance"), PASS),
            {},
        ),
        # The package fails for its tests, and is no failure of its own.
        (lines(START, event("fail", "TestA"), FAIL), {"example.com/a::TestA": "failed"}),
        # A test that passed in a package that did not (a leak found by TestMain, the race detector).
        (
            lines(START, event("run", "TestA"), event("pass", "TestA"), said("found leaks"), FAIL),
            {"example.com/a::TestA": "passed", "example.com/a": "error"},
        ),
        # os.Exit in a test.
        (lines(START, event("run", "TestA"), FAIL), {"example.com/a::TestA": "error"}),
        # A test whose end go did not see is no pass.
        (lines(START, event("run", "TestA"), PASS), {"example.com/a::TestA": "error"}),
    ],
)
def test_streams(read, text: str, statuses: dict[str, str]) -> None:
    reading = read("go", text)
    assert (reading.statuses, reading.problem, reading.tests.running) == (statuses, "", [])


def test_a_panic_is_told_with_the_test(read) -> None:
    trace = said("panic: oops", "TestA"), said("goroutine 1 [running]:", "TestA")
    reading = read("go", lines(START, event("run", "TestA"), *trace, said("FAIL"), FAIL))
    assert reading.of("example.com/a::TestA").message == "no result, though its package ended with `fail`: panic: oops"
    assert "panic: oops\ngoroutine 1" in reading.of("example.com/a::TestA").details


def test_a_build_that_fails(read) -> None:
    """As Go 1.24 and later tell it."""
    built = {"ImportPath": "example.com/a [example.com/a.test]"}
    reading = read(
        "go",
        lines(
            built | {"Action": "build-output", "Output": "# example.com/a [example.com/a.test]\n"},
            built | {"Action": "build-output", "Output": "./a_test.go:3:1: undefined: x\n"},
            built | {"Action": "build-fail"},
            START,
            said("FAIL\texample.com/a [build failed]"),
            event("fail", Elapsed=0, FailedBuild="example.com/a [example.com/a.test]"),
        ),
    )
    assert (reading.statuses, reading.problem) == ({"example.com/a": "error"}, "")
    assert reading.results[0].message == "./a_test.go:3:1: undefined: x"
    assert "undefined: x\n" in reading.results[0].details


def test_a_build_that_fails_before_1_24(read) -> None:
    told = lines("# example.com/a", "./a_test.go:3:1: undefined: x", said("FAIL\texample.com/a [build failed]"), FAIL)
    reading = read("go", told)
    assert (reading.statuses, reading.problem) == ({"example.com/a": "error"}, "")
    assert reading.results[0].message == "FAIL\texample.com/a [build failed]"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has nothing in it that `go test -json` prints"),
        ("ok  \texample.com/a\t0.1s\n", "has nothing in it that `go test -json` prints"),
        (lines(START), "does not say how package example.com/a ended"),
        (lines(event("run", "TestA"), event("pass", "TestA")), "does not say how package example.com/a ended"),
        (lines(event("pass", "TestA")), "does not say how package example.com/a ended"),
        (lines(START, PASS)[:-5], "does not say how package example.com/a ended"),
        (lines({"Action": "build-fail", "ImportPath": "x"}), "tells of a failed build: x"),
    ],
)
def test_problems(read, text: str, problem: str) -> None:
    assert read("go", text).problem == problem


def test_output_is_bounded(read) -> None:
    flood = [said("x" * 1000, "TestA") for _ in range(1000)]
    reading = read("go", lines(START, event("run", "TestA"), *flood, event("fail", "TestA"), FAIL))
    details = reading.results[0].details
    assert len(details) < 66_000
    assert " characters left out " in details
