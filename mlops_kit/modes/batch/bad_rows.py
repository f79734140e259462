"""Rows that could not be predicted: kept for each unit, then put together in one Parquet file."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mlops_kit.modes.batch.errors_file import MARK
from mlops_kit.modes.batch.journal import UnitRecord
from mlops_kit.modes.batch.part import PartWriter
from mlops_kit.modes.batch.sources.interface import BadRow

SCHEMA = pa.schema(
    [
        ("source", pa.large_string()),
        ("row", pa.int64()),
        ("column", pa.large_string()),
        ("reason", pa.large_string()),
        ("record", pa.large_string()),
    ],
    metadata=MARK,
)


class BadRowWriter:
    """A unit's bad rows on their way to a file, which is made with the first of them."""

    def __init__(self, target: Path, source: str) -> None:
        self._target = target
        self._source = source
        self._writer: PartWriter | None = None

    @property
    def rows(self) -> int:
        """How many there were."""
        return self._writer.rows if self._writer else 0

    def write(self, rows: Sequence[BadRow]) -> None:
        """Add rows, numbered within the unit. Raises StoreError if the disk is full."""
        if not rows:
            return
        self._writer = self._writer or PartWriter(self._target, SCHEMA)
        self._writer.write(_table(self._source, rows))

    def finish(self) -> None:
        """Put the file in its place, or remove what an earlier attempt left there."""
        if self._writer:
            self._writer.finish()
        else:
            self._target.unlink(missing_ok=True)

    def abandon(self) -> None:
        """Remove what was written."""
        if self._writer:
            self._writer.abandon()


def join_bad_rows(units: Iterable[tuple[UnitRecord, Path]], target: Path) -> str:
    """Write every unit's bad rows into one file, with their numbers within the source file. `units` are in order.

    Returns what is wrong with most of them. Raises StoreError if the disk is full.
    """
    writer = PartWriter(target, SCHEMA)
    read_before: dict[str, int] = {}
    faults: Counter[tuple[str | None, str]] = Counter()
    try:
        for record, path in units:
            offset = read_before.get(record.source, 0)
            read_before[record.source] = offset + record.records
            if record.bad:
                with pq.ParquetFile(path) as file:
                    for batch in file.iter_batches():
                        frame = pl.DataFrame(batch).with_columns(pl.col("row") + offset)
                        writer.write(frame.to_arrow().cast(SCHEMA))
                        faults.update(frame.select("column", "reason").iter_rows())
        writer.finish()
    except BaseException:
        writer.abandon()
        raise
    ((column, reason), _), *_ = faults.most_common(1)
    return described(column, reason)


def described(column: str | None, reason: str) -> str:
    """What is wrong with a row, for people."""
    return f"column {column!r}: {reason}" if column else reason


def _table(source: str, rows: Sequence[BadRow]) -> pa.Table:
    frame = pl.DataFrame(
        {
            "source": [source] * len(rows),
            "row": [row.row for row in rows],
            "column": [row.column or None for row in rows],
            "reason": [row.reason for row in rows],
            "record": [row.record for row in rows],
        },
        schema={name: pl.Int64 if name == "row" else pl.String for name in SCHEMA.names},
    )
    return frame.to_arrow().cast(SCHEMA)
