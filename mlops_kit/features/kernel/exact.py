"""Exact sums of 64-bit words, and their one rounding to a float64.

A sum is a fixed-point number in lanes of 32 bits: wide enough for every float64, every int64 and every square of
them, so that adding is exact, does not depend on the order, and can be undone. The idea is that of Kulisch's long
accumulator (U. Kulisch, "Computer Arithmetic and Validity", 2008); rounding is to nearest, ties to even.

An accumulator is an array of int64: the lowest and the highest lane in use, then the lanes. Lane 0 weighs 2**-1074
in a sum and 2**-2148 in a sum of squares. Lanes are signed and may exceed 32 bits until they are carried: 2**30
additions are safe in between.
"""

import numpy as np

from mlops_kit.features.kernel.compiling import part
from mlops_kit.schema import Array

LANES = 72
SQUARE_LANES = 140
LIMBS = 2 * LANES + 16
"""Words of the workspace in which a quotient is rounded."""

MOST_ADDED = 1 << 29

_MASK = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_FRACTION = np.int64((1 << 52) - 1)
_HIDDEN = np.int64(1 << 52)
_UNIT = 1074
_INFINITY = np.int64(2047) << np.int64(52)
_SIGN = np.int64(-(2**63))


def new_accumulator(lanes: int) -> Array:
    """An empty accumulator."""
    accumulator = np.zeros(2 + lanes, np.int64)
    accumulator[0] = lanes
    accumulator[1] = -1
    return accumulator


@part
def clear(total):
    """Make it empty."""
    for lane in range(total[0], total[1] + 1):
        total[2 + lane] = 0
    total[0] = total.size - 2
    total[1] = -1


@part
def split(word, is_float):
    """A word as magnitude (up to 2**63), the power of two that it is to be multiplied with in units of 2**-1074,
    and its sign.
    """
    if is_float:
        exponent = (word >> 52) & 0x7FF
        magnitude = word & _FRACTION
        if exponent == 0:
            exponent = 1
        else:
            magnitude |= _HIDDEN
        return np.uint64(magnitude), exponent - 1, word < 0
    if word < 0:
        return np.uint64(0) - np.uint64(word), _UNIT, True
    return np.uint64(word), _UNIT, False


@part
def touch(total, low, high):
    """Note that these lanes are in use."""
    if low < total[0]:
        total[0] = low
    if high > total[1]:
        total[1] = high


@part
def add(total, word, is_float, is_removed):
    """Add a value, or take it away again."""
    magnitude, shift, is_negative = split(word, is_float)
    lane, bits = shift >> 5, np.uint64(shift & 31)
    first = (magnitude & _MASK) << bits
    second = ((magnitude >> _32) << bits) + (first >> _32)
    low, middle, high = np.int64(first & _MASK), np.int64(second & _MASK), np.int64(second >> _32)
    if is_negative != is_removed:
        low, middle, high = -low, -middle, -high
    total[2 + lane] += low
    total[3 + lane] += middle
    total[4 + lane] += high
    touch(total, lane, lane + 2)


@part
def add_square(total, word, is_float, is_removed):
    """Add a value's square, or take it away again."""
    magnitude, shift, _ = split(word, is_float)
    shift *= 2
    lane, bits = shift >> 5, np.uint64(shift & 31)
    a, b = magnitude & _MASK, magnitude >> _32
    cross, two = a * b, np.uint64(2)
    t0 = a * a
    t1 = (t0 >> _32) + two * (cross & _MASK)
    t2 = (t1 >> _32) + two * (cross >> _32) + ((b * b) & _MASK)
    t3 = (t2 >> _32) + ((b * b) >> _32)
    sign = np.int64(-1) if is_removed else np.int64(1)
    carry = np.uint64(0)
    for place, limb in enumerate((t0 & _MASK, t1 & _MASK, t2 & _MASK, t3)):
        shifted = (limb << bits) + carry
        total[2 + lane + place] += sign * np.int64(shifted & _MASK)
        carry = shifted >> _32
    total[6 + lane] += sign * np.int64(carry)
    touch(total, lane, lane + 4)


@part
def carry(total):
    """Bring the lanes into their one canonical form: 32 bits each, the highest signed, none of them idle."""
    low, high, over = total[0], total[1], np.int64(0)
    lane = low
    while lane <= high or over not in (0, -1):
        value = total[2 + lane] + over
        total[2 + lane] = value & 0xFFFFFFFF
        over = value >> 32
        lane += 1
    if over == -1:
        total[2 + lane] = -1
        lane += 1
    high = lane - 1
    while high >= low and total[2 + high] == 0:
        high -= 1
    while high > low and total[2 + high] == -1 and total[1 + high] == 0xFFFFFFFF:
        total[2 + high] = 0
        high -= 1
        total[2 + high] = -1
    while low <= high and total[2 + low] == 0:
        low += 1
    total[0], total[1] = low, high
    if low > high:
        total[0], total[1] = total.size - 2, -1


@part
def add_lanes(total, words, at, lanes, first):
    """Add the lanes of another sum, which lie in words from `at` on and begin with lane `first`."""
    for place in range(lanes):
        total[2 + first + place] += words[at + place]
    if lanes:
        touch(total, first, first + lanes - 1)


@part
def _magnitude(total, limbs, pad, first):
    """Write |total| into limbs of 32 bits, lane `first` above `pad` empty ones. How many are in use, and whether
    it is negative. `total` must be carried, and have nothing below that lane.
    """
    low, high = total[0], total[1]
    for place in range(pad + low - first):
        limbs[place] = 0
    if low > high:
        return 0, False
    is_negative = total[2 + high] < 0
    borrow = np.int64(0)
    for lane in range(low, high + 1):
        value = total[2 + lane]
        if is_negative:
            value = -value - borrow
            borrow = np.int64(value < 0)
            value += borrow << 32
        limbs[pad + lane - first] = np.uint64(value)
    return pad + high - first + 1, is_negative


