"""What measured numbers support: how many requests a percentile takes, and how sure a median is."""

import math
from collections.abc import Sequence

import numpy as np

from mlops_kit.bench.results import Distribution, Estimate
from mlops_kit.schema import Array

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
CONFIDENCE = 0.99
RESAMPLES = 2000
BINS_PER_DECADE = 20
STEADY_SLICES, STEADY_TOLERANCE = 3, 0.1


def least_requests(percentile: float, confidence: float = CONFIDENCE) -> int:
    """How many requests it takes to claim a percentile.

    The slowest of n requests is below the true percentile p only if all of them are, which has the probability
    pⁿ. So that this is at most 1 - confidence, n must be at least ln(1 - confidence) / ln p: MLPerf's LoadGen
    stops early by the same rule, https://github.com/mlcommons/inference/tree/master/loadgen.

    >>> [least_requests(percentile) for percentile in (0.9, 0.95, 0.99, 0.999)]
    [44, 90, 459, 4603]
    """
    return math.ceil(math.log(1 - confidence) / math.log(percentile))


def percentile_of(values: Array | Sequence[float], percentile: float) -> float:
    """The smallest value that so many of all values do not exceed: one of those that were measured."""
    return float(np.quantile(values, percentile, method="inverted_cdf"))


def estimate(samples: Sequence[float], seed: int = 0) -> Estimate:
    """The median of repetitions, with a bootstrap interval that covers 95 % of resampled medians.

    Of one repetition there is no spread to see: the interval is then the value itself, and claims nothing.
    """
    values = np.asarray(samples, float)
    drawn = np.random.default_rng(seed).choice(values, (RESAMPLES, len(values)))
    medians = np.median(drawn, axis=1)
    low, high = np.quantile(medians, (0.025, 0.975))
    return Estimate(float(np.median(values)), float(low), float(high), tuple(map(float, values)))


def distribution(repetitions: Sequence[Array]) -> Distribution | None:
    """Latencies of repetitions, in seconds; None where nothing was answered. Every repetition has to support a
    percentile by itself.
    """
    answered = [latencies for latencies in repetitions if len(latencies)]
    if not answered:
        return None
    fewest = min(map(len, repetitions))
    percentiles = {
        name: estimate([percentile_of(latencies, percentile) for latencies in answered])
        for name, percentile in PERCENTILES.items()
        if fewest >= least_requests(percentile)
    }
    pooled = np.concatenate(answered)
    edges, counts = histogram(pooled)
    return Distribution(len(pooled), percentiles, edges, counts)


def histogram(latencies: Array) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Edges and counts. Bins are fixed, 20 in each power of ten, so that those of two runs can be laid over each
    other.
    """
    places = np.floor(np.log10(np.maximum(latencies, 1e-9)) * BINS_PER_DECADE).astype(int)
    first, last = int(places.min()), int(places.max())
    edges = tuple(10 ** (place / BINS_PER_DECADE) for place in range(first, last + 2))
    return edges, tuple(np.bincount(places - first).tolist())


def is_steady(medians: Sequence[float]) -> bool:
    """Whether a warm-up has done its work: the medians of its last slices are alike.

    Only the warm-up is judged, and then discarded as a whole. A rule that looked for a quiet part of the
    measurement itself would also leave out the stalls that it is there to find.
    """
    last = medians[-STEADY_SLICES:]
    return len(last) == STEADY_SLICES and max(last) <= min(last) * (1 + STEADY_TOLERANCE)
