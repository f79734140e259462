"""Arrow batches become the Predictor's columns; and, where it refuses them, which rows are at fault."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import polars as pl
import pyarrow as pa

from mlops_kit.assembly import conform
from mlops_kit.errors import ColumnValueError, InputError
from mlops_kit.frames import columns_of, frame_of
from mlops_kit.schema import Array, Column, Signature, Tensor

DTYPES = {"halffloat": "float16", "float": "float32", "double": "float64"}
"""What NumPy calls Arrow's types, if it is not the same."""

NOT_UTF8 = "bytes that are not UTF-8, where text belongs"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row of a batch that cannot be predicted, and why."""

    row: int
    column: str
    reason: str


def columns_of_batch(batch: pa.RecordBatch, names: Sequence[str]) -> dict[str, Array]:
    """The columns as the Predictor takes them; zero-copy for numbers without nulls.

    Raises InputError for a type that no model takes, for bytes that are not UTF-8, for lists of several lengths.
    """
    columns: dict[str, Array] = {}
    for name in names:
        array = batch.column(name)
        values = _text_column(array) if is_text(array.type) else _numbers(array)
        if values is not None:
            columns[name] = values
    rest = [name for name in names if name not in columns]
    converted, others = columns_of(_frame(batch, rest)) if rest else ({}, {})
    if others:
        name, dtype = next(iter(others.items()))
        raise InputError(f"column {name!r} is {dtype}", "which no model takes as it is", "cast it with --sql")
    return {**columns, **converted}


def table_of_outputs(outputs: Mapping[str, Array]) -> pa.Table:
    """The predictions; zero-copy for numbers."""
    # By way of Polars, because PyArrow imports pandas to see whether that is what it was given.
    others = {
        name: values for name, values in outputs.items() if values.ndim != 1 or values.dtype.kind not in "fiu"
    }
    table = frame_of(others).to_arrow() if others else None
    arrays = [
        table[name] if table is not None and name in others else _array_of(outputs[name]) for name in outputs
    ]
    return pa.Table.from_arrays(arrays, names=list(outputs))


def check_texts(batch: pa.RecordBatch) -> None:
    """Raise InputError for text that is not UTF-8: Parquet's writers and readers do not look."""
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        if is_text(array.type):
            try:
                array.validate(full=True)
            except pa.ArrowInvalid as error:
                raise ColumnValueError(name, "text", "bytes that are not UTF-8") from error


def refusals(signature: Signature, batch: pa.RecordBatch) -> list[Refusal]:
    """Every row that the signature refuses, with the first column that is at fault, by row."""
    found: dict[int, Refusal] = {}
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        if is_text(array.type):
            for row in _rows_not_utf8(array):
                found.setdefault(row, Refusal(row, name, NOT_UTF8))
    tensors = {name: tensor for tensor in signature.tensors for name in tensor.columns}
    for column in signature.columns:
        rows = np.array([row for row in range(batch.num_rows) if row not in found], np.int64)
        series = _frame(batch.take(_indices(rows)), [column.name]).to_series()
        for refusal in _refused_values(column, tensors[column.name], series):
            row = int(rows[refusal.row])
            found[row] = Refusal(row, refusal.column, refusal.reason)
    return [found[row] for row in sorted(found)]


def record_of(batch: pa.RecordBatch, row: int) -> str:
    """One row as JSON; bytes that are not UTF-8 are escaped."""
    values = {}
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        scalar = array.slice(row, 1)
        if is_text(scalar.type):
            raw = _as_binary(scalar)[0].as_py()
            values[name] = None if raw is None else raw.decode(errors="backslashreplace")
        else:
            values[name] = _plain(scalar[0])
    return orjson.dumps(values, default=str).decode()


def is_text(type_: pa.DataType) -> bool:
    """Whether it is text, dictionary-encoded or not."""
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_))


