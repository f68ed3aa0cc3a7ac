"""What every reader must bear: a report is written by whoever wants to, and may break off anywhere.

No reader raises, and no report that broke off passes for a whole one.
"""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.results import READERS, KnownTests, Sink

# Each has one test that passes, and then one that fails.
FAILING = {
    "junit": b'<?xml version="1.0"?><testsuites><testsuite tests="2"><testcase classname="A" name="one" time="0.1"/>'
    b'<testcase classname="A" name="tw\xc3\xb6"><failure message="m">text</failure></testcase>'
    b"</testsuite></testsuites>",
    "tap": b"TAP version 14\n1..2\nok 1 - one\n    1..1\n    ok 1 - x\n"
    b"  ---\n  a: b\n  ...\nnot ok 2 - tw\xc3\xb6\n# m\n",
    "go": b'{"Action":"start","Package":"a"}\n{"Action":"run","Package":"a","Test":"One"}\n'
    b'{"Action":"pass","Package":"a","Test":"One"}\n{"Action":"run","Package":"a","Test":"Tw\xc3\xb6"}\n'
    b'{"Action":"output","Package":"a","Test":"Tw\xc3\xb6","Output":"m\\n"}\n'
    b'{"Action":"fail","Package":"a","Test":"Tw\xc3\xb6"}\n{"Action":"fail","Package":"a"}\n',
}
TAP_LINES = [
    *["ok", "ok 1 - a > b", "ok # TODO", "not ok 2", "not ok # SKIP", "    ok 1 - a", "        not ok"],
    *["1..2", "    1..1", "1..0", "# x", "# Subtest: y", "  ---", "  ...", "      ---", "  message: |"],
    *["Bail out!", "    Bail out!", "TAP version 14", "", "    ", "text"],
]
LONG = b"x" * (2 * 1024 * 1024)

formats = pytest.mark.parametrize("form", FAILING)


@formats
def test_the_sample_itself(read, form: str) -> None:
    reading = read(form, FAILING[form])
    assert reading.problem == ""
    assert len(reading.tests.failed) == 1
    assert len(reading.results) > 1


@formats
def test_pieces_of_any_size_mean_the_same(read, form: str) -> None:
    whole = read(form, FAILING[form])
    for piece in (1, 2, 3, 7, 64):
        pieces = read(form, FAILING[form], piece=piece)
        assert (pieces.events, pieces.problem) == (whole.events, whole.problem)


@formats
def test_broken_off_at_any_byte_it_is_no_pass(read, form: str) -> None:
    for length in range(len(FAILING[form])):
        assert not read(form, FAILING[form][:length]).is_good, FAILING[form][:length]


@formats
def test_without_any_one_line_it_is_no_pass(read, form: str) -> None:
    lines = FAILING[form].replace(b"><", b">\n<").splitlines(keepends=True)
    for index in range(len(lines)):
        reading = read(form, b"".join(lines[:index] + lines[index + 1 :]))
        assert not reading.is_good or b"failure" in lines[index]


@formats
@given(data=st.binary(max_size=200))
def test_garbage(read, form: str, data: bytes) -> None:
    read(form, data)


@formats
@given(data=st.data())
def test_a_report_with_garbage_in_it(read, form: str, data: st.DataObject) -> None:
    report = FAILING[form]
    begin = data.draw(st.integers(0, len(report)))
    end = data.draw(st.integers(begin, len(report)))
    piece = data.draw(st.integers(1, 64))
    read(form, report[:begin] + data.draw(st.binary(max_size=20)) + report[end:], piece=piece)


@given(
    st.lists(
        st.sampled_from(TAP_LINES),
        max_size=30,
    )
)
def test_tap_lines_in_any_order(read, lines: list[str]) -> None:
    """Every test line is told once, and one that says that it failed is never told as passed."""
    reading = read("tap", "\n".join(lines))
    told = [result.status.value for result in reading.results]
    assert told.count("failed") <= sum(line.lstrip().startswith("not ok") for line in lines)
    assert told.count("passed") <= sum(line.lstrip().startswith("ok") for line in lines)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["start", "run", "pause", "cont", "pass", "fail", "skip", "bench", "output", "build-fail"]),
            st.sampled_from(["", "a", "b"]),
            st.sampled_from(["", "T", "T/x", "Benchmark"]),
        ),
        max_size=30,
    )
)
def test_go_events_in_any_order(read, events: list[tuple[str, str, str]]) -> None:
    """Every failure that is told fails the group, and what has no end is never told as passed."""
    stream = [{"Action": action, "Package": package, "Test": test} for action, package, test in events]
    reading = read("go", "\n".join(json.dumps(event) for event in stream))
    assert not (reading.is_good and any(event["Action"] == "fail" for event in stream))


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("tap", b"1..2\nok 1 - " + LONG + b"\nnot ok 2 - " + LONG + b"\n"),
        ("tap", b"1..2\nok 1 # skip " + LONG + b"\nnot ok" + b" " * len(LONG) + b"\n"),
        ("tap", b"1..2\nok 1\nnot ok 2" + b" #" * 500_000 + b"\n"),
        ("tap", b"1..1\nnot ok 1\n  ---\n  " + LONG + b"\n  ...\n# " + LONG + b"\n"),
        ("go", FAILING["go"] + b'{"Action":"output","Output":"' + LONG + b'"}\n'),
        ("go", FAILING["go"].replace(b'"m', b'"' + LONG[: 1024 * 1000])),
        ("go", FAILING["go"] + b'{"Action":"run","X":' + b"[" * 100_000 + b"\n"),
        ("junit", FAILING["junit"].replace(b"one", LONG).replace(b"text", LONG).replace(b'"m"', b'"' + LONG + b'"')),
    ],
    ids=range(8),
)
def test_huge_texts_are_cut(read, form: str, data: bytes) -> None:
    reading = read(form, data)
    assert len(reading.tests.failed) == 1
    for result in reading.results:
        assert len(result.id) <= 1000 + len(" (2)")
        assert len(result.message) <= 2000
        assert len(result.details) < 66_000


