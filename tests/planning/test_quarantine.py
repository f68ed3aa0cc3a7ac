"""[[quarantine]], and the two types of value that came with it: days and results."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model import Quarantine
from harness.planning.problems import Problems
from harness.planning.types import INVALID, Day, Results

# `load` and `refused` read every plan as of 2026-01-31.
GROUPS = '[[phases]]\nname = "p"\n[[phases.groups]]\nname = "search"\ncommand = "true"\n'


def entry(*lines: str, reason: str = '"r"', expires: str = '"2026-02-14"') -> str:
    """An entry whose keys begin on line 7 of the plan."""
    return "\n".join([GROUPS + "[[quarantine]]", *lines, f"reason = {reason}", f"expires = {expires}"]) + "\n"


def test_a_group_and_a_test(load: Any) -> None:
    plan = load(
        entry('group = "search"', reason='"flaky: 3 of 12 commits"')
        + '[[quarantine]]\ntest = "test_a.py::test_x[é]"\nreason = "r"\nexpires = 2026-03-01\n'
    )
    assert plan.quarantine == (
        Quarantine(group="search", reason="flaky: 3 of 12 commits", expires="2026-02-14"),
        Quarantine(test="test_a.py::test_x[é]", reason="r", expires="2026-03-01"),
    )


def test_none_is_none(load: Any) -> None:
    assert load(GROUPS).quarantine == ()


@pytest.mark.parametrize(
    ("expires", "ago"),
    [("2026-01-30", "yesterday"), ("2026-01-29", "2 days ago"), ("2025-01-31", "365 days ago")],
)
@pytest.mark.parametrize("quote", ['"', ""])
def test_an_expired_entry_is_wrong(refused: Any, expires: str, ago: str, quote: str) -> None:
    assert refused(entry('group = "search"', expires=f"{quote}{expires}{quote}")) == [
        f'harness.toml:9: quarantine[0].expires: the quarantine of "search" expired {ago}: '
        "mend it and take it out, or give it a later day"
    ]


def test_it_holds_on_its_last_day(load: Any) -> None:
    assert load(entry('group = "search"', expires="2026-01-31")).quarantine[0].expires == "2026-01-31"


def test_an_expired_test_is_named(refused: Any) -> None:
    (problem,) = refused(entry('test = "a::b"', expires='"2026-01-30"'))
    assert 'the quarantine of "a::b" expired yesterday' in problem


def test_one_of_group_and_test(refused: Any) -> None:
    assert refused(entry('group = "search"', 'test = "t"')) == [
        "harness.toml:6: quarantine[0]: has group and test; write one of group and test"
    ]
    assert refused(entry()) == ["harness.toml:6: quarantine[0]: has neither; write one of group and test"]


def test_a_group_that_does_not_exist(refused: Any) -> None:
    assert refused(entry('group = "serach"')) == [
        'harness.toml:7: quarantine[0].group: there is no group "serach"; did you mean "search"?'
    ]


def test_a_test_may_be_any_id(load: Any) -> None:
    """The plan does not know the tests: their ids come from the runs."""
    assert load(entry('test = "nowhere.py::test"')).quarantine[0].test == "nowhere.py::test"


def test_an_expired_entry_of_an_unknown_group_is_told_of_whole(refused: Any) -> None:
    problems = refused(entry('group = "gone"', expires='"2026-01-30"'))
    assert [problem.split(": ")[1] for problem in problems] == ["quarantine[0].group", "quarantine[0].expires"]


def test_listed_twice(refused: Any) -> None:
    twice = '[[quarantine]]\ngroup = "search"\nreason = "again"\nexpires = 2027-01-01\n'
    assert refused(entry('group = "search"') + twice) == [
        'harness.toml:11: quarantine[1].group: "search" is listed twice'
    ]


def test_a_test_with_the_name_of_a_group_is_another_thing(load: Any) -> None:
    text = entry('group = "search"') + '[[quarantine]]\ntest = "search"\nreason = "r"\nexpires = 2027-01-01\n'
    assert len(load(text).quarantine) == 2


@pytest.mark.parametrize("missing", ["reason", "expires"])
def test_nothing_enters_without_a_reason_and_a_day(refused: Any, missing: str) -> None:
    text = "".join(line for line in entry('group = "search"').splitlines(True) if not line.startswith(missing))
    assert refused(text) == [f"harness.toml:6: quarantine[0]: {missing} is missing"]


@pytest.mark.parametrize("line", ["group = 1", 'group = ""', "test = []", 'test = "a\\nb"', 'test = ""'])
def test_names_of_a_wrong_type_are_one_problem(refused: Any, line: str) -> None:
    (problem,) = refused(entry(line))
    assert problem.startswith(f"harness.toml:7: quarantine[0].{line.split()[0]}: ")


def test_two_names_of_a_wrong_type_are_not_the_same(refused: Any) -> None:
    twice = '[[quarantine]]\ntest = 2\nreason = "r"\nexpires = 2020-01-01\n'
    problems = refused(entry("test = 1") + twice)
    assert [problem.split(": ")[1] for problem in problems] == ["quarantine[0].test", "quarantine[1].test"]


def test_beside_a_group_whose_name_could_not_be_read(refused: Any) -> None:
    problems = refused(entry('group = "search"').replace('name = "search"', "name = 1"))
    assert [problem.split(": ")[1] for problem in problems] == ["phases[0].groups[0].name", "quarantine[0].group"]


def test_no_list_of_entries(refused: Any) -> None:
    (problem,) = refused(GROUPS + '[quarantine]\ngroup = "search"\n')
    assert "write [[quarantine]]" in problem


# The types


def read(kind: Day | Results, value: object) -> tuple[Any, list[str]]:
    problems = Problems()
    return kind.read(value, ("key",), problems), [message for _, message in problems.found]


@given(st.dates())
def test_a_day_is_one_however_it_is_written(day: date) -> None:
    assert read(Day(), day) == read(Day(), day.isoformat()) == (day.isoformat(), [])


NO_DAYS = [
    *["2026-02-29", "2026-13-01", "0000-01-01", "20260131", "2026-1-31", "2026-W05-6", "31.01.2026", "tomorrow", ""],
    *["２０２６-01-31", "2026-01-31\n", "2026-01-31T00:00:00", 20260131, True, None, ["2026-01-31"]],
]


@pytest.mark.parametrize("value", NO_DAYS)
def test_what_is_no_day(value: object) -> None:
    result, (message,) = read(Day(), value)
    assert result is INVALID
    assert message.endswith("is not a day; write it as 2026-01-31")


def test_a_moment_is_no_day(refused: Any) -> None:
    (problem,) = refused(entry('group = "search"', expires="2026-02-14T12:00:00Z"))
    assert problem == "harness.toml:9: quarantine[0].expires: a date or time is not a day; write it as 2026-01-31"


@pytest.mark.parametrize("value", ["junit:out/results.xml", "tap:out.tap", "go:out.json", "tap", "go", "junit:a:b.xml"])
def test_results(value: str) -> None:
    assert read(Results(), value) == (value, [])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("junit", '"junit" has no path; write "junit:PATH"'),
        ("xml:a", '"xml:a" names no format; write "junit:PATH", "tap:PATH", "go:PATH", "tap" or "go"'),
        ("", '"" names no format; write "junit:PATH", "tap:PATH", "go:PATH", "tap" or "go"'),
        ("JUNIT:a", '"JUNIT:a" names no format; write "junit:PATH", "tap:PATH", "go:PATH", "tap" or "go"'),
        (1, '1 names no format; write "junit:PATH", "tap:PATH", "go:PATH", "tap" or "go"'),
        ("junit:", '"" is not a path'),
        ("tap:", '"" is not a path'),
        ("tap: ", '" " is not a path'),
        ("junit:/tmp/a.xml", '"/tmp/a.xml" leads out of the project; write it relative to the project'),
        ("junit:../a.xml", '"../a.xml" leads upward; write a path without ".."'),
        ("junit:a\nb", '"a\\nb" holds a control character'),
    ],
)
def test_what_is_no_results(value: object, message: str) -> None:
    assert read(Results(), value) == (INVALID, [message])


@given(st.one_of(st.none(), st.integers(), st.text(), st.lists(st.text()), st.dates(), st.datetimes()))
def test_whatever_it_is_it_is_read_or_refused(value: object) -> None:
    for kind in (Day(), Results()):
        result, messages = read(kind, value)
        assert (result is INVALID) == (len(messages) == 1)
