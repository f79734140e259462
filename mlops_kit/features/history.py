"""Parquet files with what has happened, or what is known: found, checked, and read a few rows at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mlops_kit.errors import InputError, MissingColumnsError, UsageError
from mlops_kit.features.definition.parquet_files import parquet_files
from mlops_kit.features.values import US_PER_DAY

ERRORS: Final = (pa.ArrowException, OSError)


@dataclass(frozen=True, slots=True)
class Span:
    """Some row groups of a file, one after the other. `first_row` is the number of the first row in all files."""

    file: Path
    metadata: pq.FileMetaData
    groups: tuple[int, ...]
    first_row: int
    rows: int


@dataclass(frozen=True, slots=True)
class History:
    """Files in the order of their names, with their footers; rows are counted on through all of them."""

    name: str
    files: tuple[tuple[Path, pq.FileMetaData], ...]

    @property
    def rows(self) -> int:
        """How many there are."""
        return sum(metadata.num_rows for _, metadata in self.files)

    def check(self, columns: Sequence[str], judge: Callable[[pl.DataFrame], object]) -> None:
        """Raise InputError for a file that lacks a column; `judge` raises it for one with wrong types, and is
        given an empty frame of each different schema.
        """
        schemas: list[pa.Schema] = []
        for path, metadata in self.files:
            schema = metadata.schema.to_arrow_schema()
            try:
                if missing := [name for name in columns if name not in schema.names]:
                    raise MissingColumnsError(missing, schema.names)
                needed = pa.schema([schema.field(name) for name in columns])
                if needed not in schemas:
                    judge(pl.DataFrame(pa.Table.from_batches([], needed)))
                    schemas.append(needed)
            except InputError as error:
                raise InputError(f"{path}: {error.what}", error.why, error.fix) from error

    def spans(self, most_rows: int, time: str = "", least_us: int = 0, end_us: int = 0) -> list[Span]:
        """All rows, in spans of at most so many (unless a row group has more); with `time`, without the row groups
        that have no row at least_us <= time < end_us.
        """
        found: list[Span] = []
        first_row = 0
        for path, metadata in self.files:
            is_open = False
            for group, bounds in enumerate(_bounds(metadata, time)):
                rows = metadata.row_group(group).num_rows
                if bounds and (bounds[1] < least_us or bounds[0] >= end_us):
                    is_open = False
                elif is_open and found[-1].rows + rows <= most_rows:
                    last = found[-1]
                    found[-1] = Span(path, metadata, (*last.groups, group), last.first_row, last.rows + rows)
                else:
                    found.append(Span(path, metadata, (group,), first_row, rows))
                    is_open = True
                first_row += rows if is_open else 0
        return found


def open_history(name: str, path: str) -> History:
    """A file, all below a folder, or those of a pattern such as data/**/*.parquet, for the source of this name.

    Files whose names begin with '.' or '_' do not count, nor do empty ones. Raises UsageError if there are none,
    InputError for one that is no Parquet file.
    """
    return History(name, tuple((file, _footer(file)) for file in _find(name, path)))


def read_span(span: Span, columns: Sequence[str], most_rows: int) -> Iterator[tuple[int, pl.DataFrame]]:
    """The number of the first row, and rows with these columns, at most so many at a time. Raises InputError."""
    first = span.first_row
    try:
        with pq.ParquetFile(span.file, metadata=span.metadata) as file:
            if span.rows <= most_rows:
                table = file.read_row_groups(span.groups, columns=list(columns), use_threads=False)
                yield first, checked_frame(table, span.file)
                return
            for batch in file.iter_batches(most_rows, span.groups, list(columns), use_threads=False):
                yield first, checked_frame(pa.Table.from_batches([batch]), span.file)
                first += batch.num_rows
    except ERRORS as error:
        reason = str(error).split("\n", 1)[0]
        raise InputError(f"{span.file}: cannot be read", reason, "write the file anew") from error


def checked_frame(table: pa.Table, path: Path) -> pl.DataFrame:
    """A frame of what a file has. Polars trusts that texts are UTF-8; Parquet's writers and readers do not look.

    Raises InputError if they are not.
    """
    for name, column in zip(table.column_names, table.itercolumns(), strict=True):
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            try:
                column.validate(full=True)
            except pa.ArrowInvalid as error:
                raise InputError(f"{path}: {name!r} has text that is not UTF-8", fix="mend the file") from error
    return pl.DataFrame(table)


def _find(name: str, path: str) -> list[Path]:
    if not path:
        raise UsageError(f"{name!r} has no history", fix="name its Parquet files in the definition")
    # Writers leave empty files where they had no rows.
    files = [file for file in parquet_files(path) if file.stat().st_size]
    if not files:
        why = "no Parquet file there has anything in it" if Path(path).exists() else "there is nothing"
        raise UsageError(f"{path}: no history of {name!r}", why, "check the path in the definition")
    return files


def _footer(path: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(path)
    except ERRORS as error:
        reason = str(error).split("\n", 1)[0]
        raise InputError(f"{path}: not a readable Parquet file", reason, "give Parquet files") from error


def _bounds(metadata: pq.FileMetaData, time: str) -> list[tuple[int, int] | None]:
    """The earliest and the latest time of each row group, where the file says so."""
    bounds: list[tuple[int, int] | None] = [None] * metadata.num_row_groups
    if not time:
        return bounds
    unit = _unit(metadata.schema.to_arrow_schema().field(time).type)
    place = next(place for place in range(metadata.num_columns) if metadata.schema.column(place).path == time)
    for group in range(metadata.num_row_groups):
        statistics = metadata.row_group(group).column(place).statistics
        if unit and statistics is not None and statistics.has_min_max and isinstance(statistics.min_raw, int):
            low, high = (raw * unit[0] // unit[1] for raw in (statistics.min_raw, statistics.max_raw))
            bounds[group] = low, high
    return bounds


def _unit(type_: Any) -> tuple[int, int] | None:
    """What a file counts times in, as a fraction of a microsecond; None for what is not counted so."""
    if pa.types.is_date32(type_):
        return US_PER_DAY, 1
    if pa.types.is_signed_integer(type_):
        return 1, 1
    return {"ms": (1000, 1), "us": (1, 1), "ns": (1, 1000)}.get(getattr(type_, "unit", ""))
