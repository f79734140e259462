"""The store and the server that advice is given on, and their unit costs in money."""

from collections.abc import Callable
from dataclasses import dataclass

from mlops_kit.bench.advice.costs import UnitCosts, batch_cost
from mlops_kit.bench.advice.measured import Answering, Store, find_doors, find_stores
from mlops_kit.bench.advice.workload import Workload
from mlops_kit.bench.results import BenchResult, Estimate
from mlops_kit.errors import UsageError

MONTH_S, GIGABYTE, MILLION = 365.25 / 12 * 86_400, 1e9, 1e6

Bound = Callable[[Estimate], float]


@dataclass(frozen=True, slots=True)
class Basis:
    """- `store`, `door`: the cheapest store and the cheapest online mode of those within the budget, or of all if
      none is; None where none was measured.
    - `unit`: their unit costs; `cheap` and `dear` at the ends of the measured intervals. What was not measured, or
      answers nothing within the budget, counts nothing in them.
    - `cached`: both, at half of the budget each, because a request that a cache cannot answer waits for both.
    """

    store: Store | None
    door: Answering | None
    unit: UnitCosts
    cheap: UnitCosts
    dear: UnitCosts
    cached: tuple[Answering, ...]


def find_basis(result: BenchResult, workload: Workload) -> Basis:
    """Raises UsageError if the bench has measured neither of both."""
    doors, stores = find_doors(result, workload.latency_s), find_stores(result, workload.latency_s)
    if not doors and not stores:
        what = "the bench has measured no mode that answers requests"
        raise UsageError(what, fix="mlkit bench BUNDLE --data ROWS --mode lookup,online")
    price_per_s = result.price_per_hour / 3600

    def unit_of(store: Store | None, door: Answering | None, bound: Bound = _middle) -> UnitCosts:
        return _unit_costs(price_per_s, workload, store, door, bound)

    door = max(doors, key=lambda each: each.rate.value if each.rate else -1, default=None)
    store = min(
        stores,
        key=lambda each: (each.lookup.rate is None, batch_cost(workload, unit_of(each, None))),
        default=None,
    )
    return Basis(
        store=store,
        door=door,
        unit=unit_of(store, door),
        cheap=unit_of(store, door, _fastest),
        dear=unit_of(store, door, _slowest),
        cached=_at_half(result, workload, store, door),
    )


def _unit_costs(
    price_per_s: float, workload: Workload, store: Store | None, door: Answering | None, bound: Bound
) -> UnitCosts:
    def asked(answering: Answering | None) -> float:
        if answering is None or answering.rate is None:
            return 0.0
        return price_per_s / (bound(answering.rate) * workload.utilisation)

    stored_bytes = (store.bytes_per_row or 0.0) if store else 0.0
    return UnitCosts(
        precompute=price_per_s / bound(store.rows_per_s) if store else 0.0,
        write=workload.write_price / MILLION,
        keep=stored_bytes / GIGABYTE * workload.storage_price * workload.refresh_s / MONTH_S,
        lookup=asked(store.lookup if store else None),
        online=asked(door),
    )


def _at_half(
    result: BenchResult, workload: Workload, store: Store | None, door: Answering | None
) -> tuple[Answering, ...]:
    if store is None or door is None:
        return ()
    half_s = workload.latency_s / 2
    lookups = (each.lookup for each in find_stores(result, half_s) if each.lookup.mode == store.lookup.mode)
    doors = (each for each in find_doors(result, half_s) if each.mode == door.mode)
    return (*lookups, *doors)


def _middle(estimate: Estimate) -> float:
    return estimate.value


def _fastest(estimate: Estimate) -> float:
    return estimate.high


def _slowest(estimate: Estimate) -> float:
    return estimate.low or estimate.value
