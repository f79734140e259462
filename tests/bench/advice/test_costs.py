from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mlops_kit.bench.advice.costs import (
    UnitCosts,
    batch_cost,
    break_even_coverage,
    break_even_requests,
    cache_cost,
    online_cost,
)
from mlops_kit.bench.advice.workload import Workload
from mlops_kit.errors import UsageError


def workload(share: float = 0.5, requests: float = 1, entities: int = 1000) -> Workload:
    day = 86_400.0
    return Workload(entities, share, requests, day, day, 0.1)


prices = st.floats(1e-3, 1e3)
units = st.builds(UnitCosts, precompute=prices, write=prices, keep=prices, lookup=prices, online=prices)
shares = st.floats(1e-3, 1)
repeats = st.floats(1, 1e3)


def test_costs_are_what_a_hand_adds_up() -> None:
    unit = UnitCosts(precompute=1, write=0.5, keep=0.25, lookup=2, online=7)
    # 1000 entities, of which 500 ask, 3 times each.
    work = workload(0.5, 3)
    assert batch_cost(work, unit) == 1000 * (1 + 0.5 + 2 * 0.25) + 1500 * 2
    assert online_cost(work, unit) == 1500 * 7
    assert cache_cost(work, unit) == 1500 * 2 + 500 * (7 + 2 + 0.5 + 0.25)


@given(units, shares, shares, repeats)
def test_more_coverage_never_makes_batch_dearer_relative_to_others(
    unit: UnitCosts, one: float, other: float, requests: float
) -> None:
    less, more = (workload(share, requests) for share in sorted((one, other)))
    for cost in (online_cost, cache_cost):
        before = batch_cost(less, unit) / cost(less, unit)
        assert batch_cost(more, unit) / cost(more, unit) <= before * (1 + 1e-9)


@given(units, shares, repeats, repeats)
def test_more_requests_never_make_a_cache_dearer_relative_to_online(
    unit: UnitCosts, share: float, one: float, other: float
) -> None:
    fewer, more = (workload(share, requests) for requests in sorted((one, other)))
    before = cache_cost(fewer, unit) / online_cost(fewer, unit)
    assert cache_cost(more, unit) / online_cost(more, unit) <= before * (1 + 1e-9)


@given(units, repeats, st.floats(1, 1e3))
def test_dearer_storage_never_speaks_for_storing(unit: UnitCosts, requests: float, factor: float) -> None:
    dearer = replace(unit, keep=unit.keep * factor)
    cheap, dear = break_even_coverage(unit, requests), break_even_coverage(dearer, requests)
    assert dear is None or (cheap is not None and dear >= cheap * (1 - 1e-9))


@given(units, shares, repeats)
def test_above_the_break_even_coverage_batch_is_the_cheapest_and_below_it_is_not(
    unit: UnitCosts, share: float, requests: float
) -> None:
    coverage = break_even_coverage(unit, requests)
    assume(coverage is None or abs(share / coverage - 1) > 1e-6)
    work = workload(share, requests)
    is_cheapest = batch_cost(work, unit) <= min(online_cost(work, unit), cache_cost(work, unit))
    assert is_cheapest == (coverage is not None and share > coverage)


@given(units, shares, repeats)
def test_above_the_break_even_requests_a_cache_costs_less_than_online(
    unit: UnitCosts, share: float, requests: float
) -> None:
    least = break_even_requests(unit)
    assume(least is None or abs(requests / least - 1) > 1e-6)
    work = workload(share, requests)
    assert (cache_cost(work, unit) < online_cost(work, unit)) == (least is not None and requests > least)


@given(units, shares, repeats)
def test_costs_grow_with_the_number_of_entities_alone(unit: UnitCosts, share: float, requests: float) -> None:
    for cost in (batch_cost, online_cost, cache_cost):
        once, thrice = (cost(workload(share, requests, entities), unit) for entities in (1000, 3000))
        assert thrice == pytest.approx(3 * once)


@pytest.mark.parametrize(
    "changes",
    [
        {"entities": 0},
        {"active_share": 0},
        {"active_share": 1.01},
        {"requests_per_active": 0.5},
        {"latency_s": 0},
        {"utilisation": 2},
        {"freshness_s": -1},
        {"refresh_s": float("nan")},
        {"storage_price": float("inf")},
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, float]) -> None:
    usual = {
        "entities": 10, "active_share": 0.5, "requests_per_active": 1, "refresh_s": 1, "freshness_s": 1, "latency_s": 1
    }  # fmt: skip
    with pytest.raises(UsageError, match=next(iter(changes))):
        Workload(**{**usual, **changes})  # type: ignore[arg-type]
