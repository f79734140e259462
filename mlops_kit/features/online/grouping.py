"""Admitted events by key, as the kernel takes them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlops_kit.features.admission import Admitted
from mlops_kit.features.kernel.windows import Events
from mlops_kit.schema import Array


@dataclass(frozen=True, slots=True)
class Grouped:
    """Events by key, those of a key by sequence number. `rows` says which row of the given frame each one was."""

    keys: Sequence[bytes]
    events: Events
    rows: Array

    def of_keys(self, places: Array) -> "Grouped":
        """Only the events of some keys."""
        firsts, ends = self.events.starts[places], self.events.starts[places + 1]
        chosen = _ranges(firsts, ends)
        return Grouped(
            keys=[self.keys[place] for place in places.tolist()],
            events=Events(
                starts=np.concatenate([[0], np.cumsum(ends - firsts)]),
                ts=self.events.ts[chosen],
                seq=self.events.seq[chosen],
                words=self.events.words[chosen],
            ),
            rows=self.rows[chosen],
        )


def group_by_key(admitted: Admitted, rows: int) -> Grouped:
    """Sort what was admitted of a frame with so many rows."""
    codes = admitted.codes
    order = np.lexsort((admitted.seq, codes)) if _descends(admitted.seq) else np.argsort(codes, kind="stable")
    counts = np.bincount(codes, minlength=len(admitted.keys))
    events = Events(
        starts=np.concatenate([[0], np.cumsum(counts)]),
        ts=admitted.ts[order],
        seq=admitted.seq[order],
        words=admitted.words[order],
    )
    is_kept = np.ones(rows, bool)
    for refused in admitted.refused.values():
        is_kept[refused] = False
    return Grouped(admitted.keys, events, np.flatnonzero(is_kept)[order])


def _descends(seq: Array) -> bool:
    return bool((seq[1:] < seq[:-1]).any())


def _ranges(firsts: Array, ends: Array) -> Array:
    """All numbers from each first up to its end, one range after the other."""
    sizes = ends - firsts
    offsets = np.repeat(firsts - np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes)
    return offsets + np.arange(len(offsets))
