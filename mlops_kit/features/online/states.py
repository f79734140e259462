"""The states of keys in a store that others write to as well: read, apply, and write what nobody changed
meanwhile.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from mlops_kit.errors import StoreError
from mlops_kit.features.kernel.states import apply_events
from mlops_kit.features.layout import Layout
from mlops_kit.features.online.grouping import Grouped
from mlops_kit.features.online.records import SourceRecord, decode_record
from mlops_kit.schema import Array
from mlops_kit.stores.interface import Store, Write

CHUNK_KEYS: Final = 2048
"""States that are in memory at a time."""

MOST_ATTEMPTS: Final = 200
LONGEST_PAUSE_S: Final = 0.02


class Fates:
    """What became of each row of a batch."""

    def __init__(self, rows: int) -> None:
        self.is_repeated = np.zeros(rows, bool)
        self.is_late = np.zeros(rows, bool)

    def note(self, rows: Array, is_repeated: Array, is_late: Array) -> None:
        """What the kernel says of some rows, the last time that it was asked."""
        self.is_repeated[rows] = is_repeated
        self.is_late[rows] = is_late


def _ignore(_late: Array) -> None:
    """Nobody asks."""


@dataclass(frozen=True, slots=True)
class StateWriter:
    """Writes states to a space. `check` raises when the source's record, which is read along with the states, says
    that this must not go on.
    """

    layout: Layout
    store: Store
    space: str
    record: tuple[str, bytes]
    check: Callable[[SourceRecord], None]

    def apply(self, grouped: Grouped, fates: Fates, on_late: Callable[[Array], None] = _ignore) -> None:
        """Apply events to the states of their keys. `on_late` is given the rows that came too late, before a state
        is written that takes them for applied, and maybe more than once.

        Raises StoreError, after which the events can be applied again.
        """
        for first in range(0, len(grouped.keys), CHUNK_KEYS):
            places = np.arange(first, min(first + CHUNK_KEYS, len(grouped.keys)))
            self._apply_chunk(grouped.of_keys(places), fates, on_late)

    def _apply_chunk(self, grouped: Grouped, fates: Fates, on_late: Callable[[Array], None]) -> None:
        for _ in range(MOST_ATTEMPTS):
            lost = self._attempt(grouped, fates, on_late)
            if not lost.size:
                return
            grouped = grouped.of_keys(lost)
            # Two that pause equally long would meet again and again.
            time.sleep(random.uniform(0, LONGEST_PAUSE_S))  # noqa: S311
        raise StoreError("events cannot be written to the store", "others write the same keys all the time")

    def _attempt(self, grouped: Grouped, fates: Fates, on_late: Callable[[Array], None]) -> Array:
        """The places of the keys that somebody else wrote meanwhile."""
        addresses = [self.record, *((self.space, key) for key in grouped.keys)]
        record, *values = self.store.read(addresses)
        self.check(decode_record(SourceRecord, record))
        before = [value.data if value else None for value in values]
        applied = apply_events(self.layout, before, grouped.events, grouped.texts)
        if applied.is_late.any():
            on_late(grouped.rows[applied.is_late])
        writes, changed = [], []
        for place, (state, value) in enumerate(zip(applied.states, values, strict=True)):
            if state is not None:
                writes.append(Write(grouped.keys[place], state, value.version if value else 0))
                changed.append(place)
        is_written = np.ones(len(grouped.keys), bool)
        if writes:
            is_written[changed] = self.store.write(self.space, writes)
        is_done = np.repeat(is_written, np.diff(grouped.events.starts))
        fates.note(grouped.rows[is_done], applied.is_repeated[is_done], applied.is_late[is_done])
        return np.flatnonzero(~is_written)
