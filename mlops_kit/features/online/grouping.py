"""Events that are admitted, by key, as the kernel takes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from mlops_kit.features.admission import admit
from mlops_kit.features.definition.feature_set import EventSource
from mlops_kit.features.kernel.windows import Events
from mlops_kit.features.layout import Layout
from mlops_kit.schema import Array

UNNUMBERED: Final = "its number in the source is null, or no whole number from 0 on"


NO_FAULTS: Final[Mapping[int, str]] = {}


@dataclass(frozen=True, slots=True)
class Grouped:
    """Events by key, those of a key by sequence number. `rows` says which row of the given frame each one was."""

    keys: Sequence[bytes]
    events: Events
    texts: Mapping[int, str]
    rows: Array

    def of_keys(self, places: Array) -> "Grouped":
        """Only the events of some keys."""
        firsts, ends = self.events.starts[places], self.events.starts[places + 1]
        chosen = _ranges(firsts, ends)
        events = Events(
            starts=np.concatenate([[0], np.cumsum(ends - firsts)]),
            ts=self.events.ts[chosen],
            seq=self.events.seq[chosen],
            words=self.events.words[chosen],
        )
        return Grouped([self.keys[place] for place in places.tolist()], events, self.texts, self.rows[chosen])


def group_events(
    frame: pl.DataFrame, source: EventSource, layout: Layout, seq: Array, faults: Mapping[int, str] = NO_FAULTS
) -> tuple[Grouped, dict[str, Array]]:
    """The events that count, and the rows of the others by reason: `faults` has those that are known to be none. A
    negative sequence number is none.

    Raises what `admit` raises.
    """
    refused = {
        reason: np.array([row for row, why in faults.items() if why == reason]) for reason in {*faults.values()}
    }
    is_fit = seq >= 0
    if not is_fit.all():
        refused[UNNUMBERED] = np.array([row for row in np.flatnonzero(~is_fit).tolist() if row not in faults], int)
    is_fit[list(faults)] = False
    fit = np.flatnonzero(is_fit)
    admitted = admit(frame if is_fit.all() else frame[fit], source, layout, seq[fit])
    refused |= {reason: fit[rows] for reason, rows in admitted.refused.items()}
    is_kept = np.ones(len(frame), bool)
    for rows in refused.values():
        is_kept[rows] = False
    order = _order(admitted.codes, admitted.seq)
    counts = np.bincount(admitted.codes, minlength=len(admitted.keys))
    events = Events(
        starts=np.concatenate([[0], np.cumsum(counts)]),
        ts=admitted.ts[order],
        seq=admitted.seq[order],
        words=admitted.words[order],
    )
    return Grouped(admitted.keys, events, admitted.texts, np.flatnonzero(is_kept)[order]), refused


def _order(codes: Array, seq: Array) -> Array:
    if (seq[1:] < seq[:-1]).any():
        return np.lexsort((seq, codes))
    # NumPy sorts short integers by radix, in linear time.
    small = codes.astype(np.uint16) if codes.max(initial=0) < 1 << 16 else codes
    return np.argsort(small, kind="stable")


def _ranges(firsts: Array, ends: Array) -> Array:
    """All numbers from each first up to its end, one range after the other."""
    sizes = ends - firsts
    offsets = np.repeat(firsts - np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes)
    return offsets + np.arange(len(offsets))