def _numbers(array: pa.Array) -> Array | None:
    """The memory of the array itself where it has no nulls; None for what is no plain number."""
    is_float = pa.types.is_floating(array.type)
    if not is_float and (array.null_count or not pa.types.is_integer(array.type)):
        return None
    # PyArrow's own ways to NumPy import pandas.
    validity, data = array.buffers()
    rows = slice(array.offset, array.offset + len(array))
    values = np.frombuffer(data, DTYPES.get(str(array.type), str(array.type)), count=rows.stop)[rows]
    if not array.null_count:
        return values
    is_valid = np.unpackbits(np.frombuffer(validity, np.uint8), count=rows.stop, bitorder="little")[rows]
    return np.where(is_valid, values, values.dtype.type(np.nan))


def _array_of(values: Array) -> pa.Array:
    values = np.ascontiguousarray(values)
    type_ = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(type_, len(values), [None, pa.py_buffer(values)])


def _frame(batch: pa.RecordBatch, names: Sequence[str]) -> pl.DataFrame:
    """Decimals become the nearest float64: that is how databases write what models know as floats."""
    arrays = [batch.column(name) for name in names]
    arrays = [array.cast(pa.float64()) if pa.types.is_decimal(array.type) else array for array in arrays]
    return pl.DataFrame(pa.RecordBatch.from_arrays(arrays, names=list(names)))


def _plain(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):  # times that Python has none for
        return scalar.value


def _text_column(array: pa.Array) -> Array:
    """Objects; those of equal rows are one and the same where the array is a dictionary."""
    if not pa.types.is_dictionary(array.type):
        return pl.Series(array).to_numpy().astype(object)
    words = np.empty(len(array.dictionary) + 1, object)
    words[:-1] = array.dictionary.to_pylist()
    indices = pl.Series(array.indices).fill_null(len(array.dictionary)).to_numpy()
    return words[indices]  # type: ignore[no-any-return]


def _refused_values(column: Column, tensor: Tensor, series: pl.Series) -> Iterator[Refusal]:
    rows = np.arange(len(series))
    if isinstance(series.dtype, pl.List) and column.shape:
        lengths, size = series.list.len(), column.shape[0]
        wrong = np.zeros(len(series), bool) if size is None else (lengths.fill_null(size) != size).to_numpy()
        for row in np.flatnonzero(wrong):
            yield Refusal(int(row), column.name, f"a list of {lengths[int(row)]} where {size} belong")
        rows = np.flatnonzero(~wrong)
        series = series.gather(rows)
    yield from _bisect(column, tensor, series, rows)


def _bisect(column: Column, tensor: Tensor, series: pl.Series, rows: Array) -> Iterator[Refusal]:
    """Halve what is refused until single rows are left: what is fine is settled in few calls."""
    if not len(rows):
        return
    converted, others = columns_of(series.to_frame())
    reason = f"{others[column.name]} where the model takes {column.expected}" if others else ""
    try:
        if not others:
            conform(converted[column.name], column, tensor)
    except ColumnValueError as error:
        reason = f"{error.found} where the model takes {error.expected}"
    if reason:
        if len(rows) == 1:
            yield Refusal(int(rows[0]), column.name, reason)
            return
        middle = len(rows) // 2
        yield from _bisect(column, tensor, series[:middle], rows[:middle])
        yield from _bisect(column, tensor, series[middle:], rows[middle:])


def _rows_not_utf8(array: pa.Array) -> Iterator[int]:
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        for row, raw in enumerate(_as_binary(array).to_pylist()):
            try:
                (raw or b"").decode()
            except UnicodeDecodeError:
                yield row


def _as_binary(array: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(array.type):
        return pa.DictionaryArray.from_arrays(array.indices, _as_binary(array.dictionary)).dictionary_decode()
    return array.cast(pa.large_binary() if pa.types.is_large_string(array.type) else pa.binary())


def _indices(rows: Array) -> pa.Array:
    return pl.Series(rows).to_arrow()