@part
def _divide(limbs, used, divisor):
    """Divide in place by a number below 2**31; whether anything is left over."""
    rest, by = np.uint64(0), np.uint64(divisor)
    for place in range(used - 1, -1, -1):
        value = (rest << _32) | limbs[place]
        limbs[place] = value // by
        rest = value - limbs[place] * by
    return rest != 0


@part
def _bit(limbs, index):
    return (limbs[index >> 5] >> np.uint64(index & 31)) & np.uint64(1)


@part
def _bits(limbs, used, index):
    """All bits from `index` on, which are 64 at most."""
    place, skipped = index >> 5, np.uint64(index & 31)
    found = limbs[place] >> skipped
    if place + 1 < used:
        found |= limbs[place + 1] << (_32 - skipped)
    if place + 2 < used and skipped:
        found |= limbs[place + 2] << (np.uint64(64) - skipped)
    return np.int64(found)


@part
def _length(limb):
    """How many bits a number below 2**32 has."""
    length = 0
    for step in (16, 8, 4, 2, 1):
        if limb >> np.uint64(step):
            limb >>= np.uint64(step)
            length += step
    return length + np.int64(limb)


@part
def _round(limbs, used, exponent, is_inexact, is_negative):
    """The float64 nearest to limbs * 2**exponent, as a word. `is_inexact`: a little more than that is meant."""
    while used > 0 and limbs[used - 1] == 0:
        used -= 1
    if used == 0:
        return np.int64(0)
    length = 32 * (used - 1) + _length(limbs[used - 1])
    drop = max(exponent + length - 53, -_UNIT) - exponent
    if drop > length:
        mantissa = np.int64(0)
    elif drop <= 0:
        mantissa = _bits(limbs, used, 0) << -drop
    else:
        mantissa = _bits(limbs, used, drop) if drop < length else np.int64(0)
        if _bit(limbs, drop - 1) and (mantissa & 1 or is_inexact or _any_below(limbs, drop - 1)):
            mantissa += 1
    return _compose(mantissa, exponent + drop, is_negative)


@part
def _any_below(limbs, index):
    whole = index >> 5
    for place in range(whole):
        if limbs[place]:
            return True
    return (limbs[whole] & ((np.uint64(1) << np.uint64(index & 31)) - np.uint64(1))) != 0


@part
def _compose(mantissa, exponent, is_negative):
    if mantissa == 2 * _HIDDEN:
        mantissa = _HIDDEN
        exponent += 1
    word = mantissa
    if mantissa >= _HIDDEN:
        biased = exponent + _UNIT + 1
        word = _INFINITY if biased >= 2047 else (mantissa & _FRACTION) | (np.int64(biased) << 52)
    return word | _SIGN if is_negative and word else word


@part
def round_sum(total, limbs):
    """The sum as the nearest float64; infinite beyond its range."""
    carry(total)
    first = total[0]
    used, is_negative = _magnitude(total, limbs, 0, first)
    return _round(limbs, used, 32 * first - _UNIT, False, is_negative)


@part
def round_mean(total, count, limbs):
    """The exact sum divided by the count, rounded once."""
    carry(total)
    first = total[0]
    used, is_negative = _magnitude(total, limbs, 4, first)
    is_inexact = _divide(limbs, used, count)
    return _round(limbs, used, 32 * first - _UNIT - 128, is_inexact, is_negative)


@part
def round_variance(total, squares, count, work):
    """The sample variance, (n * sum(x**2) - sum(x)**2) / (n * (n - 1)), rounded once. `count` is at least 2."""
    limbs, sums = work[0], work[1]
    carry(total)
    carry(squares)
    low = min(squares[0], 2 * total[0])
    used, _ = _magnitude(squares, limbs, 6, low)
    used = _multiply(limbs, used, count)
    length, _ = _magnitude(total, sums, 0, total[0])
    _subtract_square(limbs, sums[:length], 6 + 2 * total[0] - low)
    is_inexact = _divide(limbs, used, count)
    is_inexact |= _divide(limbs, used, count - 1)
    return _round(limbs, used, 32 * low - 2 * _UNIT - 192, is_inexact, False)


@part
def _multiply(limbs, used, count):
    """Multiply in place with a number below 2**32; how many limbs are in use then."""
    over, by = np.uint64(0), np.uint64(count)
    for place in range(used):
        value = limbs[place] * by + over
        limbs[place] = value & _MASK
        over = value >> _32
    limbs[used] = over
    return used + 1


@part
def _subtract_square(limbs, sums, first):
    """Take sums**2 from the limbs that begin with the first; they are known not to be less."""
    for i in range(sums.size):
        over = np.uint64(0)
        borrow = np.int64(0)
        place = first + i
        for j in range(sums.size):
            product = sums[i] * sums[j] + over
            over = product >> _32
            value = np.int64(limbs[first + i + j]) - np.int64(product & _MASK) - borrow
            borrow = np.int64(value < 0)
            limbs[first + i + j] = np.uint64(value + (borrow << 32))
            place = first + i + j + 1
        while over or borrow:
            value = np.int64(limbs[place]) - np.int64(over & _MASK) - borrow
            over = np.uint64(0)
            borrow = np.int64(value < 0)
            limbs[place] = np.uint64(value + (borrow << 32))
            place += 1
