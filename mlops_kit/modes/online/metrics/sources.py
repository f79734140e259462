"""Counting look-ups by the sources of features, which are not known before a model is loaded."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mlops_kit.modes.online.features.measures import Lookups
from mlops_kit.modes.online.metrics.layout import AGE_BOUNDS_S, BOUNDS_S, LookupLayout
from mlops_kit.modes.online.metrics.names import NamedPlaces, read_name
from mlops_kit.schema import Array


class SourceCounts:
    """What one process counts of the look-ups of one model. Called on the event loop only."""

    __slots__ = ("_layout", "_places", "_slot")

    def __init__(self, layout: LookupLayout, slot: "memoryview[float]") -> None:
        self._layout = layout
        self._slot = slot
        self._places = NamedPlaces(layout.sources, slot)

    def observe(self, found: Lookups) -> None:
        """A run's."""
        slot, layout = self._slot, self._layout
        if found.requests:
            slot[layout.seconds.first + bisect_left(BOUNDS_S, found.seconds)] += found.requests
            slot[layout.seconds.sum_at] += found.seconds * found.requests
        slot[layout.degraded] += found.degraded
        slot[layout.failed] += found.failed
        for name, is_missing in found.is_missing.items():
            place = self._places.find(name)
            known = found.age_us[name][~is_missing]
            ages = known[known >= 0] / 1e6
            slot[place.missing] += len(is_missing) - len(known)
            slot[place.ages.sum_at] += float(ages.sum())
            buckets = np.bincount(np.searchsorted(AGE_BOUNDS_S, ages), minlength=1)
            for bucket in np.flatnonzero(buckets).tolist():
                slot[place.ages.first + bucket] += int(buckets[bucket])


@dataclass(frozen=True, slots=True)
class SourceTotals:
    """Of all processes: `ages` are the buckets' counts."""

    missing: float
    ages: Array
    age_sum: float


def totals_by_source(slots: Array, layout: LookupLayout) -> Iterator[tuple[str, SourceTotals]]:
    """From the numbers of all processes, of shape (processes, places)."""
    found: dict[str, list[Array]] = {}
    for slot in slots:
        for place in layout.sources:
            if name := read_name(slot[place.name : place.missing]):
                found.setdefault(name, []).append(slot[place.missing : place.end])
    for name, parts in sorted(found.items()):
        total = np.sum(parts, axis=0)
        yield name, SourceTotals(total[0], total[1:-1], total[-1])
