"""A source's history in the order of its rows, so many at a time, and whether it is still the one that was
applied.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from mlops_kit.errors import UsageError
from mlops_kit.features.admission import Refusals, judge_sequence
from mlops_kit.features.definition.expressions import parse_condition
from mlops_kit.features.definition.feature_set import EventSource
from mlops_kit.features.history import History, open_history, read_span
from mlops_kit.features.layout import Layout
from mlops_kit.features.online.records import File, HistoryRecord
from mlops_kit.features.values import LAST_US, times_us
from mlops_kit.schema import Array

BATCH_ROWS: Final = 1_000_000
NO_NUMBER: Final = -1
"""Of an event whose sequence number is missing, or is none: it is refused."""


@dataclass(frozen=True, slots=True)
class PastEvents:
    """Rows of a history, and for each its number in it, its sequence number and its time. `end`: how many rows
    of the history are looked at with these; those that are too old to matter are not here.
    """

    frame: pl.DataFrame
    numbers: Array
    seq: Array
    ts: pl.Series
    end: int

    def until(self, row: int) -> "PastEvents":
        """The rows before this one."""
        end = int(self.numbers[row])
        return PastEvents(self.frame[:row], self.numbers[:row], self.seq[:row], self.ts[:row], end)


class Past:
    """A source's history."""

    def __init__(self, source: EventSource, layout: Layout) -> None:
        """Raises UsageError if there is none, InputError if it has not the columns that the features need."""
        self._source = source
        self._columns = columns_in_use(source, layout)
        self._history = open_history(source.name, source.history)
        self._history.check(self._columns, lambda empty: times_us(empty[source.time]))
        self._files = files_of(self._history)

    def refuse_changed(self, before: HistoryRecord) -> None:
        """Raises UsageError if a file that was applied is another one now."""
        now = {file.name: place for place, file in enumerate(self._files)}
        for place, old in enumerate(before.files):
            if now.get(old.name) != place or self._files[place] != old:
                raise UsageError(
                    f"the history of {self._source.name!r} is another one than was applied to the state",
                    f"{old.name} had {old.rows:,} rows in {old.size:,} bytes, and was changed, is gone, or has "
                    "another place among the files",
                    "add --rebuild, which fills a new state and then switches to it",
                )

    def record(self, rows: int) -> HistoryRecord:
        """What to remember when so many rows are applied: the files that they are from."""
        firsts = np.cumsum([0, *(file.rows for file in self._files)])[:-1]
        used = [file for first, file in zip(firsts.tolist(), self._files, strict=True) if first < rows]
        return HistoryRecord(tuple(used), rows)

    def batches(self, first: int, since_us: int) -> Iterator[PastEvents]:
        """The rows from number `first` on, without those before `since_us`."""
        end = first
        for span in self._history.spans(BATCH_ROWS, self._source.time, since_us, LAST_US + 1):
            if span.first_row + span.rows > first:
                for number, frame in read_span(span, self._columns, BATCH_ROWS):
                    end = number + len(frame)
                    if end > first:
                        skipped = max(first - number, 0)
                        yield self._recent(frame[skipped:], number + skipped, since_us)
        if self._history.rows > end:
            yield self._recent(_nothing(self._history, self._columns), self._history.rows, since_us)

    def _recent(self, frame: pl.DataFrame, first: int, since_us: int) -> PastEvents:
        numbers = np.arange(first, first + len(frame))
        ts = times_us(frame[self._source.time])
        # A row without a time stays, to be refused and counted.
        is_kept = (ts >= since_us).fill_null(True)
        kept = frame.filter(is_kept)
        seq = sequence_of(frame, self._source, first)
        mask = is_kept.to_numpy()
        return PastEvents(kept, numbers[mask], seq[mask], ts.filter(is_kept), first + len(frame))


def columns_in_use(source: EventSource, layout: Layout) -> list[str]:
    """The columns that an event must have: key, time, what features use or conditions look at, its number."""
    kinds = {field.name: field.kind for field in source.fields}
    conditions = [parse_condition(text, kinds) for text in layout.conditions]
    seen = sorted({name for condition in conditions for name in condition.columns})
    names = [*(field.column for field in source.key), source.time, *layout.columns, *seen]
    return [*dict.fromkeys([*names, *([source.sequence] if source.sequence else [])])]


def sequence_of(frame: pl.DataFrame, source: EventSource, first: int) -> Array:
    """The sequence number of each event, NO_NUMBER where there is none: its own, or `first` and on."""
    refusals = Refusals(frame.height)
    numbers = judge_sequence(frame, source, first, refusals)
    return np.where(refusals.is_refused, NO_NUMBER, numbers)


def files_of(history: History) -> tuple[File, ...]:
    """Its files as they are now."""
    return tuple(File(str(path), path.stat().st_size, meta.num_rows) for path, meta in history.files)


def _nothing(history: History, columns: Sequence[str]) -> pl.DataFrame:
    schema = history.files[0][1].schema.to_arrow_schema()
    # Schema.empty_table imports pandas.
    return pl.DataFrame(pa.Table.from_batches([], schema).select(list(columns)))
