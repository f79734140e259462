"""Python objects, as JSON and data frames give them, become arrays of text or of numbers, or are refused."""

import numpy as np

from mlops_kit.errors import ColumnValueError
from mlops_kit.schema import FLOATS, INTEGERS, Array, Column

NAMES_OF_KINDS = {
    str: "text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    bytes: "bytes",
    list: "a list",
    dict: "an object",
}


def texts_of(values: Array, column: Column, null_text: str) -> Array:
    """An object array of `str`, with `null_text` where a value is missing; `values` itself if nothing is."""
    if set(map(type, values.flat)) <= {str}:
        return values
    missing = _mask(values, [is_missing(value) or _is_nan(value) for value in values.flat])
    if not column.nullable and missing.any():
        raise ColumnValueError(column.name, "text", "a missing value", first_row(missing))
    wrong = _mask(values, [not isinstance(value, str) for value in values.flat]) & ~missing
    if wrong.any():
        raise ColumnValueError(column.name, "text", _kind(values[wrong][0]), first_row(wrong))
    filled = values.copy()
    filled[missing] = null_text
    return filled


def numbers_of(values: Array, column: Column) -> Array:
    """float64 for a float column, with NaN where a value is missing; else whole numbers, which never pass
    through float64, because that would round them.
    """
    flat = values.ravel().tolist()
    if (plain := _plain_numbers(flat, column)) is not None:
        return plain.reshape(values.shape)
    flat = [value.item() if isinstance(value, np.generic) else value for value in flat]
    missing = _mask(values, [is_missing(value) for value in flat])
    taken = (int, float, bool) if column.dtype == "bool" else (int, float)
    wrong = _mask(values, [type(value) not in taken for value in flat]) & ~missing
    if wrong.any():
        raise ColumnValueError(column.name, column.expected, _kind(values[wrong][0]), first_row(wrong))
    if column.dtype in FLOATS:
        if missing.any() and not column.nullable:
            raise ColumnValueError(column.name, column.expected, "a missing value", first_row(missing))
        return np.array([np.nan if value is None else _as_float(value) for value in flat]).reshape(values.shape)
    if missing.any():
        raise ColumnValueError(column.name, column.expected, "a missing value", first_row(missing))
    return _whole_numbers(flat, values, column)


def is_missing(value: object) -> bool:
    """Whether a value is None, or pandas' own mark of a missing one."""
    return value is None or type(value).__name__ in {"NAType", "NaTType"}


def first_row(mask: Array) -> int:
    """The first row in which anything is true."""
    return int(mask.reshape(len(mask), -1).any(axis=1).argmax())


def _plain_numbers(flat: list[object], column: Column) -> Array | None:
    """What most columns are, an order of magnitude faster: nothing but numbers of the column's kind."""
    kinds = set(map(type, flat))
    try:
        if column.dtype in FLOATS and kinds <= {int, float}:
            return np.array(flat, np.float64)
        if column.dtype in INTEGERS and kinds == {int}:
            return np.array(flat, np.int64)
    except OverflowError:
        pass
    return None


def _whole_numbers(flat: list[float], values: Array, column: Column) -> Array:
    if any(isinstance(value, float) and not value.is_integer() for value in flat):
        return np.array([_as_float(value) for value in flat]).reshape(values.shape)
    whole = [int(value) if isinstance(value, float) else value for value in flat]
    low, high = (0, 2**64) if column.dtype == "uint64" else (-(2**63), 2**63)
    out_of_range = _mask(values, [not low <= value < high for value in whole])
    if out_of_range.any():
        raise ColumnValueError(
            column.name, column.expected_range, "a number out of range", first_row(out_of_range)
        )
    return np.array(whole).reshape(values.shape)


def _mask(values: Array, flags: list[bool]) -> Array:
    return np.array(flags, bool).reshape(values.shape)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and value != value


def _as_float(value: float) -> float:
    """Python's integers have no limit, and float() refuses the largest."""
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf


def _kind(value: object) -> str:
    return NAMES_OF_KINDS.get(type(value), f"a {type(value).__name__}")