@pytest.mark.parametrize(
    ("form", "data", "problem"),
    [
        ("tap", b"1..1\n" + b" " * 4 * 17 + b"not ok 1\nok 1\n", ""),
        ("tap", b"1..1\n" + b" " * 1_000_000 + b"ok 1\n", "promises 1 tests, and has 0"),
        ("tap", b"1..999999999\nok 1\n", "promises 999999999 tests, and has 1"),
        ("tap", b"1.." + b"9" * 5000 + b"\nok " + b"9" * 5000 + b"\n", "has no plan"),
        ("junit", b"<testsuite>" * 100_000, "is nested deeper"),
        ("junit", b"<testsuite><testcase>" + b"<x>" * 100_000, "is nested deeper"),
        ("junit", b"<testsuite>\x00</testsuite>", "is not whole JUnit XML"),
        ("junit", b"<testsuite><testcase name='&#xD800;'/></testsuite>", "is not whole JUnit XML"),
        ("junit", b"<testsuite><testcase name='\xed\xa0\x80'/></testsuite>", "is not whole JUnit XML"),
        ("go", b'{"Action":"fail","Package":"\\ud800"}\n', "has nothing in it"),
        ("go", b'{"Action":"fail","Elapsed":1e999}\n', "has nothing in it"),
    ],
    ids=range(11),
)
def test_traps(read, form: str, data: bytes, problem: str) -> None:
    reading = read(form, data)
    assert reading.problem.startswith(problem)
    assert bool(reading.problem) is bool(problem)


def test_what_cannot_be_shown_is_escaped_in_ids(read) -> None:
    reading = read("tap", b"1..2\nok 1 - a\0b\x1b[31m\nok 2 - \xff\xfe\n")
    assert list(reading.statuses) == ["a\\x00b\\x1b[31m", "��"]


@formats
def test_namesakes_in_thousands(read, form: str) -> None:
    """Each gets an id of its own, in time that grows with their number and not with its square."""
    one = {
        "junit": '<testcase name="a"/>',
        "tap": "ok - a\n",
        "go": '{"Action":"run","Package":"p","Test":"a"}\n{"Action":"pass","Package":"p","Test":"a"}\n',
    }[form]
    around = {
        "junit": "<testsuite>{}</testsuite>",
        "tap": "1..20000\n{}",
        "go": '{}{{"Action":"pass","Package":"p"}}\n',
    }[form]
    reading = read(form, around.format(one * 20_000))
    assert reading.problem == ""
    assert len(reading.statuses) == 20_000
    assert list(reading.statuses)[-1].endswith("a (20000)")


@formats
def test_a_long_report_is_not_kept_in_memory(form: str) -> None:
    """20,000 tests with 2 KiB each: what is kept is their ids."""
    text = "x" * 2000
    said = json.dumps({"Action": "output", "Package": "p", "Test": "a", "Output": text}) + "\n"
    begin, test, end = {
        "junit": ("<testsuite>", f'<testcase name="a"><failure>{text}</failure></testcase>', "</testsuite>"),
        "tap": ("1..20000\n", f"not ok - a\n# {text}\n", ""),
        "go": ("", f'{{"Action":"run","Package":"p","Test":"a"}}\n{said}', '{"Action":"fail","Package":"p"}\n'),
    }[form]
    if form == "go":
        test += '{"Action":"fail","Package":"p","Test":"a"}\n'
    tests = KnownTests("search", 1, lambda _: None)
    reader = READERS[form](Sink(tests))
    tracemalloc.start()
    try:
        reader.feed(begin.encode())
        for _ in range(200):
            reader.feed(test.encode() * 100)
        reader.feed(end.encode())
        assert reader.close() == ""
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(tests.failed) == 20_000
    assert peak < 15_000_000
