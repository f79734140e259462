"""A stream of Arrow batches becomes a Parquet file."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mlops_kit.errors import InputError, MlkitError, UsageError
from mlops_kit.modes.batch.part import ROW_GROUP_ROWS

BATCH_ROWS = 65_536
"""How many rows to ask a database for at a time."""

ROW_GROUP_BYTES = 2**26
"""This or ROW_GROUP_ROWS, whichever comes first: wide rows must not pile up in memory."""


def write_spool(
    schema: pa.Schema, batches: Iterable[pa.RecordBatch], target: Path, on_rows: Callable[[int], None]
) -> Sequence[str]:
    """Write the batches in row groups of a good size, however they come. Nobody else reads the file."""
    check_names(schema.names)
    pending: list[pa.RecordBatch] = []
    rows = size = 0
    try:
        with pq.ParquetWriter(target, schema, compression="zstd", compression_level=1) as writer:
            for batch in batches:
                pending.append(batch)
                rows += batch.num_rows
                size += batch.nbytes
                if rows >= ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
                    writer.write_table(pa.Table.from_batches(pending, schema), row_group_size=ROW_GROUP_ROWS)
                    pending, rows, size = [], 0, 0
                on_rows(batch.num_rows)
            writer.write_table(pa.Table.from_batches(pending, schema), row_group_size=ROW_GROUP_ROWS)
        return list(schema.names)
    except (pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        fix = "cast the column to a number, text or a time"
        raise InputError("a column cannot be written as Parquet", str(error).split("\n", 1)[0], fix) from error


def check_names(names: Sequence[str]) -> None:
    """Raise UsageError if two columns have one name."""
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"two columns are called {twice[0]!r}", fix="give one of them another name: AS …")


def read_batches(reader: pa.RecordBatchReader, failure: Callable[[], MlkitError]) -> Iterator[pa.RecordBatch]:
    """The rest of a database's answer; its `failure` is not taken for one of the disk."""
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return
        except (pa.ArrowException, OSError) as error:
            raise failure() from error
        yield batch
