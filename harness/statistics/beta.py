"""The beta distribution: its distribution function, and the quantiles that make a credible interval.

The standard library has neither, and a scientific package would be a heavy thing to install for two functions.
"""

import math

_PRECISION = 1e-15  # relative, of the continued fraction
_STEPS = 20_000  # it needs about the square root of the larger parameter, so this is enough up to some 10^8
_TINY = 1e-300  # in the place of a zero that would be divided by


def beta_distribution(x: float, a: float, b: float) -> float:
    """I_x(a, b), the regularized incomplete beta function: how likely a Beta(a, b) variable is at most x.

    x is from 0 to 1, a and b are positive and finite; anything else raises ValueError, and parameters too large to
    compute with raise ArithmeticError. By the continued fraction DLMF 8.17.22, on the side of the mean on which it
    converges fast (DLMF 8.17.4 for the other side).
    """
    if not (0 <= x <= 1 and 0 < a < math.inf and 0 < b < math.inf):
        raise ValueError(f"there is no I_{x}({a}, {b})")
    if x in (0.0, 1.0):
        return x
    # As a sum of logarithms: each factor by itself would overflow or vanish.
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(scale + a * math.log(x) + b * math.log1p(-x))
    if x <= (a + 1) / (a + b + 2):
        return min(1.0, front / (a * _continued_fraction(x, a, b)))
    return max(0.0, 1 - front / (b * _continued_fraction(1 - x, b, a)))


def _continued_fraction(x: float, a: float, b: float) -> float:
    """1 + d1/(1 + d2/(1 + …)) with the d of DLMF 8.17.23, by the modified Lentz method (Thompson and Barnett 1986)."""
    value = upper = 1.0
    lower = 0.0
    for step in range(1, _STEPS):
        m = step // 2
        if step % 2:
            d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        lower = 1 / (1 + d * lower or _TINY)
        upper = 1 + d / upper or _TINY
        value *= upper * lower
        if abs(upper * lower - 1) < _PRECISION:
            return value
    raise ArithmeticError(f"the continued fraction of I_{x}({a}, {b}) does not converge")


def beta_quantile(p: float, a: float, b: float) -> float:
    """The x that a Beta(a, b) variable exceeds with probability 1 - p: the inverse of `beta_distribution`.

    p is from 0 to 1; raises as `beta_distribution` does. By bisection, to the last digit that a float has: slower
    than Newton's method, but it cannot run away where the density is infinite, as Jeffreys' prior is at both ends.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"{p} is not a probability")
    low, high = 0.0, 1.0
    if p in (low, high):
        return p
    while low < (middle := (low + high) / 2) < high:
        if beta_distribution(middle, a, b) < p:
            low = middle
        else:
            high = middle
    return high
