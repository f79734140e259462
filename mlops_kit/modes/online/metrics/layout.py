"""Where each number stands in the memory that the processes of a server share.

Every worker has a slot of its own, which its successor goes on with, so that no count is lost with a process and
no two processes write to one place. A slot is float64 numbers: those of the process, then those of each model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

DOORS = ("mlflow", "oip", "grpc")
STATUSES = (200, 400, 401, 403, 404, 405, 408, 413, 415, 429, 499, 500, 503, 504)
"""499 is a client that went away."""

LOSSES = ("full", "unfit", "unwritten")
"""Why an answered request is not in the prediction log: no room in the queue, values that do not fit into its
columns, or a disk that fails.
"""

STAGES = ("queue", "assemble", "model", "total")
BOUNDS_S = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of the buckets of the latency histograms, in seconds."""

BATCH_BOUNDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)

AGE_BOUNDS_S = (
    1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0, 604_800.0, 2_592_000.0, 31_536_000.0,
)  # fmt: skip
"""Upper bounds of the buckets of the ages of features, in seconds: from a second to a year."""

MOST_SOURCES = 24
"""Of the features of a model, also of bundles that it had before."""

FATES = ("applied", "repeated", "refused")
"""What became of an event that a client sent."""

NAME_PLACES = 11
"""Numbers that a source's name takes."""

MOST_ROWS = 256
"""Runs of up to so many rows are also counted for each number of rows."""

LARGER = 16
"""Larger ones are counted together with those of up to twice as many: with their rows, so that a mean is known."""

SIZE = 8
"""Bytes of a number."""


OUTCOMES = {outcome: place for place, outcome in enumerate(product(DOORS, STATUSES))}
"""Door and status → where, of the places for requests, it is counted."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of each bucket, the last one of what is beyond all bounds, then at `sum_at` the sum of all values."""

    first: int
    bounds: Sequence[float]
    sum_at: int
    end: int

    @staticmethod
    def at(first: int, bounds: Sequence[float]) -> "Histogram":
        """One that begins there."""
        sum_at = first + len(bounds) + 1
        return Histogram(first, bounds, sum_at, sum_at + 1)


@dataclass(frozen=True, slots=True)
class SourceLayout:
    """A source of features: its name, then how many keys it did not know, then the ages of those that it did."""

    name: int
    missing: int
    ages: Histogram
    end: int

    @staticmethod
    def at(first: int) -> "SourceLayout":
        """One that begins there."""
        ages = Histogram.at(first + NAME_PLACES + 1, AGE_BOUNDS_S)
        return SourceLayout(first, first + NAME_PLACES, ages, ages.end)


@dataclass(frozen=True, slots=True)
class EventsLayout:
    """A source of events that clients send: its name, then how many of them had each of the FATES."""

    name: int
    fates: int
    end: int

    @staticmethod
    def at(first: int) -> "EventsLayout":
        """One that begins there."""
        fates = first + NAME_PLACES
        return EventsLayout(first, fates, fates + len(FATES))


class LookupLayout:
    """The places of what is looked up for a model, from `first` on."""

    def __init__(self, first: int) -> None:
        self.degraded, self.failed = first, first + 1
        self.seconds = Histogram.at(first + 2, BOUNDS_S)
        place = self.seconds.end
        self.sources: list[SourceLayout] = []
        for _ in range(MOST_SOURCES):
            self.sources.append(SourceLayout.at(place))
            place = self.sources[-1].end
        self.end = place


class ModelLayout:
    """The places of one model, from `first` on."""

    def __init__(self, first: int) -> None:
        self.requests = first
        place = first + len(OUTCOMES)
        self.stages: dict[str, Histogram] = {}
        for stage in STAGES:
            self.stages[stage] = Histogram.at(place, BOUNDS_S)
            place = self.stages[stage].end
        self.batches = Histogram.at(place, BATCH_BOUNDS)
        self.runs = range(self.batches.end, self.batches.end + MOST_ROWS)
        self.run_seconds = range(self.runs.stop, self.runs.stop + MOST_ROWS)
        self.lookups = LookupLayout(self.run_seconds.stop)
        first = self.lookups.end
        self.larger_runs = range(first, first + LARGER)
        self.larger_seconds = range(self.larger_runs.stop, self.larger_runs.stop + LARGER)
        self.larger_rows = range(self.larger_seconds.stop, self.larger_seconds.stop + LARGER)
        first = self.larger_rows.stop
        self.rows, self.failed_s, self.last_at, self.queued, self.reloads, self.refusals, self.end = range(
            first, first + 7
        )

    def request(self, door: str, status: int) -> int:
        """Where requests of this outcome are counted."""
        place = OUTCOMES.get((door, status))
        return self.requests + (OUTCOMES[door, 500] if place is None else place)


class Layout:
    """The places in a slot, for models in a fixed order."""

    def __init__(self, models: Sequence[str]) -> None:
        self.memory, self.started_at, self.is_ready, self.restarts = range(4)
        self.losses = {reason: place for place, reason in enumerate(LOSSES, 4)}
        self.models: dict[str, ModelLayout] = {}
        place = 4 + len(LOSSES)
        for name in models:
            self.models[name] = ModelLayout(place)
            place = self.models[name].end
        self.unnamed = ModelLayout(place)
        """Of requests that ended before it was known which model they are for."""
        self.events: list[EventsLayout] = []
        place = self.unnamed.end
        for _ in range(MOST_SOURCES):
            self.events.append(EventsLayout.at(place))
            place = self.events[-1].end
        self.length = place
