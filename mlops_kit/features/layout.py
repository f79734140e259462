"""What the kernel computes for one source: the definition as numbers, and the form of a key's state.

Two definitions with the same layout have the same state; the digest names it, so that no state is ever read with
another layout than it was written with.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mlops_kit.features.definition.feature_set import Aggregation, EventSource, Kind, WindowFeature
from mlops_kit.features.definition.validity import check_size
from mlops_kit.schema import Array

SUM: Final = 1
SQUARES: Final = 2
MIN: Final = 4
MAX: Final = 8
FIRST: Final = 16
NEWEST: Final = 32
DISTINCT: Final = 64

NEEDS: Final[dict[Aggregation, int]] = {
    "count": 0,
    "sum": SUM,
    "mean": SUM,
    "var": SUM | SQUARES,
    "std": SUM | SQUARES,
    "min": MIN,
    "max": MAX,
    "first": FIRST,
    "last": NEWEST,
    "last_k": NEWEST,
    "time_since_last": NEWEST,
    "distinct_count": DISTINCT,
}
"""What has to be kept of the events of a window to know the aggregate."""

AGGREGATIONS: Final[tuple[Aggregation, ...]] = tuple(NEEDS)
"""An aggregation's number for the kernel is its place here."""

FORMAT: Final = 1
"""Of the bytes of a state."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Arrays of int64 that the kernel reads, one row per thing.

    - `columns`: the values that an event carries, by name; conditions are looked at once, when it arrives.
    - `slots` (column or -1, condition or -1, 1 if it is float64): what a window looks at.
    - `groups` (hop, largest window, first and last + 1 of `tiled`): windows of one hop share tiles.
    - `tiled` (slot, what is kept, how many of the newest): the slots of each group.
    - `windows` (slot, window, hop, row of `groups` or -1, place among that group's slots, what is needed, how many
      of the newest, first and last + 1 of `outputs`).
    - `outputs` (row of `windows`, aggregation, k, include_current), in the order of the features; sorted by
      window.
    - `order`: for each feature, its row of `outputs`.
    - `retention_us`: no event can matter any more that is older than the newest one by this.
    - `keeps_texts`: some feature gives a text back.
    """

    source: str
    columns: tuple[str, ...]
    kinds: tuple[Kind, ...]
    conditions: tuple[str, ...]
    slots: Array
    groups: Array
    tiled: Array
    windows: Array
    outputs: Array
    order: Array
    lateness_us: int
    raw_span_us: int
    retention_us: int
    has_current: bool
    keeps_texts: bool
    digest: str

    @property
    def most_newest(self) -> int:
        """How many of the newest events any window needs."""
        return max(1, int(self.windows[:, 6].max(initial=0)))

    @property
    def words(self) -> int:
        """Words of an event besides its time and sequence: the bits, then the values."""
        return 1 + len(self.columns)


