"""Counting look-ups. The sources of features are not known before a model is loaded, so their names are in the
shared memory, too: each at the first free place of its process.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from mlops_kit.modes.online.features.measures import Lookups
from mlops_kit.modes.online.metrics.layout import AGE_BOUNDS_S, BOUNDS_S, LookupLayout, SourceLayout
from mlops_kit.schema import Array

NAME_BYTES: Final = 6
"""In a float64, which has every whole number below 2^53."""

OTHERS: Final = "(others)"
"""Sources for which there is no place left."""


class SourceCounts:
    """What one process counts of the look-ups of one model. Called on the event loop only."""

    __slots__ = ("_layout", "_places", "_slot")

    def __init__(self, layout: LookupLayout, slot: "memoryview[float]") -> None:
        self._layout = layout
        self._slot = slot
        self._places = {
            name: place
            for place in layout.sources
            if (name := _read_name(np.array(slot[place.name : place.missing])))
        }

    def observe(self, found: Lookups) -> None:
        """A run's."""
        slot, layout = self._slot, self._layout
        if found.requests:
            slot[layout.seconds.first + bisect_left(BOUNDS_S, found.seconds)] += found.requests
            slot[layout.seconds.sum_at] += found.seconds * found.requests
        slot[layout.degraded] += found.degraded
        slot[layout.failed] += found.failed
        for name, is_missing in found.is_missing.items():
            place = self._place(name)
            # Of the few rows of a batch, NumPy would take much longer.
            ages = [max(age_us / 1e6, 0.0) for age_us in found.age_us[name][~is_missing].tolist()]
            slot[place.missing] += len(is_missing) - len(ages)
            slot[place.ages.sum_at] += sum(ages)
            for age in ages:
                slot[place.ages.first + bisect_left(AGE_BOUNDS_S, age)] += 1

    def _place(self, name: str) -> SourceLayout:
        place = self._places.get(name)
        if place is None:
            free = self._layout.sources[len(self._places) :]
            if not free:
                return self._layout.sources[-1]
            place = self._places[name] = free[0]
            written = name if len(free) > 1 else OTHERS
            for at, number in enumerate(_write_name(written, place.missing - place.name), place.name):
                self._slot[at] = number
        return place


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
            if name := _read_name(slot[place.name : place.missing]):
                found.setdefault(name, []).append(slot[place.missing : place.end])
    for name, parts in sorted(found.items()):
        total = np.sum(parts, axis=0)
        yield name, SourceTotals(total[0], total[1:-1], total[-1])


def _write_name(name: str, places: int) -> list[float]:
    data = name.encode()[: NAME_BYTES * places].ljust(NAME_BYTES * places, b"\0")
    return [float(int.from_bytes(data[at : at + NAME_BYTES])) for at in range(0, len(data), NAME_BYTES)]


def _read_name(numbers: Array) -> str:
    data = b"".join(int(number).to_bytes(NAME_BYTES) for number in numbers)
    return data.rstrip(b"\0").decode(errors="replace")
