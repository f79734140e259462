"""Texts of CSV and values of JSON become Arrow arrays, as `mlkit predict` takes them.

Every function also returns the rows at fault, with the reason; such a row is null in the array.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from mlops_kit.assembly import conform
from mlops_kit.errors import ColumnValueError
from mlops_kit.modes.once.rows import LARGEST_EXACT, csv_value
from mlops_kit.schema import FLOATS, INTEGERS, Array, Column, Tensor

Faults = dict[int, ColumnValueError]

TRUTHS = {
    "true": True,
    "True": True,
    "TRUE": True,
    "1": True,
    "false": False,
    "False": False,
    "FALSE": False,
    "0": False,
}
"""The usual spellings; others take longer."""

DTYPES: dict[str, Any] = {
    "float64": pl.Float64,
    "int64": pl.Int64,
    "uint64": pl.UInt64,
    "bool": pl.Boolean,
    "string": pl.String,
}
PLAIN_TYPES: dict[str, set[type]] = {
    "float64": {float, int},
    "int64": {int},
    "uint64": {int},
    "bool": {bool},
    "string": {str},
}


def arrow_type(column: Column) -> pa.DataType:
    """How a source gives a column: nothing is rounded, and a whole number may be null."""
    type_ = pa.type_for_alias(_storage(column))
    for size in reversed(column.shape):
        type_ = pa.list_(type_) if size is None else pa.list_(type_, size)
    return type_


def array_of_texts(texts: pa.Array, column: Column) -> tuple[pa.Array, Faults]:
    """A column of CSV, in which empty fields are null."""
    if column.dtype == "string":
        return texts, {}
    series = pl.Series(texts)
    if column.dtype == "bool":
        values = series.replace_strict(TRUTHS, default=None, return_dtype=pl.Boolean)
    else:
        # Whatever Polars reads, Python reads likewise; but Python reads more, such as " 1" and "1_000".
        values = series.cast(DTYPES[_storage(column)], strict=False)
        if column.dtype in INTEGERS and values.null_count() > series.null_count():
            values = values.fill_null(_whole_floats(series.cast(pl.Float64, strict=False), values.dtype))
    doubtful = (values.is_null() & series.is_not_null()).arg_true()
    if len(doubtful):
        read, faults = _each(series.gather(doubtful).to_list(), lambda text: _text_value(text, column))
        values = values.scatter(doubtful, pl.Series(read, dtype=values.dtype))
        return values.to_arrow(), {int(doubtful[row]): error for row, error in faults.items()}
    return values.to_arrow(), {}


def array_of_values(values: Sequence[Any], column: Column) -> tuple[pa.Array, Faults]:
    """A column of JSON."""
    if column.shape:
        return _array_of_lists(values, column)
    storage = _storage(column)
    faults: Faults = {}
    plain = PLAIN_TYPES[storage]
    if not set(map(type, values)) <= {*plain, type(None)}:
        values, faults = _each(
            values, lambda value: value if type(value) in plain or value is None else _value(value, column)
        )
    try:
        series = pl.Series(values, dtype=DTYPES[storage], strict=storage != "float64")
    except (OverflowError, TypeError):
        values, out_of_range = _each(values, lambda value: None if value is None else _value(value, column))
        series = pl.Series(values, dtype=DTYPES[storage])
        faults |= out_of_range
    return series.to_arrow().cast(arrow_type(column)), faults


def _array_of_lists(values: Sequence[Any], column: Column) -> tuple[pa.Array, Faults]:
    rows: list[Any] = []
    faults: Faults = {}
    try:
        rows = _conform_lists(values, column).tolist() if values else []
    except ColumnValueError:
        rows, faults = _each(values, lambda value: _conform_lists([value], column)[0].tolist())
    dtype = DTYPES[_storage(column)]
    for size in reversed(column.shape):
        dtype = pl.List(dtype) if size is None else pl.Array(dtype, size)
    return pl.Series(rows, dtype=dtype).to_arrow().cast(arrow_type(column)), faults


def _storage(column: Column) -> str:
    if column.dtype in FLOATS:
        return "float64"
    return "int64" if column.dtype in INTEGERS and column.dtype != "uint64" else column.dtype


def _whole_floats(numbers: pl.Series, dtype: Any) -> pl.Series:
    """As `csv_value` reads 25.0; null where that would not be the same number."""
    is_whole = (numbers == numbers.floor()) & (numbers.abs() <= LARGEST_EXACT)
    return numbers.set(~is_whole.fill_null(False), None).cast(dtype, strict=False)


def _text_value(text: str, column: Column) -> Any:
    return _value(csv_value(text, 0, column), column)


def _value(value: Any, column: Column) -> Any:
    """What the Predictor makes of a value. Raises ColumnValueError where it would."""
    array = np.empty(1, object)
    array[0] = value
    return conform(array, column, _tensor(column)).item()


def _conform_lists(values: Sequence[Any], column: Column) -> Array:
    try:
        array = np.array(values)
    except ValueError as error:
        raise ColumnValueError(column.name, "lists of equal lengths", "lists of different lengths") from error
    return conform(array, column, _tensor(column))


def _tensor(column: Column) -> Tensor:
    return Tensor(column.name, _storage(column), (column.name,), "array")


def _each(values: Sequence[Any], read: Callable[[Any], Any]) -> tuple[list[Any], Faults]:
    """Every value that can be read, None for the others, and why."""
    done: list[Any] = []
    faults: Faults = {}
    for row, value in enumerate(values):
        try:
            done.append(read(value))
        except ColumnValueError as error:
            done.append(None)
            faults[row] = error
    return done, faults
