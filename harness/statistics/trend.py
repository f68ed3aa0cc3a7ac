"""Whether something takes longer and longer, told in spite of the noise and of single slow runs.

The slope is Theil and Sen's: the median of the slopes of all pairs of runs, which a quarter of them can spoil as they
like. Its interval is Sen's, from the variance of Kendall's statistic: P. K. Sen, "Estimates of the regression
coefficient based on Kendall's tau", JASA 63 (1968). A slope counts as one if 95 % of what is plausible lies on one side
of zero, and if it adds up to something over all the runs.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

FEWEST = 5  # values; with fewer even a strict order proves nothing at this level
MOST = 200  # values; there are n²/2 pairs
NORMAL_95 = 1.959964  # quantile of the standard normal distribution at 0.975
WORTH_TELLING = 0.05  # of the median, over all the runs


@dataclass(frozen=True)
class Trend:
    """Change from one value to the next, in the unit of the values."""

    slope: float
    low: float  # of the 95 % interval of the slope
    high: float
    values: int  # how many it rests on
    steady: bool  # no change that can be told from noise and is worth telling


def trend(values: Sequence[float]) -> Trend | None:
    """Of values at even distances, the oldest first; the latest 200 count. None with fewer than five."""
    values = values[-MOST:]
    count = len(values)
    if count < FEWEST:
        return None
    slopes = sorted((values[j] - values[i]) / (j - i) for i in range(count) for j in range(i + 1, count))
    slope = statistics.median(slopes)
    spread = NORMAL_95 * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    # Sen's ranks are counted from 1; outwards to whole ones, so that the interval is rather too wide.
    low = slopes[max(0, math.floor((len(slopes) - spread) / 2) - 1)]
    high = slopes[min(len(slopes) - 1, math.ceil((len(slopes) + spread) / 2))]
    small = abs(slope) * (count - 1) < WORTH_TELLING * abs(statistics.median(values))
    return Trend(slope=slope, low=low, high=high, values=count, steady=small or low <= 0 <= high)
