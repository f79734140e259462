"""Events and aggregates as words, for all kernels."""

import numpy as np

from mlops_kit.features.kernel.compiling import part
from mlops_kit.features.kernel.exact import round_mean, round_sum, round_variance
from mlops_kit.features.layout import AGGREGATIONS

COUNT = AGGREGATIONS.index("count")
TOTAL = AGGREGATIONS.index("sum")
MEAN = AGGREGATIONS.index("mean")
SMALLEST = AGGREGATIONS.index("min")
LARGEST = AGGREGATIONS.index("max")
VARIANCE = AGGREGATIONS.index("var")
DEVIATION = AGGREGATIONS.index("std")
OLDEST = AGGREGATIONS.index("first")
LATEST = AGGREGATIONS.index("last")
LATEST_K = AGGREGATIONS.index("last_k")
DISTINCT_COUNT = AGGREGATIONS.index("distinct_count")
SINCE = AGGREGATIONS.index("time_since_last")

_BUT_SIGN = np.int64(2**63 - 1)


@part
def is_seen(bits, column, condition):
    """Whether a window on this column and condition looks at an event with these bits."""
    return (column < 0 or (bits >> column) & 1) and (condition < 0 or (bits >> (32 + condition)) & 1)


@part
def is_less(a, b, is_float):
    """Whether the value a is less than b. Floats are compared as integers: sign and magnitude."""
    if is_float:
        if a < 0:
            a ^= _BUT_SIGN
        if b < 0:
            b ^= _BUT_SIGN
    return a < b


@part
def lower_bound(ts, window, hop):
    """The time of the first event that a window can see, as of ts."""
    low = ts - window
    return low if hop == 0 else low - low % hop


@part
def finish_sum(aggregation, count, total, squares, work):
    """A sum, a mean or a variance as a word, and whether there is one."""
    if aggregation == TOTAL:
        return round_sum(total, work[0]), count > 0
    if aggregation == MEAN:
        return (round_mean(total, count, work[0]), True) if count else (np.int64(0), False)
    return (round_variance(total, squares, count, work), True) if count > 1 else (np.int64(0), False)
