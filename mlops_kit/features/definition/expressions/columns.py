"""Columns of a frame as values of their kinds."""

from collections.abc import Mapping
from typing import Final

import polars as pl

from mlops_kit.errors import InputError, MissingColumnsError
from mlops_kit.features.definition.feature_set import Kind

DTYPES: Final[Mapping[Kind, pl.DataType]] = {
    "float64": pl.Float64(),
    "int64": pl.Int64(),
    "bool": pl.Boolean(),
    "string": pl.String(),
}


def kind_of(dtype: pl.DataType) -> Kind | None:
    """The kind of a column's values; None if no feature can use them (times, lists, decimals, …).

    >>> kind_of(pl.Float32()), kind_of(pl.UInt8()), kind_of(pl.Categorical()), kind_of(pl.Date())
    ('float64', 'int64', 'string', None)
    """
    if dtype.is_float():
        return "float64"
    if dtype.is_integer() and dtype not in (pl.Int128, pl.UInt128):
        return "int64"
    if isinstance(dtype, (pl.String, pl.Categorical, pl.Enum)):
        return "string"
    return "bool" if dtype == pl.Boolean else None


def typed_column(frame: pl.DataFrame, name: str, kind: Kind) -> pl.Series:
    """The column with the one dtype of its kind. What has a narrower one is widened, and whole numbers are taken
    where it is float64, as JSON writes them.

    Raises InputError if it is missing, of another kind, or has a number beyond int64.
    """
    if name not in frame.columns:
        raise MissingColumnsError([name], frame.columns)
    series = frame[name]
    found = kind_of(series.dtype)
    if found != kind and (found, kind) != ("int64", "float64") and series.dtype != pl.Null:
        raise InputError(
            f"column {name!r} is {series.dtype} where its definition says {kind}",
            fix="mend the data, or the definition, and fill the store anew",
        )
    try:
        return series.cast(DTYPES[kind])
    except pl.exceptions.InvalidOperationError as error:
        raise InputError(
            f"column {name!r} has a number beyond int64", "whole numbers are int64", "give it as text"
        ) from error
