"""What of a bench the advice rests on: how fast each mode stores, and how fast it answers within a budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlops_kit.bench.results import BenchResult, Estimate, Measurement, Point

LOOKUP, ONLINE, BATCH = "lookup", "online", "batch"
LATE = ("p99", "p95", "p90", "p50")


@dataclass(frozen=True, slots=True)
class Answering:
    """A mode that answers requests. `rate` is None where it answers none within the budget. `percentile` says
    which one `latency_s` is: "p99" wherever that was measured.
    """

    mode: str
    rate: Estimate | None
    latency_s: float | None
    percentile: str = "p99"


@dataclass(frozen=True, slots=True)
class Store:
    """Where predictions are stored and looked up. `has_writes`: whether `rows_per_s` includes writing into it; if
    not, it is that of a batch job into files.
    """

    rows_per_s: Estimate
    has_writes: bool
    bytes_per_row: float | None
    lookup: Answering


def find_doors(result: BenchResult, budget_s: float) -> list[Answering]:
    """Every online mode that was asked for answers."""
    return [_answering(mode, found, budget_s, result.slo_s) for mode, found in _asked(result, ONLINE)]


def find_stores(result: BenchResult, budget_s: float) -> list[Store]:
    """Every store that answers were looked up in, if precomputing them was measured."""
    stores = []
    for mode, scenarios in _asked(result, LOOKUP):
        into_it = scenarios.get("offline")
        offline = into_it or _by_mode(result).get(BATCH, {}).get("offline")
        if offline and offline.rate.value > 0:
            stored_bytes = into_it.stored_bytes_per_row if into_it else None
            lookup = _answering(mode, scenarios, budget_s, result.slo_s)
            stores.append(Store(offline.rate, into_it is not None, stored_bytes, lookup))
    return stores


def _by_mode(result: BenchResult) -> dict[str, dict[str, Measurement]]:
    found: dict[str, dict[str, Measurement]] = {}
    for measurement in result.measurements:
        found.setdefault(measurement.mode, {})[measurement.scenario] = measurement
    return found


def _asked(result: BenchResult, kind: str) -> list[tuple[str, dict[str, Measurement]]]:
    return [
        (mode, scenarios)
        for mode, scenarios in _by_mode(result).items()
        if mode.partition("-")[0] == kind and ("server" in scenarios or "single-stream" in scenarios)
    ]


def _answering(mode: str, scenarios: Mapping[str, Measurement], budget_s: float, slo_s: float) -> Answering:
    """At the largest rate within the budget; where that was not looked for, one request after the other.

    A rate that meets the objective meets a looser budget, too. For a tighter one there are the other rates that
    were tried.
    """
    if "server" not in scenarios:
        return _one_by_one(mode, scenarios["single-stream"], budget_s)
    server = scenarios["server"]
    latency_s, percentile = _latest(server)
    is_early = percentile == "p99" and latency_s is not None and latency_s <= budget_s
    if budget_s < slo_s and not is_early:
        return _at_point(mode, server.points, budget_s)
    return Answering(mode, server.rate if server.rate.value > 0 else None, latency_s, percentile)


def _at_point(mode: str, points: Sequence[Point], budget_s: float) -> Answering:
    """The largest rate below the smallest that is known to be too late."""
    known = sorted((point for point in points if point.p99_s is not None), key=lambda point: point.offered)
    best, latency_s = None, min((point.p99_s for point in known if point.p99_s is not None), default=None)
    for point in known:
        if point.p99_s is None or point.p99_s > budget_s or point.goodput <= 0:
            break
        best, latency_s = point, point.p99_s
    if best is None:
        return Answering(mode, None, latency_s)
    return Answering(mode, Estimate(best.goodput, best.goodput, best.goodput, (best.goodput,)), latency_s)


def _one_by_one(mode: str, measurement: Measurement, budget_s: float) -> Answering:
    latency_s, percentile = _latest(measurement)
    is_met = latency_s is not None and latency_s <= budget_s and measurement.rate.value > 0
    return Answering(mode, measurement.rate if is_met else None, latency_s, percentile)


def _latest(measurement: Measurement) -> tuple[float | None, str]:
    """The highest percentile that was measured, up to the 99th."""
    percentiles = measurement.latency.percentiles if measurement.latency else {}
    name = next((name for name in LATE if name in percentiles), None)
    return (percentiles[name].value, name) if name else (None, LATE[0])
