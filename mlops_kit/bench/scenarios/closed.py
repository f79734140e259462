"""Single-stream and multi-stream: the next request when the last one is answered."""

from mlops_kit.bench.interface import RunningMode
from mlops_kit.bench.load.interface import Closed
from mlops_kit.bench.load.processes import LoadProcess
from mlops_kit.bench.plan import Plan
from mlops_kit.bench.scenarios.repetition import Repetition, stages_of
from mlops_kit.bench.scenarios.warm_up import warm_up
from mlops_kit.bench.statistics import PERCENTILES, least_requests

AT_ONCE = 8
"""Rows of a multi-stream request."""

SPARE = 1.2


class ClosedScenario:
    """One connection, with so many rows in each request."""

    def __init__(self, client: LoadProcess, mode: RunningMode, plan: Plan, rows: int, percentile: str) -> None:
        self.percentile: str | None = percentile
        self._client, self._mode, self._plan = client, mode, plan
        self._target = mode.target(rows)

    def measure(self, repetition: int) -> Repetition:  # noqa: ARG002 - each is like the other
        """As long as is planned, or as it takes for the percentile."""
        warm = warm_up(self._client, self._target, self._plan.warm_up_s)
        least = least_requests(PERCENTILES[self.percentile or "p50"])
        seconds = self._plan.prolonged(self._plan.closed_s, SPARE * least * warm.request_s)
        before = self._mode.stage_sums()
        load = self._client.run(self._target, Closed(1, seconds))
        return Repetition(
            rate=load.rate,
            load=load,
            stages_s=stages_of(self._mode, before, load),
            peak_memory_bytes=self._mode.peak_memory(),
            notes=warm.notes,
        )
