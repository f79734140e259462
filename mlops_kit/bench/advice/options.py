"""What each strategy would cost a workload, and what speaks against it."""

from collections.abc import Callable
from dataclasses import dataclass

from mlops_kit.bench.advice.basis import MILLION, Basis
from mlops_kit.bench.advice.costs import UnitCosts, batch_cost, cache_cost, online_cost
from mlops_kit.bench.advice.measured import Answering
from mlops_kit.bench.advice.workload import Workload
from mlops_kit.bench.figures import figure

BATCH, ONLINE, CACHE = "batch", "online", "cache"


@dataclass(frozen=True, slots=True)
class Cost:
    """Between two refreshes; `low` and `high` at the ends of the measured intervals. `per_million` is what a
    million answered requests cost.
    """

    value: float
    low: float
    high: float
    per_million: float


@dataclass(frozen=True, slots=True)
class Option:
    """- `modes`: which were measured for it.
    - `cost`: None where no rate is known to be within the latency budget.
    - `latency_s`: of the slowest kind of request, at `percentile`; None if unknown.
    - `problem`: why it is out of the question; empty if it is not.
    """

    strategy: str
    modes: tuple[str, ...]
    cost: Cost | None
    latency_s: float | None
    percentile: str
    problem: str


def list_options(workload: Workload, basis: Basis) -> tuple[Option, ...]:
    """Those that were measured: possible ones first, the cheapest first."""
    store, door = basis.store, basis.door
    found = []
    if store:
        problem = _staleness(workload) or _slowness(workload, store.lookup) or _overrun(workload, basis)
        found.append(_option(BATCH, (store.lookup,), batch_cost, workload, basis, problem))
    if door:
        found.append(_option(ONLINE, (door,), online_cost, workload, basis, _slowness(workload, door)))
    if basis.cached:
        problem = _staleness(workload) or _slowness(workload, *basis.cached)
        found.append(_option(CACHE, basis.cached, cache_cost, workload, basis, problem))
    return tuple(
        sorted(found, key=lambda each: (bool(each.problem), each.cost.value if each.cost else float("inf")))
    )


def _option(
    strategy: str,
    parts: tuple[Answering, ...],
    formula: Callable[[Workload, UnitCosts], float],
    workload: Workload,
    basis: Basis,
    problem: str,
) -> Option:
    value, low, high = (formula(workload, unit) for unit in (basis.unit, basis.cheap, basis.dear))
    is_known = all(part.rate for part in parts)
    latencies = [part.latency_s for part in parts if part.latency_s is not None]
    return Option(
        strategy=strategy,
        modes=tuple(part.mode for part in parts),
        cost=Cost(value, low, high, value / workload.requests * MILLION) if is_known else None,
        latency_s=sum(latencies) if len(latencies) == len(parts) else None,
        percentile=next((part.percentile for part in parts if part.percentile != "p99"), "p99"),
        problem=problem,
    )


def _staleness(workload: Workload) -> str:
    if workload.freshness_s >= workload.refresh_s:
        return ""
    return "too old: what is stored is used for a whole refresh"


def _overrun(workload: Workload, basis: Basis) -> str:
    store = basis.store
    refreshes = workload.entities / store.rows_per_s.value / workload.refresh_s if store else 0.0
    return "" if refreshes <= 1 else f"too slow: one machine takes {figure(refreshes)} refreshes for everybody"


def _slowness(workload: Workload, *parts: Answering) -> str:
    late = [part.mode for part in parts if part.rate is None]
    if not late:
        return ""
    share = " (half of the budget for each)" if len(parts) > 1 else ""
    budget = f"{workload.latency_s / len(parts) * 1000:g} ms"
    return f"too late: at no measured rate does {' nor '.join(late)} answer 99 % within {budget}{share}"
