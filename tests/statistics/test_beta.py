"""The beta distribution against values that are known without it."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.statistics.beta import beta_distribution, beta_quantile

PARAMETERS = st.floats(0.5, 500)  # those of a posterior on Jeffreys' prior
PLACES = st.floats(0, 1)


def binomial_tail(x: float, a: int, b: int) -> float:
    """I_x(a, b) for whole a and b is the chance of at least a successes in a + b - 1 trials (DLMF 8.17.5)."""
    n = a + b - 1
    return math.fsum(math.comb(n, k) * x**k * (1 - x) ** (n - k) for k in range(a, n + 1))


@pytest.mark.parametrize(
    ("x", "a", "b", "expected"),
    [
        (0.5, 2, 3, 0.6875),
        (0.25, 1, 1, 0.25),
        (0.1, 1, 10, 1 - 0.9**10),
        (0.9, 10, 1, 0.9**10),
        (0.5, 7.5, 7.5, 0.5),
        (0.5, 1e6, 1e6, 0.5),
        (0.25, 0.5, 0.5, 1 / 3),  # the arcsine distribution
        (0.75, 0.5, 0.5, 2 / 3),
        (0.0, 3, 4, 0.0),
        (1.0, 3, 4, 1.0),
    ],
)
def test_known_values(x: float, a: float, b: float, expected: float) -> None:
    assert beta_distribution(x, a, b) == pytest.approx(expected, rel=1e-8, abs=1e-12)


@given(PLACES, st.integers(1, 40), st.integers(1, 40))
def test_whole_parameters_count_successes(x: float, a: int, b: int) -> None:
    assert beta_distribution(x, a, b) == pytest.approx(binomial_tail(x, a, b), rel=1e-9, abs=1e-12)


@given(PLACES, PARAMETERS, PARAMETERS)
def test_the_other_side(x: float, a: float, b: float) -> None:
    assume(1 - (1 - x) == x)
    assert beta_distribution(x, a, b) == pytest.approx(1 - beta_distribution(1 - x, b, a), abs=1e-9)


@given(PLACES, PLACES, PARAMETERS, PARAMETERS)
def test_it_rises(x: float, y: float, a: float, b: float) -> None:
    low, high = sorted((x, y))
    assert 0 <= beta_distribution(low, a, b) <= beta_distribution(high, a, b) + 1e-9
    assert beta_distribution(high, a, b) <= 1


@pytest.mark.parametrize("p", [1e-6, 0.05, 0.3, 0.5, 0.95])
def test_quantiles_with_closed_forms(p: float) -> None:
    assert beta_quantile(p, 1, 7) == pytest.approx(1 - (1 - p) ** (1 / 7))
    assert beta_quantile(p, 7, 1) == pytest.approx(p ** (1 / 7))
    assert beta_quantile(p, 0.5, 0.5) == pytest.approx(math.sin(math.pi * p / 2) ** 2)
    assert beta_quantile(p, 2, 2) == pytest.approx(0.5 - math.sin(math.asin(1 - 2 * p) / 3))


def test_ends_of_the_quantiles() -> None:
    assert beta_quantile(0, 0.5, 3) == 0
    assert beta_quantile(1, 0.5, 3) == 1
    assert beta_quantile(0.5, 12.5, 12.5) == pytest.approx(0.5)


@given(st.floats(0.001, 0.999), PARAMETERS, PARAMETERS)
def test_there_and_back(p: float, a: float, b: float) -> None:
    # Next to 1 floats are too coarse to hold the steep end of a density with b < 1.
    assert beta_distribution(beta_quantile(p, a, b), a, b) == pytest.approx(p, abs=1e-7)


@pytest.mark.parametrize(
    ("x", "a", "b"),
    [(-0.1, 1, 1), (1.1, 1, 1), (math.nan, 1, 1), (0.5, 0, 1), (0.5, 1, -1), (0.5, math.inf, 1), (0.5, 1, math.nan)],
)
def test_there_is_no_such_distribution(x: float, a: float, b: float) -> None:
    with pytest.raises(ValueError, match="there is no"):
        beta_distribution(x, a, b)


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_no_probability(p: float) -> None:
    with pytest.raises(ValueError, match="is not a probability"):
        beta_quantile(p, 1, 1)


def test_what_cannot_be_computed_is_said() -> None:
    with pytest.raises(ArithmeticError, match="does not converge"):
        beta_distribution(0.5, 1e12, 1e12)
