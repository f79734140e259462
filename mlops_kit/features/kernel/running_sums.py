"""Exact sums of all events before each, whose differences are the sums of every window.

They have 128 bits, in units that suit the values; where values lie too far apart for that, there are none.
"""

import numpy as np

from mlops_kit.features.kernel.compiling import part
from mlops_kit.features.kernel.exact import clear, split, touch

_32, _64 = np.uint64(32), np.uint64(64)
_MASK = np.uint64(0xFFFFFFFF)
BITS = 127
"""Besides the sign."""


@part
def unit_of(values, count, is_float):
    """The power of two that the sums are in units of, times 2**-1074, or -1 where there can be none."""
    least, most = np.int64(2**62), np.int64(-1)
    for place in range(count):
        magnitude, shift, _ = split(values[place], is_float)
        if magnitude:
            least, most = min(least, shift), max(most, shift)
    if most < 0:
        return np.int64(0)
    bits = most - least + (53 if is_float else 64)
    while count:
        count >>= 1
        bits += 1
    return least if bits <= BITS else np.int64(-1)


@part
def sum_up(values, count, is_float, unit, lows, highs):
    """Write the sum of the values before each place, and of all, as 64 low and 64 high bits."""
    low, high = np.uint64(0), np.int64(0)
    lows[0], highs[0] = 0, 0
    for place in range(count):
        magnitude, shift, is_negative = split(values[place], is_float)
        by = np.uint64(shift - unit) if magnitude else np.uint64(0)
        below = magnitude << by if by < _64 else np.uint64(0)
        above = np.uint64(0)
        if by >= _64:
            above = magnitude << (by - _64)
        elif by:
            above = magnitude >> (_64 - by)
        if is_negative:
            high -= np.int64(above) + np.int64(low < below)
            low -= below
        else:
            low += below
            high += np.int64(above) + np.int64(low < below)
        lows[1 + place], highs[1 + place] = np.int64(low), high


@part
def take_difference(total, lows, highs, begin, end, unit):
    """Make an accumulator the sum of the values from begin to end."""
    clear(total)
    from_low, to_low = np.uint64(lows[begin]), np.uint64(lows[end])
    low = to_low - from_low
    high = highs[end] - highs[begin] - np.int64(to_low < from_low)
    lane, bits = unit >> 5, np.uint64(unit & 31)
    place = 2 + lane
    for limb in (low & _MASK, low >> _32, np.uint64(high) & _MASK):
        shifted = limb << bits
        total[place] += np.int64(shifted & _MASK)
        total[place + 1] += np.int64(shifted >> _32)
        place += 1
    top = (high >> 32) << np.int64(bits)
    total[place] += top & 0xFFFFFFFF
    total[place + 1] += top >> 32
    touch(total, lane, lane + 4)
