"""The rows that a bench asks for."""

from typing import Any

import numpy as np
import polars as pl

from mlops_kit.errors import ColumnValueError, InputError, MissingColumnsError
from mlops_kit.schema import FLOATS, Column, Signature


def choose_rows(data: pl.DataFrame, signature: Signature, most: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that can be asked in every mode, and some of them in random order.

    Rows with a missing value are left out unless the column is of floats: not every protocol can express it.
    Raises MissingColumnsError, and InputError if there is no row left.
    """
    names = [column.name for column in signature.columns]
    if missing := [name for name in names if name not in data.columns]:
        raise MissingColumnsError(missing, data.columns)
    exact = [column for column in signature.columns if column.dtype not in FLOATS]
    whole = data.select(names).drop_nulls([column.name for column in exact])
    cast = [column for column in signature.columns if column.shape or column in exact]
    whole = whole.with_columns(_as_declared(whole[column.name], column) for column in cast)
    if whole.is_empty():
        raise InputError("there is no row to ask for", "each lacks a value", "give rows that are complete")
    return whole, whole.sample(min(most, len(whole)), shuffle=True, seed=0)


def _as_declared(values: pl.Series, column: Column) -> pl.Series:
    """Whole numbers that the data has as floats, for instance, are not taken by every protocol."""
    dtype: Any = pl.String if column.dtype == "string" else pl.Series(np.empty(0, column.dtype)).dtype
    if column.shape:
        sizes = tuple(size for size in column.shape if size is not None)
        if len(sizes) < len(column.shape):
            return values
        dtype = pl.Array(dtype, sizes)
    try:
        return values.cast(dtype)
    except pl.exceptions.PolarsError as error:
        raise ColumnValueError(column.name, column.expected, f"values of {values.dtype}") from error


def repeated(frame: pl.DataFrame, rows: int) -> pl.DataFrame:
    """The first so many rows; from the beginning again where there are fewer."""
    times = -(-rows // len(frame))
    return (frame if times == 1 else pl.concat([frame] * times)).head(rows)
