"""CSV files, as RFC 4180 has them: UTF-8, commas, quotes doubled inside of quotes, a header in each file."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from mlops_kit.errors import InputError, MissingColumnsError
from mlops_kit.modes.batch.sources.csv_block import parse_block
from mlops_kit.modes.batch.sources.interface import Chunk, Unit
from mlops_kit.modes.batch.sources.quoting import LINE_ENDS, RECORD, last_end
from mlops_kit.modes.batch.sources.text import (
    BYTE_ORDER_MARK,
    UNIT_BYTES,
    TextFile,
    find_file,
    read_blocks,
)
from mlops_kit.modes.batch.sources.typed_values import arrow_type
from mlops_kit.schema import Column, Signature

SCAN_BYTES = 2**18
"""Bytes looked through at a time for ends of records: what fits the processor's cache goes twice as fast."""


@dataclass(frozen=True, slots=True)
class _Table:
    file: TextFile
    names: Sequence[str]


class CsvSource:
    """CSV files below `root`, in the order given. A column that the model does not have is text.

    Raises InputError for a file without a header, or whose header lacks a column of the model or has it twice.
    """

    folder_columns: Sequence[str] = ()

    def __init__(self, root: Path, files: Sequence[Path], signature: Signature, *, unit_bytes: int = 0) -> None:
        self._columns = {column.name: column for column in signature.columns}
        tables = [_open_table(path, signature) for path in files]
        self._tables = {str(table.file.path): table for table in tables}
        common = [name for name in tables[0].names if all(table.names.count(name) == 1 for table in tables)]
        self.schema = pa.schema([(name, arrow_type(self._column(name))) for name in common])
        self.units = tuple(
            unit
            for table in tables
            for unit in table.file.units(root, _spans(table.file, unit_bytes or UNIT_BYTES))
        )

    def chunks(self, unit: Unit, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
        """The unit's rows. A record that is no CSV, or does not have as many fields as the header, is bad."""
        table = self._tables[unit.source]
        wanted = [self._column(name) for name in columns]
        first = 0
        for block in read_blocks(table.file, unit.span, last_end):
            records = parse_block(block, table.names, wanted)
            yield from records.chunks(first, rows)
            first += records.count

    def _column(self, name: str) -> Column:
        return self._columns.get(name) or Column(name, "string")


def _open_table(path: Path, signature: Signature) -> _Table:
    file = find_file(path, lambda sample: _head(path, sample))
    try:
        text = file.head.removeprefix(BYTE_ORDER_MARK).decode().lstrip("\r\n")
        names = next(csv.reader([text], strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        fix = "write it as UTF-8, with commas, not compressed"
        raise InputError(f"{path}: its first line is no header of a CSV file", str(error), fix) from error
    _check_header(path, names, signature)
    return _Table(file, names)


def _check_header(path: Path, names: Sequence[str], signature: Signature) -> None:
    wanted = [column.name for column in signature.columns]
    if missing := [name for name in wanted if name not in names]:
        error = MissingColumnsError(missing, names)
        raise InputError(f"{path}: {error.what}", error.why, error.fix)
    if twice := [name for name in wanted if names.count(name) > 1]:
        raise InputError(f"{path}: two columns are called {twice[0]!r}", fix="rename one of them")
    if lists := [column.name for column in signature.columns if column.shape]:
        raise InputError(
            f"{path}: the model takes lists for {lists[0]!r}", "CSV has none", "give NDJSON or Parquet"
        )


def _head(path: Path, sample: bytes) -> bytes:
    """The first line that is not empty, and whatever is before it."""
    position = len(BYTE_ORDER_MARK) if sample.startswith(BYTE_ORDER_MARK) else 0
    while match := RECORD.match(sample, position):
        if match.end() > position and sample[position] not in LINE_ENDS:
            return sample[: match.end()]
        if match.end() == len(sample):
            raise InputError(f"{path}: empty", "a CSV file begins with a header", "write one, or leave it out")
        position = match.end()
    raise InputError(f"{path}: its header does not end", "a quote in it is never closed", "mend the first line")


def _spans(file: TextFile, unit_bytes: int) -> Iterator[tuple[int, int]]:
    first = file.start
    for block in read_blocks(file, (first, file.size), last_end, min(SCAN_BYTES, unit_bytes)):
        if block.end - first >= unit_bytes and not block.is_broken:
            yield first, block.end
            first = block.end
    if first < file.size or first == file.start:
        yield first, file.size
