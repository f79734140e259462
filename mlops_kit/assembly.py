"""Columns become tensors: the one place where values are checked, defaulted and cast to the model's dtypes.

Integers become float64 before they become float32, so that a row given as Python numbers and the same row
in an int64 column end as the same bits.
"""

from collections.abc import Mapping

import numpy as np

from mlops_kit.errors import ColumnValueError, InputError, MissingColumnsError
from mlops_kit.schema import FLOATS, INTEGERS, Array, Column, Columns, Signature, Tensor

EXPECTED = {"bool": "true or false", "string": "text"}
NUMBER_TYPES = frozenset({int, float, bool, np.float64, np.float32, np.int64, np.int32, np.bool_})
WHOLE_TYPES = frozenset({int, bool, np.int64, np.int32, np.bool_})


def assemble(signature: Signature, columns: Columns) -> dict[str, Array]:
    """Every tensor of the graph from columns of equal length; zero-copy where dtypes allow.

    Raises MissingColumnsError, or ColumnValueError with the column and the first offending row.
    """
    if missing := [column.name for column in signature.columns if column.name not in columns]:
        raise MissingColumnsError(missing, columns)
    by_name = {column.name: column for column in signature.columns}
    tensors = {tensor.name: _assemble_tensor(tensor, by_name, columns) for tensor in signature.tensors}
    if len({len(tensor) for tensor in tensors.values()}) > 1:
        lengths = {column.name: len(columns[column.name]) for column in signature.columns}
        raise InputError("the columns differ in length", ", ".join(f"{k}: {n}" for k, n in lengths.items()))
    return tensors


def _assemble_tensor(tensor: Tensor, by_name: Mapping[str, Column], columns: Columns) -> Array:
    if tensor.layout == "array":
        name = tensor.columns[0]
        return conform(columns[name], by_name[name], tensor)
    parts = [conform(columns[name], by_name[name], tensor) for name in tensor.columns]
    if len(parts) == 1:
        return parts[0].reshape(-1, 1)
    if len({len(part) for part in parts}) > 1:
        lengths = {name: len(columns[name]) for name in tensor.columns}
        raise InputError("the columns differ in length", ", ".join(f"{k}: {n}" for k, n in lengths.items()))
    matrix = np.empty((len(parts[0]), len(parts)), parts[0].dtype)
    for index, part in enumerate(parts):
        matrix[:, index] = part
    return matrix


def conform(values: Array, column: Column, tensor: Tensor) -> Array:
    """One column as the tensor's dtype. Raises ColumnValueError for what the model cannot take."""
    values = np.asarray(values)
    _check_shape(values, column)
    if tensor.dtype == "string":
        return _strings(values, column, tensor.null_text)
    if values.dtype.kind not in "fiub":
        values = _numbers(values, column)
    _check_kind(values, column)
    if values.dtype.kind == "f" and not column.nullable:
        _refuse_missing(values, column)
    return _cast(values, column, tensor.dtype)


def expected_values(column: Column) -> str:
    """What a column takes, for an error message: "a whole number", "text"."""
    if column.dtype in FLOATS:
        return "a number"
    return EXPECTED.get(column.dtype, "a whole number")


def _check_shape(values: Array, column: Column) -> None:
    shape = values.shape[1:]
    fits = len(shape) == len(column.shape) and all(
        want in (None, got) for want, got in zip(column.shape, shape, strict=True)
    )
    if values.ndim == 0 or not fits:
        want = ", ".join("any" if size is None else str(size) for size in column.shape)
        raise ColumnValueError(
            column.name,
            f"values of shape ({want})" if column.shape else "single values",
            f"values of shape {shape}",
        )


def _strings(values: Array, column: Column, null_text: str) -> Array:
    if values.dtype.kind in "UT":
        return values.astype(object)
    if values.dtype.kind != "O":
        raise ColumnValueError(column.name, "text", f"{values.dtype} values")
    kinds = set(map(type, values.flat))
    if kinds <= {str}:
        return values
    nulls = np.array([value is None or value != value for value in values.flat], bool).reshape(values.shape)
    if not column.nullable and nulls.any():
        raise ColumnValueError(column.name, "text", "a missing value", _first(nulls))
    wrong = np.array([not isinstance(value, str) for value in values.flat], bool).reshape(values.shape) & ~nulls
    if wrong.any():
        raise ColumnValueError(column.name, "text", f"{_kind(values[wrong][0])}", _first(wrong))
    filled = values.copy()
    filled[nulls] = null_text
    return filled


