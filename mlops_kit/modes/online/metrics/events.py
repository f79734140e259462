"""Counting the events that clients send, by their source."""

from collections.abc import Sequence

from mlops_kit.modes.online.metrics.layout import FATES, EventsLayout
from mlops_kit.modes.online.metrics.names import NamedPlaces, read_name
from mlops_kit.schema import Array


class EventCounts:
    """What one process counts. Called on the event loop only."""

    __slots__ = ("_places", "_slot")

    def __init__(self, layout: Sequence[EventsLayout], slot: "memoryview[float]") -> None:
        self._slot = slot
        self._places = NamedPlaces(layout, slot)

    def observe(self, source: str, counts: Sequence[int]) -> None:
        """So many events had each of the FATES, in their order."""
        first = self._places.find(source).fates
        for place, count in enumerate(counts, first):
            self._slot[place] += count


def events_by_source(slots: Array, layout: Sequence[EventsLayout]) -> dict[str, dict[str, float]]:
    """Source → fate → events, from the numbers of all processes, of shape (processes, places)."""
    found: dict[str, dict[str, float]] = {}
    for slot in slots:
        for place in layout:
            if name := read_name(slot[place.name : place.fates]):
                totals = found.setdefault(name, dict.fromkeys(FATES, 0.0))
                for fate, count in zip(FATES, slot[place.fates : place.end], strict=True):
                    totals[fate] += count
    return dict(sorted(found.items()))
