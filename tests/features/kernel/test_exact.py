"""Exact sums against rational numbers."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.features.kernel.exact_calls import ExactSums

FLOATS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1e16, 1.0, -1e16, 5e-324, -5e-324, 1.7976931348623157e308, 2.2250738585072014e-308, 0.1]),
    st.integers(-300, 300).map(lambda n: n / 10),
)
INTEGERS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-5, 5), st.sampled_from([-(2**63), 2**63 - 1]))
SAMPLES = st.one_of(
    st.tuples(st.just(True), st.lists(FLOATS, min_size=1, max_size=20)),
    st.tuples(st.just(False), st.lists(INTEGERS, min_size=1, max_size=20)),
)


def nearest(value):
    """The float64 nearest to a rational number."""
    try:
        return float(value) or 0.0
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def expected(values):
    exact, n = [Fraction(value) for value in values], len(values)
    total = sum(exact)
    variance = (n * sum(x * x for x in exact) - total**2) / (n * (n - 1)) if n > 1 else None
    return nearest(total), nearest(total / n), variance if variance is None else nearest(variance)


def sums_of(is_float, values):
    sums = ExactSums(is_float)
    sums.add(values)
    return sums


@settings(max_examples=500, deadline=None)
@given(SAMPLES)
def test_sum_mean_and_variance_are_the_rational_ones_rounded_once(sample):
    is_float, values = sample
    assert repr(sums_of(is_float, values).rounded()) == repr(expected(values))


@settings(max_examples=200, deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=20), st.lists(FLOATS, max_size=20))
def test_what_is_taken_away_again_leaves_no_trace(kept, gone):
    sums = sums_of(True, [*gone, *kept])
    sums.remove(gone)
    assert sums.lanes() == sums_of(True, kept).lanes()
    assert repr(sums.rounded()) == repr(expected(kept))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(FLOATS, min_size=1, max_size=20).flatmap(
        lambda values: st.tuples(st.just(values), st.permutations(values))
    )
)
def test_the_carried_form_does_not_depend_on_the_order(orders):
    values, shuffled = orders
    assert sums_of(True, values).lanes() == sums_of(True, shuffled).lanes()


@pytest.mark.parametrize(
    ("values", "total"),
    [
        ([1e16, 1.0, -1e16, 1.0], 2.0),
        ([0.1] * 10, 1.0),
        ([1e308, 1e308, -1e308], 1e308),
        ([1.7976931348623157e308] * 2, math.inf),
        ([5e-324, -5e-324], 0.0),
        ([2.0**53, 1.0], 2.0**53),
        ([2.0**53, 1.0, 1e-300], 2.0**53 + 2),
    ],
)
def test_sums_that_others_get_wrong(values, total):
    assert sums_of(True, values).rounded()[0] == total
