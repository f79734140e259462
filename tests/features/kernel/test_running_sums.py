"""Sums of all events before each against rational numbers."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from mlops_kit.features.kernel.exact import LANES, LIMBS, new_accumulator, round_sum
from mlops_kit.features.kernel.running_sums import sum_up, take_difference, unit_of
from tests.features.kernel.test_exact import nearest

NEAR = st.builds(lambda mantissa, power: mantissa * 2.0**power, st.integers(-(2**53), 2**53), st.integers(0, 60))
SCALED = st.integers(-1074, 900).flatmap(
    lambda power: st.lists(NEAR.map(lambda value: value * 2.0**power), min_size=1, max_size=15)
)
SAMPLES = st.tuples(st.just(True), SCALED) | st.tuples(
    st.just(False), st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=15)
)


@njit
def _unit(words, is_float):
    return unit_of(words, words.size, is_float)


@njit
def _window(words, is_float, unit, sums, window, total, limbs):
    sum_up(words, words.size, is_float, unit, sums[0], sums[1])
    take_difference(total, sums[0], sums[1], window[0], window[1], unit)
    return round_sum(total, limbs)


def words_of(is_float, values):
    return np.array(values, np.float64 if is_float else np.int64).view(np.int64)


@settings(max_examples=500, deadline=None)
@given(SAMPLES, st.tuples(st.integers(0, 15), st.integers(0, 15)))
def test_a_difference_is_the_sum_of_what_is_between(sample, edges):
    is_float, values = sample
    begin, end = sorted(min(edge, len(values)) for edge in edges)
    words = words_of(is_float, values)
    sums, total = np.zeros((2, len(values) + 1), np.int64), new_accumulator(LANES)
    total[10], total[0], total[1] = 7, 8, 8  # what another window left
    unit = _unit(words, is_float)
    if unit < 0:
        return
    found = _window(words, is_float, unit, sums, np.array([begin, end]), total, np.zeros(LIMBS, np.uint64))
    assert repr(float(np.int64(found).view(np.float64))) == repr(nearest(sum(map(Fraction, values[begin:end]))))


@pytest.mark.parametrize(
    ("values", "has_sums"),
    [
        ([0.01, 12345.67, -1e9], True),
        ([2.0**72, 1.0], True),
        ([2.0**73, 1.0], False),
        ([1e300, 1e-300], False),
        ([5e-324, 0.0], True),
        ([0.0], True),
    ],
)
def test_values_that_are_too_far_apart_have_no_sums_of_128_bits(values, has_sums):
    assert (_unit(words_of(True, values), True) >= 0) is has_sums
