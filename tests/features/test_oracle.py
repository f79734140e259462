"""The oracle's fractions against the sums that Python rounds correctly."""

import math
from collections.abc import Sequence

from hypothesis import example, given
from hypothesis import strategies as st

from tests.features.histories import NUMBERS
from tests.features.oracle import is_same, moment

FINITE = [number for number in NUMBERS if number is not None and math.isfinite(number)]


@given(st.lists(st.sampled_from(FINITE) | st.floats(-1e300, 1e300), min_size=1, max_size=20))
@example([1e16, 1.0, -1e16, 1.0])
@example([5e-324, -0.0])
def test_a_sum_is_that_of_fsum(values: Sequence[float]) -> None:
    try:
        expected = math.fsum(values)
    except OverflowError:
        return
    assert is_same(moment("sum", values), expected)
