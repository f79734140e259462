"""How sure one can be that two sets of repetitions differ, and by how much.

Medians of repetitions are compared, and their ratio gets an interval by bootstrap: both sets are drawn anew, with
replacement, many times. With three repetitions a side such an interval reaches from the one extreme to the other:
the sets must not overlap, and have the threshold between them, before a difference counts. Where nothing changed,
three and three fall apart like that, in the bad direction, in at most 1 of 20 cases, however they are distributed.
With more repetitions it gets rarer, as the intervals are widened for the number of things that are compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlops_kit.schema import Array

RESAMPLES = 10_000
ERROR = 0.05
"""The probability with which an interval may miss, shared between all that are compared (Bonferroni)."""

WORSE, BETTER, SAME, UNCLEAR = "worse", "better", "same", "unclear"


@dataclass(frozen=True, slots=True)
class Change:
    """Of the median, as a share of the one before: 0.1 is 10 % more. `low` and `high` are None where one side was
    measured once. `verdict` is "worse", "better", "same" or "unclear".
    """

    before: float
    after: float
    value: float
    low: float | None
    high: float | None
    verdict: str


def compare_samples(
    before: Sequence[float],
    after: Sequence[float],
    *,
    is_more_better: bool,
    threshold: float,
    comparisons: int = 1,
) -> Change:
    """- `worse`, `better`: the whole interval is beyond the threshold on that side.
    - `same`: the whole interval is within the threshold.
    - `unclear`: neither. Both sides have to be measured more often.
    """
    old, new = float(np.median(before)), float(np.median(after))
    value = float(_ratios(np.array([old]), np.array([new]))[0]) - 1
    if min(len(before), len(after)) == 1:
        return Change(old, new, value, None, None, UNCLEAR)
    low, high = _interval(before, after, ERROR / comparisons)
    return Change(old, new, value, low, high, _verdict(low, high, threshold, is_more_better))


def _verdict(low: float, high: float, threshold: float, is_more_better: bool) -> str:
    if low > threshold:
        return BETTER if is_more_better else WORSE
    if high < -threshold:
        return WORSE if is_more_better else BETTER
    return SAME if -threshold <= low and high <= threshold else UNCLEAR


def _interval(before: Sequence[float], after: Sequence[float], error: float) -> tuple[float, float]:
    random = np.random.default_rng(0)
    olds, news = (
        np.median(random.choice(np.asarray(samples, float), (RESAMPLES, len(samples))), axis=1)
        for samples in (before, after)
    )
    low, high = np.quantile(_ratios(olds, news) - 1, (error / 2, 1 - error / 2), method="inverted_cdf")
    return float(low), float(high)


def _ratios(before: Array, after: Array) -> Array:
    """A rate may be 0, where none meets the objective. Nothing instead of nothing is no change."""
    from_nothing = np.where(after > 0, np.inf, 1.0)
    return np.divide(after, before, out=from_nothing, where=before > 0)
