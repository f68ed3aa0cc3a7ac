import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.statistics.trend import MOST, Trend, trend

steps = st.integers(-1000, 1000).map(float)
# Whole numbers, so that sums are exact.
series = st.lists(st.integers(0, 10_000).map(float), min_size=5, max_size=30)


def found(values: list[float]) -> Trend:
    result = trend(values)
    assert result
    return result


def test_an_example_by_hand() -> None:
    """By hand: ten slopes, in order -1, 1 (four times), 1.5, 5/3, 2, 3, 3; Sen's ranks are the ends."""
    assert trend([10.0, 11.0, 14.0, 13.0, 16.0]) == Trend(slope=1.25, low=-1.0, high=3.0, values=5, steady=True)


def test_a_strict_order_of_five_is_a_trend() -> None:
    assert trend([10.0, 11.0, 13.0, 14.0, 16.0]) == Trend(slope=1.5, low=1.0, high=2.0, values=5, steady=False)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0, 3.0, 4.0]])
def test_too_few_values(values: list[float]) -> None:
    assert trend(values) is None


def test_a_change_of_less_than_a_twentieth_over_all_runs_is_none() -> None:
    creeping = [100.0 + 0.4 * number for number in range(10)]
    assert found(creeping).steady
    assert not found([value + number for number, value in enumerate(creeping)]).steady


def test_one_slow_morning_changes_nothing() -> None:
    values = [20.0] * 15
    values[7] = 300.0
    assert found(values).slope == 0.0
    assert found(values).steady


def test_only_the_latest_count() -> None:
    assert found([1000.0 - number for number in range(50)] + [5.0] * MOST) == found([5.0] * MOST)


def test_nothing_but_zeros() -> None:
    assert found([0.0] * 5).steady


@given(st.integers(5, 40), steps, steps)
def test_a_straight_line_is_found_exactly(count: int, start: float, slope: float) -> None:
    result = found([start + slope * number for number in range(count)])
    assert result.low == result.slope == result.high == slope


@given(series, steps)
def test_a_slope_that_is_added_is_found(values: list[float], slope: float) -> None:
    before, after = found(values), found([value + slope * number for number, value in enumerate(values)])
    assert after.slope == pytest.approx(before.slope + slope, abs=1e-6)
    assert after.low == pytest.approx(before.low + slope, abs=1e-6)


@given(series)
def test_backwards_the_slope_is_the_opposite(values: list[float]) -> None:
    there, back = found(values), found(values[::-1])
    assert (back.slope, back.low, back.high) == pytest.approx((-there.slope, -there.high, -there.low))
    assert back.steady is there.steady


@given(series)
def test_the_slope_lies_in_its_interval(values: list[float]) -> None:
    result = found(values)
    assert result.low <= result.slope <= result.high


@given(series, st.data())
def test_a_quarter_of_the_runs_cannot_spoil_it(values: list[float], data: st.DataObject) -> None:
    """The breakdown point of the estimator is 0.293."""
    straight = [100.0 + 2.0 * number for number in range(len(values))]
    spoilt = data.draw(st.sets(st.integers(0, len(values) - 1), max_size=len(values) // 4))
    # So many that the slopes among the others are still the majority.
    others = len(values) - len(spoilt)
    pairs = len(values) * (len(values) - 1) // 2
    if others * (others - 1) // 2 * 2 <= pairs:
        return
    assert found([values[n] if n in spoilt else straight[n] for n in range(len(values))]).slope == 2.0
