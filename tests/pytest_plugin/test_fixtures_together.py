"""Calls at the same moment, and waiting for what they do."""

import itertools
import threading
import time
import urllib.error
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plugin_suites import PluginSuite

from harness.pytest_plugin.harness_fixtures.together import Load, Outcome, retry, run_load, run_race, wait_until


class Taken(Exception):
    pass


class Slot:
    """For one only. Without its guard, whoever looks at the same moment gets it as well."""

    def __init__(self, guarded: bool) -> None:
        self._guard = threading.Lock() if guarded else None
        self._looking = threading.Barrier(3)
        self._taken = False

    def book(self) -> str:
        if self._guard:
            with self._guard:
                return self._book()
        if self._taken:
            raise Taken
        self._looking.wait(30)  # all have looked before anybody books
        return self._book()

    def _book(self) -> str:
        if self._taken and self._guard:
            raise Taken("by somebody else")
        self._taken = True
        return "booked"


def failure(call: Callable[[], object]) -> str:
    with pytest.raises(pytest.fail.Exception) as caught:
        call()
    return str(caught.value)


class TestRace:
    def test_one_wins(self) -> None:
        race = run_race(Slot(guarded=True).book, n=3)
        race.expect(successes=1, errors=Taken)
        assert race.succeeded == ["booked"]
        assert [type(error) for error in race.errors] == [Taken, Taken]
        assert [outcome.number for outcome in race.outcomes] == [1, 2, 3]

    def test_without_the_guard_it_fails_the_test(self) -> None:
        race = run_race(Slot(guarded=False).book, n=3)
        text = failure(race.expect)
        assert text.startswith("race: 1 of 3 should have succeeded, 3 did\n")
        assert text.count("ms  returned 'booked'") == 3

    def test_they_are_let_go_together(self) -> None:
        """None of five can pass before the other four are there."""
        meeting = threading.Barrier(5)
        assert len(run_race(lambda: meeting.wait(30), n=5).succeeded) == 5

    def test_none_begins_before_all_are_there(self) -> None:
        def crew() -> int:
            return sum(thread.name.startswith("together-") for thread in threading.enumerate())

        assert max(run_race(crew, n=50).succeeded) == 50

    def test_several_callables_keep_their_order(self) -> None:
        race = run_race(lambda: "a", lambda: 1 / 0, lambda: "c")
        assert [outcome.value for outcome in race.outcomes] == ["a", None, "c"]
        assert race.succeeded == ["a", "c"]
        assert isinstance(race.outcomes[1].error, ZeroDivisionError)

    @pytest.mark.parametrize("errors", [ValueError, (KeyError, ValueError), lambda error: "no" in str(error)])
    def test_another_error_than_expected_fails(self, errors: object) -> None:
        race = run_race(lambda: 1, lambda: 1 / 0)
        text = failure(lambda: race.expect(successes=1, errors=errors))  # type: ignore[arg-type]
        assert "race: 1 failed otherwise than expected, the first with ZeroDivisionError: division by zero" in text
        assert "raised ZeroDivisionError" in text

    def test_a_failed_assertion_and_a_failed_test_are_errors(self) -> None:
        race = run_race(lambda: pytest.fail("not this"), lambda: pytest.skip("nor that"))
        assert [str(error) for error in race.errors] == ["not this", "nor that"]
        assert "otherwise than expected" in failure(lambda: race.expect(successes=0)), "pytest's are no Exceptions"

    def test_one_that_hangs(self) -> None:
        never = threading.Event()
        try:
            text = failure(lambda: run_race(lambda: "done", never.wait, within=0.2))
        finally:
            never.set()
        assert text.startswith("1 of 2 calls have not ended within 0.2 s\n")
        assert "returned 'done'" in text
        assert "has not ended" in text

    @pytest.mark.parametrize("wrong", [lambda: run_race(), lambda: run_race(int), lambda: run_race(int, str, n=2)])
    def test_what_is_no_race(self, wrong: Callable[[], object]) -> None:
        with pytest.raises(TypeError, match="race takes several callables"):
            wrong()

    def test_a_value_whose_repr_fails(self) -> None:
        class Bad:
            def __repr__(self) -> str:
                raise RuntimeError

        assert "<Bad whose repr raised RuntimeError>" in str(run_race(Bad, n=2))


