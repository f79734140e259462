"""One chunk of rows through the Predictor: the same function in every engine."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from mlops_kit.errors import InputError, MissingColumnsError, UsageError, listed
from mlops_kit.modes.batch.conversion import (
    check_texts,
    columns_of_batch,
    is_text,
    record_of,
    refusals,
    table_of_outputs,
)
from mlops_kit.modes.batch.sources.interface import BadRow, Chunk
from mlops_kit.modes.batch.sources.where import RowFilter
from mlops_kit.predictor import Predictor
from mlops_kit.schema import INTEGERS, Array


@dataclass(frozen=True, slots=True)
class Scored:
    """A chunk's predictions, of the scorer's schema, and its bad rows."""

    predictions: pa.Table
    records: int
    bad: tuple[BadRow, ...]


class Scorer:
    """Filters, predicts and passes columns through. Threads may share it if they may share `where`."""

    def __init__(
        self, predictor: Predictor, keep: Sequence[str], where: RowFilter | None, offered: pa.Schema
    ) -> None:
        """`offered` are the columns that the source has. Raises MissingColumnsError, InputError and UsageError
        where it does not have what is needed, before anything is read.
        """
        self._needed = tuple(column.name for column in predictor.signature.columns)
        self.keep = tuple(keep)
        self.columns = tuple(dict.fromkeys((*keep, *self._needed, *(where.columns if where else ()))))
        _check_columns(predictor, self.columns, offered)
        self._predictor = predictor
        self._where = where
        self._kept_types = [_stored_type(offered.field(name).type) for name in keep]
        self._kept_schema = pa.schema(list(zip(keep, self._kept_types, strict=True)))
        self.schema = self._predict(_no_rows(offered, self.columns)).schema

    def score(self, chunk: Chunk) -> Scored:
        """Raises InputError if the model fails on rows that fit its signature."""
        batch, numbers = chunk.rows, chunk.numbers
        if self._where is not None:
            rows = np.flatnonzero(self._where.mask(batch))
            if len(rows) < batch.num_rows:
                numbers = _numbers(chunk)[rows]
                batch = batch.take(_arrow(rows))
        try:
            return Scored(self._predict(batch), chunk.records, chunk.bad)
        except InputError:
            refused = refusals(self._predictor.signature, batch)
            if not refused:
                raise
        numbers = _numbers(chunk) if numbers is None else numbers
        bad = [BadRow(int(numbers[r.row]), r.column, r.reason, record_of(batch, r.row)) for r in refused]
        good = np.delete(np.arange(batch.num_rows), [refusal.row for refusal in refused])
        return Scored(self._predict(_rows(batch, good)), chunk.records, (*chunk.bad, *bad))

    def _predict(self, batch: pa.RecordBatch) -> pa.Table:
        check_texts(batch)
        outputs = self._predictor.predict_columns(columns_of_batch(batch, self._needed))
        answers = table_of_outputs(outputs)
        kept = [
            _stored(name, batch.column(name), type_)
            for name, type_ in zip(self.keep, self._kept_types, strict=True)
        ]
        schema = pa.schema([*self._kept_schema, *answers.schema])
        return pa.Table.from_arrays([*kept, *answers.columns], schema=schema)


def check_kept(predictor: Predictor, keep: Sequence[str]) -> None:
    """Raise UsageError for a column that would be called as a prediction is."""
    outputs = {output.name for output in predictor.signature.outputs}
    if clashing := [name for name in keep if name in outputs]:
        raise UsageError(
            f"cannot keep {listed(clashing)}", "the predictions have that name", "rename it in the input"
        )


def _check_columns(predictor: Predictor, columns: Sequence[str], offered: pa.Schema) -> None:
    if missing := [name for name in columns if name not in offered.names]:
        raise MissingColumnsError(missing, offered.names)
    for column in predictor.signature.columns:
        type_ = offered.field(column.name).type
        if is_text(type_) and column.dtype != "string":
            kind = "BIGINT" if column.dtype in INTEGERS else "DOUBLE"
            fix = f'cast it: --sql "SELECT … TRY_CAST({column.name} AS {kind}) …"'
            raise InputError(f"column {column.name!r} is text where the model takes {column.expected}", fix=fix)


def _no_rows(offered: pa.Schema, columns: Sequence[str]) -> pa.RecordBatch:
    schema = pa.schema([offered.field(name) for name in columns])
    return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)


def _stored_type(type_: pa.DataType) -> pa.DataType:
    """Dictionaries differ from slice to slice, and are the file's affair."""
    return type_.value_type if pa.types.is_dictionary(type_) else type_


def _stored(name: str, array: pa.Array, type_: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if array.type == type_:
        return array
    try:
        return array.cast(type_)
    except pa.ArrowException as error:
        why = f"this file has {array.type}, the first has {type_}"
        raise InputError(f"column {name!r} cannot be kept", why, "write the files with one type") from error


def _numbers(chunk: Chunk) -> Array:
    return np.arange(chunk.first, chunk.first + chunk.rows.num_rows) if chunk.numbers is None else chunk.numbers


def _rows(batch: pa.RecordBatch, rows: Array) -> pa.RecordBatch:
    """Some rows; a dictionary's words that no row has any more are gone."""
    taken = batch.take(_arrow(rows))
    arrays = [
        array.dictionary_decode() if pa.types.is_dictionary(array.type) else array for array in taken.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, names=taken.schema.names)


def _arrow(rows: Array) -> pa.Array:
    return pl.Series(rows).to_arrow()
