"""Offline: many rows, as fast as they go."""

from mlops_kit.bench.interface import RunningMode
from mlops_kit.bench.plan import Plan
from mlops_kit.bench.scenarios.repetition import Repetition


class OfflineScenario:
    """Runs of a command."""

    percentile: str | None = None

    def __init__(self, mode: RunningMode, plan: Plan) -> None:
        self._mode, self._plan = mode, plan

    def measure(self, repetition: int) -> Repetition:  # noqa: ARG002 - each is like the other
        """One run. What warms it up, the trial that says how many rows are enough, is no part of it."""
        scored = self._mode.score(self._plan.offline_s)
        return Repetition(
            rate=scored.rows / scored.seconds,
            peak_memory_bytes=scored.peak_memory_bytes,
            stored_bytes_per_row=scored.stored_bytes_per_row,
            start_s=scored.start_s,
        )