def _numbers(values: Array, column: Column) -> Array:
    """Numbers out of Python objects, with None as NaN."""
    expected = expected_values(column)
    if values.dtype.kind != "O":
        raise ColumnValueError(
            column.name, expected, "text" if values.dtype.kind in "UST" else f"{values.dtype} values"
        )
    kinds = set(map(type, values.flat))
    if not kinds <= NUMBER_TYPES:
        nulls = np.array([value is None for value in values.flat], bool)
        wrong = np.array([type(v) not in NUMBER_TYPES and v is not None for v in values.flat], bool)
        if wrong.any():
            row = _first(wrong.reshape(values.shape))
            raise ColumnValueError(column.name, expected, _kind(values.flat[int(wrong.argmax())]), row)
        if not column.nullable or column.dtype not in FLOATS:
            raise ColumnValueError(column.name, expected, "a missing value", _first(nulls.reshape(values.shape)))
        return np.array([np.nan if v is None else _as_float(v) for v in values.flat], np.float64).reshape(
            values.shape
        )
    if column.dtype in FLOATS:
        return np.array([_as_float(value) for value in values.flat]).reshape(values.shape)
    if not kinds <= WHOLE_TYPES and column.dtype != "bool":
        _check_kind(np.array([_as_float(value) for value in values.flat]).reshape(values.shape), column)
    return _integers(values, column)


def _as_float(value: float) -> float:
    """Python's integers have no limit, and float() refuses the largest."""
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf


def _integers(values: Array, column: Column) -> Array:
    """Whole numbers as int64 or uint64, never by way of float64, which would round them."""
    flat = [int(v) if isinstance(v, (float, np.floating)) and v.is_integer() else v for v in values.flat]
    low, high = (0, 2**64) if column.dtype == "uint64" else (-(2**63), 2**63)
    out_of_range = np.array([not low <= value < high for value in flat], bool)
    if out_of_range.any():
        row = _first(out_of_range.reshape(values.shape))
        raise ColumnValueError(column.name, expected_values(column), "a number out of range", row)
    return np.array(flat).reshape(values.shape)


def _check_kind(values: Array, column: Column) -> None:
    """Refuse what a cast would change without saying so: fractions in integers, numbers in booleans."""
    if column.dtype == "bool" and values.dtype.kind != "b":
        wrong = (values != 0) & (values != 1)
    elif column.dtype in INTEGERS and values.dtype.kind == "f":
        if (missing := np.isnan(values)).any():
            raise ColumnValueError(column.name, "a whole number", "a missing value", _first(missing))
        wrong = (values != np.trunc(values)) | (np.abs(values) >= 2.0**63)
    else:
        return
    if wrong.any():
        raise ColumnValueError(column.name, expected_values(column), "another number", _first(wrong))


def _refuse_missing(values: Array, column: Column) -> None:
    # The sum is NaN if any value is; it is several times faster than isnan().any(), and mostly settles it.
    if np.isnan(values.sum()) and (missing := np.isnan(values)).any():
        raise ColumnValueError(column.name, expected_values(column), "a missing value", _first(missing))


def _cast(values: Array, column: Column, dtype: str) -> Array:
    target = np.dtype(dtype)
    if values.dtype == target:
        return values
    if column.dtype in INTEGERS:
        _check_range(values, column)
    if target == np.float32 and values.dtype.kind in "iu" and values.dtype.itemsize > 2:
        values = values.astype(np.float64)
    with np.errstate(over="ignore"):
        return values.astype(target)


def _check_range(values: Array, column: Column) -> None:
    limits = np.iinfo(column.dtype)
    if values.size and (int(values.min()) < limits.min or int(values.max()) > limits.max):
        wrong = (values < limits.min) | (values > limits.max)
        raise ColumnValueError(column.name, f"{column.dtype} numbers", "a number out of range", _first(wrong))


def _first(mask: Array) -> int:
    return int(mask.reshape(len(mask), -1).any(axis=1).argmax())


def _kind(value: object) -> str:
    names = {str: "text", bool: "true or false", bytes: "bytes", list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")
