"""A source's history in the order of its rows, some of them at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mlops_kit.errors import InputError, MissingColumnsError, UsageError
from mlops_kit.features.definition.feature_set import EventSource
from mlops_kit.features.online.records import File, HistoryRecord
from mlops_kit.features.values import times_us
from mlops_kit.schema import Array

BATCH_ROWS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class HistoryBatch:
    """Rows of a history. `end`: how many rows of the history are read with these; `left_out` of them are too old to
    matter, and are not in `frame`.
    """

    frame: pl.DataFrame
    seq: Array
    ts: pl.Series
    left_out: int
    end: int


class History:
    """The files of a source's history."""

    def __init__(self, source: EventSource, files: Sequence[Path]) -> None:
        """Raises InputError for a file that is no Parquet."""
        self._source = source
        self._paths = files
        self.files = tuple(_look_at(path) for path in files)
        names = [*(field.column for field in source.key), *(field.name for field in source.fields), source.time]
        self._columns = [*dict.fromkeys([*names, *([source.sequence] if source.sequence else [])])]

    @property
    def rows(self) -> int:
        """Of all files."""
        return sum(file.rows for file in self.files)

    def refuse_changed(self, before: HistoryRecord) -> None:
        """Raises UsageError if a file that was applied is another one now."""
        for old, new in zip(before.files, (*self.files, *[None] * len(before.files)), strict=False):
            if old != new:
                raise UsageError(
                    f"the history of {self._source.name!r} is another one than was applied to the state",
                    f"{old.name} had {old.rows:,} rows in {old.size:,} bytes, and is changed, gone, or no longer there "
                    "in this order",
                    "add --rebuild, which fills a new state and then switches to it",
                )

    def record(self, rows: int) -> HistoryRecord:
        """What to remember when so many rows are applied: the files that they are from."""
        first, used = 0, []
        for file in self.files:
            if first < rows:
                used.append(file)
            first += file.rows
        return HistoryRecord(tuple(used), rows)

    def batches(self, first: int, since_us: int, rows: int = BATCH_ROWS) -> Iterator[HistoryBatch]:
        """The rows from number `first` on, without those before `since_us`."""
        waiting: list[HistoryBatch] = []
        for batch in self._groups(first, since_us):
            waiting.append(batch)
            if sum(len(one.frame) for one in waiting) >= rows:
                yield _joined(waiting)
                waiting = []
        if waiting:
            yield _joined(waiting)

    def _groups(self, first: int, since_us: int) -> Iterator[HistoryBatch]:
        start = 0
        for path, file in zip(self._paths, self.files, strict=True):
            if start + file.rows > first:
                with pq.ParquetFile(path) as parquet:
                    yield from self._groups_of(parquet, path, start, first, since_us)
            start += file.rows

    def _groups_of(
        self, parquet: pq.ParquetFile, path: Path, start: int, first: int, since_us: int
    ) -> Iterator[HistoryBatch]:
        names = parquet.schema_arrow.names
        if missing := [name for name in self._columns if name not in names]:
            raise MissingColumnsError(missing, names)
        for number in range(parquet.num_row_groups):
            group = parquet.metadata.row_group(number)
            end = start + group.num_rows
            if end > first and not self._is_old(group, names.index(self._source.time), since_us):
                try:
                    table = parquet.read_row_group(number, columns=self._columns)
                except (pa.ArrowException, OSError) as error:
                    raise InputError(f"{path}: cannot be read", str(error), "check the file") from error
                yield self._batch(pl.DataFrame(table).with_row_index("", start), max(first - start, 0), since_us)
            elif end > first:
                nothing = parquet.schema_arrow.empty_table().select(self._columns)
                batch = self._batch(pl.DataFrame(nothing).with_row_index("", start), 0, since_us)
                skipped = group.num_rows - max(first - start, 0)
                yield HistoryBatch(batch.frame, batch.seq, batch.ts, skipped, end)
            start = end

    def _batch(self, frame: pl.DataFrame, skipped: int, since_us: int) -> HistoryBatch:
        end = int(frame[""][-1]) + 1 if len(frame) else 0
        frame = frame[skipped:]
        ts = times_us(frame[self._source.time])
        # A row without a time stays, to be refused and counted.
        is_kept = (ts >= since_us).fill_null(True)
        kept = frame.filter(is_kept)
        return HistoryBatch(
            kept.drop(""), self._sequence(kept), ts.filter(is_kept), len(frame) - len(kept), end
        )

    def _sequence(self, frame: pl.DataFrame) -> Array:
        if not self._source.sequence:
            return frame[""].cast(pl.Int64).to_numpy()
        return sequence_numbers(frame[self._source.sequence])

    @staticmethod
    def _is_old(group: Any, column: int, since_us: int) -> bool:
        """Whether the file says that no row of a group is recent enough."""
        statistics = group.column(column).statistics
        if statistics is None or not statistics.has_min_max or statistics.null_count:
            return False
        if not isinstance(statistics.max, (int, datetime)):
            return False
        newest: int = times_us(pl.Series("time", [statistics.max]))[0]
        return newest < since_us


def sequence_numbers(series: pl.Series) -> Array:
    """The numbers that events have in their source. Raises InputError if one is missing or no whole number."""
    if not series.dtype.is_integer() or series.null_count():
        why = f"the column is {series.dtype}, with {series.null_count()} missing values"
        raise InputError(f"{series.name!r} does not give each event its number in the source", why)
    try:
        return series.cast(pl.Int64).to_numpy()
    except pl.exceptions.InvalidOperationError as error:
        raise InputError(f"{series.name!r} has numbers beyond 2^63 - 1", fix="number the events anew") from error


def _look_at(path: Path) -> File:
    try:
        with pq.ParquetFile(path) as parquet:
            return File(path.name, path.stat().st_size, parquet.metadata.num_rows)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read as Parquet", str(error), "check the file") from error


def _joined(batches: Sequence[HistoryBatch]) -> HistoryBatch:
    return HistoryBatch(
        frame=pl.concat([batch.frame for batch in batches]),
        seq=np.concatenate([batch.seq for batch in batches]),
        ts=pl.concat([batch.ts for batch in batches]),
        left_out=sum(batch.left_out for batch in batches),
        end=batches[-1].end,
    )
