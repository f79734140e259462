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
from mlops_kit.features.definition.expressions import parse_condition
from mlops_kit.features.definition.feature_set import EventSource
from mlops_kit.features.layout import Layout
from mlops_kit.features.online.records import File, HistoryRecord
from mlops_kit.features.values import times_us
from mlops_kit.schema import Array

BATCH_ROWS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class HistoryBatch:
    """Rows of a history, and for each its number in it, its sequence number and its time. `end`: how many rows of the
    history are looked at with these; those that are too old to matter are not here.
    """

    frame: pl.DataFrame
    numbers: Array
    seq: Array
    ts: pl.Series
    end: int

    def until(self, row: int) -> "HistoryBatch":
        """The rows before this one."""
        end = int(self.numbers[row])
        return HistoryBatch(self.frame[:row], self.numbers[:row], self.seq[:row], self.ts[:row], end)


class History:
    """The files of a source's history."""

    def __init__(self, source: EventSource, layout: Layout, files: Sequence[Path]) -> None:
        """Raises InputError for a file that is no Parquet."""
        self._source = source
        self._paths = files
        self.files = tuple(look_at_file(path) for path in files)
        self._columns = columns_in_use(source, layout)

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
            if end > first:
                is_old = self._is_old(group, since_us)
                table = parquet.schema_arrow.empty_table().select(self._columns)
                if not is_old:
                    table = _read_group(parquet, number, self._columns, path)
                yield self._batch(pl.DataFrame(table).with_row_index("", start)[max(first - start, 0) :], end, since_us)
            start = end

    def _batch(self, frame: pl.DataFrame, end: int, since_us: int) -> HistoryBatch:
        ts = times_us(frame[self._source.time])
        # A row without a time stays, to be refused and counted.
        is_kept = (ts >= since_us).fill_null(True)
        kept = frame.filter(is_kept)
        numbers = kept[""].cast(pl.Int64).to_numpy()
        seq = sequence_numbers(kept[self._source.sequence]) if self._source.sequence else numbers
        return HistoryBatch(kept.drop(""), numbers, seq, ts.filter(is_kept), end)

    def _is_old(self, group: Any, since_us: int) -> bool:
        """Whether the file says that no row of a group is recent enough."""
        columns = map(group.column, range(group.num_columns))
        statistics = next(column.statistics for column in columns if column.path_in_schema == self._source.time)
        if statistics is None or not statistics.has_min_max or statistics.null_count:
            return False
        if not isinstance(statistics.max, (int, datetime)):
            return False
        newest: int = times_us(pl.Series("time", [statistics.max]))[0]
        return newest < since_us


def columns_in_use(source: EventSource, layout: Layout) -> list[str]:
    """The columns that an event must have: key, time, what features use or conditions look at, its number."""
    kinds = {field.name: field.kind for field in source.fields}
    conditions = [parse_condition(text, kinds) for text in layout.conditions]
    seen = sorted({name for condition in conditions for name in condition.columns})
    names = [*(field.column for field in source.key), source.time, *layout.columns, *seen]
    return [*dict.fromkeys([*names, *([source.sequence] if source.sequence else [])])]


def sequence_numbers(series: pl.Series) -> Array:
    """The numbers that events have in their source. Raises InputError if one is missing or no whole number."""
    if not series.dtype.is_integer() or series.null_count():
        why = f"the column is {series.dtype}, with {series.null_count()} missing values"
        raise InputError(f"{series.name!r} does not give each event its number in the source", why)
    try:
        return series.cast(pl.Int64).to_numpy()
    except pl.exceptions.InvalidOperationError as error:
        raise InputError(f"{series.name!r} has numbers beyond 2^63 - 1", fix="number the events anew") from error


def look_at_file(path: Path) -> File:
    """Raises InputError for what is no Parquet file."""
    try:
        with pq.ParquetFile(path) as parquet:
            return File(path.name, path.stat().st_size, parquet.metadata.num_rows)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read as Parquet", str(error), "check the file") from error


def _read_group(parquet: pq.ParquetFile, number: int, columns: Sequence[str], path: Path) -> pa.Table:
    try:
        return parquet.read_row_group(number, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read", str(error), "check the file") from error


def _joined(batches: Sequence[HistoryBatch]) -> HistoryBatch:
    return HistoryBatch(
        frame=pl.concat([batch.frame for batch in batches], how="vertical_relaxed"),
        numbers=np.concatenate([batch.numbers for batch in batches]),
        seq=np.concatenate([batch.seq for batch in batches]),
        ts=pl.concat([batch.ts for batch in batches]),
        end=batches[-1].end,
    )
