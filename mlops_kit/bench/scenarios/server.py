"""Server: Poisson arrivals that wait for nobody, at the largest rate that meets the objective."""

import math

from mlops_kit.bench.interface import RunningMode, StageSums
from mlops_kit.bench.load.interface import LoadResult, Open
from mlops_kit.bench.load.processes import LoadProcess
from mlops_kit.bench.plan import Plan
from mlops_kit.bench.results import Point
from mlops_kit.bench.scenarios.repetition import Repetition, stages_of
from mlops_kit.bench.scenarios.search import largest_rate
from mlops_kit.bench.scenarios.warm_up import warm_up
from mlops_kit.bench.statistics import least_requests, percentile_of

MOST_MISSED = 0.01
"""The objective is for the 99th percentile: so many requests may be late, or fail."""

FIRST_FACTOR, NEXT_FACTOR = 2.0, 1.15
SPARE = 1.1


class ServerScenario:
    """Searches anew in each repetition, beginning at what the one before has found.

    A rate that is too high by a share x makes a queue that takes x · t after t seconds. It is found out when that
    is the objective: after 20 objectives for 5 %. Rates are therefore tried for so long at least.
    """

    percentile: str | None = "p99"

    def __init__(self, client: LoadProcess, mode: RunningMode, plan: Plan, start: float | None = None) -> None:
        """`start` is the first rate to try; by itself, half of what one connection gets."""
        self._client, self._mode, self._plan = client, mode, plan
        self._target = mode.target(1)
        self._start = start
        self._factor = FIRST_FACTOR

    def measure(self, repetition: int) -> Repetition:
        """Every rate that is tried becomes a point."""
        warm = warm_up(self._client, self._target, self._plan.warm_up_s)
        tried = _Tried(self, seed=1000 * repetition)
        start = self._start or 0.5 / warm.median_s
        found = largest_rate(tried.meets, start, self._factor, self._plan.resolution) if start else 0.0
        if found:
            self._start, self._factor = found, NEXT_FACTOR
        load, stages = tried.best or (None, {})
        notes = (*warm.notes, *(() if found else ("no rate meets the objective",)))
        return Repetition(found, load, stages, tuple(tried.points), self._mode.peak_memory(), notes=notes)

    def try_rate(self, rate: float, seed: int) -> tuple[LoadResult, dict[str, float]]:
        """Offer a rate once."""
        seconds = self._plan.prolonged(self._plan.point_s, SPARE * least_requests(0.99) / rate)
        before: StageSums = self._mode.stage_sums()
        load = self._client.run(self._target, Open(rate, seconds, seed))
        return load, stages_of(self._mode, before, load)

    def meets(self, load: LoadResult) -> bool:
        """Whether few enough requests were late or failed."""
        return load.missed(self._plan.slo_s) <= MOST_MISSED

    def point_of(self, rate: float, load: LoadResult) -> Point:
        """The percentiles are those of all requests: one that failed is later than any other."""
        latencies = load.latencies_s.tolist() + [math.inf] * load.failed
        p50, p99 = (percentile_of(latencies, share) if latencies else math.inf for share in (0.5, 0.99))
        is_supported = len(latencies) >= least_requests(0.99) and math.isfinite(p99)
        return Point(
            offered=rate,
            goodput=load.goodput(self._plan.slo_s),
            p50_s=p50 if math.isfinite(p50) else None,
            p99_s=p99 if is_supported else None,
            errors=load.failed,
            is_within_slo=self.meets(load),
        )


class _Tried:
    """The rates of one search."""

    def __init__(self, scenario: ServerScenario, seed: int) -> None:
        self._scenario, self._seed = scenario, seed
        self.points: list[Point] = []
        self.best: tuple[LoadResult, dict[str, float]] | None = None
        self._best_rate = 0.0

    def meets(self, rate: float) -> bool:
        """Try it, and keep what was found."""
        found = self._scenario.try_rate(rate, self._seed + len(self.points))
        self.points.append(self._scenario.point_of(rate, found[0]))
        if (is_met := self._scenario.meets(found[0])) and rate > self._best_rate:
            self.best, self._best_rate = found, rate
        return is_met
