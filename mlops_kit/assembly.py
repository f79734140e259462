"""Columns become tensors: the one place where values are checked, defaulted and cast to the model's dtypes.

Integers become float64 before they become float32, so that a row given as Python numbers and the same row
in an int64 column end as the same bits.
"""

from collections.abc import Mapping

import numpy as np

from mlops_kit.errors import ColumnValueError, InputError, MissingColumnsError
from mlops_kit.python_values import first_row, numbers_of, texts_of
from mlops_kit.schema import INTEGERS, Array, Column, Columns, Signature, Tensor


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
    parts = [_checked(columns[name], by_name[name], tensor) for name in tensor.columns]
    if len({len(part) for part in parts}) > 1:
        lengths = {name: len(columns[name]) for name in tensor.columns}
        raise InputError("the columns differ in length", ", ".join(f"{k}: {n}" for k, n in lengths.items()))
    # The cast happens on the way into the matrix: arrays in between would cost more than all the rest.
    matrix = np.empty((len(parts[0]), len(parts)), object if tensor.dtype == "string" else tensor.dtype)
    with np.errstate(over="ignore"):
        for index, part in enumerate(parts):
            matrix[:, index] = part
    return matrix


def conform(values: Array, column: Column, tensor: Tensor) -> Array:
    """One column as the tensor's dtype. Raises ColumnValueError for what the model cannot take."""
    values = _checked(values, column, tensor)
    if tensor.dtype == "string":
        return values
    with np.errstate(over="ignore"):
        return values.astype(tensor.dtype, copy=False)


def _checked(values: Array, column: Column, tensor: Tensor) -> Array:
    """Text, or numbers that a cast to the tensor's dtype rounds once at most."""
    values = np.asarray(values)
    _check_shape(values, column)
    kind = values.dtype.kind
    if tensor.dtype == "string":
        if kind not in "UTO":
            raise ColumnValueError(column.name, "text", f"{values.dtype} values")
        return texts_of(values if kind == "O" else values.astype(object), column, tensor.null_text)
    if kind == "O":
        values = numbers_of(values, column)
    elif kind not in "fiub":
        found = "text" if kind in "UST" else f"{values.dtype} values"
        raise ColumnValueError(column.name, column.expected, found)
    _check_kind(values, column)
    if values.dtype.kind == "f" and not column.nullable:
        _refuse_missing(values, column)
    if column.dtype in INTEGERS and values.dtype != tensor.dtype:
        _check_range(values, column)
    if tensor.dtype == "float32" and values.dtype.kind in "iu" and values.dtype.itemsize > 2:
        values = values.astype(np.float64)
    return values


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


def _check_kind(values: Array, column: Column) -> None:
    """Refuse what a cast would change without saying so: fractions in integers, and other kinds of values."""
    kind = values.dtype.kind
    if column.dtype == "bool":
        if kind != "b" and (wrong := (values != 0) & (values != 1)).any():
            found = "a number other than 0 and 1"
            raise ColumnValueError(column.name, column.expected, found, first_row(wrong))
    elif kind == "b":
        if values.size:
            raise ColumnValueError(column.name, column.expected, "true or false", 0)
    elif column.dtype in INTEGERS and kind == "f":
        if (missing := np.isnan(values)).any():
            raise ColumnValueError(column.name, column.expected, "a missing value", first_row(missing))
        if (wrong := values != np.trunc(values)).any():
            raise ColumnValueError(column.name, column.expected, "a number that is not whole", first_row(wrong))
        if (wrong := np.abs(values) >= 2.0**63).any():
            raise ColumnValueError(column.name, column.expected_range, "a number out of range", first_row(wrong))


def _refuse_missing(values: Array, column: Column) -> None:
    # The sum is NaN if any value is; it is several times faster than isnan().any(), and mostly settles it.
    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum()
    if np.isnan(total) and (missing := np.isnan(values)).any():
        raise ColumnValueError(column.name, column.expected, "a missing value", first_row(missing))


def _check_range(values: Array, column: Column) -> None:
    limits = np.iinfo(column.dtype)
    if values.size and (int(values.min()) < limits.min or int(values.max()) > limits.max):
        wrong = (values < limits.min) | (values > limits.max)
        raise ColumnValueError(column.name, column.expected_range, "a number out of range", first_row(wrong))
