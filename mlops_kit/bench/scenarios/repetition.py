"""What one repetition of a scenario found, and a scenario that can be repeated."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from mlops_kit.bench.interface import RunningMode, StageSums
from mlops_kit.bench.load.interface import LoadResult
from mlops_kit.bench.results import Point
from mlops_kit.schema import Array


@dataclass(frozen=True, slots=True)
class Repetition:
    """As in a Measurement, but once. `load` is the one that latencies are of; None for offline."""

    rate: float
    load: LoadResult | None = None
    stages_s: Mapping[str, float] = field(default_factory=dict)
    points: tuple[Point, ...] = ()
    peak_memory_bytes: int | None = None
    stored_bytes_per_row: float | None = None
    start_s: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def latencies_s(self) -> Array:
        """Of requests that were answered; none for offline."""
        return self.load.latencies_s if self.load else np.empty(0)


class Scenario(Protocol):
    """One scenario of one mode. `percentile` is what it is known for; None for offline."""

    percentile: str | None

    def measure(self, repetition: int) -> Repetition:
        """Raises StoreError if nobody answers."""


def stages_of(mode: RunningMode, before: StageSums, load: LoadResult) -> dict[str, float]:
    """Where the mean latency went."""
    if not len(load.due_s):
        return {}
    inside = mode.stage_sums().since(before)
    service = float((load.answered_s - load.sent_s).mean())
    return {
        "send": float((load.sent_s - load.due_s).mean()),
        **inside,
        "rest": service - sum(inside.values()),
    }
