"""The largest rate that a server meets an objective at."""

import math
from collections.abc import Callable

LARGEST_FACTOR = 2.0


def largest_rate(is_met: Callable[[float], bool], start: float, factor: float, resolution: float) -> float:
    """By multiplying and bisecting, until the smallest rate that misses is at most `resolution` times the result.

    The first step is `factor`; as long as it goes in one direction, each step is larger, up to twice the rate.
    0 where even the smallest that was tried, 1000 times below the start, misses.

    >>> round(largest_rate(lambda rate: rate <= 700, 100, factor=2, resolution=1.05))
    673
    """
    low, high, rate = 0.0, math.inf, start
    while high > resolution * low and rate > start / 1000:
        if is_met(rate):
            low = rate
        else:
            high = rate
        rate = min(low * factor, math.sqrt(low * high)) if low else high / factor
        factor = min(factor**2, LARGEST_FACTOR)
    return low
