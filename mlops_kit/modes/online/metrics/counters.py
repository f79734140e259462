"""Counting: a few additions in shared memory for each request."""

import mmap
import os
import time
from bisect import bisect_left
from collections.abc import Sequence
from tempfile import TemporaryFile

import numpy as np

from mlops_kit.modes.online.metrics.layout import (
    BATCH_BOUNDS,
    BOUNDS_S,
    MOST_ROWS,
    SIZE,
    STAGES,
    Layout,
    ModelLayout,
)
from mlops_kit.modes.online.metrics.sources import SourceCounts
from mlops_kit.schema import Array


class SharedCounters:
    """The slots of all processes: one for each worker, and the last for the supervisor."""

    def __init__(self, layout: Layout, slots: int, fd: int | None = None) -> None:
        """Makes new memory, or maps what another process has made and handed on as a file descriptor."""
        self.layout = layout
        self._slots = slots
        if fd is None:
            with TemporaryFile() as file:
                file.truncate(slots * layout.length * SIZE)
                fd = os.dup(file.fileno())
        self.fd = fd
        self._memory = mmap.mmap(fd, slots * layout.length * SIZE)

    def slot(self, index: int) -> "memoryview[float]":
        """A process's own numbers, which nobody else writes."""
        first = index * self.layout.length * SIZE
        return memoryview(self._memory)[first : first + self.layout.length * SIZE].cast("d")

    def are_workers_ready(self) -> bool:
        """Whether all of them have loaded their models, which the supervisor says in its slot.

        One that dies takes nothing from it: the one in its place takes no connections before it is ready.
        """
        return bool(self.slot(self._slots - 1)[self.layout.is_ready])

    def forget(self, index: int) -> None:
        """What a process that is gone does no more: it holds no memory, keeps no queue and is not ready."""
        slot, layout = self.slot(index), self.layout
        for place in (layout.memory, layout.is_ready, *(model.queued for model in layout.models.values())):
            slot[place] = 0

    def read(self) -> Array:
        """All of them as they are now: shape (slots, length)."""
        numbers = np.frombuffer(self._memory, np.float64).reshape(self._slots, self.layout.length)
        return numbers.copy()


class ModelMeter:
    """Counts what one model does in one process."""

    __slots__ = ("_layout", "_slot", "_stages", "sources")

    def __init__(self, layout: ModelLayout, slot: "memoryview[float]") -> None:
        self._layout = layout
        self._slot = slot
        self.sources = SourceCounts(layout.lookups, slot)
        self._stages = [(layout.stages[stage].first, layout.stages[stage].sum_at) for stage in STAGES]

    def count_request(self, door: str, status: int) -> None:
        """One more request had this outcome."""
        self._slot[self._layout.request(door, status)] += 1

    def count_failure(self, door: str, status: int, seconds: float) -> None:
        """One more got no prediction, after so long."""
        self.count_request(door, status)
        self._slot[self._layout.failed_s] += seconds

    def observe(self, rows: int, seconds: Sequence[float]) -> None:
        """How long an answered request took, in the order of STAGES."""
        slot = self._slot
        for (first, sum_at), value in zip(self._stages, seconds, strict=True):
            slot[first + bisect_left(BOUNDS_S, value)] += 1
            slot[sum_at] += value
        slot[self._layout.rows] += rows
        slot[self._layout.last_at] = time.time()

    def observe_run(self, rows: int, seconds: float) -> None:
        """One run of the model."""
        histogram = self._layout.batches
        self._slot[histogram.first + bisect_left(BATCH_BOUNDS, rows)] += 1
        self._slot[histogram.sum_at] += rows
        if 0 < rows <= MOST_ROWS:
            self._slot[self._layout.runs[rows - 1]] += 1
            self._slot[self._layout.run_seconds[rows - 1]] += seconds

    def show_queue(self, requests: int) -> None:
        """How many wait now."""
        self._slot[self._layout.queued] = requests
