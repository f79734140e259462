"""What happened to a model's requests in all processes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlops_kit.modes.online.metrics.counters import SharedCounters
from mlops_kit.modes.online.metrics.layout import DOORS, STATUSES, Histogram
from mlops_kit.schema import Array


@dataclass(frozen=True, slots=True)
class Duration:
    """How often something was done, and how long that took in all."""

    count: int = 0
    ns: int = 0


@dataclass(frozen=True, slots=True)
class ModelCounts:
    """Since the server was started. A request is assembled, waits in the queue, and is run with others.

    `rows` and `runs` are those that the model answered; `batches` has its runs by their number of rows, which is a
    mean for large ones.
    """

    last_request_ms: int = 0
    rows: int = 0
    runs: int = 0
    success: Duration = Duration()
    failure: Duration = Duration()
    queue: Duration = Duration()
    assemble: Duration = Duration()
    model: Duration = Duration()
    batches: Mapping[int, Duration] = field(default_factory=dict)


def count_model(counters: SharedCounters, name: str) -> ModelCounts:
    """What all workers have counted of a model."""
    places = counters.layout.models[name]
    slots = counters.read()
    totals = slots.sum(0)
    failed = sum(totals[places.request(door, status)] for door in DOORS for status in STATUSES if status >= 400)
    runs = zip(places.runs, places.run_seconds, strict=True)
    batches = {rows: _duration(totals[at], totals[seconds]) for rows, (at, seconds) in enumerate(runs, 1)}
    larger = zip(places.larger_runs, places.larger_seconds, places.larger_rows, strict=True)
    for at, seconds, rows in larger:
        if totals[at]:
            batches[round(totals[rows] / totals[at])] = _duration(totals[at], totals[seconds])
    stages = {stage: _of(totals, histogram) for stage, histogram in places.stages.items()}
    return ModelCounts(
        last_request_ms=round(slots[:, places.last_at].max() * 1000),
        rows=round(totals[places.rows]),
        runs=_of(totals, places.batches).count,
        success=stages["total"],
        failure=_duration(failed, totals[places.failed_s]),
        queue=stages["queue"],
        assemble=stages["assemble"],
        model=stages["model"],
        batches={rows: batch for rows, batch in batches.items() if batch.count},
    )


def _of(totals: Array, histogram: Histogram) -> Duration:
    return _duration(totals[histogram.first : histogram.sum_at].sum(), totals[histogram.sum_at])


def _duration(count: float, seconds: float) -> Duration:
    return Duration(round(count), round(seconds * 1e9))