class TestLoad:
    def test_each_is_called_once_and_never_more_at_a_time(self) -> None:
        numbers = itertools.count()
        running: set[int] = set()
        most = 0
        lock = threading.Lock()

        def call() -> int:
            nonlocal most
            with lock:
                number = next(numbers)
                running.add(number)
                most = max(most, len(running))
            time.sleep(0.001)
            with lock:
                running.remove(number)
            return number

        load = run_load(call, n=100, concurrency=7)
        load.expect()
        assert sorted(load.succeeded) == list(range(100))
        assert 1 < most <= 7
        assert len(load.latencies) == 100
        assert load.latencies == sorted(load.latencies)
        assert load.throughput == pytest.approx(100 / load.seconds)

    def test_all_at_once(self) -> None:
        meeting = threading.Barrier(100)
        assert len(run_load(lambda: meeting.wait(30)).succeeded) == 100

    def test_errors_fail_the_test(self) -> None:
        numbers = itertools.count()

        def call() -> None:
            if next(numbers) % 4 == 0:
                raise ConnectionError("429 Too Many Requests")

        load = run_load(call, n=8, concurrency=2)
        load.expect(errors=2)
        text = failure(lambda: load.expect(errors=1))
        assert text.startswith("load: 2 calls raised, 1 may\n8 calls, 2 errors, ")
        assert text.count("raised ConnectionError: 429 Too Many Requests") == 2

    def test_a_slow_one_fails_the_test(self) -> None:
        load = Load([_took(0.01)] * 9 + [_took(2.0)], seconds=2.0)
        load.expect(p50=0.01, p95=2.0)
        text = failure(lambda: load.expect(p50=0.01, p95=1.5))
        assert text.startswith("load: p95 is 2000.0 ms, 1500 ms may be\n10 calls, 0 errors, 5.0 a second, p50 10.0 ms")
        assert text.splitlines()[2].endswith("2000.0 ms  returned None"), "the slowest first"

    def test_a_long_table_is_cut(self) -> None:
        text = failure(lambda: run_load(lambda: 1 / 0, n=30, concurrency=1).expect())
        assert text.endswith("… and 10 more")

    @given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.001, 100))
    def test_a_percentile_was_measured_and_so_many_are_within_it(self, seconds: list[float], percent: float) -> None:
        load = Load([_took(each) for each in seconds], seconds=1.0)
        found = load.percentile(percent)
        assert found in seconds
        assert sum(each <= found for each in seconds) >= percent / 100 * len(seconds) - 1e-6
        assert sum(each < found for each in seconds) < percent / 100 * len(seconds) + 1e-6

    @pytest.mark.parametrize("percent", [0, -1, 101])
    def test_what_is_no_percentile(self, percent: float) -> None:
        with pytest.raises(ValueError, match="above 0 and at most 100"):
            Load([_took(1)], 1.0).percentile(percent)

    @pytest.mark.parametrize("wrong", [{"n": 0}, {"concurrency": 0}])
    def test_what_is_no_load(self, wrong: dict[str, int]) -> None:
        with pytest.raises(ValueError, match="at least one"):
            run_load(int, **wrong)  # type: ignore[arg-type]


class TestEventually:
    def test_the_accepted_value(self) -> None:
        values = iter([None, [], [1], [1, 2]])
        assert wait_until(lambda: next(values), every=0) == [1]
        assert wait_until(lambda: 5, accept=lambda n: n == 5, within=0) == 5

    def test_what_was_last_seen(self) -> None:
        values = itertools.count()
        text = failure(lambda: wait_until(lambda: next(values), accept=lambda n: n < 0, within=0.05, every=0.001))
        tries = next(values)
        assert tries > 2
        assert text == f"it did not come within 0.05 s; looked {tries} times, last seen: {tries - 1}"

    def test_exceptions_end_it(self) -> None:
        with pytest.raises(ZeroDivisionError):
            wait_until(lambda: 1 / 0)

    def test_unless_they_count_as_not_yet(self) -> None:
        answers = iter([KeyError("x"), "there"])

        def read() -> object:
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

        assert wait_until(read, every=0, ignoring=KeyError) == "there"
        text = failure(lambda: wait_until(lambda: 1 / 0, within=0, ignoring=(ArithmeticError,)))
        assert text == "it did not come within 0 s; looked once, last seen: raised ZeroDivisionError: division by zero"


class TestRetryOnConflict:
    @pytest.mark.parametrize("name", ["status_code", "status"])
    def test_a_response(self, name: str) -> None:
        answers = iter([409, 409, 201, 500])
        answer = retry(lambda: SimpleNamespace(**{name: next(answers)}))
        assert getattr(answer, name) == 201

    def test_the_last_answer_stays_what_it_is(self) -> None:
        answers = iter([409, 409, 409, 201])
        assert retry(lambda: SimpleNamespace(status_code=next(answers))).status_code == 409
        assert list(answers) == [201]

    def test_exceptions_that_carry_it(self) -> None:
        class HTTPError(Exception):
            response = SimpleNamespace(status_code=409)

        errors = iter([HTTPError(), urllib.error.HTTPError("http://x", 409, "Conflict", None, None)])  # type: ignore[arg-type]

        def call() -> str:
            for error in errors:
                raise error
            return "made"

        assert retry(call) == "made"

    def test_exceptions_that_are_named(self) -> None:
        calls = itertools.count(1)

        def call() -> int:
            if next(calls) < 3:
                raise KeyError
            return next(calls)

        assert retry(call, on=(KeyError, OSError)) == 4
        with pytest.raises(ValueError, match="no"):
            retry(lambda: (_ for _ in ()).throw(ValueError("no")), on=KeyError)

    def test_the_last_exception_is_raised(self) -> None:
        calls = itertools.count(1)

        def call() -> None:
            raise KeyError(next(calls))

        with pytest.raises(KeyError, match="2"):
            retry(call, times=2, on=KeyError)


def test_in_a_test(plugged: PluginSuite) -> None:
    plugged.write(
        test_it="""
        import itertools

        def test_race(race, load, eventually, retry_on_conflict):
            calls = itertools.count()
            race(lambda: next(calls), n=3).expect(successes=3)
            load(lambda: next(calls), n=4).expect(p95=60)
            assert eventually(lambda: next(calls)) == 7
            assert retry_on_conflict(lambda: next(calls)) == 8

        def test_lost(race):
            race(lambda: 1, n=2).expect(successes=1, errors=ValueError)
        """
    )
    ran = plugged.run()
    assert ran.outcomes == {"passed": 1, "failed": 1}
    assert "E       Failed: race: 1 of 2 should have succeeded, 2 did" in ran.output
    assert "together.py" not in ran.output, "the failure is shown where the test asked"


def _took(seconds: float) -> Outcome:
    outcome = Outcome(1, lambda: None)
    outcome.seconds = seconds
    return outcome
