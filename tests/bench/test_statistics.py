"""What numbers support."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_kit.bench.scenarios.search import largest_rate
from mlops_kit.bench.statistics import (
    PERCENTILES,
    distribution,
    estimate,
    histogram,
    is_steady,
    least_requests,
    percentile_of,
)

latencies = st.lists(st.floats(1e-6, 100), min_size=1, max_size=200)


@pytest.mark.parametrize(("percentile", "least"), [(0.5, 7), (0.9, 44), (0.95, 90), (0.99, 459), (0.999, 4603)])
def test_the_fields_table_of_least_requests(percentile: float, least: int) -> None:
    assert least_requests(percentile) == least


@given(st.floats(0.05, 0.999), st.floats(0.5, 0.999))
def test_fewer_requests_would_be_below_the_percentile_too_often(percentile: float, confidence: float) -> None:
    least = least_requests(percentile, confidence)
    assert percentile**least <= (1 - confidence) * 1.000001
    assert percentile ** (least - 1) >= (1 - confidence) * 0.999999


@given(latencies, st.sampled_from([*PERCENTILES.values()]))
def test_a_percentile_was_measured_and_enough_are_not_slower(values: list[float], percentile: float) -> None:
    found = percentile_of(values, percentile)
    assert found in values
    assert sum(value <= found for value in values) >= percentile * len(values) - 1e-9
    assert sum(value < found for value in values) < percentile * len(values) + 1e-9


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=9))
def test_an_estimate_is_the_median_between_the_least_and_the_largest(samples: list[float]) -> None:
    found = estimate(samples)
    assert min(samples) <= found.low <= found.value <= found.high <= max(samples)
    assert found.value == np.median(samples)
    assert found == estimate(samples)


def test_the_interval_covers_the_true_median_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    drawn = [estimate(random.lognormal(size=15).tolist(), seed) for seed in range(300)]
    assert 0.90 <= np.mean([found.low <= 1 <= found.high for found in drawn]) <= 0.99


@given(latencies)
def test_a_histogram_counts_every_latency_between_its_edges(values: list[float]) -> None:
    edges, counts = histogram(np.array(values))
    assert sum(counts) == len(values)
    assert len(edges) == len(counts) + 1
    assert edges[0] <= min(values) * 1.000001
    assert edges[-1] >= max(values) * 0.999999


def test_every_repetition_has_to_support_a_percentile() -> None:
    many, few = np.linspace(0.001, 0.1, 500), np.linspace(0.001, 0.1, 100)
    both = distribution([many, few])
    assert both is not None
    assert list(both.percentiles) == ["p50", "p90", "p95"]
    assert both.requests == 600
    alone = distribution([many, many])
    assert alone is not None
    assert alone.percentiles["p99"].samples == (many[494], many[494])


def test_where_nothing_was_answered_there_is_no_distribution() -> None:
    assert distribution([np.empty(0), np.empty(0)]) is None


@pytest.mark.parametrize(
    ("medians", "steady"),
    [
        ([1.0, 1.0], False),
        ([9.0, 1.0, 1.0, 1.05], True),
        ([3.0, 2.0, 1.0], False),
        ([1.0, 1.0, 1.2], False),
        ([float("inf")] * 3, True),
    ],
)
def test_a_warm_up_is_over_when_three_slices_are_alike(medians: list[float], steady: bool) -> None:
    assert is_steady(medians) == steady


@given(st.floats(1, 1e5), st.floats(1, 1e5), st.sampled_from([1.15, 2.0]), st.sampled_from([1.03, 1.2]))
def test_a_search_ends_just_below_the_limit(limit: float, start: float, factor: float, resolution: float) -> None:
    tried: list[float] = []

    def is_met(rate: float) -> bool:
        tried.append(rate)
        return rate <= limit

    found = largest_rate(is_met, start, factor, resolution)
    # Steps halve the rate, and none is smaller than a thousandth of the first.
    if start < 500 * limit:
        assert found <= limit <= found * resolution
        assert len(tried) < 40


def test_a_search_gives_up_where_no_rate_meets_the_objective() -> None:
    assert largest_rate(lambda _: False, 1000, 2, 1.03) == 0
