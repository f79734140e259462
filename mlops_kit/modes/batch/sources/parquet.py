"""Parquet files: a unit is a span of row groups; the folders of a hive-partitioned dataset are columns."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mlops_kit.errors import InputError, MissingColumnsError
from mlops_kit.modes.batch.sources.hive import hive_columns
from mlops_kit.modes.batch.sources.interface import Chunk, Unit

UNIT_ROWS = 250_000
"""Rows after which a unit ends with its row group: some tenths of a second of work for a model of trees."""

WHOLE_GROUP_BYTES = 2**26
"""Uncompressed bytes, of all columns, up to which a row group is decoded in one go."""

ERRORS = (pa.ArrowException, OSError)


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    schema: pa.Schema
    group_rows: tuple[int, ...]
    fingerprint: str
    hive: Mapping[str, pl.Series]


class ParquetSource:
    """Parquet files below `root`, in the order given. Raises InputError for a file that is damaged or lacks a
    column of `needed`.

    A file is taken as unchanged while its size, time and footer are; or while `version` is, for a copy that is
    made anew by each run.
    """

    def __init__(self, root: Path, files: Sequence[Path], needed: Sequence[str], *, version: str = "") -> None:
        hive = hive_columns([file.relative_to(root) for file in files])
        opened = [_open_file(file, hive.values(file.relative_to(root))) for file in files]
        for file in opened:
            _check_columns(file, [name for name in needed if name not in hive.types])
        self._files = {str(file.path): file for file in opened}
        self.folder_columns = tuple(hive.types)
        self.units = tuple(unit for file in opened for unit in _units(file, root, version))
        common = [field for field in opened[0].schema if all(field.name in file.schema.names for file in opened)]
        in_files = [field for field in common if field.name not in hive.types]
        self.schema = pa.schema([*in_files, *(pa.field(name, type_) for name, type_ in hive.types.items())])

    def chunks(self, unit: Unit, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
        """The unit's rows. Text comes dictionary-encoded where the file has it so."""
        file = self._files[unit.source]
        stored = [name for name in columns if name not in file.hive]
        texts = [name for name in stored if _is_text(self.schema.field(name).type)]
        first = 0
        try:
            with pq.ParquetFile(file.path, read_dictionary=texts) as parquet:
                for batch in _batches(parquet, range(*unit.span), stored, rows):
                    yield Chunk(_with_hive(batch, columns, file.hive), first, batch.num_rows)
                    first += batch.num_rows
        except ERRORS as error:
            reason = str(error).split("\n", 1)[0]
            raise InputError(
                f"{file.path}: cannot be read", reason, "write the file anew, and run again"
            ) from error
        if _fingerprint(file.path) != file.fingerprint:
            raise InputError(f"{file.path}: changed while it was read", fix="run again when it is written")


def _batches(
    parquet: pq.ParquetFile, groups: Iterable[int], columns: Sequence[str], rows: int
) -> Iterator[pa.RecordBatch]:
    """A row group at a time where it is not too large, which is twice as fast as by so many rows."""
    for group in groups:
        if parquet.metadata.row_group(group).total_byte_size <= WHOLE_GROUP_BYTES:
            table = parquet.read_row_group(group, columns=columns, use_threads=False)
            yield from table.to_batches(rows) if table.num_columns else ()
        else:
            yield from parquet.iter_batches(rows, row_groups=[group], columns=columns, use_threads=False)


def _open_file(path: Path, hive: Mapping[str, pl.Series]) -> _File:
    try:
        fingerprint = _fingerprint(path)
        with pq.ParquetFile(path) as parquet:
            metadata = parquet.metadata
            groups = tuple(metadata.row_group(index).num_rows for index in range(metadata.num_row_groups))
            return _File(path, parquet.schema_arrow, groups, fingerprint, hive)
    except ERRORS as error:
        reason = str(error).split("\n", 1)[0]
        raise InputError(f"{path}: not a readable Parquet file", reason, "give Parquet files") from error


def _check_columns(file: _File, needed: Sequence[str]) -> None:
    names = file.schema.names
    if missing := [name for name in needed if name not in names]:
        error = MissingColumnsError(missing, [*names, *file.hive])
        raise InputError(f"{file.path}: {error.what}", error.why, error.fix)
    if twice := [name for name in needed if names.count(name) > 1]:
        raise InputError(f"{file.path}: two columns are called {twice[0]!r}", fix="rename one of them")


def _units(file: _File, root: Path, version: str) -> Iterator[Unit]:
    stem = file.path.relative_to(root).with_suffix("")
    first_group = first_row = rows = 0
    for index, group_rows in enumerate(file.group_rows or (0,)):
        rows += group_rows
        is_last = index + 1 >= len(file.group_rows)
        if rows >= UNIT_ROWS or is_last:
            span = (first_group, min(index + 1, len(file.group_rows)))
            identity = f"{version or file.fingerprint}:{span}:{[value[0] for value in file.hive.values()]}"
            part, fingerprint = f"{stem}-{first_row:012d}.parquet", _digest(identity.encode())
            yield Unit(str(file.path), part, fingerprint, span, rows, first_row)
            first_group, first_row, rows = index + 1, first_row + rows, 0


def _fingerprint(path: Path) -> str:
    """Changes when the file is written anew: its size, its time, and its footer with the statistics."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        file.seek(max(0, status.st_size - 8))
        length = int.from_bytes(file.read(4), "little")
        file.seek(max(0, status.st_size - 8 - length))
        return _digest(f"{status.st_size}:{status.st_mtime_ns}:".encode() + file.read(length))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _is_text(type_: pa.DataType) -> bool:
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))


def _with_hive(batch: pa.RecordBatch, columns: Sequence[str], hive: Mapping[str, pl.Series]) -> pa.RecordBatch:
    if not hive:
        return batch.select(columns)
    arrays = [
        hive[name].new_from_index(0, batch.num_rows).to_arrow() if name in hive else batch.column(name)
        for name in columns
    ]
    return pa.RecordBatch.from_arrays(arrays, names=list(columns))
