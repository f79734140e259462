"""The numbers of all processes in Prometheus' text format.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from mlops_kit.modes.online.metrics.counters import SharedCounters
from mlops_kit.modes.online.metrics.layout import DOORS, STAGES, STATUSES, Histogram
from mlops_kit.schema import Array


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
        yield from self._of_models()
        yield from self._of_processes()

    def _of_models(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "mlkit_requests", "Requests, by their outcome.", labels=("model", "door", "status")
        )
        stages = HistogramMetricFamily(
            "mlkit_request_seconds",
            "Where answered requests spent their time: waiting, being assembled, in the model, and in total.",
            labels=("model", "stage"),
        )
        batches = HistogramMetricFamily("mlkit_batch_rows", "Rows in a run of the model.", labels=("model",))
        rows = CounterMetricFamily("mlkit_rows", "Rows that were predicted.", labels=("model",))
        rejected = CounterMetricFamily(
            "mlkit_rejected", "Requests refused because the queue was full.", labels=("model",)
        )
        queued = GaugeMetricFamily("mlkit_queued_requests", "Requests that wait now.", labels=("model",))
        reloads = CounterMetricFamily("mlkit_reloads", "Bundles that replaced another.", labels=("model",))
        refusals = CounterMetricFamily(
            "mlkit_refused_reloads", "Bundles that were refused; the one before goes on.", labels=("model",)
        )
        info = GaugeMetricFamily("mlkit_model_info", "Which bundle answers.", labels=("model", "digest"))
        models = self._layout.models.items()
        for name, places in (*models, ("", self._layout.unnamed)):
            for door in DOORS:
                for status in STATUSES:
                    if count := self._totals[places.request(door, status)]:
                        requests.add_metric((name, door, str(status)), count)
        for name, places in models:
            for stage in STAGES:
                stages.add_metric((name, stage), *self._histogram(places.stages[stage]))
            batches.add_metric((name,), *self._histogram(places.batches))
            rows.add_metric((name,), self._totals[places.rows])
            rejected.add_metric((name,), sum(self._totals[places.request(door, 429)] for door in DOORS))
            queued.add_metric((name,), self._totals[places.queued])
            reloads.add_metric((name,), self._totals[places.reloads])
            refusals.add_metric((name,), self._totals[places.refusals])
            if name in self._digests:
                info.add_metric((name, self._digests[name]), 1)
        yield from (requests, stages, batches, rows, rejected, queued, reloads, refusals, info)

    def _of_processes(self) -> Iterator[Metric]:
        memory = GaugeMetricFamily(
            "mlkit_process_resident_memory_bytes", "Memory of each process.", labels=("process",)
        )
        started = GaugeMetricFamily(
            "mlkit_process_start_time_seconds", "When each process started, in Unix time.", labels=("process",)
        )
        last = len(self._slots) - 1
        for index, slot in enumerate(self._slots):
            process = "supervisor" if index == last else f"worker-{index}"
            memory.add_metric((process,), slot[self._layout.memory])
            started.add_metric((process,), slot[self._layout.started_at])
        restarts = CounterMetricFamily(
            "mlkit_worker_restarts", "Workers that died and were replaced.", self._totals[self._layout.restarts]
        )
        dropped = CounterMetricFamily(
            "mlkit_prediction_log_dropped",
            "Predictions that the log had no room for.",
            self._totals[self._layout.log_dropped],
        )
        yield from (memory, started, restarts, dropped)

    def _histogram(self, histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
        counts = self._totals[histogram.first : histogram.sum_at]
        bounds = [*map(str, histogram.bounds), "+Inf"]
        return list(zip(bounds, accumulate(counts), strict=True)), self._totals[histogram.sum_at]
