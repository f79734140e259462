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
            known = found.age_us[name][~is_missing].tolist()
            # Of the few rows of a batch, NumPy would take much longer.
            ages = [age_us / 1e6 for age_us in known if age_us >= 0]
            slot[place.missing] += len(is_missing) - len(known)
            slot[place.ages.sum_at] += sum(ages)
            for age in ages:
                slot[place.ages.first + bisect_left(AGE_BOUNDS_S, age)] += 1


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
