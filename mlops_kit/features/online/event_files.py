"""Events to push, some at a time: NDJSON from a file or from whoever writes to stdin, or Parquet."""

import select
from collections.abc import Iterator, Sequence
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mlops_kit.errors import InputError, MissingColumnsError
from mlops_kit.features.definition.feature_set import EventSource
from mlops_kit.features.online.event_lines import EventBatch, read_event_lines

PARQUET: Final = b"PAR1"
READ_BYTES: Final = 1 << 20
MOST_LINE_BYTES: Final = 64 << 20
STDIN: Final = 0


def read_events(
    stream: BufferedReader, source: EventSource, columns: Sequence[str], rows: int
) -> Iterator[EventBatch]:
    """NDJSON, or Parquet by its first bytes, at most so many rows at a time. It does not wait for more lines
    while it has some. Raises InputError for what is neither.
    """
    if stream.peek(len(PARQUET)).startswith(PARQUET):
        yield from _read_parquet(stream, columns, rows)
        return
    for lines in _lines_at_hand(stream, rows):
        yield read_event_lines(lines, source, columns)


def _read_parquet(stream: BufferedReader, columns: Sequence[str], rows: int) -> Iterator[EventBatch]:
    try:
        # A pipe cannot be read from its end, where Parquet has its footer.
        file = pq.ParquetFile(stream if stream.seekable() else pa.BufferReader(stream.read()))
        names = file.schema_arrow.names
        if missing := [name for name in columns if name not in names]:
            raise MissingColumnsError(missing, names)
        for batch in file.iter_batches(rows, columns=list(columns)):
            frame = pl.DataFrame(batch)
            yield EventBatch(frame, {}, partial(frame.row, named=True))
    except (pa.ArrowException, OSError) as error:
        why = str(error).partition("\n")[0]
        raise InputError("the events cannot be read as Parquet", why, "write the file anew") from error


def _lines_at_hand(stream: BufferedReader, rows: int) -> Iterator[list[bytes]]:
    rest, lines, is_over = b"", [], False
    while not is_over:
        block = stream.read1(READ_BYTES)
        is_over = not block
        *whole, rest = (rest + block).split(b"\n")
        if len(rest) > MOST_LINE_BYTES:
            raise InputError(
                f"a line has more than {MOST_LINE_BYTES >> 20} MiB", "no event is that long", "check it"
            )
        lines += [line for line in whole if line.strip()]
        if is_over and rest.strip():
            lines.append(rest)
        while len(lines) >= rows:
            yield lines[:rows]
            lines = lines[rows:]
        if lines and (is_over or not _has_more(stream)):
            yield lines
            lines = []


def _has_more(stream: BufferedReader) -> bool:
    """Whether reading would not wait. A file never does."""
    try:
        return bool(select.select([stream], [], [], 0)[0])
    except (OSError, ValueError):
        return True


def open_events(path: Path) -> BufferedReader:
    """The file; stdin for -. Raises InputError for one that cannot be opened."""
    try:
        return open(STDIN, "rb", closefd=False) if str(path) == "-" else path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read", error.strerror or str(error), "check the path") from error
