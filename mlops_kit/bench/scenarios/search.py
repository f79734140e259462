"""The largest rate that a server meets an objective at."""

import math
from collections.abc import Callable


def largest_rate(is_met: Callable[[float], bool], start: float, factor: float, resolution: float) -> float:
    """By multiplying and bisecting, until the smallest rate that misses is at most `resolution` times the result.

    0 where even the smallest that was tried, 1000 times below the start, misses.

    >>> largest_rate(lambda rate: rate <= 700, 100, factor=2, resolution=1.05)
    691.8...
    """
    low, high, rate = 0.0, math.inf, start
    while high > resolution * low and rate > start / 1000:
        if is_met(rate):
            low = rate
        else:
            high = rate
        rate = min(low * factor, math.sqrt(low * high)) if low else high / factor
    return low
