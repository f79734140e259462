"""The numbers of all processes in Prometheus' text format.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from mlops_kit.modes.online.metrics.counters import SharedCounters
from mlops_kit.modes.online.metrics.events import events_by_source
from mlops_kit.modes.online.metrics.layout import (
    AGE_BOUNDS_S,
    DOORS,
    OUTCOMES,
    STAGES,
    Histogram,
    Layout,
    ModelLayout,
)
from mlops_kit.modes.online.metrics.sources import totals_by_source
from mlops_kit.schema import Array

Family = type[CounterMetricFamily] | type[GaugeMetricFamily]

OF_MODELS: tuple[tuple[Family, str, str, Callable[[ModelLayout], int]], ...] = (
    (CounterMetricFamily, "mlkit_rows", "Rows that were predicted.", lambda of: of.rows),
    (GaugeMetricFamily, "mlkit_queued_requests", "Requests that wait now.", lambda of: of.queued),
    (CounterMetricFamily, "mlkit_reloads", "Bundles that replaced another.", lambda of: of.reloads),
    (
        CounterMetricFamily, "mlkit_refused_reloads", "Bundles that were refused; the one before goes on.",
        lambda of: of.refusals,
    ),
)  # fmt: skip
"""One number for each model, and its place."""

OF_PROCESSES: tuple[tuple[str, str, Callable[[Layout], int]], ...] = (
    ("mlkit_process_resident_memory_bytes", "Memory of each process.", lambda of: of.memory),
    ("mlkit_process_start_time_seconds", "When each process started, in Unix time.", lambda of: of.started_at),
)


def render_metrics(counters: SharedCounters, digests: Mapping[str, str], accept: str) -> tuple[bytes, str]:
    """The document, and its content type. `digests` has those of the models that are loaded."""
    registry = CollectorRegistry()
    registry.register(_Reading(counters, digests))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Reading(Collector):
    """One look at the counters."""

    def __init__(self, counters: SharedCounters, digests: Mapping[str, str]) -> None:
        self._layout = counters.layout
        self._slots = counters.read()
        self._totals: Array = self._slots.sum(0)
        self._digests = digests

    def collect(self) -> Iterable[Metric]:
        """Every family."""
        yield from self._of_requests()
        yield from self._of_models()
        yield from self._of_features()
        yield from self._of_processes()

    def _of_requests(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "mlkit_requests", "Requests, by their outcome.", labels=("model", "door", "status")
        )
        rejected = CounterMetricFamily(
            "mlkit_rejected", "Requests refused because the queue was full.", labels=("model",)
        )
        stages = HistogramMetricFamily(
            "mlkit_request_seconds",
            "Where answered requests spent their time: waiting, being assembled, while features were looked up, "
            "in the model, and in total.",
            labels=("model", "stage"),
        )
        for name, places in (*self._layout.models.items(), ("", self._layout.unnamed)):
            for door, status in OUTCOMES:
                if count := self._totals[places.request(door, status)]:
                    requests.add_metric((name, door, str(status)), count)
        for name, places in self._layout.models.items():
            rejected.add_metric((name,), sum(self._totals[places.request(door, 429)] for door in DOORS))
            for stage in STAGES:
                stages.add_metric((name, stage), *self._histogram(places.stages[stage]))
            if self._totals[places.lookups.seconds.first : places.lookups.seconds.sum_at].any():
                stages.add_metric((name, "lookup"), *self._histogram(places.lookups.seconds))
        yield from (requests, rejected, stages)

    def _of_models(self) -> Iterator[Metric]:
        for family, metric, text, place in OF_MODELS:
            numbers = family(metric, text, labels=("model",))
            for name, places in self._layout.models.items():
                numbers.add_metric((name,), self._totals[place(places)])
            yield numbers
        batches = HistogramMetricFamily("mlkit_batch_rows", "Rows in a run of the model.", labels=("model",))
        for name, places in self._layout.models.items():
            batches.add_metric((name,), *self._histogram(places.batches))
        info = GaugeMetricFamily("mlkit_model_info", "Which bundle answers.", labels=("model", "digest"))
        for model in self._digests.items():
            info.add_metric(model, 1)
        yield from (batches, info)

    def _of_features(self) -> Iterator[Metric]:
        """Of models whose features were looked up."""
        ages = HistogramMetricFamily(
            "mlkit_feature_age_seconds",
            "How long before a request its key's newest event was, or its row of a table began to hold.",
            labels=("model", "source"),
        )
        missing = CounterMetricFamily(
            "mlkit_missing_keys", "Rows whose key a source did not know.", labels=("model", "source")
        )
        degraded = CounterMetricFamily(
            "mlkit_degraded_requests", "Requests answered with defaults for want of the store.", labels=("model",)
        )
        failed = CounterMetricFamily("mlkit_failed_lookups", "Look-ups that failed.", labels=("model",))
        for name, places in self._layout.models.items():
            degraded.add_metric((name,), self._totals[places.lookups.degraded])
            failed.add_metric((name,), self._totals[places.lookups.failed])
            for source, totals in totals_by_source(self._slots, places.lookups):
                missing.add_metric((name, source), totals.missing)
                bounds = [*map(str, AGE_BOUNDS_S), "+Inf"]
                buckets = list(zip(bounds, accumulate(totals.ages), strict=True))
                ages.add_metric((name, source), buckets, totals.age_sum)
        events = CounterMetricFamily(
            "mlkit_events", "Events that clients sent, by what became of them.", labels=("source", "outcome")
        )
        for source, fates in events_by_source(self._slots, self._layout.events).items():
            for fate, count in fates.items():
                events.add_metric((source, fate), count)
        yield from (ages, missing, degraded, failed, events)

    def _of_processes(self) -> Iterator[Metric]:
        workers = [f"worker-{index}" for index in range(len(self._slots) - 1)]
        for metric, text, place in OF_PROCESSES:
            numbers = GaugeMetricFamily(metric, text, labels=("process",))
            for name, slot in zip((*workers, "supervisor"), self._slots, strict=True):
                numbers.add_metric((name,), slot[place(self._layout)])
            yield numbers
        ready = GaugeMetricFamily("mlkit_worker_ready", "Whether each worker answers.", labels=("process",))
        for name, slot in zip(workers, self._slots[:-1], strict=True):
            ready.add_metric((name,), slot[self._layout.is_ready])
        yield ready
        restarts = self._totals[self._layout.restarts]
        yield CounterMetricFamily("mlkit_worker_restarts", "Workers that died and were replaced.", restarts)
        losses = CounterMetricFamily(
            "mlkit_prediction_log_dropped", "Answered requests that are not in the log.", labels=("reason",)
        )
        for reason, lost in self._layout.losses.items():
            losses.add_metric((reason,), self._totals[lost])
        yield losses

    def _histogram(self, histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
        counts = self._totals[histogram.first : histogram.sum_at]
        bounds = [*map(str, histogram.bounds), "+Inf"]
        return list(zip(bounds, accumulate(counts), strict=True)), self._totals[histogram.sum_at]