def compile_layout(source: EventSource, features: Sequence[WindowFeature]) -> Layout:
    """The layout for the features of this source; those of others are passed over.

    Raises UsageError if there are more columns or conditions than an event has bits for.
    """
    check_size(source, features)
    mine = [feature for feature in features if feature.source == source.name]
    columns = tuple(sorted({feature.column for feature in mine} - {""}))
    conditions = tuple(sorted({feature.condition for feature in mine} - {""}))
    by_name = {field.name: field.kind for field in source.fields}
    kinds = tuple(by_name[name] for name in columns)
    slots = sorted({_slot(feature, columns, conditions, kinds) for feature in mine})
    slot_of = [slots.index(_slot(feature, columns, conditions, kinds)) for feature in mine]
    keys = sorted({(slot, f.window_us, f.hop_us) for slot, f in zip(slot_of, mine, strict=True)})
    needed = {key: _needs(key, slot_of, mine) for key in keys}
    groups, tiled = _tiles(keys, needed)
    wanted = [_output(keys.index((s, f.window_us, f.hop_us)), f) for s, f in zip(slot_of, mine, strict=True)]
    outputs = sorted(set(wanted))
    windows = [
        (*key, *_place(key, groups, tiled), *needed[key], *_range(number, outputs))
        for number, key in enumerate(keys)
    ]
    raw_span_us = max((window for _, window, hop in keys if not hop), default=0)
    keeps_texts = any(feature.kind == "string" for feature in mine)
    state = [
        FORMAT,
        keeps_texts,
        columns,
        kinds,
        conditions,
        slots,
        groups,
        tiled,
        source.lateness_us,
        raw_span_us,
    ]
    return Layout(
        source=source.name,
        columns=columns,
        kinds=kinds,
        conditions=conditions,
        slots=_table(slots, 3),
        groups=_table(groups, 4),
        tiled=_table(tiled, 3),
        windows=_table(windows, 9),
        outputs=_table(outputs, 4),
        order=np.array([outputs.index(output) for output in wanted], np.int64),
        lateness_us=source.lateness_us,
        raw_span_us=raw_span_us,
        retention_us=source.lateness_us + max((window + hop for _, window, hop in keys), default=0),
        has_current=any(feature.include_current for feature in mine),
        keeps_texts=keeps_texts,
        digest=hashlib.sha256(json.dumps(state).encode()).hexdigest(),
    )


_Window = tuple[int, int, int]
"""Slot, window and hop."""


def _slot(
    feature: WindowFeature, columns: Sequence[str], conditions: Sequence[str], kinds: Sequence[Kind]
) -> tuple[int, int, int]:
    column = columns.index(feature.column) if feature.column else -1
    condition = conditions.index(feature.condition) if feature.condition else -1
    return column, condition, int(column >= 0 and kinds[column] == "float64")


def _needs(key: _Window, slot_of: Sequence[int], features: Sequence[WindowFeature]) -> tuple[int, int]:
    """What a window keeps, and how many of the newest events."""
    needs, newest = 0, 0
    for slot, feature in zip(slot_of, features, strict=True):
        if (slot, feature.window_us, feature.hop_us) == key:
            needs |= NEEDS[feature.aggregation]
            newest = max(newest, feature.k, int(bool(NEEDS[feature.aggregation] & NEWEST)))
    return needs, newest


def _tiles(
    keys: Sequence[_Window], needed: dict[_Window, tuple[int, int]]
) -> tuple[list[tuple[int, int, int, int]], list[tuple[int, int, int]]]:
    groups: list[tuple[int, int, int, int]] = []
    tiled: list[tuple[int, int, int]] = []
    for hop in sorted({hop for _, _, hop in keys if hop}):
        mine = [key for key in keys if key[2] == hop]
        first = len(tiled)
        for slot in sorted({slot for slot, _, _ in mine}):
            of_slot = [needed[key] for key in mine if key[0] == slot]
            kept = 0
            for needs, _ in of_slot:
                kept |= needs
            tiled.append((slot, kept, max(newest for _, newest in of_slot)))
        groups.append((hop, max(window for _, window, _ in mine), first, len(tiled)))
    return groups, tiled


def _place(
    key: _Window, groups: Sequence[tuple[int, int, int, int]], tiled: Sequence[tuple[int, int, int]]
) -> tuple[int, int]:
    """The window's group, and its slot's place there."""
    for number, (hop, _, first, end) in enumerate(groups):
        if hop == key[2]:
            return number, [slot for slot, _, _ in tiled[first:end]].index(key[0])
    return -1, -1


def _output(window: int, feature: WindowFeature) -> tuple[int, int, int, int]:
    return window, AGGREGATIONS.index(feature.aggregation), feature.k, int(feature.include_current)


def _range(window: int, outputs: Sequence[tuple[int, int, int, int]]) -> tuple[int, int]:
    mine = [place for place, output in enumerate(outputs) if output[0] == window]
    return mine[0], mine[-1] + 1


def _table(rows: Sequence[tuple[int, ...]], width: int) -> Array:
    return np.array(rows, np.int64).reshape(len(rows), width)
