"""Stored values as JSON has them."""

import math
from collections.abc import Mapping
from typing import Any

import polars as pl


def json_value(value: Any) -> Any:
    """A Python value as JSON has it: times as ISO 8601 text, NaN and infinity as None, decimals as text.

    >>> json_value(float("nan")), json_value([1.5, None]), json_value("é")
    (None, [1.5, None], 'é')
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [json_value(item) for item in value]
    isoformat = getattr(value, "isoformat", None)
    return isoformat() if isoformat else str(value)


def json_values(row: pl.DataFrame) -> Mapping[str, Any]:
    """The first row of a frame, by column."""
    return {name: json_value(value) for name, value in row.row(0, named=True).items()}
