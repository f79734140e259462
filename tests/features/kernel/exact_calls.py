"""The exact sums, as Python can call them."""

import numpy as np
from numba import njit

from mlops_kit.features.kernel.exact import (
    LANES,
    LIMBS,
    SQUARE_LANES,
    add,
    add_square,
    carry,
    new_accumulator,
    round_mean,
    round_sum,
    round_variance,
)


@njit
def _accumulate(total, squares, words, is_float, is_removed):
    for word in words:
        add(total, word, is_float, is_removed)
        add_square(squares, word, is_float, is_removed)


@njit
def _carry(total):
    carry(total)


@njit
def _round(total, squares, count, work, out):
    out[0] = round_sum(total, work[0])
    out[1] = round_mean(total, count, work[0])
    if count > 1:
        out[2] = round_variance(total, squares, count, work)


class ExactSums:
    """Sum, mean and variance of values that come and go."""

    def __init__(self, is_float):
        self.is_float, self.count = is_float, 0
        self.total, self.squares = new_accumulator(LANES), new_accumulator(SQUARE_LANES)

    def add(self, values):
        _accumulate(self.total, self.squares, self._words(values), self.is_float, False)
        self.count += len(values)

    def remove(self, values):
        _accumulate(self.total, self.squares, self._words(values), self.is_float, True)
        self.count -= len(values)

    def lanes(self):
        """The carried form of the sum."""
        _carry(self.total)
        return self.total.tolist()

    def rounded(self):
        """Sum, mean and variance as float64; None where there is no value."""
        out = np.zeros(3, np.int64)
        _round(self.total, self.squares, max(self.count, 1), np.zeros((2, LIMBS), np.uint64), out)
        found = out.view(np.float64).tolist()
        return found[0], found[1], found[2] if self.count > 1 else None

    def _words(self, values):
        return np.array(values, np.float64 if self.is_float else np.int64).view(np.int64)
